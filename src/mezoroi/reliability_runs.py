"""What the verbs below `reliability` do to a run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mezoroi.bundle import read_bundle
from mezoroi.datasets import Dataset
from mezoroi.errors import MezoroiError
from mezoroi.files import content_hash, write_text
from mezoroi.grader import Grader
from mezoroi.progress import Progress, silent
from mezoroi.reliability.clusters import SaliencyClusters
from mezoroi.reliability.model import COVERAGE, ReliabilityModel, summary_of
from mezoroi.reliability.store import RELIABILITY_JSON, Record, read_reliability
from mezoroi.report.reliability import ClusterExample, reliability_page, reliability_text
from mezoroi.retrieval.gallery import REFERENCES, Gallery
from mezoroi.trusting import (
    EXAMPLES,
    chosen_split,
    clusters_for,
    examples,
    fit_on,
    write_fitted,
)
from mezoroi.workflow import with_splits_of


def fit_reliability_of_run(
    run_dir: str | Path,
    dataset: Dataset,
    *,
    split: str | None = None,
    method: str | None = None,
    n_clusters: int | Literal["eigengap"] | None = None,
    kernel_scale: float | Literal["median"] = 0.2,
    coverage: float = COVERAGE,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[ReliabilityModel, Record]:
    """Fit the reliability of a run on a dataset and write it into the run folder.

    Parameters
    ----------
    run_dir : a finished run; a reliability in it is replaced, whatever grades or model it is of
    dataset : splits that it does not bring are those of the training
    split, method, coverage : as in `mezoroi.trusting.fit_on`
    n_clusters, kernel_scale, seed : as in `SaliencyClusters`; default `clusters_for` clusters

    Raises
    ------
    MezoroiError
        As `fit_on`, and for an option out of its range.
    """
    folder = Path(run_dir)
    bundle = read_bundle(folder)
    gallery = None
    if (folder / REFERENCES).exists():
        gallery = Gallery.open(folder, bundle.fingerprint)
    grader = Grader(bundle, gallery=gallery)
    dataset = with_splits_of(grader, dataset)
    split = chosen_split(dataset, split)
    asked = sum(item.split == split for item in dataset)
    dataset = without_learned(grader, dataset, split)
    fruits = sum(item.split == split for item in dataset)
    count = clusters_for(fruits) if n_clusters is None else n_clusters
    if kernel_scale != "median" and not 0 < kernel_scale < float("inf"):
        raise MezoroiError(f"the kernel scale is {kernel_scale}: use one above 0, or median")
    if count != "eigengap" and count < 1:
        raise MezoroiError(f"{count} clusters: ask for 1 or more, or eigengap")
    if not 0 < coverage < 1:
        raise MezoroiError(f"coverage is {coverage}: use a share between 0 and 1, such as 0.9")
    clusters = SaliencyClusters(count, kernel_scale=kernel_scale, random_state=seed)
    model, record = fit_on(grader, dataset, split, method, clusters, coverage, progress)
    record = replace(record, left_out=asked - fruits)
    write_fitted(folder, model, record, dataset.select(split))
    return model, record


def without_learned(grader: Grader, dataset: Dataset, split: str) -> Dataset:
    """`dataset` with fruits of `split` that the grader learned from counted as train.

    They are recognised by their content: a manifest may call a training fruit anything.

    Raises
    ------
    MezoroiError
        If the grader learned from all of them.
    """
    data = grader.bundle.data
    learned = {data["content"][name] for name, own in data["splits"].items() if own == "train"}
    chosen = [item for item in dataset if item.split == split]
    known = [item.id for item in chosen if content_hash(item.image) in learned]
    if split == "train" or not known:
        return dataset
    if len(known) == len(chosen):
        raise MezoroiError(
            f"the grader learned from all {len(chosen)} fruits of {split}, there it is right too "
            "often: give fruits that it has not seen"
        )
    return dataset.with_splits(
        {item.id: "train" if item.id in set(known) else str(item.split) for item in dataset}
    )


def notes_on_adjusting(run_dir: str | Path, dataset: Dataset) -> list[str]:
    """What to know of scores of a run's reliability on a dataset: whether it was fitted there."""
    _, record = read_reliability(run_dir)
    fitted = {row.get("content") for row in record.observations}
    known = sum(content_hash(item.image) in fitted for item in dataset)
    if not known:
        return []
    return [
        f"reliability was fitted on {known} of these {len(dataset)} fruits and knows their errors: "
        "to learn what it is worth, evaluate a split that it has not seen"
    ]


def reliability_report(
    run_dir: str | Path, page: str | Path, language: str = "ja"
) -> tuple[list[dict[str, Any]], str]:
    """Write the clusters of a run as an HTML page.

    Returns
    -------
    the clusters as plain data, and as lines for a terminal

    Raises
    ------
    MezoroiError
        If the run has no fitted reliability, or it or the run is damaged.
    """
    folder = Path(run_dir)
    bundle = read_bundle(folder)
    if not (folder / RELIABILITY_JSON).exists():
        raise MezoroiError(
            f"{folder} has no reliability yet: fit it with `mezoroi reliability fit {folder} DATA`"
        )
    model, record = read_reliability(folder)
    if record.fingerprint != bundle.fingerprint:
        raise MezoroiError(
            f"the reliability in {folder} is of another model: "
            "fit it again with `mezoroi reliability fit`"
        )
    fitted = model.clusters
    shown = examples(record)
    by_cluster = {
        entry: [
            ClusterExample(folder / EXAMPLES / row["file"], row["grade"], row["given"])
            for row in shown
            if row["cluster"] == entry
        ]
        for entry in range(1, fitted.n_clusters_ + 1)
    }
    variance = float(fitted.explained_variance_ratio_.sum())
    facts = {
        "method": model.method,
        "split": record.split,
        "variance": variance,
        "adjusts": model.adjusts,
        "corrected": model.trial.corrected,
        "spoiled": model.trial.spoiled,
    }
    size = (bundle.size.height, bundle.size.width)
    maps = np.stack([model.cluster_map(q, size) for q in range(fitted.n_clusters_)])
    clusters = summary_of(model, record.grades)
    write_text(page, reliability_page(clusters, maps, by_cluster, record.grades, facts, language))
    head = (
        f"{len(record.observations)} fruits of {record.split}, maps by {model.method}, "
        f"{len(fitted.explained_variance_ratio_)} components keep {variance:.0%} of the variance\n"
    )
    return clusters, head + reliability_text(clusters, record.grades)
