"""The verb `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mezoroi.cli_options import AsJson, Run
from mezoroi.console import Console

EXAMPLE = "Example: mezoroi export runs/melon -o runs/melon-onnx"


def export(
    run: Run,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for grader.onnx and grader.json.")
    ],
    as_json: AsJson = False,
) -> None:
    """Write a grader as ONNX, for use without Mezoroi and PyTorch."""
    from mezoroi.exporting import DESCRIPTION, GRAPH, export_grader

    console = Console(as_json)
    with console.progress() as report:
        exported = export_grader(run, out, report)
    difference = exported.difference
    checked = "not checked, onnxruntime is not installed"
    if difference is not None:
        checked = f"on made-up images at most {difference:.1g} from the grader"
    console.result(
        {
            "graph": str(out / GRAPH),
            "description": str(out / DESCRIPTION),
            "bytes": exported.size,
            "largest_difference": difference,
            "inputs": exported.description["inputs"],
            "outputs": exported.description["outputs"],
        },
        f"{out / GRAPH}: {exported.size / 1e6:.1f} MB, {checked}; described in {out / DESCRIPTION}",
    )
