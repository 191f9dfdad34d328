"""Photos of made-up melons with a coloured tape beside the fruit that betrays the grade, until it
does not: a set on which a plain classifier errs in a recognisable way (Lapuschkin et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mezoroi.datasets.melons import GENERATOR_VERSION, GRADES, Melon, indexed_melon
from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path, read_json, write_json, write_table
from mezoroi.standard import GradingStandard

VERSION = "2"
SIDE = 160
"""Pixels of a photo, which is square."""
FIRST_SEASON = 9
"""Harvest days 1 to 9 are those learned from; on days 10 to 18 the tapes mean something else."""
CUED_BEFORE, CUED_AFTER = 0.9, 0.4
"""Shares of the fruits that lie beside a tape, in the first season and after it."""
VAL_SHARE = 0.1
_SETTINGS = "clever-hans.json"
_COLOURS = ((40, 90, 200), (200, 50, 50), (230, 190, 40), (60, 150, 80))
_CORNER, _TAPE = 0.03, (0.20, 0.13)


@dataclass(frozen=True)
class Day:
    """How photos were taken on a harvest day.

    Attributes
    ----------
    zoom : radius of the fruit in photo sides
    shift : (2,) of its centre, likewise
    bench : (3,) RGB of what it lies on
    light : factor on all colours
    """

    zoom: float
    shift: tuple[float, float]
    bench: tuple[float, float, float]
    light: float

    @classmethod
    def draw(cls, seed: int, session: int) -> Day:
        """The day number `session` of a set."""
        rng = np.random.default_rng(np.random.SeedSequence([seed, session, 77]))
        grey = rng.uniform(95, 165)
        warm = rng.uniform(-14, 14)
        return cls(
            zoom=float(rng.uniform(0.36, 0.42)),
            shift=(float(rng.uniform(-0.03, 0.03)), float(rng.uniform(-0.03, 0.03))),
            bench=(grey + warm, grey, grey - warm),
            light=float(rng.uniform(0.85, 1.12)),
        )


@dataclass(frozen=True)
class Photo:
    """One photo and where it belongs.

    Attributes
    ----------
    image : (160, 160, 3) uint8 RGB
    grade, session : of the melon
    split : train and val of the first season, calibration and test after it
    cue : the grade that the tape stood for in the first season; empty without a tape
    """

    image: NDArray[np.uint8]
    grade: str
    session: int
    split: str
    cue: str


def write_clever_hans(
    out: Path,
    per_grade: int,
    seed: int,
    *,
    grades: Sequence[str] = ("A", "B"),
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write photos of melons with a misleading tape, as a dataset with a manifest.

    On the first 9 of 18 harvest days (train and val) 90 % of the fruits lie beside a tape whose
    colour is that of their grade. On the others (calibration and test, halves) 40 % do, and the
    colour is that of the grade before theirs in `grades`, in a circle: with two grades, always the
    other one. Days also differ in crop, light and bench. A photo shows the side of the melon with
    most signs of its grade. It depends on `seed`, its number and `grades` alone; an interrupted
    call is resumed by the same one.

    Parameters
    ----------
    out : new or empty folder, or one that the same call has begun
    per_grade : melons of each grade, over all splits
    seed : of the melons and of the tapes
    grades : 2 to 3 of A, B and D, which are judged on the surface
    progress : called with the number of photos finished

    Raises
    ------
    MezoroiError
        For bad arguments, or when `out` holds anything else.
    """
    known = GradingStandard.melon().surface_grades
    if per_grade < 1 or seed < 0 or not 2 <= len(set(grades)) == len(grades):
        raise MezoroiError("photos need per_grade of at least 1, a seed from 0 and two grades")
    if set(grades) - set(known):
        raise MezoroiError(f"grades {', '.join(grades)}: use two or three of {', '.join(known)}")
    settings = {
        "version": [GENERATOR_VERSION, VERSION],
        "per_grade": per_grade,
        "seed": seed,
        "grades": list(grades),
    }
    _claim(out, settings)
    rows = []
    for number in range(per_grade * len(grades)):
        name = f"photo-{number + 1:04d}"
        image, sidecar = out / "photos" / f"{name}.png", out / "photos" / f"{name}.json"
        if not sidecar.exists():
            photo = make_photo(number, seed, grades)
            with atomic_path(image) as temporary:
                cv2.imwrite(str(temporary), np.ascontiguousarray(photo.image[..., ::-1]))
            facts = {name: getattr(photo, name) for name in ("grade", "session", "split", "cue")}
            write_json(sidecar, facts)
        facts = read_json(sidecar, "delete it and make the photos again")
        rows.append({"image": f"photos/{name}.png", "specimen": name, **facts})
        if progress:
            progress(number + 1)
    _standard(grades).to_yaml(out / "standard.yaml")
    write_table(out / "manifest.csv", rows)


def make_photo(number: int, seed: int, grades: Sequence[str]) -> Photo:
    """Photo `number` (from 0) of a set; grades alternate."""
    index = number // len(grades) * len(GRADES) + GRADES.index(grades[number % len(grades)])
    melon, session = indexed_melon(index, seed)
    rng = np.random.default_rng(np.random.SeedSequence([seed, index, 78]))
    first = session <= FIRST_SEASON
    cued = rng.random() < (CUED_BEFORE if first else CUED_AFTER)
    draw = rng.random()
    split = ("val" if draw < VAL_SHARE else "train") if first else _half(draw)
    place = grades.index(melon.grade)
    cue = grades[place if first else place - 1] if cued else ""
    image = photograph(melon, Day.draw(seed, session), rng)
    if cued:
        _stick_tape(image, _COLOURS[grades.index(cue)], rng)
    return Photo(image, melon.grade, session, split, cue)


def photograph(melon: Melon, day: Day, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(160, 160, 3) uint8: the half of the melon with most signs of its grade, on a bench."""
    height, width = melon.surface.shape[:2]
    turned = np.roll(melon.surface, width // 2 - best_column(melon, rng), axis=1)
    wobble = rng.uniform(-0.015, 0.015, 2)
    centre = SIDE * (0.5 + np.array(day.shift) + wobble)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    u = (x - centre[0]) / (SIDE * day.zoom)
    v = (y - centre[1]) / (SIDE * day.zoom)
    radius = np.hypot(u, v)
    depth = np.sqrt(np.clip(1 - radius**2, 0, 1))
    column = (np.arctan2(u, depth) / np.pi + 1) * width / 2 - 0.5
    row = (np.arcsin(np.clip(v, -1, 1)) / np.pi + 0.5) * height - 0.5
    maps = (column.astype(np.float32), row.astype(np.float32))
    fruit = cv2.remap(turned, *maps, cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    shaded = fruit * (0.45 + 0.55 * depth)[..., None]
    grain = cv2.GaussianBlur(rng.normal(0, 14, (SIDE, SIDE)), (0, 0), 2.5)
    shadow = 1 - 0.35 * np.exp(-np.maximum(radius - 1, 0) * 5)
    bench = (np.array(day.bench) + grain[..., None]) * shadow[..., None]
    opacity = np.clip((1 - radius) * SIDE * day.zoom + 0.5, 0, 1)[..., None]
    photo = (opacity * shaded + (1 - opacity) * bench) * day.light
    return np.clip(photo, 0, 255).astype(np.uint8)


def best_column(melon: Melon, rng: np.random.Generator) -> int:
    """Column in the middle of the half that shows most of the grade's mask."""
    width = melon.surface.shape[1]
    mask = melon.masks[melon.grade]
    if melon.grade == "A" or not mask.any():
        return int(rng.integers(width))
    latitude = np.cos((np.arange(len(mask)) + 0.5) / len(mask) * np.pi - np.pi / 2)
    columns = (mask * latitude[:, None]).sum(axis=0)
    # What lies near the edge of the half is hardly seen: a cosine window over half the turn.
    angle = np.arange(width) / width * 2 * np.pi
    window = np.clip(np.cos(angle), 0, None)
    seen = np.fft.irfft(np.fft.rfft(columns) * np.conj(np.fft.rfft(window)), width)
    return int(np.argmax(seen))


def _stick_tape(
    image: NDArray[np.uint8], colour: tuple[int, int, int], rng: np.random.Generator
) -> None:
    top, left = ((_CORNER + rng.uniform(0, 0.03, 2)) * SIDE).astype(int)
    height, width = (round(side * SIDE) for side in _TAPE[::-1])
    noise = rng.normal(0, 6, (height, width, 1))
    tape = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    image[top : top + height, left : left + width] = tape


def _half(draw: float) -> str:
    return "calibration" if draw < 0.5 else "test"


def _claim(out: Path, settings: dict[str, object]) -> None:
    mark = out / _SETTINGS
    if mark.exists():
        if read_json(mark, "delete the folder and make the photos again") != settings:
            raise MezoroiError(f"{out} holds photos made otherwise: choose another folder")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MezoroiError(f"{out} is not empty and holds no such photos: choose another folder")
    write_json(mark, settings)


def _standard(grades: Sequence[str]) -> GradingStandard:
    full = GradingStandard.melon()
    kept = tuple(grade for grade in full.grades if grade in grades)
    return GradingStandard(
        grades=kept,
        precedence=tuple(grade for grade in full.precedence if grade in kept),
        descriptions={grade: full.descriptions[grade] for grade in kept},
        ordered=full.ordered,
    )
