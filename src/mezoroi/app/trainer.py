"""The training process: ``python -m mezoroi.app.trainer``, started when a training waits.

It ends when nothing waits any more. Its standard input says when to stop: what it works on is
then queued again, and goes on after the last whole epoch.
"""

from __future__ import annotations

import csv
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mezoroi.app import training_data
from mezoroi.app.blobs import Blobs
from mezoroi.app.database import Database
from mezoroi.app.logs import set_up_logs
from mezoroi.app.settings import Settings
from mezoroi.app.store import audit, expert_grades, jobs, runs
from mezoroi.app.tables import Job, Run
from mezoroi.app.worker_start import first_line, read_start_line
from mezoroi.errors import MezoroiError

if TYPE_CHECKING:
    from mezoroi.datasets import Dataset
    from mezoroi.standard import GradingStandard

log = logging.getLogger("mezoroi.app.trainer")
_LEASE_SECONDS = 24 * 3600.0
_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 5.0
_NICE = 10


class Watch:
    """Looks after one training: its epochs, and whether it is to stop.

    Attributes
    ----------
    is_cancelled : whether a user stopped it
    """

    def __init__(self, trainer: Trainer, job_id: int, run_dir: Path, epochs: int) -> None:
        self._trainer = trainer
        self._job_id = job_id
        self._path = run_dir / "epochs.csv"
        self._epochs = epochs
        self._told = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.is_cancelled = False

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        pause = _LOOK_SECONDS
        while not self._ended.wait(pause):
            try:
                self.tell_epochs()
                self.is_cancelled = self._trainer.is_cancelled(self._job_id)
            except Exception:  # a database that does not answer now may answer next time
                log.exception("job %s could not be looked after", self._job_id)
            if self.is_cancelled or self._trainer.is_over():
                # Once more after a while: Python drops an interrupt that falls into a destructor.
                self._trainer.interrupt()
                pause = _AGAIN_SECONDS

    def tell_epochs(self) -> None:
        """Tell of the epochs that were finished since the last look."""
        if not self._path.is_file():
            return
        with self._path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        for row in rows[self._told :]:
            self._trainer.tell(self._job_id, _epoch_text(row))
        if len(rows) > self._told:
            self._told = len(rows)
            self._trainer.step(self._job_id, "training", len(rows), self._epochs)


class Trainer:
    """Works through the trainings that wait.

    Parameters
    ----------
    handle : file descriptor that is closed when this process is to end
    """

    def __init__(self, settings: Settings, name: str, handle: int) -> None:
        self._settings = settings
        self._name = name
        self._handle = handle
        self._database = Database(settings.url)
        self._blobs = Blobs(settings.data / "blobs")
        self._at_database = threading.RLock()

    def run(self) -> None:
        """Work until nothing waits, or the server ends."""
        while not self.is_over():
            with self._database.write() as session:
                claimed = jobs.claim(session, jobs.TRAIN, self._name, 1, _LEASE_SECONDS)
            if not claimed:
                return
            self._do(claimed[0])

    def is_over(self) -> bool:
        """Whether the server has ended, or wants this process to."""
        ready, _, _ = select.select([self._handle], [], [], 0)
        return bool(ready) and not os.read(self._handle, 4096)

    def is_cancelled(self, job_id: int) -> bool:
        """Whether a user wants a job to stop."""
        with self._database.read() as session:
            return jobs.is_cancelled(session, job_id)

    def interrupt(self) -> None:
        """Stop the training as Ctrl-C does, but not amid a transaction, which would stay open."""
        with self._at_database:
            os.kill(os.getpid(), signal.SIGINT)

    def tell(self, job_id: int, line: str) -> None:
        """Add a line to a job's log."""
        with self._at_database, self._database.write() as session:
            jobs.add_log(session, job_id, f"{time.strftime('%H:%M:%S')} {line}")

    def step(self, job_id: int, step: str, done: int = 0, total: int = 0) -> None:
        """Say what a job is at."""
        with self._at_database, self._database.write() as session:
            jobs.set_step(session, job_id, step, done, total)

    def _do(self, job: Job) -> None:
        watch = None
        try:
            with self._at_database, self._database.read() as session:
                active = runs.active_run(session)
            assert active is not None
            epochs = _epochs(Path(active.folder))
            with Watch(self, job.id, self._run_dir(job), epochs) as watch:
                self._train(job, active, watch)
        except KeyboardInterrupt:
            with self._database.write() as session:
                if watch is not None and watch.is_cancelled:
                    jobs.cancel(session, job.id)
                else:
                    jobs.put_back(session, job.id, self._name)
        except MezoroiError as error:
            self._fail(job, str(error))
        except Exception as error:  # a fault of ours must not be tried for ever
            log.exception("job %s failed", job.id)
            self._fail(job, type(error).__name__)

    def _train(self, job: Job, active: Run, watch: Watch) -> None:
        import mezoroi as mz
        from mezoroi.app import retraining
        from mezoroi.app.store.specimens import FROM_DATASET
        from mezoroi.config import Config
        from mezoroi.datasets.held_out import notes_on_held_out
        from mezoroi.files import read_json
        from mezoroi.standard import GradingStandard

        self.step(job.id, "preparing")
        data = self._settings.data / "training" / str(job.id)
        if not (data / retraining.MANIFEST).is_file():
            with self._at_database, self._database.read() as session:
                graded = expert_grades.expert_graded(session)
                folders = [Path(run.folder) for run in runs.list_runs(session)]
            standard = GradingStandard.from_dict(active.standard.content)
            panoramas = active.input_kind == "surface"
            for line in retraining.write_dataset(
                graded,
                standard,
                retraining.splits_of_runs([path for path in folders if path.is_dir()]),
                self._blobs,
                data,
                panoramas=panoramas,
                training=self._training_data(job, standard, panoramas),
            ):
                self.tell(job.id, line)
        dataset = mz.load_dataset(data)
        for note in (*dataset.notes, *notes_on_held_out(dataset)):
            self.tell(job.id, note)
        content = read_json(Path(active.folder) / "grader.json", "restore the run folder")
        run_dir = self._run_dir(job)
        is_begun = (run_dir / "run.json").is_file()
        self.tell(job.id, "goes on where it was stopped" if is_begun else "training begins")
        config = Config.model_validate(content["config"])
        painted = sum(item.mask is not None for item in dataset.select("train"))
        if painted and config.model.channels_per_grade:
            self.tell(job.id, f"maps also learn from {painted} masks")
            config = retraining.taught_by_masks(config)
        new = mz.train(dataset, config, run_dir, resume=is_begun)
        watch.tell_epochs()
        earlier = {name for name in dataset.specimens if name.startswith(FROM_DATASET)}
        sources = {"app": len(set(dataset.specimens) - earlier), "training": len(earlier)}
        self.step(job.id, "comparing")
        scores = retraining.compare(mz.Grader.load(active.folder), new, dataset)
        with self._at_database, self._database.write() as session:
            run = runs.register_run(session, run_dir, keep_words=True)
            compared = {"run_id": active.id, **scores}
            run.metrics = {**run.metrics, "compared": compared, "learned_from": sources}
            audit.record(session, None, "grader trained", str(run.id), job=job.id)
            jobs.finish(session, job.id)
        self.tell(job.id, "the new grader is ready")

    def _training_data(
        self, job: Job, standard: GradingStandard, panoramas: bool
    ) -> Dataset | None:
        """What graders learned from beside the app's fruits; None where it has vanished."""
        path = self._settings.training
        if path is None:
            return None
        if not path.exists():
            self.tell(job.id, f"{path} has vanished: learning from the app's fruits alone")
            return None
        return training_data.load(path, standard, panoramas=panoramas)

    def _run_dir(self, job: Job) -> Path:
        return self._settings.data / "runs" / str(job.id)

    def _fail(self, job: Job, detail: str) -> None:
        with self._database.write() as session:
            jobs.fail(session, job.id, "training", detail)


def _epoch_text(row: Mapping[str, str]) -> str:
    """What is told of an epoch, a row of ``epochs.csv``."""
    said = f"epoch {int(row['epoch']) + 1}: loss {row['train_loss']}"
    if "val_loss" in row:
        said += f", on fruits kept aside {row['val_loss']}, of these right {row['val_acc']}"
    return said


def _epochs(folder: Path) -> int:
    from mezoroi.files import read_json

    content = read_json(folder / "grader.json", "restore the run folder")
    return int(content["config"]["train"]["epochs"])


def main() -> int:
    """Work with what the first line says."""
    os.dup2(2, 1)  # what libraries print is for the log
    with suppress(OSError):
        os.nice(_NICE)  # fruits at the bench come first
    set_up_logs()
    settings, name = read_start_line(first_line())
    Trainer(settings, name, 0).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
