"""The verb `explain`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from mezoroi.cli_options import AsJson, Language, Run, Seed
from mezoroi.console import Console, leave_with

EXAMPLE = "Example: mezoroi explain runs/melon melon.jpg --method grad-cam,lime -o out/"


class Windows(str, Enum):
    """Size and distance of the windows of occlusion, in pixels."""

    exact = "exact"
    medium = "medium"
    coarse = "coarse"


def explain(
    run: Run,
    sources: Annotated[
        list[Path],
        typer.Argument(help="Photos, videos, captures, folders, or a dataset with masks."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the sheets and maps.")],
    method: Annotated[
        str, typer.Option(help="Names with commas between them, or all that suit the grader.")
    ] = "activation-map,dist-cam,grad-cam",
    grade: Annotated[
        str | None, typer.Option(help="Grade to explain; default the one decided.")
    ] = None,
    training: Annotated[
        Path | None, typer.Option(help="Dataset whose training fruits teach adapting-grad-cam.")
    ] = None,
    windows: Annotated[
        Windows, typer.Option(help="Of occlusion: 11 by 2, 24 by 8 or 32 by 16 pixels.")
    ] = Windows.coarse,
    samples: Annotated[int, typer.Option(min=1, help="Perturbed images of lime.")] = 1000,
    seed: Seed = 0,
    language: Annotated[Language, typer.Option(help="Language of the sheets.")] = Language.ja,
    as_json: AsJson = False,
) -> None:
    """Show why: maps of several methods side by side, and as numbers."""
    from mezoroi.datasets import load_dataset
    from mezoroi.explain import OCCLUSION_PRESETS
    from mezoroi.explainers import choose_explainers
    from mezoroi.explaining import explain_to_folder
    from mezoroi.grader import Grader
    from mezoroi.grading import GradingFailure
    from mezoroi.workflow import with_splits_of

    console = Console(as_json)
    grader = Grader.load(run)
    learning = None
    if training is not None:
        learning = with_splits_of(grader, load_dataset(training, trainable=False))
    options = {
        "occlusion": OCCLUSION_PRESETS[windows.value],
        "lime": {"num_samples": samples, "seed": seed},
    }
    with console.progress() as report:
        explainers, skipped = choose_explainers(grader, method, learning, options, report)
        results = explain_to_folder(
            grader,
            sources,
            out,
            explainers,
            grade=grade,
            language=language.value,
            progress=report,
        )
    console.notes(skipped)
    failures = [item for item in results if isinstance(item, GradingFailure)]
    lines = [
        f"{item.source}: {item.error}" if isinstance(item, GradingFailure) else item.line()
        for item in results
    ]
    lines.append(f"{len(results) - len(failures)} explained, {len(failures)} failed; folder: {out}")
    console.result(
        {
            "folder": str(out),
            "methods": list(explainers),
            "results": [item.to_dict() for item in results],
        },
        "\n".join(lines),
    )
    leave_with([item.error for item in failures], len(results), "explained")
