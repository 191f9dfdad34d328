"""Why a grading should not be trusted, in words that a grower understands."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FEW = 10
"""Cluster sizes below this are called few."""
_TEXTS = {
    "background": (
        "果実の外（背景）ばかりを見て判定しています。",
        "it looked mostly at the background, not at the fruit.",
    ),
    "novel": (
        "見ている場所が、これまで確かめたどの例とも違います。",
        "it looked at places unlike those of any fruit it was checked on.",
    ),
    "often wrong": (
        "同じ所を見て判定した {count} 玉のうち、正解は {right} 玉だけでした。",
        "only {right} of {count} fruits that it judged by the same places were graded right.",
    ),
    "few examples": (
        "同じ所を見て判定した例が {count} 玉しかなく、当てになるかまだ分かりません。",
        "only {count} fruits were judged by the same places, too few to know.",
    ),
    "undecided": (
        "どの等級か、はっきりしません（候補：{grades}）。",
        "it is torn between grades: {grades}.",
    ),
}


@dataclass(frozen=True)
class Reason:
    """One reason to ask an expert.

    Attributes
    ----------
    key : ``background``, ``novel``, ``often wrong``, ``few examples`` or ``undecided``
    ja, en : a sentence after "unreliable because"
    """

    key: str
    ja: str
    en: str

    @classmethod
    def of(cls, key: str, **values: object) -> Reason:
        """The reason `key` with its numbers filled in."""
        ja, en = _TEXTS[key]
        return cls(key, ja.format(**values), en.format(**values))

    def to_dict(self) -> dict[str, str]:
        """Plain data for JSON."""
        return dict(vars(self))


def background_share(saliency: NDArray, fruit: NDArray[np.bool_]) -> float:
    """Share of a map's positive mass that lies outside the fruit, in [0, 1].

    Parameters
    ----------
    saliency : (h, w)
    fruit : (H, W), True on the fruit; brought to the map's size by areas

    Returns
    -------
    float; NaN where the map has no positive value
    """
    size = (saliency.shape[1], saliency.shape[0])
    inside = cv2.resize(fruit.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mass = np.maximum(saliency, 0)
    total = float(mass.sum())
    return float((mass * (1 - inside)).sum() / total) if total > 0 else float("nan")
