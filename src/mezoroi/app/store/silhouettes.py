"""What the outline of a grade usually is: the mean over fruits that experts gave this grade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from mezoroi.app.tables import Fruit, GradingRow

FEWEST, MOST = 5, 40


@dataclass(frozen=True)
class MeanSilhouette:
    """The mean outline of a grade.

    Attributes
    ----------
    radii : at even angles, counterclockwise from the right, in mean radii
    count : how many fruits it is the mean of
    """

    radii: Sequence[float]
    count: int


def mean_silhouette(session: Session, grade: str) -> MeanSilhouette | None:
    """The mean over the last fruits that experts gave a grade and that were filmed.

    None where there are fewer than `FEWEST`: a mean of so few is one of them rather than typical.
    """
    outline = GradingRow.result["silhouette"]["mean"]
    query = (
        select(GradingRow.fruit_id, outline)
        .join(Fruit, Fruit.id == GradingRow.fruit_id)
        .where(Fruit.expert_grade == grade, Fruit.media.like("video/%"))
        .order_by(GradingRow.id.desc())
        .limit(MOST)
    )
    found: dict[int, Sequence[float]] = {}
    for fruit_id, radii in session.execute(query):
        if radii:
            found.setdefault(fruit_id, radii)
    lengths = {len(radii) for radii in found.values()}
    if len(found) < FEWEST or len(lengths) != 1:
        return None
    return MeanSilhouette(
        [sum(at) / len(found) for at in zip(*found.values(), strict=True)], len(found)
    )
