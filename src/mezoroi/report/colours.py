"""One colour per grade, the same in every chart and page; colour never carries meaning alone."""

from __future__ import annotations

from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

# Okabe and Ito (2008) first, then Paul Tol's muted set and a few greys and browns between them.
GRADE_COLOURS = (
    "#009E73", "#56B4E9", "#E69F00", "#D55E00", "#0072B2", "#CC79A7", "#F0E442", "#000000",
    "#882255", "#999933", "#332288", "#88CCEE", "#661100", "#BBBBBB", "#AA4499", "#004D40",
    "#DDCC99", "#6E6E6E", "#7FE0A0", "#B48EFF",
)  # fmt: skip
BLACK, WHITE = "#000000", "#FFFFFF"


def grade_colour(standard: GradingStandard, grade: str) -> str:
    """Colour of a grade as ``#RRGGBB``: A bluish green, B sky blue, C orange, D vermilion, ..."""
    if grade not in standard.grades:
        raise MezoroiError(
            f"unknown grade `{grade}`: the standard has {', '.join(standard.grades)}"
        )
    return GRADE_COLOURS[standard.grades.index(grade)]


def ink_on(background: str) -> str:
    """Black or white, whichever reads better on ``#RRGGBB``; the contrast is at least 4.5 (AA)."""
    return max((BLACK, WHITE), key=lambda ink: contrast(ink, background))


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two ``#RRGGBB`` colours, 1 to 21 (WCAG 2.1)."""
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    shares = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
