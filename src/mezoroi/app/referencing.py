"""What the worker does to the active run's reference fruits: add, remove, index anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy.orm import Session

from mezoroi.app.blobs import Blobs
from mezoroi.app.database import Database
from mezoroi.app.store import fruits, jobs, references, runs
from mezoroi.app.store.specimens import FRUIT
from mezoroi.app.tables import Job
from mezoroi.capture.images import read_image
from mezoroi.capture.sources import FruitInput
from mezoroi.errors import MezoroiError
from mezoroi.grader import Grader
from mezoroi.references import shown_part, with_gallery

if TYPE_CHECKING:
    from mezoroi.retrieval.reference import Reference

_STEP = 50


class References:
    """The reference fruits of a loaded grader, and what the database knows of them.

    Parameters
    ----------
    run_id, folder : of its run
    """

    def __init__(
        self, database: Database, blobs: Blobs, grader: Grader, run_id: int, folder: Path
    ) -> None:
        self._database = database
        self._blobs = blobs
        self.grader = grader
        self._run_id = run_id
        self._folder = folder

    def do(self, job: Job) -> None:
        """Do a job of `jobs.REFERENCE_KINDS`.

        Raises
        ------
        MezoroiError
            If it cannot be done.
        """
        if job.kind == jobs.ADD_REFERENCE:
            self._add(int(job.payload["fruit_id"]), str(job.payload["grade"]))
        elif job.kind == jobs.REMOVE_REFERENCE and "fruit_id" in job.payload:
            self._forget(f"{FRUIT}{job.payload['fruit_id']}")
        elif job.kind == jobs.REMOVE_REFERENCE:
            self._remove(int(job.payload["run_id"]), str(job.payload["name"]))
        else:
            if self.grader.gallery is not None:
                self.grader.gallery.index.rebuild()
            self.read()

    def _add(self, fruit_id: int, grade: str) -> None:
        """Add a fruit by the picture that was graded, so that a video is not unrolled again."""
        if grade not in self.grader.standard.grades:
            raise MezoroiError(f"the active grader has no grade `{grade}`: choose another")
        with self._database.read() as session:
            grading = fruits.newest_grading(session, fruit_id)
            fruit = fruits.get_fruit(session, fruit_id)
        if grading is None or fruit is None:
            raise MezoroiError(f"fruit {fruit_id} is not graded: grade it first")
        self.grader = with_gallery(self.grader, self._folder)
        assert self.grader.gallery is not None
        name = f"{FRUIT}{fruit_id}"
        picture = grading.result["pictures"]["surface"]["name"]
        image = read_image(self._blobs.picture(picture))
        seen = self.grader.embed([FruitInput(name, image, grading.result["outline"])])
        shown = shown_part(seen.fitted[0])
        with self._database.read() as session:
            earlier = references.of_fruits(session, self._run_id).get(fruit_id, [])
        for old in {name, *(one.name for one in earlier)}:
            self._forget(old)
        metadata = {
            "grade": grade,
            # Of the house's clock, as pages show it; it may be graded again in another year.
            "date": fruit.created_at.astimezone().date().isoformat(),
            "orchard": fruit.orchard or (fruit.lot.orchard if fruit.lot is not None else ""),
        }
        self.grader.gallery.add([name], seen.embeddings.numpy(), [shown], [metadata])
        with self._database.write() as session:
            thumbnail = self._thumbnail(name)
            references.add_reference(session, self._run_id, name, grade, thumbnail, fruit_id)

    def _remove(self, run_id: int, name: str) -> None:
        if run_id == self._run_id:
            self._forget(name)

    def _forget(self, name: str) -> None:
        gallery = self.grader.gallery
        if gallery is not None and gallery.index.references([name]):
            gallery.remove([name])
        with self._database.write() as session:
            references.forget(session, self._run_id, [name])

    def read(self) -> None:
        """Note what the index holds, and how alike the grades' prototypes are."""
        gallery = self.grader.gallery
        found = [] if gallery is None else gallery.index.references()
        with self._database.read() as session:
            known = references.names(session, self._run_id)
        new = [item for item in found if item.id not in known]
        learned = self.grader.bundle.data.get("content", {})
        for start in range(0, len(new), _STEP):  # others want to write in between
            with self._database.write() as session:
                for item in new[start : start + _STEP]:
                    references.add_reference(
                        session,
                        self._run_id,
                        item.id,
                        item.grade,
                        self._thumbnail(item.id),
                        _fruit_of(session, item, learned),
                    )
        with self._database.write() as session:
            gone = known - {item.id for item in found}
            references.forget(session, self._run_id, sorted(gone))
            run = runs.get_run(session, self._run_id)
            if run is not None:
                run.metrics = {**run.metrics, "prototypes": prototype_likeness(self.grader)}

    def _thumbnail(self, name: str) -> str | None:
        gallery = self.grader.gallery
        if gallery is None:
            return None
        path = self._folder / gallery.thumbnail_of(name)
        return self._blobs.keep_picture(path.read_bytes(), "jpg") if path.is_file() else None


def prototype_likeness(grader: Grader) -> dict[str, Any]:
    """Cosine between the grades' prototypes, and each grade's likeness threshold."""
    vectors = grader.bundle.prototypes.embeddings.cpu().numpy().astype(float)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    grades = grader.standard.grades
    thresholds = grader.bundle.prototypes.thresholds.cpu().numpy().tolist()
    return {
        "similarity": {
            grade: dict(zip(grades, np.round(row, 4).tolist(), strict=True))
            for grade, row in zip(grades, unit @ unit.T, strict=True)
        },
        "thresholds": {
            grade: None if np.isnan(value) else value
            for grade, value in zip(grades, thresholds, strict=True)
        },
    }


def _fruit_of(session: Session, reference: Reference, learned: Mapping[str, str]) -> int | None:
    """The upload that a reference was made from, or that the run learned from under this name.

    Parameters
    ----------
    learned : SHA-256 by name of the pictures that the run learned from
    """
    content = learned.get(reference.id)
    name = str(reference.more.get("specimen")) if content is not None else reference.id
    number = name.removeprefix(FRUIT)
    if not name.startswith(FRUIT) or not number.isdecimal():
        return None
    fruit_id = int(number)
    if fruits.get_fruit(session, fruit_id) is None:
        return None
    # A dataset may call its own fruits so; only the picture tells.
    is_ours = content is None or content in fruits.pictures(session, fruit_id)
    return fruit_id if is_ours else None
