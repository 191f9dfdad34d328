"""A trained grader as one ONNX graph and a description, for use without Mezoroi and PyTorch."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mezoroi
from mezoroi.bundle import GRADER_JSON, PROTOTYPES, WEIGHTS, Bundle, read_bundle
from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path, content_hash, read_json, require_folder, write_json
from mezoroi.grader import Grader
from mezoroi.grading_graph import OPSET, GradingGraph, in_onnx, largest_difference, made_up_inputs
from mezoroi.progress import Progress, silent
from mezoroi.run_folder import RUN_JSON

FORMAT = 1
"""Of the description, its key ``export_format``."""
GRAPH = "grader.onnx"
DESCRIPTION = GRADER_JSON
NOT_INCLUDED = {
    "capturing": "surface images and outlines of photos and videos: `mezoroi capture` makes them",
    "map_grade": "the grade that the activation maps point at, by precedence",
    "reliability": "how far to trust a grade, sets of grades, and when to ask an expert",
    "second_reader": "the second reader that reliability listens to",
    "adjusting": "grades adjusted where they were mostly wrong",
    "neighbours": "the most similar reference fruits; `embedding` can be compared by cosine",
}
"""Parts of a grading that an export does not give."""
_MOST_INLINE = 1_500_000_000  # bytes of weights; a file of ONNX ends at 2 GB
_ELSEWHERE = "give another folder with -o"
_WORK = "exporting"


@dataclass(frozen=True)
class Exported:
    """What `export_grader` wrote.

    Attributes
    ----------
    folder : holds ``grader.onnx`` and ``grader.json``
    size : of the graph with its weights, in bytes
    description : content of ``grader.json``
    difference : between the graph and the grader on made-up images, see
        `mezoroi.grading_graph.largest_difference`; None where onnxruntime is not installed
    """

    folder: Path
    size: int
    description: dict[str, Any]
    difference: float | None


def export_grader(
    grader: Grader | str | Path, folder: str | Path, progress: Progress = silent
) -> Exported:
    """Write a trained grader for use without Mezoroi and PyTorch.

    Parameters
    ----------
    grader : a grader, which stays as it is, or its run folder
    folder : receives ``grader.onnx``, then ``grader.json``; an earlier export is replaced. Only of
        a network above 1.5 GB the weights are beside the graph, in ``grader.onnx.data``

    Raises
    ------
    MezoroiError
        If the extra ``onnx`` is not installed, the run folder is none or damaged, `folder` is a
        file or holds a run, the network cannot be exported, or its graph says something else.
    """
    _require_exporter()
    bundle = grader.bundle if isinstance(grader, Grader) else read_bundle(grader)
    folder = Path(folder)
    _require_free(folder)
    progress(_WORK, 0, 3)
    graph, inputs = GradingGraph(bundle), made_up_inputs(bundle)
    program = in_onnx(graph, inputs, bundle.config.model.backbone)
    progress(_WORK, 1, 3)
    expected = graph.run(inputs)
    weights = sum(values.nbytes for values in graph.state_dict().values())
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as waiting:
        path = Path(waiting) / GRAPH
        program.save(path, external_data=weights > _MOST_INLINE)
        difference = largest_difference(path, inputs, expected)
        progress(_WORK, 2, 3)
        description = {
            "export_format": FORMAT,
            "versions": {"mezoroi": mezoroi.__version__, "torch": torch.__version__},
            "graph": {
                "file": GRAPH,
                "sha256": content_hash(path),
                "opset": OPSET,
                "largest_difference": difference,
            },
            **_description(bundle, inputs, expected),
        }
        size = sum(file.stat().st_size for file in Path(waiting).iterdir())
        _replace_graph(Path(waiting), folder)
    write_json(folder / DESCRIPTION, description)
    progress(_WORK, 3, 3)
    return Exported(folder, size, description, difference)


def _require_exporter() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MezoroiError(
            "the exporter is not installed: install it with `pip install 'mezoroi[onnx]'`"
        ) from error


def _require_free(folder: Path) -> None:
    """Refuse a folder in which the description would replace another ``grader.json``."""
    require_folder(folder)
    if any((folder / name).exists() for name in (RUN_JSON, WEIGHTS, PROTOTYPES)):
        raise MezoroiError(f"{folder} is a run folder: {_ELSEWHERE}")
    if (folder / DESCRIPTION).exists():
        content = read_json(folder / DESCRIPTION, _ELSEWHERE)
        if not (isinstance(content, dict) and "export_format" in content):
            raise MezoroiError(f"{folder / DESCRIPTION} is of no export: {_ELSEWHERE}")


def _replace_graph(waiting: Path, folder: Path) -> None:
    """Move a graph to its folder, its weights first; what an earlier export left there goes."""
    # Nobody is to take the old description for one of the new graph.
    (folder / DESCRIPTION).unlink(missing_ok=True)
    written = {file.name for file in waiting.iterdir()}
    for name in sorted(written, reverse=True):
        with atomic_path(folder / name) as target:
            (waiting / name).replace(target)
    for old in folder.glob(f"{GRAPH}.*"):
        if old.name not in written:
            old.unlink()


def _description(
    bundle: Bundle, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> dict[str, Any]:
    """What a caller needs to know to run the graph and to read its answer."""
    standard, size = bundle.standard, bundle.size
    maps, grid = outputs.get("activation_maps"), bundle.network.encoder.grid
    cells = None
    if maps is not None:
        rows, columns = maps.shape[2:]
        step, offset = list(grid.step), list(grid.offset)
        cells = {"rows": rows, "columns": columns, "step": step, "offset": offset}
    thresholds = bundle.prototypes.thresholds.tolist()
    return {
        "fingerprint": bundle.fingerprint,
        "input_kind": bundle.input_kind,
        "height": size.height,
        "width": size.width,
        "wraps": size.wraps,
        "grades": list(standard.grades),
        "surface_grades": [] if maps is None else list(bundle.trained_standard.surface_grades),
        "added_grades": list(bundle.added_grades),
        "thresholds": dict(zip(standard.grades, thresholds, strict=True)),
        "outline_names": list(bundle.outline_names),
        "map_cells": cells,
        "inputs": {name: _shape(values) for name, values in inputs.items()},
        "outputs": {name: _shape(values) for name, values in outputs.items()},
        "standard": standard.to_dict(),
        "not_included": NOT_INCLUDED,
    }


def _shape(values: Tensor) -> dict[str, Any]:
    return {"type": "float32", "shape": ["N", *values.shape[1:]]}
