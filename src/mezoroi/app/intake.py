"""From an upload to a queued fruit: looked at, kept, and only then acknowledged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import BinaryIO

from sqlalchemy.exc import IntegrityError

from mezoroi.app.blobs import Blobs, digest_of
from mezoroi.app.database import Database
from mezoroi.app.problems import BadNumber, UploadProblem
from mezoroi.app.settings import Limits
from mezoroi.app.store import fruits, jobs, runs
from mezoroi.app.store.fruits import Details
from mezoroi.app.tables import User

RETRY_SECONDS = 5
_HEAD = 400
_PHOTOS: tuple[tuple[bytes, int, str], ...] = (
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"WEBP", 8, "image/webp"),
    (b"BM", 0, "image/bmp"),
    (b"II*\x00", 0, "image/tiff"),
    (b"MM\x00*", 0, "image/tiff"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_VIDEOS: tuple[tuple[bytes, int, str], ...] = (
    (b"ftyp", 4, "video/mp4"),
    (b"moov", 4, "video/quicktime"),
    (b"mdat", 4, "video/quicktime"),
    (b"wide", 4, "video/quicktime"),
    (b"\x1aE\xdf\xa3", 0, "video/x-matroska"),
    (b"AVI ", 8, "video/x-msvideo"),
    (b"\x00\x00\x01\xba", 0, "video/mpeg"),
    (b"\x00\x00\x01\xb3", 0, "video/mpeg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0, "video/x-ms-wmv"),
)
SUFFIXES = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tif",
    "image/heic": "heic",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
    "video/mpeg": "mpg",
    "video/x-ms-wmv": "wmv",
    "video/mp2t": "ts",
}
"""How a file of a media type of `sniff` is called."""
_LARGEST = {"weight": 50_000.0, "diameter": 1_000.0, "brix": 50.0}


@dataclass(frozen=True)
class Accepted:
    """A fruit that is kept.

    Attributes
    ----------
    is_new : False where the same upload had come before: nothing was added
    """

    fruit_id: int
    is_new: bool = True


def sniff(head: bytes) -> str | None:
    """Media type of a file from its first bytes, whatever its name; None for anything else."""
    for mark, at, media in _PHOTOS:
        if head.startswith(mark, at):
            return media
    if head.startswith(b"ftyp", 4) and head[8:12] in _HEIF_BRANDS:
        return "image/heic"
    for mark, at, media in _VIDEOS:
        if head.startswith(mark, at):
            return media
    # An MPEG transport stream repeats its mark every 188 bytes, or 192 on camcorders.
    for start, step in ((0, 188), (4, 192)):
        if head[start : start + 1] == b"G" == head[start + step : start + step + 1]:
            return "video/mp2t"
    return None


def is_video(media: str) -> bool:
    """Whether a media type is a video's."""
    return media.startswith("video/")


def accept(
    stream: BinaryIO,
    name: str,
    details: Details,
    user: User,
    *,
    database: Database,
    blobs: Blobs,
    limits: Limits,
    key: str | None = None,
) -> Accepted:
    """Keep an upload and queue it; both are on disk when this returns.

    What the user sent with the same key before is not kept again, whatever became of it.

    Parameters
    ----------
    stream : the file, at any position
    name : what the user's file was called; shown, never used as a path
    key : the sender's own name for this upload

    Raises
    ------
    UploadProblem
        If it is no photo or video, too many fruits wait, or the key is that of another file.
    """
    if key is not None and (earlier := _sent_before(stream, key, user, database)) is not None:
        return earlier
    check_details(details)
    stream.seek(0)
    head = stream.read(_HEAD)
    if not head:
        raise UploadProblem("empty", 422)
    media = sniff(head)
    if media is None:
        raise UploadProblem("not media", 415)
    with database.read() as session:
        run = runs.active_run(session)
        if is_video(media) and run is not None and run.input_kind != "surface":
            raise UploadProblem("no video", 415)
        if jobs.count_open(session, jobs.GRADE) >= limits.queue:
            raise UploadProblem("queue full", 503)
    digest, size = blobs.keep_original(stream)
    try:
        # The queue may have filled meanwhile: a few more do not matter, and the file is here.
        with database.write() as session:
            fruit = fruits.add_fruit(
                session,
                content=digest,
                media=media,
                size=size,
                name=_shown_name(name),
                uploader_id=user.id,
                details=details,
                upload_key=key,
            )
            jobs.add_job(session, jobs.GRADE, fruit_id=fruit.id, user_id=user.id)
    except IntegrityError:
        # The same upload came twice at this moment, and the other one was first.
        earlier = None if key is None else _sent_before(stream, key, user, database)
        if earlier is None:
            raise
        return earlier
    return Accepted(fruit.id)


def is_full(database: Database, limits: Limits, user: User, key: str | None) -> bool:
    """Whether as many fruits wait as may; what came before is acknowledged all the same."""
    with database.read() as session:
        if key is not None and fruits.sent_with(session, user.id, key) is not None:
            return False
        return jobs.count_open(session, jobs.GRADE) >= limits.queue


def check_details(details: Details) -> None:
    """Raise where a number is none that a fruit can have."""
    for name, largest in _LARGEST.items():
        value = getattr(details, name)
        if value is not None and not (math.isfinite(value) and 0 <= value <= largest):
            raise BadNumber(name, f"{value:.15g}", largest)


def _sent_before(stream: BinaryIO, key: str, user: User, database: Database) -> Accepted | None:
    """The fruit that an upload with this key became, or None where it is new."""
    with database.read() as session:
        earlier = fruits.sent_with(session, user.id, key)
    if earlier is None:
        return None
    if earlier.content != digest_of(stream)[0]:
        raise UploadProblem("other upload", 422)
    return Accepted(earlier.id, is_new=False)


def _shown_name(name: str) -> str:
    """The last part of a file's name, without control characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:255]
