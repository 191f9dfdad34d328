"""Reliability across rooms: what a grader says about a dataset, and fitting on it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mezoroi.capture.images import read_image
from mezoroi.datasets import Dataset
from mezoroi.errors import MezoroiError
from mezoroi.evaluation import true_grades
from mezoroi.files import content_hash, write_bytes
from mezoroi.grader import Grader, Predictions
from mezoroi.grading_maker import NEIGHBOURS
from mezoroi.maps import upsample_maps
from mezoroi.models import FruitImages
from mezoroi.models.preprocess import fit_image
from mezoroi.progress import Progress, silent
from mezoroi.reliability.clusters import SaliencyClusters
from mezoroi.reliability.confidence import Answers
from mezoroi.reliability.judge import MapMaker, fruit_in_photo, neighbour_grades
from mezoroi.reliability.model import COVERAGE, ReliabilityModel, fit_reliability
from mezoroi.reliability.reasons import background_share
from mezoroi.reliability.saliency import ACTIVATION, default_method
from mezoroi.reliability.store import RELIABILITY_JSON, Record, write_reliability
from mezoroi.retrieval import Neighbour

EXAMPLES = "reliability-examples"
EXAMPLES_SHOWN = 4
LEAST = 10
"""Fewer calibration fruits than this say nothing about reliability."""
LEAST_IN_TRAINING = 40
"""Training fits no reliability to fewer, as nearly all gradings would be called doubtful."""
_PER_CLUSTER = 10
_BATCH = 32
_THUMBNAIL = 200
_SEARCHED = 4
_SAME_PICTURE = 1 - 1e-5


def clusters_for(count: int) -> int:
    """Number of clusters for `count` calibration fruits: the paper's 8, but ten fruits in each."""
    return max(2, min(8, count // _PER_CLUSTER))


def calibration_split(dataset: Dataset) -> str:
    """The split to fit on: calibration, else val, else test (fruits new to the grader)."""
    for name in ("calibration", "val", "test"):
        if name in dataset.splits:
            return name
    raise MezoroiError("the dataset has only training fruits: give others to fit reliability on")


def chosen_split(dataset: Dataset, asked: str | None) -> str:
    """The split that was asked for; `calibration_split` for None, and for a missing calibration.

    A training holds out val and calibration alike, so that either serves to calibrate on.
    """
    if asked is None or (asked == "calibration" and asked not in dataset.splits):
        return calibration_split(dataset)
    return asked


def answers_of(
    grader: Grader, dataset: Dataset, method: str, progress: Progress = silent
) -> Answers:
    """What a grader says about every observation of a dataset, with its maps.

    Parameters
    ----------
    method : of the maps, one of `mezoroi.reliability.saliency.METHODS`

    Raises
    ------
    MezoroiError
        If the method does not suit the grader, or the dataset cannot be read.
    """
    make_maps = MapMaker(grader.bundle, method)
    predictions = grader.predict(dataset, progress=progress)
    size = grader.bundle.size
    images = FruitImages(dataset, size.height, size.width, megabytes=0)
    parts = []
    for start in range(0, len(dataset), _BATCH):
        rows = list(range(start, min(start + _BATCH, len(dataset))))
        pixels = images.images(rows).to(grader.device) if make_maps.needs_images else None
        cells = torch.from_numpy(predictions.maps[rows])
        if method == ACTIVATION:
            grid = grader.network.encoder.grid
            cells = upsample_maps(cells, size.height, size.width, size.wraps, grid)
        similarity, given = predictions.similarity[rows], predictions.grades[rows]
        parts.append(make_maps(similarity, given, cells.numpy(), pixels))
        progress("looking where it looked", rows[-1] + 1, len(dataset))
    return Answers(
        predictions.grades,
        predictions.similarity,
        predictions.logits,
        neighbour_grades(_others(grader, dataset, predictions), grader.standard.grades),
        np.concatenate(parts),
        predictions.reading,
    )


def fit_on(
    grader: Grader,
    dataset: Dataset,
    split: str | None = None,
    method: str | None = None,
    clusters: SaliencyClusters | None = None,
    coverage: float = COVERAGE,
    progress: Progress = silent,
) -> tuple[ReliabilityModel, Record]:
    """Fit the reliability of a grader on fruits that it did not learn from.

    Parameters
    ----------
    dataset : with splits
    split : whose observations to use; default `calibration_split`, as is ``calibration`` where
        there is none
    method : of the maps; default the activation map, or Grad-CAM without class channels
    clusters : with the parameters to use; default the paper's, with `clusters_for` clusters
    coverage : that sets of grades promise, in (0, 1)

    Raises
    ------
    MezoroiError
        If `split` is train, too small or absent, a grade is unknown, or the method does not suit
        the grader.
    """
    split = chosen_split(dataset, split)
    if split == "train":
        raise MezoroiError(
            "the grader learned from train, there it is right too often: "
            "fit on calibration, val or new fruits"
        )
    if split not in dataset.splits:
        raise MezoroiError(
            f"the dataset has no split `{split}`: name one of {', '.join(dataset.splits)} that the "
            "grader did not learn from, or leave --split out"
        )
    chosen = dataset.select(split)
    if len(chosen) < LEAST:
        raise MezoroiError(
            f"{len(chosen)} fruits in {split} are too few to know how reliable a grader is: "
            f"give at least {LEAST}, better 200"
        )
    clusters = clusters or SaliencyClusters(clusters_for(len(chosen)))
    if clusters.n_clusters != "eigengap" and clusters.n_clusters > len(chosen):
        raise MezoroiError(
            f"{len(chosen)} fruits in {split} do not make {clusters.n_clusters} clusters: "
            "give more fruits or ask for fewer clusters"
        )
    method = method or default_method(grader.bundle)
    truth = true_grades(grader, chosen)  # before the work: a grade may be unknown
    answers = answers_of(grader, chosen, method, progress)
    model = fit_reliability(answers, truth, chosen.specimens, method, clusters, coverage)
    model = replace(model, background=_background(grader, chosen, model, answers, progress))
    grades = grader.standard.grades
    observations = tuple(
        {
            "id": item.id,
            "content": content_hash(item.image),
            "grade": item.grade,
            "given": grades[given],
            "cluster": int(q) + 1,
        }
        for item, given, q in zip(chosen, answers.given, model.clusters.labels_, strict=True)
    )
    return model, Record(grader.bundle.fingerprint, grades, split, observations)


def _background(
    grader: Grader,
    dataset: Dataset,
    model: ReliabilityModel,
    answers: Answers,
    progress: Progress,
) -> tuple[float, ...]:
    """Mean share of the maps' mass beside the fruit by cluster, from a few photos of each."""
    size, labels = grader.bundle.size, model.clusters.labels_
    shares = []
    for cluster in range(model.clusters.n_clusters_):
        found = [float("nan")]
        # A panorama is all fruit.
        for row in [] if size.wraps else np.flatnonzero(labels == cluster)[:_SEARCHED]:
            photo = read_image(dataset.observations[row].image)
            fruit = fruit_in_photo(photo)
            if fruit is not None:
                mask = fit_image(photo, size.height, size.width).fit_mask(fruit)
                found.append(background_share(answers.maps[row], mask))
        known = [share for share in found if share == share]
        shares.append(float(np.mean(known)) if known else float("nan"))
        progress("looking for the fruit", cluster + 1, model.clusters.n_clusters_)
    return tuple(shares)


def write_fitted(folder: Path, model: ReliabilityModel, record: Record, dataset: Dataset) -> None:
    """Write a fitted reliability into a run folder, with pictures of examples of every cluster."""
    images = {item.id: item.image for item in dataset}
    shown = examples(record)
    for row in shown:
        picture = read_image(images[row["id"]], max_side=_THUMBNAIL)
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "JPEG", quality=85)
        write_bytes(folder / EXAMPLES / row["file"], stream.getvalue())
    write_reliability(folder, model, record)
    wanted = {row["file"] for row in shown}
    for path in (folder / EXAMPLES).glob("*.jpg"):
        if path.name not in wanted:
            path.unlink()


def examples(record: Record) -> list[dict[str, Any]]:
    """Up to four wrong and four right fruits of every cluster, each with its picture's name.

    Pictures are named by what they show, so that those of another fit are never taken for these.
    """
    chosen = []
    for right in (False, True):
        seen: dict[int, int] = {}
        for number, row in enumerate(record.observations):
            cluster = row["cluster"]
            if (row["grade"] == row["given"]) != right or seen.get(cluster, 0) >= EXAMPLES_SHOWN:
                continue
            seen[cluster] = seen.get(cluster, 0) + 1
            chosen.append({**row, "file": f"{row.get('content', f'{number:05d}')}.jpg"})
    return chosen


def fit_in_training(
    grader: Grader, dataset: Dataset, run_dir: Path, progress: Progress = silent
) -> ReliabilityModel | None:
    """Fit reliability as the last step of a training, where it costs gradings nothing.

    None for a grader without activation maps, and with fewer than `LEAST_IN_TRAINING` fruits held
    out.
    """
    (run_dir / RELIABILITY_JSON).unlink(missing_ok=True)
    held_out = dataset.select(calibration_split(dataset))
    if default_method(grader.bundle) != ACTIVATION or len(held_out) < LEAST_IN_TRAINING:
        return None
    model, record = fit_on(grader, dataset, progress=progress)
    write_fitted(run_dir, model, record, held_out)
    return model


def _others(
    grader: Grader, dataset: Dataset, predictions: Predictions
) -> Sequence[Sequence[Neighbour]]:
    """Each fruit's most similar references that are of other specimens, by name and by picture."""
    others: list[Sequence[Neighbour]] = [[] for _ in range(len(dataset))]
    if grader.gallery is None:
        return others
    specimen = {item.id: item.specimen for item in dataset}
    wanted, depth, most = np.arange(len(dataset)), 2 * NEIGHBOURS, len(grader.gallery.index)
    while len(wanted):
        found = grader.gallery.neighbours(predictions.embeddings[wanted], depth)
        for row, near in zip(wanted, found, strict=True):
            others[row] = [
                one
                for one in near
                if specimen.get(one.id) != dataset.observations[row].specimen
                and one.similarity < _SAME_PICTURE
            ][:NEIGHBOURS]
        # The nearest of all may be many photos of the same specimen: then those behind them.
        wanted = wanted[[len(others[row]) < NEIGHBOURS for row in wanted]]
        if depth >= most:
            break
        depth *= 2
    return others
