"""Presets, and the making of a `Config` from one, a settings file and overrides."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mezoroi.config import Config, settings_by_name
from mezoroi.errors import MezoroiError
from mezoroi.files import parsed_yaml

PRESETS: dict[str, dict[str, Any]] = {
    # A few minutes on two CPU cores: frozen early stages, cached views.
    "quick": {},
    # The melon paper, section 4.2; give resnet50 weights by model.weights.
    "paper": {
        "input": {"height": 224},
        "model": {
            "backbone": "resnet50",
            "weights": "none",
            "stride": 32,
            "average_alike": False,
            "silence_plain": False,
        },
        "loss": {
            "diversity_weight": 1.0,
            "precedence_weight": 0.0,
            "runner_up_weight": 0.0,
            "sparsity_weight": 0.0,
            "swap_tile": 0,
        },
        "train": {
            "epochs": 250,
            "batch_size": 32,
            "optimizer": "sgd",
            "lr": 1e-3,
            "backbone_lr_factor": 1.0,
            "channel_lr_factor": 1.0,
            "weight_decay": 0.0,
            "schedule": "constant",
            "frozen_stages": 0,
            "cached_views": 0,
        },
    },
    # Grades that pass into one another, such as ripeness, of few fruits.
    "gradual": {"model": {"similarity": "reading"}, "train": {"frozen_stages": 4}},
    # Seconds: to see that everything runs, not to grade.
    "tiny": {
        "input": {"height": 64},
        "model": {"embedding_dim": 16},
        "parts": {"start": 1},
        "train": {"epochs": 2, "batch_size": 8, "cached_views": 1},
    },
}


def make_config(
    preset: str = "quick", file: str | Path | None = None, overrides: list[str] | None = None
) -> Config:
    """Defaults, then a preset, then a YAML file, then ``section.name=value`` overrides.

    Raises
    ------
    MezoroiError
        For an unknown preset or key, or a value out of its range: one line naming it.
    """
    if preset not in PRESETS:
        raise MezoroiError(f"unknown preset `{preset}`: use one of {', '.join(PRESETS)}")
    from_file = {} if file is None else _read_settings(Path(file))
    overriding: dict[str, Any] = {}
    for override in overrides or []:
        overriding = _merge(overriding, _parse_override(override))
    try:
        return Config.model_validate(_merge(_merge(PRESETS[preset], from_file), overriding))
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":
            raise MezoroiError(str(first["ctx"]["error"])) from error
        parts = [str(part) for part in first["loc"]]
        name = ".".join(parts)
        of_file = _holds(from_file, parts) and not _holds(overriding, parts)
        where = f" in {file}" if of_file else ""
        if first["type"] == "model_type":
            instead = "its settings below it" if of_file else f"{name}.NAME=value"
            raise MezoroiError(f"`{name}`{where} is a section: write {instead}") from error
        reason = first["msg"].lower()
        if first["type"] == "extra_forbidden":
            reason = f"no such setting{_meant_instead_of(name)}"
        raise MezoroiError(f"setting `{name}`{where}: {reason}: see docs/config.md") from error


def notes_on_preset(preset: str, file: str | Path | None) -> tuple[str, ...]:
    """One line where a settings file takes back all that a preset sets, as another run's does."""
    if file is None:
        return ()
    own, from_file = PRESETS[preset], _read_settings(Path(file))
    if _merge(own, from_file) != from_file or _merge(from_file, own) == from_file:
        return ()
    return (f"{file} has a value for all that `--preset {preset}` sets: the preset does nothing",)


def _holds(settings: Any, parts: Iterable[str]) -> bool:
    """True where `settings` give a value to the setting with these parts of a name."""
    for part in parts:
        if not isinstance(settings, dict):
            return False
        # YAML reads a key such as 1 as a number.
        inner = {str(key): value for key, value in settings.items()}
        if part not in inner:
            return False
        settings = inner[part]
    return True


def _meant_instead_of(name: str) -> str:
    """The known setting that an unknown name is most like, as a hint; empty where there is none."""
    known = [*Config.model_fields, *settings_by_name()]
    if name in known:  # as one key of a file, with a dot in it
        section, _, key = name.rpartition(".")
        return f", write `{key}` below `{section}:`"
    within = [each for each in known if each.endswith(f".{name}")]
    alike = within or get_close_matches(name, known, 1)
    return f", perhaps `{alike[0]}`" if alike else ""


def _read_settings(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise MezoroiError(f"{path} is a folder: give the path of a settings file")
    try:
        content = parsed_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MezoroiError(f"{path} does not exist: give the path of a settings file") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise MezoroiError(f"{path} is not readable YAML ({reason}): correct it") from error
    if content is not None and not isinstance(content, dict):
        raise MezoroiError(f"{path} must map sections to settings: see docs/config.md")
    # A section whose settings are all commented out is left as it is.
    return {name: section for name, section in (content or {}).items() if section is not None}


def _parse_override(text: str) -> dict[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise MezoroiError(f"`--set {text}` has no value: write --set section.name=value")
    try:
        content: Any = parsed_yaml(value)
    except yaml.YAMLError as error:
        raise MezoroiError(f"`--set {text}`: the value is not readable: quote it") from error
    if isinstance(content, str):
        content = _as_number(content)
    for part in reversed(name.split(".")):
        content = {part: content}
    return content


def _as_number(text: str) -> str | float:
    # YAML 1.1 reads 1e-3 as text.
    try:
        return float(text)
    except ValueError:
        return text


def _merge(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in extra.items():
        inner = merged.get(key)
        merged[key] = (
            _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
        )
    return merged
