"""Mezoroi: learns a fruit grading standard, grades new fruit and shows why."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mezoroi.config import Config
    from mezoroi.datasets import Dataset, load_dataset
    from mezoroi.errors import MezoroiError
    from mezoroi.grader import Grader
    from mezoroi.grading import Grading, GradingFailure
    from mezoroi.presets import make_config
    from mezoroi.standard import GradingStandard
    from mezoroi.workflow import train

__version__ = "0.1.0"

_HOMES = {
    "Config": "config",
    "Dataset": "datasets",
    "Grader": "grader",
    "Grading": "grading",
    "GradingFailure": "grading",
    "GradingStandard": "standard",
    "MezoroiError": "errors",
    "load_dataset": "datasets",
    "make_config": "presets",
    "train": "workflow",
}
_ROOMS = (
    "augment",
    "capture",
    "datasets",
    "explain",
    "losses",
    "maps",
    "metrics",
    "models",
    "reliability",
    "report",
    "retrieval",
    "training",
)

__all__ = [
    "Config",
    "Dataset",
    "Grader",
    "Grading",
    "GradingFailure",
    "GradingStandard",
    "MezoroiError",
    "load_dataset",
    "make_config",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name or a room when it is first used: torch takes seconds."""
    if name in _HOMES:
        return getattr(import_module(f"mezoroi.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return import_module(f"mezoroi.{name}")
    raise AttributeError(f"module `mezoroi` has no attribute `{name}`")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_ROOMS])
