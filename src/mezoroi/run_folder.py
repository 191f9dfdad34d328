"""A run folder is one training's: what that was started with, and whether it is finished."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from mezoroi.bundle import GRADER_JSON
from mezoroi.config import Config
from mezoroi.datasets import Dataset
from mezoroi.errors import MezoroiError
from mezoroi.files import read_json, require_folder, write_json, write_text
from mezoroi.standard import GradingStandard

RUN_JSON = "run.json"
FOLDS_JSON = "folds.json"
_TOLD = 3
"""Settings that are named, at most, where they differ."""


def is_finished(run_dir: Path, dataset: Dataset, config: Config, resume: bool) -> bool:
    """Whether the run folder holds this training, finished; it is only looked at.

    Raises
    ------
    MezoroiError
        If the folder holds another run or other things, or a run is there and not to be resumed.
    """
    path = run_dir / RUN_JSON
    if path.exists():
        if not resume:
            raise MezoroiError(
                f"{run_dir} already holds a training: continue it with --resume, "
                "or give another folder with -o"
            )
        earlier = read_json(path, "give another folder with -o")
        _require_same(run_dir, earlier, _record(dataset, config))
        return (run_dir / GRADER_JSON).exists()
    # A start that was killed may have left a hidden temporary file.
    if run_dir.is_dir() and any(not p.name.startswith(".") for p in run_dir.iterdir()):
        raise MezoroiError(f"{run_dir} is not empty: give another folder with -o")
    require_folder(run_dir)
    return False


def notes_on_resuming(run_dir: Path) -> tuple[str, ...]:
    """One line where no training was begun in the folder, whose name may be a slip."""
    if (run_dir / RUN_JSON).exists():
        return ()
    return (f"nothing to resume in {run_dir}: a new training begins",)


def claim(run_dir: Path, dataset: Dataset, config: Config) -> None:
    """Make the run folder this training's, once `is_finished` refused nothing."""
    record = _record(dataset, config)
    write_json(run_dir / RUN_JSON, record)
    text = yaml.safe_dump(record["config"], sort_keys=False)
    write_text(run_dir / "config.yaml", text)


def claim_folds(folder: Path, num_folds: int, group: str) -> None:
    """Make the folder this cross-validation's, unless its runs are of other folds.

    Each run would only tell that its part of the dataset is another.

    Raises
    ------
    MezoroiError
        If the runs are of another number of folds, or what stays together is another.
    """
    path, record = folder / FOLDS_JSON, {"folds": num_folds, "group": group}
    # Earlier versions did not record them; a start that was refused left no run.
    if path.exists() and any(folder.glob(f"fold-*/{RUN_JSON}")):
        earlier = read_json(path, "give another folder with -o")
        earlier = earlier if isinstance(earlier, dict) else {}
        if earlier != record:
            raise MezoroiError(
                f"{folder} was started with --folds {earlier.get('folds')} --group "
                f"{earlier.get('group')}: use the same ones, or give another folder with -o"
            )
    write_json(path, record)


def _record(dataset: Dataset, config: Config) -> dict[str, Any]:
    return {
        "fingerprint": dataset.fingerprint,
        "config": config.model_dump(mode="json"),
        "standard": dataset.standard.to_dict(),
    }


def _require_same(run_dir: Path, earlier: Any, record: dict[str, Any]) -> None:
    earlier = earlier if isinstance(earlier, dict) else {}
    other = "or give another folder with -o"
    if earlier.get("config") != record["config"]:
        raise MezoroiError(
            f"the settings differ from those {run_dir} was started with"
            f"{_changes(earlier.get('config'), record['config'])}: use the same ones, {other}"
        )
    # Before the dataset, whose splits follow the order of the grades. As text, since that counts.
    # Runs of earlier versions did not record it.
    standard = earlier.get("standard", record["standard"])
    if _defining(standard) != _defining(record["standard"]):
        raise MezoroiError(
            f"the grading standard is another than the one {run_dir} was started with: "
            f"restore its standard.yaml and its outlines, {other}"
        )
    if earlier.get("fingerprint") != record["fingerprint"]:
        raise MezoroiError(
            f"the dataset differs from the one {run_dir} was started with: use that one, {other}"
        )


def _changes(earlier: Any, config: dict[str, Any]) -> str:
    """The first settings that differ, in brackets; empty where `earlier` holds none of them."""
    before, now = _by_name(earlier), _by_name(config)
    changed = [name for name in now if name in before and before[name] != now[name]]
    told = [f"{name} is {now[name]}, was {before[name]}" for name in changed[:_TOLD]]
    if len(changed) > _TOLD:
        told.append(f"{len(changed) - _TOLD} more")
    return f" ({'; '.join(told)})" if told else ""


def _by_name(config: Any) -> dict[str, str]:
    """Every setting of a recorded configuration by its whole name, as YAML writes it."""
    found: dict[str, str] = {}
    for name, section in config.items() if isinstance(config, dict) else ():
        settings = section if isinstance(section, dict) else {"": section}
        for key, value in settings.items():
            text = value if isinstance(value, str) else json.dumps(value)
            found[f"{name}.{key}".rstrip(".")] = text
    return found


def _defining(standard: Any) -> str:
    """A standard as text, without the features: they explain the grades and teach a grader nothing.

    What is no standard stays as it is.
    """
    with suppress(MezoroiError):
        standard = GradingStandard.from_dict(standard).without_features().to_dict()
    return json.dumps(standard)
