"""One line that says what to look at: the right grade's description, and where its map is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

STRONGEST = 0.05  # share of the positions that count as where a map is strongest
_SPREAD = 0.25  # standard deviation, as a share of the side; evenly spread positions have 0.29
_TURNED = 0.3  # length of the mean direction around the fruit; evenly spread positions have 0

_WORDS = {
    ("upper", "left"): ("左上", "upper left"),
    ("upper", ""): ("上側", "top"),
    ("upper", "right"): ("右上", "upper right"),
    ("", "left"): ("左側", "left"),
    ("", ""): ("中央", "middle"),
    ("", "right"): ("右側", "right"),
    ("lower", "left"): ("左下", "lower left"),
    ("lower", ""): ("下側", "bottom"),
    ("lower", "right"): ("右下", "lower right"),
    ("upper", "around"): ("上側全周", "top, all around"),
    ("", "around"): ("全体", "all around"),
    ("lower", "around"): ("下側全周", "bottom, all around"),
}
_LANGUAGES = ("ja", "en")


def what_to_look_at(
    standard: GradingStandard,
    grade: str,
    activation_map: ArrayLike | None = None,
    *,
    language: str = "ja",
    coverage: ArrayLike | None = None,
    turned: bool = False,
) -> str:
    """The description of the right grade, then where to look.

    Parameters
    ----------
    grade : the right one
    activation_map : (H, W), of that grade; None where there is none, as for grades judged on the
        outline
    language : ja or en
    coverage : (H, W) bool, what was seen of the fruit; default everything
    turned : the map is of an unrolled surface, whose left and right edges meet

    Returns
    -------
    one line; the description alone where the map is None or even
    """
    if language not in _LANGUAGES:
        raise MezoroiError(f"unknown language `{language}`: use ja or en")
    view = standard.view_of(grade)
    described = standard.descriptions[grade].description.get(language, "")
    sentence = described or standard.title_of(grade, language)
    if view == "outline":
        where = ("輪郭全体を見てください", "Look at the whole outline")[_LANGUAGES.index(language)]
    else:
        where = ""
        if activation_map is not None:
            position = position_in_words(
                activation_map, language=language, coverage=coverage, turned=turned
            )
            if position:
                where = f"図の{position}を見てください" if language == "ja" else f"Look: {position}"
    if not where:
        return sentence
    if language == "ja":
        return f"{sentence.rstrip('。')}。{where}。"
    return f"{sentence.rstrip('.')}. {where}."


def position_in_words(
    activation_map: ArrayLike,
    *,
    language: str = "ja",
    coverage: ArrayLike | None = None,
    turned: bool = False,
) -> str | None:
    """Where the strongest twentieth of a map lies: upper left, top, all around, ...

    Parameters and errors are those of `what_to_look_at`.

    Returns
    -------
    words; None for a map that is the same everywhere
    """
    plane = np.asarray(activation_map, dtype=np.float64)
    if plane.ndim != 2 or plane.size == 0:
        raise ValueError(f"activation_map has shape {plane.shape}: give (H, W)")
    seen = np.ones(plane.shape, bool) if coverage is None else np.asarray(coverage, dtype=bool)
    if seen.shape != plane.shape:
        raise ValueError(f"coverage {seen.shape} does not match the map {plane.shape}")
    known = seen & np.isfinite(plane)
    if not known.any() or np.ptp(plane[known]) == 0:
        return None
    threshold = np.quantile(plane[known], 1 - STRONGEST)
    strongest, above = known & (plane >= threshold), known & (plane > threshold)
    if 2 * strongest.sum() > known.sum() and above.any():
        strongest = above  # a smaller spot: what ties there is the even rest of the map
    rows, columns = np.nonzero(strongest)
    y, x = (rows + 0.5) / plane.shape[0], (columns + 0.5) / plane.shape[1]
    horizontal = _around(x) if turned else _third(x, ("left", "", "right"), "around")
    vertical = _third(y, ("upper", "", "lower"), "")
    if horizontal == "around" and not turned and np.std(y) < _SPREAD:
        horizontal = ""  # a band across a photo is named by its height alone
    return _WORDS[vertical, horizontal][_LANGUAGES.index(language)]


def _third(places: np.ndarray, names: tuple[str, str, str], spread: str) -> str:
    if np.std(places) > _SPREAD:
        return spread
    return names[min(int(3 * places.mean()), 2)]


def _around(places: np.ndarray) -> str:
    """The same on a circle."""
    mean = np.exp(2j * np.pi * places).mean()
    if abs(mean) < _TURNED:
        return "around"
    return ("left", "", "right")[min(int(3 * ((np.angle(mean) / (2 * np.pi)) % 1)), 2)]
