"""Our retrieval metrics against pytorch-metric-learning's, where both define the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from mezoroi.metrics import map_at_r, mean_average_precision, recall_at_k


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agree_with_pytorch_metric_learning(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 9, 90)
    labels[0] = 99  # nothing to find: both leave it out
    centres = rng.normal(size=(100, 12))
    embeddings = centres[labels] + 1.5 * rng.normal(size=(90, 12))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    theirs = AccuracyCalculator(
        include=("mean_average_precision", "mean_average_precision_at_r", "precision_at_1"),
        k=89,
        device=torch.device("cpu"),
    ).get_accuracy(torch.from_numpy(embeddings), torch.from_numpy(labels))
    assert mean_average_precision(embeddings, labels) == pytest.approx(
        theirs["mean_average_precision"], abs=1e-6
    )
    assert map_at_r(embeddings, labels) == pytest.approx(
        theirs["mean_average_precision_at_r"], abs=1e-6
    )
    assert recall_at_k(embeddings, labels, 1) == pytest.approx(theirs["precision_at_1"], abs=1e-6)
