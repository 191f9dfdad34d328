"""The tables of practice and calibration."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mezoroi.app.tables import Base, Fruit, Job, Standard, User, now


class Specimen(Base):
    """A fruit that practice and calibration may show: one sent to the app, or a reference fruit.

    Attributes
    ----------
    fruit_id : of an uploaded fruit, else None
    reference : id among the references of the runs, else None
    name : the physical fruit; several references may be of one
    grade : a reference's grade, which experts gave it; None for an uploaded fruit
    consensus : what graders settled on in a calibration session; counts before all else
    run_id : the run that prepared it, None before
    similarity, result, alike : by that run: S_g by grade, what `describe` gives, and the most
        similar reference fruits of every grade
    trouble : why it could not be prepared
    retired : no longer among the references
    """

    __tablename__ = "specimens"

    id: Mapped[int] = mapped_column(primary_key=True)
    fruit_id: Mapped[int | None] = mapped_column(ForeignKey("fruits.id"), unique=True)
    reference: Mapped[str | None] = mapped_column(String(512), unique=True)
    name: Mapped[str] = mapped_column(String(512))
    grade: Mapped[str | None] = mapped_column(String(64))
    consensus: Mapped[str | None] = mapped_column(String(64))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"), index=True)
    similarity: Mapped[dict[str, Any]] = mapped_column(default=dict)
    result: Mapped[dict[str, Any]] = mapped_column(default=dict)
    alike: Mapped[dict[str, Any]] = mapped_column(default=dict)
    trouble: Mapped[str] = mapped_column(Text, default="")
    retired: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)
    fruit: Mapped[Fruit | None] = relationship()


class Learner(Base):
    """What practice knows of a user.

    Attributes
    ----------
    state : what `PracticeState.to_dict` gives
    arm : None outside of a study
    taken : moment in ISO 8601 by phase whose rounds were deleted, empty where none was finished: it
        holds no result, but nobody takes a test twice
    certified_at : when the certificate was reached; it outlasts the answers
    """

    __tablename__ = "learners"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    state: Mapped[dict[str, Any]] = mapped_column(default=dict)
    arm: Mapped[str | None] = mapped_column(String(32))
    taken: Mapped[dict[str, Any]] = mapped_column(default=dict)
    certified_at: Mapped[datetime | None]
    seen_at: Mapped[datetime] = mapped_column(default=now)
    user: Mapped[User] = relationship(lazy="joined")


class TestFruit(Base):
    """A place in one of the tests, which are the same for every learner."""

    __tablename__ = "test_fruits"
    __table_args__ = (UniqueConstraint("test", "number"),)
    __test__ = False  # pytest: this is no test

    id: Mapped[int] = mapped_column(primary_key=True)
    test: Mapped[str] = mapped_column(String(32))
    number: Mapped[int]
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"), unique=True)
    grade: Mapped[str] = mapped_column(String(64))


class PracticeRound(Base):
    """Some fruits in a row; `phase` is ``practice`` or the name of a test."""

    __tablename__ = "practice_rounds"
    __table_args__ = (Index("rounds_by_user", "user_id", "phase", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    phase: Mapped[str] = mapped_column(String(32))
    length: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]


class Question(Base):
    """A fruit shown to a learner, and the first answer; `key` tells an answer that is sent again.

    Attributes
    ----------
    grades : the two it was chosen for, under ``pair``, and under ``repeat`` whether it is a hidden
        repeat; empty in tests
    truth : the agreed grade when it was shown
    seconds : that the answer took
    """

    __tablename__ = "questions"
    __table_args__ = (UniqueConstraint("round_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    round_id: Mapped[int] = mapped_column(ForeignKey("practice_rounds.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    number: Mapped[int]
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"), index=True)
    grades: Mapped[dict[str, Any]] = mapped_column(default=dict)
    truth: Mapped[str] = mapped_column(String(64))
    shown_at: Mapped[datetime] = mapped_column(default=now)
    given: Mapped[str | None] = mapped_column(String(64))
    certainty: Mapped[str | None] = mapped_column(String(16))
    seconds: Mapped[float | None]
    answered_at: Mapped[datetime | None]
    key: Mapped[str | None] = mapped_column(String(64))
    round: Mapped[PracticeRound] = relationship(lazy="joined")
    specimen: Mapped[Specimen] = relationship(lazy="joined")


class CalibrationSession(Base):
    """Fruits that graders grade blind and then talk about; `outcome` is what the reveal gave."""

    __tablename__ = "calibration_sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(128))
    way: Mapped[str] = mapped_column(String(16))
    leader_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    standard_id: Mapped[int] = mapped_column(ForeignKey("standards.id"))
    opened_at: Mapped[datetime] = mapped_column(default=now)
    revealed_at: Mapped[datetime | None]
    outcome: Mapped[dict[str, Any]] = mapped_column(default=dict)
    leader: Mapped[User] = relationship(lazy="joined")
    standard: Mapped[Standard] = relationship(lazy="joined")


class CalibrationFruit(Base):
    """A fruit of a session.

    Attributes
    ----------
    is_repeat : a hidden repeat of an earlier one
    given : grade and moment by grader's id, as `CalibrationGrade` has them; stays when those go, so
        that a dispute is not forgotten
    """

    __tablename__ = "calibration_fruits"
    __table_args__ = (UniqueConstraint("session_id", "specimen_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("calibration_sessions.id"))
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"), index=True)
    is_repeat: Mapped[bool] = mapped_column(default=False)
    given: Mapped[dict[str, Any]] = mapped_column(default=dict)
    consensus: Mapped[str | None] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text, default="")
    decided_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    decided_at: Mapped[datetime | None]
    reference_job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))
    specimen: Mapped[Specimen] = relationship(lazy="joined")
    decided_by: Mapped[User | None] = relationship(lazy="joined")
    reference_job: Mapped[Job | None] = relationship(lazy="joined")


class CalibrationGrader(Base):
    """Who has joined a session.

    Attributes
    ----------
    seen_at : when the grader first saw the reveal, None before
    """

    __tablename__ = "calibration_graders"

    session_id: Mapped[int] = mapped_column(ForeignKey("calibration_sessions.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    joined_at: Mapped[datetime] = mapped_column(default=now)
    seen_at: Mapped[datetime | None]
    user: Mapped[User] = relationship(lazy="joined")


class CalibrationGrade(Base):
    """A grader's blind grade; the first one stands, `key` tells one that is sent again."""

    __tablename__ = "calibration_grades"
    __table_args__ = (UniqueConstraint("fruit_id", "user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    fruit_id: Mapped[int] = mapped_column(ForeignKey("calibration_fruits.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    grade: Mapped[str] = mapped_column(String(64))
    given_at: Mapped[datetime] = mapped_column(default=now)
    key: Mapped[str | None] = mapped_column(String(64))
    fruit: Mapped[CalibrationFruit] = relationship(lazy="joined")
    user: Mapped[User] = relationship(lazy="joined")


class FeaturePicture(Base):
    """The fruit on which newcomers are shown a feature of the standard, as an expert chose it.

    Attributes
    ----------
    feature : its key, which stays the same under a new version of the standard
    place : the middle of what shows it on the surface, ``x`` and ``y`` as shares of the picture's
        width and height, and ``side`` of a square as a share of the shorter one; empty for a
        feature that is seen on the outline
    """

    __tablename__ = "feature_pictures"

    feature: Mapped[str] = mapped_column(String(48), primary_key=True)
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"))
    place: Mapped[dict[str, Any]] = mapped_column(default=dict)
    chosen_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    chosen_at: Mapped[datetime] = mapped_column(default=now)
    specimen: Mapped[Specimen] = relationship(lazy="joined")
