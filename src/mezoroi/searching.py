"""What `search` writes: per fruit a sheet of the reference fruits most like it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mezoroi.capture.images import read_image
from mezoroi.capture.sources import FruitInput, find_sources, read_fruit
from mezoroi.errors import MezoroiError
from mezoroi.files import folder_names, require_folder, write_bytes, write_json
from mezoroi.grader import Embedded, Grader
from mezoroi.grading import GradingFailure
from mezoroi.maps import distance_weights, upsample_maps, weighted_map
from mezoroi.progress import Progress, silent
from mezoroi.references import gallery_of, shown_part
from mezoroi.report.neighbours import NeighbourView, neighbours_png
from mezoroi.retrieval import Neighbour

SEARCH_JSON = "search.json"


@dataclass(frozen=True)
class Found:
    """The answer for one fruit.

    Attributes
    ----------
    source : its path
    grade : the grade it was given
    sheet : path of its contact sheet
    neighbours : the fruits found, best first
    """

    source: str
    grade: str
    sheet: str
    neighbours: Sequence[Neighbour]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "neighbours": [asdict(item) for item in self.neighbours]}


def search_to_folder(
    grader: Grader,
    sources: Iterable[str | Path],
    out: str | Path,
    *,
    k: int = 8,
    where: Mapping[str, Any] | None = None,
    language: str = "ja",
    progress: Progress = silent,
) -> list[Found | GradingFailure]:
    """Find the `k` reference fruits most like each fruit, and draw a sheet of them.

    Parameters
    ----------
    grader : with references
    sources : as `find_sources` takes them
    out : receives ``NAME.png`` for each fruit, and ``search.json``
    where : as in `ReferenceIndex.search`

    Returns
    -------
    One result per fruit in order; a fruit that cannot be read is a `GradingFailure`.

    Raises
    ------
    MezoroiError
        If the run has no references, none at all or none that the filter lets through, or a sheet
        would replace a picture that is none.
    """
    gallery = gallery_of(grader)
    if not len(gallery.index):
        raise MezoroiError(
            f"{gallery.index.place} holds no fruits: add some with `mezoroi references RUN add`"
        )
    require_folder(out)
    out = Path(out)
    paths = find_sources(sources, grader.bundle.input_kind)
    sheets = [out / f"{name}.png" for name in folder_names(paths)]
    _require_free(sheets, paths, out)
    results: list[Found | GradingFailure] = []
    for number, (path, sheet) in enumerate(zip(paths, sheets, strict=True), 1):
        try:
            fruit = read_fruit(path, grader.bundle.input_kind)
            (grading,), seen = grader.grade_and_embed([fruit])
        except MezoroiError as error:
            results.append(GradingFailure(str(path), str(error)))
        else:
            (found,) = gallery.neighbours(seen.embeddings.numpy(), k, where)
            if not found:
                raise MezoroiError(
                    f"no reference fruit has {_wording(where or {})}: "
                    "`mezoroi references RUN list` shows what there is"
                )
            views = _views(grader, seen, found)
            photo = shown_part(seen.fitted[0])
            if not any(isinstance(item, Found) for item in results):
                # What is drawn is a sheet, not a fruit, also if the search is stopped.
                write_json(out / SEARCH_JSON, [{"sheet": str(one)} for one in sheets])
            write_bytes(sheet, neighbours_png(path.name, grading.grade, photo, views, language))
            results.append(Found(str(path), grading.grade, str(sheet), found))
        progress("searching", number, len(paths))
    write_json(out / SEARCH_JSON, [item.to_dict() for item in results])
    return results


def _require_free(sheets: Sequence[Path], paths: Sequence[Path], out: Path) -> None:
    """Refuse to draw a sheet over a photo: of earlier sheets the folder keeps a list."""
    photos = {path.resolve() for path in paths}
    has_sheets = (out / SEARCH_JSON).is_file()
    for sheet in sheets:
        if sheet.resolve() in photos or (sheet.exists() and not has_sheets):
            raise MezoroiError(
                f"{sheet} is no sheet of an earlier search, and would be overwritten: "
                "give another folder with -o"
            )


def _wording(where: Mapping[str, Any]) -> str:
    """A filter in words, such as ``grade A and date from 2026-07-01``."""
    words = []
    for name, value in where.items():
        since, until = value if isinstance(value, tuple) else (None, None)
        parts = [f"from {since}"] * (since is not None) + [f"to {until}"] * (until is not None)
        words.append(f"{name} {' '.join(parts) or value}")
    return " and ".join(words)


def _views(grader: Grader, seen: Embedded, found: Sequence[Neighbour]) -> list[NeighbourView]:
    """The neighbours with their pictures and with Dist-CAM on both fruits of each pair."""
    photos = [_picture(item) for item in found]
    shown = [photo for photo in photos if photo is not None]
    if not shown:
        return [NeighbourView(item.id, item.grade, item.similarity) for item in found]
    others = grader.embed([FruitInput("", photo) for photo in shown])
    pair_maps = zip(*_pair_maps(grader, seen, others), strict=True)
    views = []
    for item, photo in zip(found, photos, strict=True):
        maps = (None, None) if photo is None else next(pair_maps)
        views.append(NeighbourView(item.id, item.grade, item.similarity, photo, *maps))
    return views


def _pair_maps(
    grader: Grader, seen: Embedded, others: Embedded
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Dist-CAM of the query against each other fruit, and of each of those against the query."""
    size = grader.bundle.size
    query, rest = seen.feature_maps, others.feature_maps
    weights = distance_weights(query.mean(dim=(2, 3)), rest.mean(dim=(2, 3)))
    on_query = weighted_map(query, weights)[0]
    # The distance of two fruits is the same from either side, and so are the weights.
    on_rest = torch.stack(
        [weighted_map(one[None], weights[:, [n]])[0, 0] for n, one in enumerate(rest)]
    )
    cells = torch.cat([on_query, on_rest])[:, None]
    grid = grader.network.encoder.grid
    maps = upsample_maps(cells, size.height, size.width, size.wraps, grid)
    planes = maps[:, 0].numpy()
    count = len(rest)
    return (
        [seen.fitted[0].crop(plane) for plane in planes[:count]],
        [item.crop(plane) for item, plane in zip(others.fitted, planes[count:], strict=True)],
    )


def _picture(item: Neighbour) -> np.ndarray | None:
    """A neighbour's thumbnail; None where it has none, or a damaged one: the fruit is found."""
    if item.thumbnail is None:
        return None
    try:
        return read_image(item.thumbnail)
    except MezoroiError:
        return None
