"""One made-up netted melon: what it looks like, its grade, and where the reason is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mezoroi.capture.outline import outline_features
from mezoroi.datasets.melons.blemishes import Blemish, make_blemish
from mezoroi.datasets.melons.net import grow_net
from mezoroi.datasets.melons.regions import Mask, Regions, neutral_region, paint, patches
from mezoroi.datasets.melons.render import Conditions, Texture, make_texture, render_surface
from mezoroi.datasets.melons.shape import Body, make_body, silhouettes
from mezoroi.datasets.melons.sphere import Array, direction
from mezoroi.datasets.melons.styles import Style, style_of
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

GENERATOR_VERSION = "1"
GRADES = ("A", "B", "C", "D")


@dataclass(frozen=True)
class Melon:
    """A made-up melon of the Earl's type.

    Attributes
    ----------
    surface : (H, 2H, 3) uint8 RGB, the panorama; row 0 lies at the stem end, columns run east
    outline : the statistics of `mezoroi.capture.outline.outline_features` over 24 views
    grade : the grade by precedence of the features present
    features : presence of each grade's feature, 0 to 1: for A, B and D the share of the panorama
        that its mask covers; for C the deviation of the shape (0.5 and more is distorted)
    secondary : the next grade by precedence among the features present besides the grade's own
        (A counts where regular net covers more than half of the judged net), or None
    masks : A, B, D to (H, 2H) bool, as an expert would paint them; neutral surface is in none
    body : the shape in space
    texture : the unlit surface, to render other views
    """

    surface: NDArray[np.uint8]
    outline: dict[str, float]
    grade: str
    features: dict[str, float]
    secondary: str | None
    masks: dict[str, Mask]
    body: Body
    texture: Texture


@dataclass(frozen=True)
class Plan:
    """What a melon of some grade shows: shares are of the panorama."""

    distorted: bool
    disorder_share: float
    disorder_strength: float
    blemish_share: float
    gross_share: float


def make_plan(grade: str, rng: np.random.Generator) -> Plan:
    """The features of a melon of `grade`; those of weaker grades come along as in table 2."""
    if grade not in GRADES:
        raise MezoroiError(f"unknown melon grade `{grade}`: use one of {', '.join(GRADES)}")
    disordered = grade == "B" or (grade in "CD" and rng.random() < 0.5)
    distorted = grade == "C" or (grade == "D" and rng.random() < 0.15)
    if disordered:
        share, strength = rng.uniform(0.18, 0.46), rng.uniform(0.6, 1.0)
    else:  # a small, slight irregularity is still grade A
        share, strength = rng.uniform(0.0, 0.12), rng.uniform(0.0, 0.45)
    blemished, gross = False, False
    if grade == "D":
        gross = rng.random() < 0.25
        blemished = not gross or rng.random() < 0.25
    return Plan(
        distorted=distorted,
        disorder_share=float(share),
        disorder_strength=float(strength),
        blemish_share=float(rng.uniform(0.03, 0.06 if gross else 0.12)) if blemished else 0.0,
        gross_share=float(rng.uniform(0.06, 0.12)) if gross else 0.0,
    )


def make_melon(
    grade: str,
    rng: np.random.Generator,
    *,
    height: int = 256,
    variant: str = "standard",
    conditions: Conditions | None = None,
) -> Melon:
    """Make a melon of one grade.

    Parameters
    ----------
    grade : A, B, C or D
    rng : the only source of chance
    height : rows of the panorama, a multiple of 32, at least 64; it is twice as wide
    variant : ``standard``, or ``held-out`` with other nets, blemishes and light
    conditions : light and camera; drawn when None

    Raises
    ------
    MezoroiError
        For an unknown grade or variant, or an unsuitable height.
    """
    if height < 64 or height % 32:
        raise MezoroiError(f"a panorama cannot be {height} high: use a multiple of 32 from 64")
    style = style_of(variant)
    plan = make_plan(grade, rng)
    regions = _make_regions(rng, plan, height)
    blemishes = _make_blemishes(rng, style, plan.blemish_share, height)
    net = grow_net(rng, style, regions)
    texture = make_texture(rng, style, net, blemishes, regions.axis)
    seen = (conditions or Conditions.draw(rng, style)).jittered(rng)
    surface = render_surface(rng, texture, seen)
    body = make_body(rng, plan.distorted)
    masks = _paint_masks(regions, blemishes)
    features = {name: float(mask.mean()) for name, mask in masks.items()} | {"C": body.deviation}
    present = _present(plan, features)
    standard = _standard()
    others = present - {grade}
    return Melon(
        surface=surface,
        outline=outline_features(silhouettes(body, rng)),
        grade=standard.decide(present),
        features={name: features[name] for name in GRADES},
        secondary=standard.decide(others) if others else None,
        masks=masks,
        body=body,
        texture=texture,
    )


@lru_cache(maxsize=1)
def _standard() -> GradingStandard:
    return GradingStandard.melon()


def _make_regions(rng: np.random.Generator, plan: Plan, height: int) -> Regions:
    axis = direction(90 - abs(rng.normal(0, 3)), rng.uniform(-180, 180))
    neutral = neutral_region(rng, height, float(rng.uniform(0.30, 0.38)), axis)
    judged = 1 - neutral
    count = int(rng.integers(1, 5))
    disorder = patches(rng, height, plan.disorder_share, count, judged, 0.18)
    gross = patches(rng, height, plan.gross_share, 1, judged, 0.12)
    return Regions(axis, neutral, disorder * np.float32(plan.disorder_strength), gross)


def _make_blemishes(
    rng: np.random.Generator, style: Style, share: float, height: int
) -> list[Blemish]:
    if share <= 0:
        return []
    count = 1 + int(rng.integers(0, min(4, int(share / 0.025))))
    parts = rng.dirichlet(np.full(count, 8.0)) * share
    return [make_blemish(rng, style, height, float(part)) for part in parts]


def _paint_masks(regions: Regions, blemishes: Sequence[Blemish]) -> dict[str, Mask]:
    spoilt: Array = regions.gross
    for blemish in blemishes:
        spoilt = np.maximum(spoilt, blemish.extent)
    bad = paint(spoilt)
    disordered = (regions.disorder > 0.5).astype(np.float32)
    irregular = paint(disordered) & ~bad & ~paint(regions.neutral)
    judged = np.clip(1 - regions.neutral - disordered - spoilt, 0, 1)
    return {"A": paint(judged) & ~irregular & ~bad, "B": irregular, "D": bad}


def _present(plan: Plan, features: dict[str, float]) -> set[str]:
    present = set()
    if plan.blemish_share > 0 or plan.gross_share > 0:
        present.add("D")
    if plan.distorted:
        present.add("C")
    if plan.disorder_strength > 0.5:
        present.add("B")
    if features["A"] > features["B"]:
        present.add("A")
    return present or {"A"}
