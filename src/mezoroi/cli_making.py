"""The verbs that make images to grade: `make-melons` and `capture`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from mezoroi.cli_options import AsJson, Language, Seed
from mezoroi.console import Console, leave_with

MELONS_EXAMPLE = "Example: mezoroi make-melons melons/ --per-grade 122 --seed 7"
CAPTURE_EXAMPLE = "Example: mezoroi capture melon.mp4 frames/ -o captures/"


class Variant(str, Enum):
    """Parameters of the made-up melons."""

    standard = "standard"
    held_out = "held-out"


def make_melons(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    per_grade: Annotated[int, typer.Option(min=1, help="Melons of each grade.")] = 122,
    seed: Seed = 0,
    variant: Annotated[
        Variant, typer.Option(help="Parameters of the generator.")
    ] = Variant.standard,
    video: Annotated[bool, typer.Option("--video", help="Also film every melon.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that make melons.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Make netted melons with known grades, masks and outlines, for trials without real data."""
    from mezoroi.datasets.melons import GRADES, write_melons

    console = Console(as_json)
    total = per_grade * len(GRADES)
    with console.progress() as report:
        write_melons(
            out,
            per_grade,
            seed,
            variant=variant.value,
            workers=workers,
            video=video,
            progress=lambda done: report("making melons", done, total),
        )
    console.result({"folder": str(out), "melons": total}, f"{total} melons in {out}")


def capture(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Videos, folders of frames, photos, or one manifest of graded ones."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the captures.")],
    height: Annotated[int, typer.Option(min=32, max=2048, help="Rows of the surface image.")] = 256,
    language: Annotated[Language, typer.Option(help="Language of previews.")] = Language.ja,
    as_json: AsJson = False,
) -> None:
    """Unroll turning fruit: surface, coverage, outline, preview; of a manifest, a dataset."""
    from mezoroi import captures
    from mezoroi.datasets.manifest import TABLE_SUFFIXES

    console = Console(as_json)
    graded = len(sources) == 1 and sources[0].suffix.lower() in TABLE_SUFFIXES
    with console.progress() as report:
        results = (
            captures.capture_dataset(
                sources[0], out, height=height, language=language.value, progress=report
            )
            if graded
            else captures.capture_sources(
                sources, out, height=height, language=language.value, progress=report
            )
        )
    tried = [item for item in results if item.folder or item.error]
    failed = [item for item in tried if item.error is not None]
    lines = [
        item.error
        or f"{item.source}: {item.covered:.0%} seen, turned by {item.degrees_turned:.0f} degrees"
        for item in tried
    ]
    for item in results:
        console.notes_on(item.source, item.notes)
    lines.append(f"{len(tried) - len(failed)} captured, {len(failed)} failed; folder: {out}")
    console.result(
        {"folder": str(out), "results": [item.to_dict() for item in results]}, "\n".join(lines)
    )
    leave_with([item.error for item in failed if item.error], len(tried), "captured")
