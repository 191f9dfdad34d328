"""Tables of the reference fruits and of the grading standard's examples."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from mezoroi.app.tables import Base, now


class ReferenceFruit(Base):
    """What pages know of one of a run's reference fruits; the truth is in the run folder.

    Attributes
    ----------
    name : its id in the run's reference index
    picture : blob of its thumbnail, or None where the index has none
    fruit_id : the fruit it was made from, or None for one of the training's
    """

    __tablename__ = "reference_fruits"
    __table_args__ = (Index("reference_fruits_by_grade", "run_id", "grade", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    name: Mapped[str] = mapped_column(Text)
    grade: Mapped[str | None] = mapped_column(String(64))
    picture: Mapped[str | None] = mapped_column(String(80))
    fruit_id: Mapped[int | None] = mapped_column(ForeignKey("fruits.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class StandardExample(Base):
    """A fruit that shows what a grade of one version of the standard looks like."""

    __tablename__ = "standard_examples"

    id: Mapped[int] = mapped_column(primary_key=True)
    standard_id: Mapped[int] = mapped_column(ForeignKey("standards.id"), index=True)
    grade: Mapped[str] = mapped_column(String(64))
    fruit_id: Mapped[int] = mapped_column(ForeignKey("fruits.id"))
