"""The fruit that shows a feature of the outline, chosen by its measurements."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mezoroi.standard import GradingStandard
from mezoroi.standard_features import ShownBy

BEYOND = 0.9
"""Share of the fruits judged otherwise that show a feature less than the one that stands for it."""


def clearest(
    values: Mapping[int, float],
    grades: Mapping[int, str],
    standard: GradingStandard,
    grade: str,
    shown_by: ShownBy,
) -> int | None:
    """The fruit of a grade that shows a feature most, or None where none shows it.

    The lowest fruit of a grade need not be flat: elongated ones may be all there is. So it must
    show the feature more than 9 of 10 fruits of the grades judged on the other view, which are
    true in shape where the grade's own are not, and the other way round.

    Parameters
    ----------
    values : the statistic of the outline, by fruit, where it is known
    grades : the agreed grade of every fruit
    """
    sign = 1 if shown_by.end == "high" else -1
    view = standard.view_of(grade)
    shown = {fruit: sign * value for fruit, value in values.items() if np.isfinite(value)}
    own = [fruit for fruit in shown if grades[fruit] == grade]
    if not own:
        return None
    others = [value for fruit, value in shown.items() if standard.view_of(grades[fruit]) != view]
    best = max(own, key=lambda fruit: (shown[fruit], -fruit))
    if others and np.mean(np.array(others) < shown[best]) < BEYOND:
        return None
    return best
