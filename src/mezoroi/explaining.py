"""What `explain` writes: per fruit a contact sheet of methods and their raw maps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mezoroi.capture.folders import require_apart
from mezoroi.capture.images import SURFACE_NAME
from mezoroi.capture.sources import find_sources
from mezoroi.datasets import Dataset, Observation, load_dataset
from mezoroi.datasets.folders import MASKS_FOLDER
from mezoroi.datasets.manifest import MANIFEST_NAMES, TABLE_SUFFIXES
from mezoroi.errors import MezoroiError
from mezoroi.explain import Explainer, PassExplainer, explain_together
from mezoroi.explainers import grade_target, untaught
from mezoroi.files import (
    content_hash,
    folder_names,
    require_folder,
    write_arrays,
    write_bytes,
    write_json,
)
from mezoroi.grader import Grader
from mezoroi.grading import Grading, GradingFailure
from mezoroi.models import InputSize
from mezoroi.models.preprocess import FittedImage, fit_image, to_tensor
from mezoroi.progress import Progress, silent
from mezoroi.report.sheet import Panel, Sheet, contact_sheet_png, shown_photo

EXPLAIN_JSON = "explain.json"
MAPS_NPZ = "maps.npz"
SHEET_PNG = "methods.png"
_SCALE_SHARE = 0.9


@dataclass(frozen=True)
class Explained:
    """What was found for one fruit.

    Attributes
    ----------
    source : path of the fruit
    folder : where its sheet and maps are
    decided, map_grade : the grade given, and the one its activation maps point at
    map_differs : True where these two disagree
    grade : the surface grade that the maps are of
    milliseconds : by method; methods that share a pass have the same figure
    """

    source: str
    folder: str
    decided: str
    map_grade: str | None
    map_differs: bool
    grade: str
    milliseconds: Mapping[str, float] = field(default_factory=dict)

    def line(self) -> str:
        """What was found, for people."""
        differs = f", but the map points at {self.map_grade}" if self.map_differs else ""
        return f"{self.source}: {self.decided}{differs}; {self.folder}/{SHEET_PNG}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**vars(self), "milliseconds": dict(self.milliseconds)}


def explain_to_folder(
    grader: Grader,
    sources: Iterable[str | Path],
    out: str | Path,
    explainers: Mapping[str, Explainer],
    *,
    grade: str | None = None,
    language: str = "ja",
    progress: Progress = silent,
) -> list[Explained | GradingFailure]:
    """Explain fruits by several methods; a folder per fruit.

    Parameters
    ----------
    grader : a loaded grader
    sources : paths as `find_sources` takes them, or datasets with masks, whose outlines are drawn
    out : receives ``NAME/methods.png``, ``NAME/maps.npz`` and ``explain.json``
    explainers : by name, from `mezoroi.explainers`
    grade : the grade to explain; default the one decided, or, where that is judged on the outline,
        the most similar surface grade
    language : ``ja`` or ``en``, of the sheets

    Raises
    ------
    MezoroiError
        For a grade without a place on the surface, or sources that hold no fruit.
    """
    surface = grader.bundle.trained_standard.surface_grades
    if grade is not None and grade not in surface:
        reason = "has no place on the surface"
        if grade in grader.bundle.added_grades:
            reason = "was added without training, so that nothing shows where it is"
        raise MezoroiError(f"grade `{grade}` {reason}: explain one of {', '.join(surface)}")
    require_folder(out)
    fruits = _fruits(sources, grader)
    out, size = Path(out), grader.bundle.size
    paths = [path for path, _, _ in fruits]
    names = folder_names(paths)
    require_apart((out / name for name in names), paths)
    results: list[Explained | GradingFailure] = []
    tops: dict[str, list[float]] = {name: [] for name in explainers}
    boxes: dict[int, FittedImage] = {}
    # The scales are known after the last fruit; until then the photos wait on disk.
    with tempfile.TemporaryDirectory() as waiting:
        for number, (path, _, _) in enumerate(fruits):
            graded = next(iter(grader.grade_many([path], batch_size=1)))
            if isinstance(graded, GradingFailure):
                results.append(graded)
            else:
                fitted = fit_image(graded.surface, size.height, size.width)
                folder = out / names[number]
                maps, found = _explain(grader, explainers, graded, fitted, grade, path, folder)
                for name, values in maps.items():
                    tops[name].append(float(_shown(explainers[name], values, size, fitted).max()))
                results.append(found)
                boxes[number] = replace(fitted, pixels=np.empty((0, 0, 3), np.uint8))
                np.save(_photo(waiting, number), shown_photo(graded.surface))
            progress("explaining", number + 1, len(fruits))
        scales = {name: _scale(name, values) for name, values in tops.items()}
        for number, (result, (_, item, dataset)) in enumerate(zip(results, fruits, strict=True)):
            if isinstance(result, Explained):
                photo = np.load(_photo(waiting, number))
                panels = _panels(explainers, result, size, boxes[number], scales)
                mask = dataset.mask_of(item, result.grade) if dataset and item else None
                sheet = _sheet(result, photo, panels, mask)
                write_bytes(Path(result.folder) / SHEET_PNG, contact_sheet_png(sheet, language))
            progress("drawing", number + 1, len(fruits))
    write_json(
        out / EXPLAIN_JSON,
        {"scales": scales, "results": [result.to_dict() for result in results]},
    )
    return results


def _content(path: Path) -> str:
    """Hash of a fruit's picture; of a capture that is still to be unrolled there is none."""
    picture = path / SURFACE_NAME if path.is_dir() else path
    return content_hash(picture) if picture.is_file() else ""


def _fruits(
    sources: Iterable[str | Path], grader: Grader
) -> list[tuple[Path, Observation | None, Dataset | None]]:
    """Every fruit below the sources, with its row where they are a dataset."""
    found: list[tuple[Path, Observation | None, Dataset | None]] = []
    for source in map(Path, sources):
        if _is_dataset(source):
            dataset = load_dataset(source, trainable=False)
            found += [(_fruit_path(item), item, dataset) for item in dataset]
        else:
            paths = find_sources([source], grader.bundle.input_kind)
            found += [(path, None, None) for path in paths]
    return found


def _fruit_path(item: Observation) -> Path:
    return item.image.parent if item.image.name == SURFACE_NAME else item.image


def _is_dataset(path: Path) -> bool:
    if path.suffix.lower() in TABLE_SUFFIXES:
        return path.is_file()
    return (path / MASKS_FOLDER).is_dir() or any((path / name).is_file() for name in MANIFEST_NAMES)


def _explain(
    grader: Grader,
    explainers: Mapping[str, Explainer],
    grading: Grading,
    fitted: FittedImage,
    grade: str | None,
    path: Path,
    folder: Path,
) -> tuple[dict[str, np.ndarray], Explained]:
    surface = grader.bundle.trained_standard.surface_grades
    if grade is None:
        similar = {name: value for name, value in grading.similarity.items() if name in surface}
        grade = grading.grade if grading.grade in surface else max(similar, key=similar.__getitem__)
    image = to_tensor([fitted.pixels])
    explainers = untaught(explainers, _content(path))
    target = grade_target(grader, grade)
    maps: dict[str, np.ndarray] = {}
    times: dict[str, float] = {}
    sharing = [name for name, one in explainers.items() if isinstance(one, PassExplainer)]
    for group in (sharing, *([name] for name in explainers if name not in sharing)):
        start = time.perf_counter()
        chosen = {name: explainers[name] for name in group}
        found = explain_together(chosen, image, {name: [target] for name in group})
        spent = 1000 * (time.perf_counter() - start)
        for name, values in found.items():
            maps[name], times[name] = values[0].cpu().numpy(), spent
    write_arrays(folder / MAPS_NPZ, maps)
    differs = grading.map_grade if grading.map_differs else None
    return maps, Explained(
        source=grading.source,
        folder=str(folder),
        decided=grading.grade,
        map_grade=grading.map_grade,
        map_differs=differs is not None,
        grade=grade,
        milliseconds={name: times[name] for name in explainers},
    )


def _scale(method: str, tops: Sequence[float]) -> float:
    """The value shown brightest: 1 for probabilities, else what nine of ten maps stay below."""
    if method == "activation-map":
        return 1.0
    positive = [top for top in tops if top > 0]
    return float(np.quantile(positive, _SCALE_SHARE)) if positive else 1.0


def _photo(folder: str, number: int) -> Path:
    return Path(folder) / f"{number}.npy"


def _panels(
    explainers: Mapping[str, Explainer],
    result: Explained,
    size: InputSize,
    box: FittedImage,
    scales: Mapping[str, float],
) -> list[Panel]:
    panels = []
    with np.load(Path(result.folder) / MAPS_NPZ) as stored:
        for name, explainer in explainers.items():
            panels.append(Panel(name, _shown(explainer, stored[name], size, box), scales[name]))
    return panels


def _shown(explainer: Explainer, raw: np.ndarray, size: InputSize, box: FittedImage) -> np.ndarray:
    """A raw map (h, w) at the size of the picture within the network's input."""
    values = explainer.to_pixels(torch.from_numpy(raw)[None], size.height, size.width)
    return box.crop(values[0].numpy())


def _sheet(
    result: Explained, photo: np.ndarray, panels: Sequence[Panel], mask: np.ndarray | None
) -> Sheet:
    return Sheet(
        name=Path(result.source).name,
        photo=photo,
        panels=panels,
        grade=result.grade,
        decided=result.decided,
        map_grade=result.map_grade if result.map_differs else None,
        mask=mask,
    )
