"""Graders without deep learning, so that one sees that a task is not trivial."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from skimage.color import rgb2gray
from skimage.feature import local_binary_pattern
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mezoroi.capture.images import read_image
from mezoroi.datasets import Dataset

COLOUR_HISTOGRAM = "colour histogram + logistic regression"
TEXTURE = "LBP texture + SVM"
_WIDTH = 256


def run_baseline(name: str, learning: Dataset, tests: dict[str, Dataset]) -> dict[str, Any]:
    """Fit a baseline on train and val, and grade every test set, as `run_cell` returns it."""
    features = _colour_histogram if name == COLOUR_HISTOGRAM else _texture
    classifier = LogisticRegression(max_iter=2000) if name == COLOUR_HISTOGRAM else SVC(C=10.0)
    model = make_pipeline(StandardScaler(), classifier)
    chosen = learning.subset(
        [i for i, item in enumerate(learning) if item.split in ("train", "val")]
    )
    model.fit(_matrix(chosen, features), chosen.labels)
    return {
        test: {
            "truth": dataset.labels.tolist(),
            "given": model.predict(_matrix(dataset, features)).tolist(),
            "specimens": list(dataset.specimens),
        }
        for test, dataset in tests.items()
    }


def _matrix(dataset: Dataset, features: Any) -> np.ndarray:
    return np.stack([features(_small(item.image)) for item in dataset])


def _small(path: Any) -> np.ndarray:
    image = read_image(path, max_side=2 * _WIDTH)
    height = round(_WIDTH * image.shape[0] / image.shape[1])
    return cv2.resize(image, (_WIDTH, height), interpolation=cv2.INTER_AREA)


def _colour_histogram(image: np.ndarray) -> np.ndarray:
    """8 bins per channel of HSV, and 4 x 4 x 4 joint bins."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    ranges = ((0, 180), (0, 256), (0, 256))
    single = [np.histogram(hsv[..., c], bins=8, range=ranges[c], density=True)[0] for c in range(3)]
    joint, _ = np.histogramdd(hsv.reshape(-1, 3), bins=4, range=ranges, density=True)
    return np.concatenate([*single, joint.ravel()])


def _texture(image: np.ndarray) -> np.ndarray:
    """Uniform local binary patterns at three radii."""
    grey = (rgb2gray(image) * 255).astype(np.uint8)
    parts = []
    for radius in (1, 2, 4):
        codes = local_binary_pattern(grey, 8 * radius, radius, method="uniform")
        bins = 8 * radius + 2
        parts.append(np.histogram(codes, bins=bins, range=(0, bins), density=True)[0])
    return np.concatenate(parts)
