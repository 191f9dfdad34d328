"""What the worker prepares for practice and calibration: maps, radar and look-alikes of fruits.

Reference fruits are graded by their thumbnails and outlines, uploaded ones by the picture that was
graded, so that nothing is decoded or unrolled again. A few at a time: fruits that are sent by
people come first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mezoroi.app import teaching
from mezoroi.app.blobs import Blobs
from mezoroi.app.database import Database
from mezoroi.app.drawing import describe
from mezoroi.app.reading import Upload
from mezoroi.app.store import fruits, jobs, references, specimens
from mezoroi.app.tables import Job
from mezoroi.app.tables_house import ReferenceFruit
from mezoroi.app.tables_learning import Specimen
from mezoroi.capture.images import read_image
from mezoroi.capture.sources import FruitInput
from mezoroi.errors import MezoroiError
from mezoroi.grader import Grader

log = logging.getLogger("mezoroi.app.preparing")
AT_ONCE = 4
ALIKE = 24
"""Similar reference fruits kept per grade: tests of the usual length hide up to twenty of them."""


def prepare_some(
    database: Database, blobs: Blobs, grader: Grader, run_id: int, folder: Path, job: Job
) -> None:
    """Prepare a few fruits; the job is done when none is left, and waits again otherwise.

    Parameters
    ----------
    run_id, folder : of the grader's run
    """
    if job.step != "preparing":
        _note_all(database, grader, run_id)
    with database.read() as session:
        waiting = specimens.unprepared(session, run_id, AT_ONCE)
        made = references.of_fruits(session, run_id)
        own = {
            specimen.id: _names_of(made, specimen, specimens.uploads_among(session, [specimen.id]))
            for specimen in waiting
        }
    found = {
        specimen.id: _prepare(database, blobs, grader, folder, specimen, own[specimen.id])
        for specimen in waiting
    }
    with database.write() as session:
        for specimen_id, content in found.items():
            specimens.keep_prepared(session, specimen_id, run_id, **content)
        left, total = specimens.count_unprepared(session, run_id), specimens.count_all(session)
        jobs.set_step(session, job.id, "preparing", total - left, total)
        if left:
            jobs.put_back(session, job.id)
        else:
            with suppress(MezoroiError):  # another run may have become active
                teaching.ensure_tests(session)
            jobs.finish(session, job.id)


def _note_all(database: Database, grader: Grader, run_id: int) -> None:
    """Every reference and every graded fruit becomes a specimen."""
    found = grader.gallery.index.references() if grader.gallery is not None else []
    with database.write() as session:
        specimens.note_references(session, run_id, found)
        specimens.note_fruits(session)


def _prepare(
    database: Database,
    blobs: Blobs,
    grader: Grader,
    folder: Path,
    specimen: Specimen,
    own: set[str],
) -> dict[str, Any]:
    """Columns of a specimen; ``trouble`` where it cannot be shown. `own` are its references."""
    try:
        upload, seen = _read(database, blobs, grader, folder, specimen)
        grading = grader.grade_read(upload.fruit)
        result = describe(grading, upload, blobs, shown_name=specimen.name)
        result["neighbours"] = [item for item in result["neighbours"] if item["id"] not in own]
        result["silhouette"] = seen.get("silhouette")
        result["pictures"]["photo"] = seen.get("photo")
        alike = _alike(grader, blobs, upload.fruit, own)
    except MezoroiError as error:
        return {"trouble": str(error)}
    except Exception as error:  # one fruit's bug must not stop the others
        log.exception("specimen %s could not be prepared", specimen.id)
        return {"trouble": type(error).__name__}
    return {
        "result": result,
        "similarity": result["similarity"],
        "alike": alike,
    }


def _names_of(
    made: Mapping[int, Sequence[ReferenceFruit]], specimen: Specimen, uploads: Iterable[int]
) -> set[str]:
    """The references that a specimen itself is, by whichever of its `uploads` they were made."""
    if specimen.reference is not None:
        return {specimen.reference}
    return {one.name for fruit_id in uploads for one in made.get(fruit_id, [])}


def _read(
    database: Database, blobs: Blobs, grader: Grader, folder: Path, specimen: Specimen
) -> tuple[Upload, dict[str, Any]]:
    """A specimen's picture, and what its first grading knows of its photo and silhouette."""
    if specimen.fruit_id is not None:
        with database.read() as session:
            grading = fruits.newest_grading(session, specimen.fruit_id)
        assert grading is not None
        old = grading.result
        image = read_image(blobs.picture(old["pictures"]["surface"]["name"]))
        fruit = FruitInput(specimen.name, image, old["outline"])
        return Upload(fruit, None, None), {
            "silhouette": old["silhouette"],
            "photo": old["pictures"]["photo"],
        }
    assert grader.gallery is not None
    found = grader.gallery.index.references([specimen.reference or ""])
    if not found or found[0].thumbnail is None:
        raise MezoroiError(f"reference `{specimen.reference}` has no picture: add it anew")
    image = read_image(folder / found[0].thumbnail)
    return Upload(FruitInput(specimen.name, image, found[0].more.get("outline")), None, None), {}


def _alike(
    grader: Grader, blobs: Blobs, fruit: FruitInput, own: set[str]
) -> dict[str, list[dict[str, Any]]]:
    """The reference fruits of every grade that are most like a fruit, itself left out.

    With the outline that a grade may be judged on, where it is known.
    """
    if grader.gallery is None:
        return {}
    vectors = grader.embed([fruit]).embeddings.numpy()
    found: dict[str, list[dict[str, Any]]] = {}
    for grade in grader.standard.grades:
        near = grader.gallery.neighbours(vectors, ALIKE + 1, {"grade": grade})[0]
        known = grader.gallery.index.references([item.id for item in near])
        outlines = {one.id: one.more.get("outline") for one in known}
        found[grade] = [
            {
                "id": item.id,
                "similarity": round(item.similarity, 4),
                "picture": blobs.keep_picture(Path(item.thumbnail).read_bytes(), "jpg"),
                "outline": outlines.get(item.id),
            }
            for item in near
            if item.id not in own and item.thumbnail is not None and Path(item.thumbnail).is_file()
        ][:ALIKE]
    return found
