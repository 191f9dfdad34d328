"""The grading worker: ``python -m mezoroi.app.worker``, started by the supervisor.

It takes waiting jobs in small batches, reads their fruits one by one, grades together what was
read, and stores the gradings. Files from users are decoded here and nowhere else: what takes too
much time or memory ends this process, not the web server.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mezoroi.app.blobs import Blobs
from mezoroi.app.database import Database
from mezoroi.app.intake import is_video
from mezoroi.app.logs import set_up_logs
from mezoroi.app.settings import Settings
from mezoroi.app.store import fruits, jobs, runs
from mezoroi.app.tables import Fruit, Job, Run
from mezoroi.app.worker_start import first_line, limit_memory, read_start_line
from mezoroi.errors import MezoroiError

if TYPE_CHECKING:
    from mezoroi.app.reading import Upload
    from mezoroi.app.referencing import References
    from mezoroi.grader import Grader
    from mezoroi.grading import Grading

log = logging.getLogger("mezoroi.app.worker")
BATCH = 8
_IDLE_SECONDS = 1.0
_REFERENCE_SECONDS = 300.0


class Bell:
    """Standard input as a bell: `wait` returns when it rings; `is_over` once it is closed."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.is_over = False

    def wait(self, seconds: float) -> None:
        """Wait for a ring, at most so long."""
        ready, _, _ = select.select([self._handle], [], [], seconds)
        if ready and not os.read(self._handle, 4096):
            self.is_over = True


@dataclass(frozen=True)
class Ready:
    """A fruit that was read and waits for the network."""

    job: Job
    fruit: Fruit
    upload: Upload


class Worker:
    """Grades what waits in the job table.

    Parameters
    ----------
    say : receives what the supervisor should know
    """

    def __init__(self, settings: Settings, name: str, say: Any) -> None:
        self._settings = settings
        self._name = name
        self._say = say
        self._database = Database(settings.url)
        self._blobs = Blobs(settings.data / "blobs")
        self._grader: Grader | None = None
        self._references: References | None = None
        self._run_id: int | None = None
        self._light: dict[str, Any] = {}

    def run(self, bell: Bell) -> None:
        """Work until the bell is over."""
        self._load()
        limit_memory(self._settings.limits.worker_bytes)
        while not bell.is_over:
            if not self.work_once():
                bell.wait(_IDLE_SECONDS)
            else:
                bell.wait(0)

    def work_once(self) -> bool:
        """Grade one batch; False where nothing waited."""
        self._load()
        limits = self._settings.limits
        with self._database.write() as session:
            each = max(limits.photo_time, limits.video_time)
            claimed = jobs.claim(session, jobs.GRADE, self._name, BATCH, each)
            work = [(job, fruits.get_fruit(session, job.fruit_id or 0)) for job in claimed]
        ready: list[Ready] = []
        for job, fruit in work:
            if fruit is None:
                self._fail(job, "unreadable", "the fruit is gone")
                continue
            if is_video(fruit.media):  # takes long: what is ready does not wait for it
                self._grade(ready)
                ready = []
            if self._begin(job, fruit) and (upload := self._read(job, fruit)) is not None:
                ready.append(Ready(job, fruit, upload))
                with self._database.write() as session:
                    jobs.set_aside(session, job.id, self._name, each * len(work))
        self._grade(ready)
        return bool(work) or self._tend_references() or self._prepare()

    def _tend_references(self) -> bool:
        """Do one job about the reference fruits; False where there was nothing to do."""
        from mezoroi.app.referencing import References

        assert self._grader is not None and self._run_id is not None
        if self._references is None:
            with self._database.read() as session:
                run = session.get_one(Run, self._run_id)
            folder = Path(run.folder)
            self._references = References(self._database, self._blobs, self._grader, run.id, folder)
            if "prototypes" not in run.metrics:
                self._references.read()
                return True
        with self._database.read() as session:
            kind = jobs.next_kind(session, jobs.REFERENCE_KINDS)
        if kind is None:
            return False
        with self._database.write() as session:
            claimed = jobs.claim(session, kind, self._name, 1, _REFERENCE_SECONDS)
        for job in claimed:
            if job.kind == jobs.INDEX_REFERENCES:
                self._step(job, "indexing")
            try:
                self._references.do(job)
            except MezoroiError as error:
                self._fail(job, "reference", str(error))
            except Exception as error:  # nothing a user adds may stop the grading
                log.exception("job %s failed", job.id)
                self._fail(job, "reference", type(error).__name__)
            else:
                with self._database.write() as session:
                    jobs.finish(session, job.id)
        self._grader = self._references.grader
        return bool(claimed)

    def _prepare(self) -> bool:
        """Prepare a few fruits for practice and calibration; False where none waits."""
        from mezoroi.app.preparing import prepare_some

        assert self._grader is not None and self._run_id is not None
        seconds = 4 * self._settings.limits.photo_time
        with self._database.write() as session:
            claimed = jobs.claim(session, jobs.PREPARE, self._name, 1, seconds)
            folder = Path(session.get_one(Run, self._run_id).folder)
        for job in claimed:
            try:
                prepare_some(self._database, self._blobs, self._grader, self._run_id, folder, job)
            except MezoroiError as error:
                self._fail(job, "reference", str(error))
        return bool(claimed)

    def _begin(self, job: Job, fruit: Fruit) -> bool:
        """Count the time of this fruit from now on, not that of the batch it came with."""
        limits = self._settings.limits
        step, seconds = "grading", limits.photo_time
        if is_video(fruit.media):
            step, seconds = "unrolling", limits.video_time
        with self._database.write() as session:
            return jobs.begin(session, job.id, self._name, step, seconds)

    def _read(self, job: Job, fruit: Fruit) -> Upload | None:
        """What a fruit's file holds; None where it cannot be read, which the job then says."""
        from mezoroi.app.reading import read_upload

        assert self._grader is not None
        path, kind = self._blobs.original(fruit.content), self._grader.bundle.input_kind
        try:
            return read_upload(path, is_video(fruit.media), kind, self._settings.limits)
        except Exception as error:  # one fruit's bug must not stop the others
            self._explain(job, fruit, error)
            return None

    def _grade(self, ready: Sequence[Ready]) -> None:
        """Grade fruits in one pass of the network, or one by one where that fails.

        If this process dies of it, each is then taken alone: only the one to blame is given up.
        """
        assert self._grader is not None
        seconds = self._settings.limits.photo_time * len(ready)
        step = "grading" if len(ready) == 1 else jobs.TOGETHER
        with self._database.write() as session:
            held = [
                item
                for item in ready
                if jobs.begin(session, item.job.id, self._name, step, seconds)
            ]
        if not held:
            return
        try:
            gradings = self._grader.grade_together([item.upload.fruit for item in held])
        except Exception as error:
            if len(held) == 1:
                self._explain(held[0].job, held[0].fruit, error)
            else:
                log.warning("%s fruits could not be graded together: %s", len(held), error)
                for item in held:
                    self._grade([item])
            return
        for item, grading in zip(held, gradings, strict=True):
            self._keep(item, grading)

    def _keep(self, item: Ready, grading: Grading) -> None:
        from mezoroi.app.drawing import describe
        from mezoroi.app.light import deviations

        name = item.fruit.name or "the file"
        try:
            result = describe(grading, item.upload, self._blobs, shown_name=name)
            result["light"] = deviations(grading.surface, self._light)
        except Exception as error:
            self._explain(item.job, item.fruit, error)
        else:
            self._store(item.job, item.fruit, result)

    def _explain(self, job: Job, fruit: Fruit, error: Exception) -> None:
        """Let a job fail with what is wrong with its fruit."""
        if isinstance(error, MezoroiError):
            path, name = str(self._blobs.original(fruit.content)), fruit.name or "the file"
            reason = str(error).removeprefix(f"{path}: ").replace(path, name)
            self._fail(job, "no fruit" if is_video(fruit.media) else "unreadable", reason)
        elif isinstance(error, MemoryError):
            self._fail(job, "crashed", "out of memory")
        else:
            log.error("job %s failed", job.id, exc_info=error)
            self._fail(job, "unreadable", type(error).__name__)

    def _store(self, job: Job, fruit: Fruit, result: dict[str, Any]) -> None:
        with self._database.write() as session:
            if not jobs.is_held(session.get_one(Job, job.id), self._name):
                return  # another worker has it by now
            run = session.get_one(Run, self._run_id)
            fruits.add_grading(session, fruit.id, run, result)
            jobs.finish(session, job.id)

    def _fail(self, job: Job, code: str, detail: str) -> None:
        with self._database.write() as session:
            if jobs.is_held(session.get_one(Job, job.id), self._name):
                jobs.fail(session, job.id, code, detail)

    def _step(self, job: Job, step: str) -> None:
        with self._database.write() as session:
            jobs.set_step(session, job.id, step)

    def _load(self) -> None:
        """Load the active run's grader where it is another than the one at hand."""
        with self._database.read() as session:
            run = runs.active_run(session)
        if run is None:
            raise MezoroiError("no run is active: activate one")
        if run.id == self._run_id:
            return
        from mezoroi.grader import Grader

        try:
            self._grader = Grader.load(Path(run.folder))
        except MezoroiError:
            raise
        except Exception as error:  # whatever it is, somebody must hear of it
            log.exception("the grader in %s cannot be loaded", run.folder)
            raise MezoroiError(
                f"the grader in {run.folder} cannot be loaded ({type(error).__name__}): "
                "use another one, or restore a backup"
            ) from error
        if not runs.is_unchanged(run):  # its gradings would count as those of the one before
            raise MezoroiError(
                f"{run.folder} holds another grader by now: start the server anew with this folder"
            )
        self._light = self._known_light(run)
        self._run_id, self._references = run.id, None
        self._say({"event": "ready", "run": run.folder})

    def _known_light(self, run: Run) -> dict[str, Any]:
        """Range of the light in a run's training pictures, found once per run."""
        if run.light is not None:
            return run.light
        from mezoroi.app.light import training_light

        light = training_light(Path(run.folder))
        with self._database.write() as session:
            session.get_one(Run, run.id).light = light
        return light


def _private_output() -> IO[str]:
    """Standard output for the supervisor alone: what libraries print goes to standard error."""
    private = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return private


def main() -> int:
    """Run a worker with what its first line says."""
    output = _private_output()

    def say(content: dict[str, Any]) -> None:
        output.write(json.dumps(content) + "\n")
        output.flush()

    set_up_logs()
    # Ctrl-C, or a service's end, reaches the whole process group; the server says by the end of
    # standard input when to go, so that the fruits at hand are finished.
    for unwanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(unwanted, signal.SIG_IGN)
    settings, name = read_start_line(first_line())
    try:
        Worker(settings, name, say).run(Bell(0))
    except MezoroiError as error:
        say({"event": "trouble", "reason": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
