"""Captures on disk: every source is unrolled once, and graded videos become a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mezoroi.capture.folders import holds_charts, is_capture, photos_among, videos_among, visible
from mezoroi.capture.images import OUTLINE_NAME, SURFACE_NAME
from mezoroi.capture.unrolling import CAPTURE_VERSION, SURFACE_HEIGHT, Capture, unroll
from mezoroi.capture_folders import (
    PREVIEW_NAME,
    SOURCE_NAME,
    CaptureFolders,
    content_of,
    is_whole,
    made_from,
)
from mezoroi.datasets.loading import STANDARD_NAME
from mezoroi.datasets.manifest import (
    GRADERS_NAMES,
    MANIFEST_NAMES,
    add_grader_labels,
    graders_path,
    manifest_rows,
)
from mezoroi.datasets.rows import Row, find_path
from mezoroi.errors import MezoroiError
from mezoroi.files import (
    file_names,
    folder_names,
    require_folder,
    write_bytes,
    write_json,
    write_table,
)
from mezoroi.progress import Progress, silent
from mezoroi.report.preview import CaptureView, capture_preview_png
from mezoroi.standard import GradingStandard

VIDEO_COLUMN = "video"


@dataclass(frozen=True)
class CaptureResult:
    """What became of one source.

    Attributes
    ----------
    source : its path
    folder : the capture folder; None after an error, or where `notes` say what was left out
    covered : share of the surface that was seen, in [0, 1]
    degrees_turned : along the turn axis
    notes : what a user should know
    error : one line, or None
    """

    source: str
    folder: str | None
    covered: float | None = None
    degrees_turned: float | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"notes": list(self.notes)}


@dataclass(frozen=True)
class Turns:
    """What there is to unroll.

    Attributes
    ----------
    sources : videos, photos and folders of frames, sorted within each folder
    left_out : what else lies in folders, by folder, one line each, such as grades in a manifest
    """

    sources: list[Path]
    left_out: dict[Path, str]


def find_turns(paths: Iterable[str | Path]) -> Turns:
    """Videos, photos and folders of frames below `paths`.

    A folder of several photos with neither videos nor other fruit in it is one fruit's frames. Any
    other is gone into; photos beside videos or other fruit are left out, and so are captures, but
    for a video in one. A path that is no folder is kept, so that reading it gives its own error.

    Raises
    ------
    MezoroiError
        If a folder holds none of them.
    """
    turns = Turns([], {})
    for path in map(Path, paths):
        inside = _turns_below(path, set(), turns.left_out)
        if not inside:
            why = turns.left_out.get(path, "holds no video and no frames: give another folder")
            raise MezoroiError(f"{path} {why}")
        turns.sources.extend(inside)
        manifest = next((name for name in MANIFEST_NAMES if (path / name).is_file()), None)
        if manifest is not None:
            turns.left_out.setdefault(path, f"holds {manifest}: give that file to keep its grades")
    return turns


def capture_sources(
    sources: Iterable[str | Path],
    out: str | Path,
    *,
    height: int = SURFACE_HEIGHT,
    language: str = "ja",
    progress: Progress = silent,
) -> list[CaptureResult]:
    """Unroll sources as `find_turns` takes them, each into a folder of its own in `out`.

    A folder holds ``surface.png``, ``coverage.png``, ``outline.json``, ``capture.json``,
    ``preview.png`` and ``source.json``. A source whose content was captured before, in the same
    way, is not unrolled again, whatever it is called now; a new one goes to a folder that does not
    exist yet. A source that fails is reported; the others go on. What `find_turns` leaves out
    comes last.
    """
    require_folder(out)
    turns = find_turns(sources)
    folders = CaptureFolders(Path(out), shared=True)
    names = folder_names(turns.sources)
    results = _capture_each(turns.sources, names, folders, height, language, progress)
    left_out = [
        CaptureResult(str(path), None, notes=(f"{path} {why}",))
        for path, why in turns.left_out.items()
    ]
    return results + left_out


def capture_dataset(
    manifest: str | Path,
    out: str | Path,
    *,
    height: int = SURFACE_HEIGHT,
    language: str = "ja",
    progress: Progress = silent,
) -> list[CaptureResult]:
    """Unroll the graded sources of a manifest into a dataset of surfaces, outlines and grades.

    Parameters
    ----------
    manifest : as `mezoroi.load_dataset` reads it, with videos or folders of frames in the column
        ``image``, or in a column ``video``, alone or beside it, which then counts; masks do not fit
        a new surface and are left out, all other columns are kept
    out : receives a folder per fruit, ``manifest.csv``, and ``standard.yaml`` and ``graders.csv``
        where the manifest has them; sources that failed are not in its manifest; not the folder of
        `manifest`, nor of another dataset, whose manifest would be replaced

    Returns
    -------
    One result for each row; last, where there is something to know about what stood in `out`
    before, one with notes alone.

    Raises
    ------
    MezoroiError
        If the manifest cannot be read, if it lies in `out`, if `out` holds another dataset, or
        nothing in it could be captured.
    """
    path, out = Path(manifest), Path(out)
    require_folder(out)
    if out.resolve() == path.resolve().parent:
        raise MezoroiError(f"{path} lies in the folder of the captures: give another with -o")
    # Every row has an image of its own, also where two show the same.
    folders = CaptureFolders(out, shared=False)
    listed = _listed_in(folders)
    found = add_grader_labels(manifest_rows(path, VIDEO_COLUMN))
    if found.problems:
        raise MezoroiError(found.problems[0])
    sources = [_source_of(row, path.parent) for row in found.rows]
    # A specimen is called as it is: a point in its name, as in "No. 7", begins no suffix.
    names = file_names(
        row.specimen or folder_names([source])[0]
        for row, source in zip(found.rows, sources, strict=True)
    )
    results = _capture_each(sources, names, folders, height, language, progress)
    kept = [pair for pair in zip(found.rows, results, strict=True) if pair[1].error is None]
    if not kept:
        raise MezoroiError(f"nothing in {path} could be captured, the first: {results[0].error}")
    if (path.parent / STANDARD_NAME).is_file():
        GradingStandard.from_yaml(path.parent / STANDARD_NAME).to_yaml(out / STANDARD_NAME)
    labels = [
        {"image": _image_of(result), "grader": grader, "grade": grade}
        for row, result in kept
        for grader, grade in row.labels.items()
    ]
    if labels:
        write_table(out / GRADERS_NAMES[0], labels)
    write_table(out / MANIFEST_NAMES[0], _manifest(kept))
    notes = _notes_on_before(out, listed - {_image_of(result) for _, result in kept}, bool(labels))
    return [*results, CaptureResult(str(out), None, notes=notes)] if notes else results


def _listed_in(folders: CaptureFolders) -> set[str]:
    """The captures that a folder's manifest lists already, as their images; none without one.

    Raises
    ------
    MezoroiError
        If the folder holds a dataset of anything but captures, which would be replaced.
    """
    out = folders.out
    before = next((out / name for name in MANIFEST_NAMES if (out / name).is_file()), None)
    if before is None:
        beside = (out / name for name in (STANDARD_NAME, *GRADERS_NAMES))
        foreign = next((path for path in beside if path.is_file()), None)
        if foreign is not None and not folders.has_captures:
            raise MezoroiError(f"{foreign} is of another dataset: give another folder with -o")
        return set()
    images = [row.image for row in manifest_rows(before).rows]
    if before.name != MANIFEST_NAMES[0] or not all(folders.may_hold(image) for image in images):
        raise MezoroiError(
            f"{before} lists images that are no captures: give another folder with -o"
        )
    return {f"{image.parent.name}/{image.name}" for image in images}


def _notes_on_before(out: Path, dropped: set[str], has_labels: bool) -> tuple[str, ...]:
    """What is to be known of a dataset that stood in `out` before: what its manifest lost."""
    notes = []
    if dropped:
        count = "1 capture" if len(dropped) == 1 else f"{len(dropped)} captures"
        notes.append(
            f"{out / MANIFEST_NAMES[0]} no longer lists {count} that it listed before, the first "
            f"{min(dropped)}: to keep them, list all fruit in one manifest"
        )
    graders = graders_path(out)
    if graders is not None and not has_labels:
        notes.append(
            f"{graders} is from before and still counts, though the manifest captured has no "
            "graders' labels: delete it, unless it is to be kept"
        )
    return tuple(notes)


def _turns_below(folder: Path, seen: set[Path], left_out: dict[Path, str]) -> list[Path]:
    try:
        if not folder.is_dir():
            return [folder]
        if holds_charts(folder):
            return []
        inside = visible(folder, seen)
        photos, found = photos_among(inside), videos_among(inside)
        below = [path for path in inside if path.is_dir()]
        if is_capture(folder):
            photos = []
            if not found:
                left_out[folder] = "is a capture already: give what it was made from"
    except OSError:
        # Reading it says what is wrong with it; the others go on.
        return [folder]
    for path in below:
        found += _turns_below(path, seen, left_out)
    if photos and found:
        count = "one photo" if len(photos) == 1 else f"{len(photos)} photos"
        left_out[folder] = (
            f"holds {count} beside videos or other fruit, left out: give photos of a fruit a "
            "folder of their own"
        )
        return sorted(found)
    return [folder] if len(photos) > 1 else photos or sorted(found)


def _capture_each(
    sources: Sequence[Path],
    names: Sequence[str],
    folders: CaptureFolders,
    height: int,
    language: str,
    progress: Progress,
) -> list[CaptureResult]:
    results = []
    for number, (source, name) in enumerate(zip(sources, names, strict=True), 1):
        try:
            results.append(_capture_once(source, name, folders, height, language))
        except MezoroiError as error:
            results.append(CaptureResult(str(source), None, error=str(error)))
        progress("capturing", number, len(sources))
    return results


def _capture_once(
    source: Path, name: str, folders: CaptureFolders, height: int, language: str
) -> CaptureResult:
    content = content_of(source)
    made = {
        "content": content,
        "height": height,
        "language": language,
        "capture_version": CAPTURE_VERSION,
    }
    known = folders.known(content, name)
    earlier = made_from(known) if known else {}
    if known and is_whole(known) and {key: earlier.get(key) for key in made} == made:
        return CaptureResult(
            str(source),
            str(known),
            earlier["covered"],
            earlier["degrees_turned"],
            tuple(earlier["notes"]),
        )
    capture = unroll(source, height=height)
    folder = known or folders.claim(content, name)
    # The folder is this source's from here on, also where it is not finished.
    write_json(folder / SOURCE_NAME, {"source": source.name} | made)
    capture.save(folder)
    write_bytes(folder / PREVIEW_NAME, capture_preview_png(_view(capture), language))
    found = {
        "covered": capture.covered,
        "degrees_turned": capture.degrees_turned,
        "notes": list(capture.notes),
    }
    write_json(folder / SOURCE_NAME, {"source": source.name} | made | found)
    return CaptureResult(
        str(source), str(folder), capture.covered, capture.degrees_turned, capture.notes
    )


def _view(capture: Capture) -> CaptureView:
    return CaptureView(
        frames=[view.image for view in capture.views],
        outlines=capture.contours,
        surface=capture.surface,
        coverage=capture.coverage,
        silhouettes=capture.silhouettes,
        covered=capture.covered,
        degrees=capture.degrees_turned,
    )


def _source_of(row: Row, root: Path) -> Path:
    video = str(row.extra.get(VIDEO_COLUMN) or "").strip()
    return find_path(root, video) if video else row.image


def _image_of(result: CaptureResult) -> str:
    return f"{Path(str(result.folder)).name}/{SURFACE_NAME}"


def _manifest(kept: Sequence[tuple[Row, CaptureResult]]) -> list[dict[str, object]]:
    """Rows of the captures' manifest; what is listed twice and not named is one specimen."""
    rows = []
    specimens: dict[object, str] = {}
    for row, result in kept:
        folder = Path(str(result.folder))
        same = specimens.setdefault(made_from(folder)["content"], row.specimen or folder.name)
        rows.append(_manifest_row(row, result, row.specimen or same))
    return rows


def _manifest_row(row: Row, result: CaptureResult, specimen: str) -> dict[str, object]:
    folder = Path(str(result.folder)).name
    return {
        "image": _image_of(result),
        "grade": row.grade,
        "specimen": specimen,
        "split": row.split,
        "session": row.session,
        "outline": f"{folder}/{OUTLINE_NAME}",
        **{key: value for key, value in row.extra.items() if key != VIDEO_COLUMN},
        "covered": round(result.covered or 0.0, 4),
    }
