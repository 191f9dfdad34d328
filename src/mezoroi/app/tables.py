"""The database: one class per table.

A change here needs a migration (`mezoroi.app.database`); a test compares the two.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always in UTC and aware of it.

    SQLite keeps no time zone, and PostgreSQL gives moments in its own one.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        return value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return value
        if value.tzinfo is None:
            return value.replace(tzinfo=timezone.utc)
        return value.astimezone(timezone.utc)


Document = JSON()
"""Plain data, in its order: JSONB would sort the grades of a standard by name."""


def now() -> datetime:
    """This moment in UTC."""
    return datetime.now(timezone.utc)


class Base(DeclarativeBase):
    # Constraints have names of their own, so that later migrations can change them.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: Document}  # noqa: RUF012


class User(Base):
    """A person who logs in; never deleted, since verdicts name them."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    full_name: Mapped[str] = mapped_column(String(128), default="")
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(255))
    must_change_password: Mapped[bool] = mapped_column(default=False)
    language: Mapped[str | None] = mapped_column(String(8))
    blind: Mapped[bool] = mapped_column(default=False)
    active: Mapped[bool] = mapped_column(default=True)
    consent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class LoginFailure(Base):
    """Failed logins in a row by name, whether or not anyone has that name."""

    __tablename__ = "login_failures"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int] = mapped_column(default=0)
    last_at: Mapped[datetime] = mapped_column(default=now)
    locked_until: Mapped[datetime | None]


class LoginSession(Base):
    """A browser that is logged in; the cookie's token is stored as its hash."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    seen_at: Mapped[datetime] = mapped_column(default=now)
    user: Mapped[User] = relationship(lazy="joined")


class Token(Base):
    """A key to the API, stored as its hash."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    user: Mapped[User] = relationship(lazy="joined")


class Standard(Base):
    """One version of the grading standard; `content` is what `GradingStandard.to_dict` gives."""

    __tablename__ = "standards"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(unique=True)
    content: Mapped[dict[str, Any]]
    author_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    note: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now)


class Run(Base):
    """A trained grader that gradings come from; exactly one is active.

    `light` is what `mezoroi.app.light.training_light` found in its training pictures.
    """

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    folder: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    standard_id: Mapped[int] = mapped_column(ForeignKey("standards.id"))
    input_kind: Mapped[str] = mapped_column(String(16))
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    light: Mapped[dict[str, Any] | None] = mapped_column(Document)
    active: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)
    activated_at: Mapped[datetime | None]
    standard: Mapped[Standard] = relationship(lazy="joined")


class Lot(Base):
    """A harvest batch."""

    __tablename__ = "lots"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    orchard: Mapped[str] = mapped_column(String(128), default="")
    note: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    closed_at: Mapped[datetime | None]


class Fruit(Base):
    """An uploaded capture of one fruit; `content` names its original blob.

    The last four columns repeat what other tables say, so that lists of many fruits are found by an
    index; `mezoroi.app.store.fruits.refresh` keeps them true.

    Attributes
    ----------
    grade, reliability : of its newest grading
    verdict : the answer given last to this grading
    expert_grade : the grade that an expert gave last, with a verdict on any of its gradings
    upload_key : what its sender named the upload, so that it is kept once however often it comes
    """

    __tablename__ = "fruits"
    __table_args__ = (
        Index("fruits_by_upload_key", "uploader_id", "upload_key", unique=True),
        Index("fruits_by_grade", "grade", "id"),
        Index("fruits_by_verdict", "verdict", "id"),
        Index("fruits_by_reliability", "reliability"),
        Index("fruits_by_expert_grade", "expert_grade", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str] = mapped_column(String(64), index=True)
    media: Mapped[str] = mapped_column(String(32))
    size: Mapped[int]
    name: Mapped[str] = mapped_column(String(255), default="")
    lot_id: Mapped[int | None] = mapped_column(ForeignKey("lots.id"), index=True)
    uploader_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    upload_key: Mapped[str | None] = mapped_column(String(64))
    weight: Mapped[float | None]
    diameter: Mapped[float | None]
    brix: Mapped[float | None]
    orchard: Mapped[str] = mapped_column(String(128), default="")
    note: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    grade: Mapped[str | None] = mapped_column(String(64))
    reliability: Mapped[float | None]
    verdict: Mapped[str | None] = mapped_column(String(16))
    expert_grade: Mapped[str | None] = mapped_column(String(64))
    uploader: Mapped[User] = relationship(lazy="joined")
    lot: Mapped[Lot | None] = relationship(lazy="joined")


class GradingRow(Base):
    """What a run says about a fruit; the newest one of a fruit counts.

    `result` is what `Grading.to_dict` gives, and the blobs of its pictures under ``pictures``;
    `likenesses` is how many grades it resembles.
    """

    __tablename__ = "gradings"
    __table_args__ = (
        Index("gradings_by_fruit", "fruit_id", "id"),
        # Holds all that a count over a run needs: the rows themselves are long.
        Index("gradings_by_run", "run_id", "fruit_id", "id", "grade", "likenesses"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    fruit_id: Mapped[int] = mapped_column(ForeignKey("fruits.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    standard_id: Mapped[int] = mapped_column(ForeignKey("standards.id"))
    grade: Mapped[str] = mapped_column(String(64), index=True)
    reliability: Mapped[float | None]
    likenesses: Mapped[int] = mapped_column(default=0, server_default="0")
    result: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    standard: Mapped[Standard] = relationship(lazy="joined")


class Verdict(Base):
    """One revision of a user's verdict on a grading; the highest revision counts.

    Attributes
    ----------
    answer : ``agree``, ``plausible``, ``wrong``, or None: only graded blind, or withdrawn
    own_grade : what the user would grade it
    blind_grade, blind_at : what they graded before seeing the grading, and when
    mask : blob of a painted mask
    """

    __tablename__ = "verdicts"
    __table_args__ = (Index("verdicts_by_user", "grading_id", "user_id", "revision", unique=True),)

    id: Mapped[int] = mapped_column(primary_key=True)
    grading_id: Mapped[int] = mapped_column(ForeignKey("gradings.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    revision: Mapped[int]
    answer: Mapped[str | None] = mapped_column(String(16))
    own_grade: Mapped[str | None] = mapped_column(String(64))
    blind_grade: Mapped[str | None] = mapped_column(String(64))
    blind_at: Mapped[datetime | None]
    note: Mapped[str] = mapped_column(Text, default="")
    mask: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(default=now)
    user: Mapped[User] = relationship(lazy="joined")

    @property
    def grade(self) -> str | None:
        """What the user grades it now: without an answer the blind grade stands."""
        return self.own_grade or (self.blind_grade if self.answer is None else None)


class Job(Base):
    """Work for a process other than the web server's.

    Attributes
    ----------
    state : ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``
    error : a code of `mezoroi.app.problems` and a line of detail, where it failed
    worker : the process that took it; lease_until : when it counts as lost
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_by_state", "kind", "state", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16), default="queued")
    fruit_id: Mapped[int | None] = mapped_column(ForeignKey("fruits.id"), index=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    step: Mapped[str] = mapped_column(String(64), default="")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    log: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(Text, default="")
    attempts: Mapped[int] = mapped_column(default=0)
    cancel: Mapped[bool] = mapped_column(default=False)
    worker: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class AuditEntry(Base):
    """Who did what."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(255), default="")
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)


class HouseSetting(Base):
    """A setting that the house made in the app, by name."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[dict[str, Any]]
    changed_at: Mapped[datetime] = mapped_column(default=now)


class WatchedFile(Base):
    """A file of the watched folder that was looked at: it is read again only when it changed.

    `name` is its path in the folder, `modified` nanoseconds since 1970.
    """

    __tablename__ = "watched_files"

    name: Mapped[str] = mapped_column(String(512), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    modified: Mapped[int] = mapped_column(BigInteger)
    fruit_id: Mapped[int | None] = mapped_column(ForeignKey("fruits.id"))
    looked_at: Mapped[datetime] = mapped_column(default=now)


# At the end: its classes stand on the ones above.
from mezoroi.app import tables_house as tables_house  # noqa: E402
from mezoroi.app import tables_learning as tables_learning  # noqa: E402
