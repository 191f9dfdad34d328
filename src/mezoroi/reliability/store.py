"""A fitted reliability in a run folder: plain JSON and safetensors, never a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

import mezoroi
from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path, read_json, write_json
from mezoroi.reliability.adjustment import AdjustmentTrial
from mezoroi.reliability.clusters import SaliencyClusters
from mezoroi.reliability.combination import Combination
from mezoroi.reliability.conformal import ConformalSets
from mezoroi.reliability.model import ReliabilityModel, summary_of

FORMAT = 2
RELIABILITY_JSON = "reliability.json"
RELIABILITY_TENSORS = "reliability.safetensors"
_ARRAYS = (
    "vectors_",
    "mean_",
    "components_",
    "coordinates_",
    "labels_",
    "counts_",
    "classes_",
    "prototypes_",
    "eigenvalues_",
    "explained_variance_ratio_",
)
_REMEDY = "fit it again with `mezoroi reliability fit`"


@dataclass(frozen=True)
class Record:
    """Where a fitted reliability comes from.

    Attributes
    ----------
    fingerprint : of the bundle whose maps these are
    grades : of the standard at the time
    split : whose observations were used
    observations : ``id``, ``content`` (hash of the picture), ``grade``, ``given`` and ``cluster``
        (from 1) of each
    left_out : fruits of the split that were not used, as the grader had learned from them
    """

    fingerprint: str
    grades: tuple[str, ...]
    split: str
    observations: tuple[Mapping[str, Any], ...]
    left_out: int = 0


def write_reliability(folder: Path, model: ReliabilityModel, record: Record) -> None:
    """Write ``reliability.safetensors`` and, last, ``reliability.json``."""
    clusters = model.clusters
    # Without it the tensors of an interrupted writing would pass for those of the old file.
    (folder / RELIABILITY_JSON).unlink(missing_ok=True)
    tensors = {name: np.ascontiguousarray(getattr(clusters, name)) for name in _ARRAYS}
    with atomic_path(folder / RELIABILITY_TENSORS) as temporary:
        try:
            save_file(tensors, temporary)
        except safetensors.SafetensorError as error:
            raise OSError(str(error)) from error
    write_json(
        folder / RELIABILITY_JSON,
        {
            "format": FORMAT,
            "version": mezoroi.__version__,
            **asdict(record),
            "method": model.method,
            "parameters": clusters.get_params(),
            "kernel_scale": clusters.kernel_scale_,
            "novelty_limit": clusters.novelty_limit_,
            "temperature": model.temperature,
            "background": list(model.background),
            "conformal": {**asdict(model.conformal), "limit": _finite(model.conformal.limit)},
            "combination": asdict(model.combination),
            "adjustment": {
                "threshold": model.threshold,
                **asdict(model.trial),
                "applied": model.adjusts,
            },
            "clusters": summary_of(model, record.grades),
        },
    )


def is_of_earlier_format(folder: str | Path) -> bool:
    """Whether an earlier version wrote the reliability of a run folder."""
    content = read_json(Path(folder) / RELIABILITY_JSON, _REMEDY)
    version = content.get("format") if isinstance(content, dict) else None
    return isinstance(version, int) and version < FORMAT


def read_reliability(folder: str | Path) -> tuple[ReliabilityModel, Record]:
    """Read what `write_reliability` wrote.

    Raises
    ------
    MezoroiError
        If a file is missing or damaged, or another version wrote it.
    """
    path = Path(folder) / RELIABILITY_JSON
    content = read_json(path, _REMEDY)
    version = content.get("format") if isinstance(content, dict) else None
    if version != FORMAT:
        raise MezoroiError(f"{path} has format {version}, this version reads {FORMAT}: {_REMEDY}")
    try:
        tensors = load_file(path.with_name(RELIABILITY_TENSORS))
        return _model(content, tensors), Record(
            content["fingerprint"],
            tuple(content["grades"]),
            content["split"],
            tuple(content["observations"]),
            int(content.get("left_out", 0)),
        )
    except FileNotFoundError as error:
        raise MezoroiError(
            f"{path.with_name(RELIABILITY_TENSORS)} is missing: {_REMEDY}"
        ) from error
    except (KeyError, TypeError, ValueError, OSError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise MezoroiError(
            f"the reliability in {folder} is damaged ({reason}): {_REMEDY}"
        ) from error


def _model(content: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> ReliabilityModel:
    clusters = SaliencyClusters(**content["parameters"])
    for name in _ARRAYS:
        setattr(clusters, name, tensors[name])
    clusters.kernel_scale_ = float(content["kernel_scale"])
    clusters.novelty_limit_ = float(content["novelty_limit"])
    clusters.set_counts(clusters.counts_)
    if len(clusters.labels_) != len(clusters.coordinates_):
        raise ValueError("clusters and maps differ in number")
    conformal = content["conformal"]
    limit = float("inf") if conformal["limit"] is None else float(conformal["limit"])
    adjustment = content["adjustment"]
    combination = dict(content["combination"])
    columns = {name: tuple(combination[name]) for name in ("mean", "deviation", "weights")}
    return ReliabilityModel(
        method=content["method"],
        clusters=clusters,
        temperature=float(content["temperature"]),
        conformal=ConformalSets(conformal["coverage"], conformal["method"], limit),
        combination=Combination(
            names=tuple(combination["names"]),
            intercept=float(combination["intercept"]),
            **columns,
        ),
        trial=AdjustmentTrial(adjustment["corrected"], adjustment["spoiled"]),
        threshold=float(adjustment["threshold"]),
        background=tuple(
            float("nan") if share is None else float(share) for share in content["background"]
        ),
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
