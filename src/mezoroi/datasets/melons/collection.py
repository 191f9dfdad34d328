"""Folders of made-up melons."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mezoroi.datasets.masks import write_mask
from mezoroi.datasets.melons.melon import GENERATOR_VERSION, GRADES, Melon, make_melon
from mezoroi.datasets.melons.render import Conditions
from mezoroi.datasets.melons.styles import style_of
from mezoroi.datasets.melons.turn import Truth, Turn, draw_turn
from mezoroi.datasets.melons.video import render_views, write_video
from mezoroi.errors import MezoroiError
from mezoroi.files import read_json, write_json, write_table
from mezoroi.standard import GradingStandard

SESSIONS = 18  # harvest days
_SETTINGS = "melons.json"


def write_melons(
    out: Path,
    per_grade: int,
    seed: int,
    *,
    variant: str = "standard",
    height: int = 256,
    workers: int = 1,
    video: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write `per_grade` made-up melons of each grade as a dataset with a manifest.

    The folder holds ``manifest.csv``, ``standard.yaml``, ``melons.json`` (the settings) and per
    fruit ``captures/<id>/`` with ``surface.png``, ``outline.json``, ``truth.json`` (grade,
    secondary, session, features) and ``mask.png`` (as
    `mezoroi.datasets.masks.write_mask` writes it: 8 bit grey, at each pixel the sum of the flags 1
    for A, 2 for B and 4 for D). Manifest columns: image, grade, specimen, session, mask, outline,
    secondary (empty for none), features.A to features.D; paths are relative to the manifest.

    With `video` every capture also has ``video.mp4``, the fruit on a turntable with a moderate mix
    of disturbances (`draw_turn`) in the light of its harvest day, and ``pose.json``, the truth of
    it: the fields of `Truth` and the `Turn`; the manifest has a column video too. All else is the
    same, bit for bit, as without.

    A melon depends on `seed`, its index, `variant` and `height` alone: grades alternate along the
    index, and light and camera belong to one of 18 harvest days. Every capture is whole or absent
    and the manifest is written last, so the same call resumes an interrupted one.

    Parameters
    ----------
    out : new or empty folder, or one that the same call has begun
    per_grade : melons of each grade, at least 1
    seed : not negative
    variant, height : as in `make_melon`
    workers : processes
    video : also film every melon
    progress : called with the number of melons finished

    Raises
    ------
    MezoroiError
        For bad arguments, or when `out` holds anything else.
    """
    if per_grade < 1 or seed < 0 or workers < 1:
        raise MezoroiError("melons cannot be made: per_grade and workers start at 1, seed at 0")
    style_of(variant)
    settings = {
        "generator_version": GENERATOR_VERSION,
        "per_grade": per_grade,
        "seed": seed,
        "variant": variant,
        "height": height,
    }
    if video:
        settings["video"] = True
    out = Path(out)
    _claim(out, settings)
    names = [f"melon-{index + 1:04d}" for index in range(per_grade * len(GRADES))]
    captures = out / "captures"
    missing = [index for index, name in enumerate(names) if not (captures / name).is_dir()]
    done = len(names) - len(missing)
    task = partial(
        write_melon, captures=captures, seed=seed, variant=variant, height=height, video=video
    )
    for _ in _run(task, missing, workers):
        done += 1
        if progress:
            progress(done)
    GradingStandard.melon().to_yaml(out / "standard.yaml")
    write_table(out / "manifest.csv", [_row(captures, name, video) for name in names])


def indexed_melon(
    index: int, seed: int, *, variant: str = "standard", height: int = 256
) -> tuple[Melon, int]:
    """Melon number `index` (from 0) of a set, and its session (from 1)."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    session = int(rng.integers(1, SESSIONS + 1))
    conditions = _conditions(seed, session, variant)
    grade = GRADES[index % len(GRADES)]
    return make_melon(grade, rng, height=height, variant=variant, conditions=conditions), session


def _conditions(seed: int, session: int, variant: str) -> Conditions:
    """Light and camera of a harvest day."""
    day = np.random.default_rng(np.random.SeedSequence([seed, session, SESSIONS, 1]))
    return Conditions.draw(day, style_of(variant))


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Make `out` the folder of a set with these settings, or refuse."""
    mark = out / _SETTINGS
    if mark.exists():
        if read_json(mark, "delete the folder and make the melons again") != settings:
            raise MezoroiError(f"{out} holds melons made otherwise: choose another folder")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MezoroiError(f"{out} is not empty and holds no melons: choose another folder")
    write_json(mark, settings)


def _run(task: Callable[[int], None], items: list[int], workers: int) -> Iterator[None]:
    if workers == 1 or len(items) < 2:
        yield from map(task, items)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(items))) as pool:
        yield from pool.imap_unordered(task, items, chunksize=4)


def write_melon(
    index: int, captures: Path, seed: int, variant: str, height: int, video: bool
) -> None:
    """Write melon number `index` (from 0) of a set as a folder of `captures`, whole or not."""
    melon, session = indexed_melon(index, seed, variant=variant, height=height)
    name = f"melon-{index + 1:04d}"
    try:
        captures.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=captures))
    except OSError as error:
        raise MezoroiError(f"cannot write {captures} ({error.strerror}): check it") from error
    try:
        _write_png(folder / "surface.png", melon.surface[..., ::-1])
        write_mask(folder / "mask.png", melon.masks)
        write_json(folder / "outline.json", melon.outline)
        write_json(
            folder / "truth.json",
            {
                "grade": melon.grade,
                "secondary": melon.secondary,
                "session": session,
                "features": melon.features,
            },
        )
        if video:
            rng = np.random.default_rng(np.random.SeedSequence([seed, index, SESSIONS, 2]))
            conditions = _conditions(seed, session, variant).jittered(rng)
            _write_video(folder, melon, conditions, rng)
        folder.chmod(0o755)
        folder.rename(captures / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_video(
    folder: Path, melon: Melon, conditions: Conditions, rng: np.random.Generator
) -> None:
    turn = draw_turn(rng)
    frames, truth = render_views(melon.body, melon.texture, conditions, turn, rng)
    write_video(folder / "video.mp4", frames, turn.fps, crf=20)
    write_json(folder / "pose.json", _pose_record(truth, turn))


def _pose_record(truth: Truth, turn: Turn) -> dict[str, Any]:
    return {
        "poses": truth.poses.round(7).tolist(),
        "centres": truth.centres.round(4).tolist(),
        "scales": truth.scales.round(4).tolist(),
        "angles": truth.angles.round(4).tolist(),
        "occluded": truth.occluded.tolist(),
        "nearness": truth.nearness,
        "turn": asdict(turn),
    }


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 3]):
        raise MezoroiError(f"cannot write {path}: check free space and permissions")


def _row(captures: Path, name: str, video: bool) -> dict[str, Any]:
    truth = json.loads((captures / name / "truth.json").read_text(encoding="utf-8"))
    return {
        "image": f"captures/{name}/surface.png",
        "grade": truth["grade"],
        "specimen": name,
        "session": truth["session"],
        "mask": f"captures/{name}/mask.png",
        "outline": f"captures/{name}/outline.json",
        "secondary": truth["secondary"] or "",
        **({"video": f"captures/{name}/video.mp4"} if video else {}),
        **{f"features.{grade}": value for grade, value in truth["features"].items()},
    }
