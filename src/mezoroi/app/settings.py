"""What `mezoroi serve` was told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mezoroi.errors import MezoroiError

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much one request or upload may take.

    Attributes
    ----------
    upload_bytes : of one uploaded file with its form
    photo_pixels : of a photo, width times height
    frame_pixels : of a video's frames, of which several are held at a time
    video_seconds : length of a video
    photo_time, video_time : seconds a worker may spend on one fruit before it is ended
    worker_bytes : memory that the worker may take on top of what it has once the grader is loaded
    queue : fruits that may wait for the worker; more are told to come back
    attempts : times a fruit is tried whose worker died
    """

    upload_bytes: int = 512 * MEGABYTE
    photo_pixels: int = 100_000_000
    frame_pixels: int = 40_000_000
    video_seconds: float = 180.0
    photo_time: float = 30.0
    video_time: float = 180.0
    worker_bytes: int = 3 * 1024 * MEGABYTE
    queue: int = 64
    attempts: int = 2


@dataclass(frozen=True)
class Settings:
    """Where the app finds and keeps things.

    Attributes
    ----------
    run : run folder whose grader is used at first; the database says which one is active
    data : folder of the database, the originals and the pictures made from them
    database_url : as SQLAlchemy takes it; None for ``mezoroi.sqlite`` in `data`
    watch : folder whose photos and videos are graded by themselves, or None
    watch_user : name of the user they count for
    training : dataset that new graders learn from beside the app's fruits, or None
    """

    run: Path
    data: Path
    database_url: str | None = None
    limits: Limits = field(default_factory=Limits)
    watch: Path | None = None
    watch_user: str = "admin"
    training: Path | None = None

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data / 'mezoroi.sqlite'}"


def default_data(run: Path) -> Path:
    """The data folder of a run: ``app-data`` beside it."""
    return run.absolute().parent / "app-data"


def check_run(run: Path) -> None:
    """Raise where `run` is no finished run folder.

    Raises
    ------
    MezoroiError
        If ``grader.json`` is missing.
    """
    if not (run / "grader.json").is_file():
        raise MezoroiError(f"{run} is no run folder: give the folder that `train -o` wrote")
