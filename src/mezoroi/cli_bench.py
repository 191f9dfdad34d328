"""The verbs below `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mezoroi.cli_options import AsJson
from mezoroi.console import Console

Work = Annotated[Path, typer.Option(help="Folder of made data; an earlier one resumes.")]
Tomatoes = Annotated[Path, typer.Option(help="Manifest of the tomato photos (fgrade4).")]
Page = Annotated[Path, typer.Option(help="Page to write, from the ledgers beside it.")]
WORK = Path("bench-work")
TOMATOES = Path("../shared/data/fgrade4/manifest.csv")

bench_app = typer.Typer(
    help="Measure Mezoroi: the papers' tables and the speed tables.", no_args_is_help=True
)


@bench_app.command("grading", epilog="Example: mezoroi bench grading --part melons")
def bench_grading(
    part: Annotated[
        str, typer.Option(help="all, melons, tomatoes, remedies, reading, speed or page.")
    ] = "all",
    work: Work = WORK,
    tomatoes: Tomatoes = TOMATOES,
    page: Page = Path("docs/results/grading.md"),
    as_json: AsJson = False,
) -> None:
    """The melon paper's tables, real tomatoes, and speed; hours, resumable."""
    from mezoroi.bench.grading import run_grading_bench

    console = Console(as_json)
    with console.progress() as report:
        cells = run_grading_bench(part, work, tomatoes, page, report)
    console.result({"cells": cells, "page": str(page)}, f"{cells} cells in the ledger; {page}")


@bench_app.command("capture", epilog="Example: mezoroi bench capture --part fruit")
def bench_capture(
    part: Annotated[
        str, typer.Option(help="all, fruit, maps, melons, grading, speed or page.")
    ] = "all",
    work: Work = WORK,
    shared: Annotated[Path, typer.Option(help="Folder with fruit_rotation and fsmap_gt.")] = Path(
        "../shared/data"
    ),
    page: Page = Path("docs/results/capture.md"),
    as_json: AsJson = False,
) -> None:
    """Unrolling real fruit and made-up melons, grading from video, and speed; hours, resumable."""
    from mezoroi.bench.capture import run_capture_bench

    console = Console(as_json)
    with console.progress() as report:
        cells = run_capture_bench(part, work, shared, page, report)
    console.result({"cells": cells, "page": str(page)}, f"{cells} cells in the ledgers; {page}")


@bench_app.command("explain", epilog="Example: mezoroi bench explain runs/melon melons/")
def bench_explain(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder of your own; without it the papers' tables.")
    ] = None,
    data: Annotated[Path | None, typer.Argument(help="Its data, with experts' masks.")] = None,
    methods: Annotated[
        str, typer.Option(help="Of a run of your own: names with commas between them, or all.")
    ] = "all",
    split: Annotated[
        str, typer.Option(help="Of your own data; val chooses the best threshold.")
    ] = "test",
    part: Annotated[
        str,
        typer.Option(
            help="all, ceiling, speed, melons, masks, backbones, real, lift, exact or page."
        ),
    ] = "all",
    work: Work = WORK,
    shared: Annotated[
        Path, typer.Option(help="Folder with magnetic_tile, sd_saliency_900 and soybean_rust.")
    ] = Path("../shared/data"),
    page: Page = Path("docs/results/explain.md"),
    as_json: AsJson = False,
) -> None:
    """Score explanations against experts' masks: of a run of your own, or the papers' tables.

    Without a run: seven methods on made-up melons, real defects and peers; hours, resumable.
    """
    console = Console(as_json)
    if run is not None:
        if data is None:
            raise typer.BadParameter("give the data with experts' masks after the run")
        from mezoroi.bench.explain_own import own_table, score_own_maps

        with console.progress() as report:
            rows, skipped = score_own_maps(run, data, methods, split, report)
        console.notes(skipped)
        console.result({"split": split, "rows": rows}, own_table(rows))
        return
    from mezoroi.bench.explain import run_explain_bench

    with console.progress() as report:
        cells = run_explain_bench(part, work, shared, page, report)
    console.result({"cells": cells, "page": str(page)}, f"{cells} cells in the ledgers; {page}")


@bench_app.command(
    "retrieval", epilog="Example: mezoroi bench retrieval ../shared/data/fruit_rotation"
)
def bench_retrieval(
    fruit: Annotated[Path, typer.Argument(help="Folder fruit_rotation.")],
    part: Annotated[
        str, typer.Option(help="all, tables, trained, short, grocery, speed, million or page.")
    ] = "all",
    work: Annotated[Path, typer.Option(help="Folder of features; an earlier one resumes.")] = Path(
        "bench-work"
    ),
    produce: Annotated[
        Path | None, typer.Option(help="Folder grocery_produce20; default beside the first.")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="A convolutional timm model, such as resnet18.")
    ] = "efficientnet_lite0",
    weights: Annotated[
        str,
        typer.Option(help="Of it: package (efficientnet_lite0), none, or a timm checkpoint."),
    ] = "package",
    page: Page = Path("docs/results/retrieval.md"),
    as_json: AsJson = False,
) -> None:
    """The Feature Tuning paper's tables, and the speed of references; hours, resumable."""
    from mezoroi.bench.retrieval import run_retrieval_bench
    from mezoroi.bench.retrieval_data import Backbone

    console = Console(as_json)
    beside = produce if produce is not None else fruit.parent / "grocery_produce20"
    with console.progress() as report:
        network = Backbone(backbone, weights)
        cells = run_retrieval_bench(part, fruit, beside, work, page, network, report)
    console.result({"cells": cells, "page": str(page)}, f"{cells} cells in the ledgers; {page}")


@bench_app.command("practice", epilog="Example: mezoroi bench practice --part standard")
def bench_practice(
    part: Annotated[str, typer.Option(help="all, standard, held-out or page.")] = "all",
    page: Annotated[
        Path, typer.Option(help="Page to write, with its picture, from the ledgers beside it.")
    ] = Path("docs/results/practice.md"),
    learners: Annotated[int, typer.Option(min=1, help="Simulated learners per arm.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Simulated learners under random, blocked and adaptive orders; minutes, resumable."""
    from mezoroi.bench.practice import run_practice_bench

    console = Console(as_json)
    with console.progress() as report:
        cells = run_practice_bench(part, page, learners, report)
    console.result({"cells": cells, "page": str(page)}, f"{cells} cells in the ledgers; {page}")


@bench_app.command("reliability", epilog="Example: mezoroi bench reliability --part speed")
def bench_reliability(
    part: Annotated[
        str, typer.Option(help="all, clever-hans, melons, tomatoes, labels, speed or page.")
    ] = "all",
    work: Work = WORK,
    tomatoes: Tomatoes = TOMATOES,
    page: Page = Path("docs/results/reliability.md"),
    as_json: AsJson = False,
) -> None:
    """How far gradings can be trusted: adjustment, signals, sets, labels; hours, resumable."""
    from mezoroi.bench.reliability import run_reliability_bench

    console = Console(as_json)
    with console.progress() as report:
        cells = run_reliability_bench(part, work, tomatoes, page, report)
    console.result({"cells": cells, "page": str(page)}, f"{cells} cells in the ledgers; {page}")


@bench_app.command("parts", epilog="Example: mezoroi bench parts ../shared/data/grocery_produce20")
def bench_parts(
    produce: Annotated[Path, typer.Argument(help="Folder grocery_produce20.")],
    part: Annotated[
        str,
        typer.Option(
            help="all, produce, remedies, tomatoes, negatives, ratio, truebox, boxes, "
            "throughput or page."
        ),
    ] = "all",
    work: Work = WORK,
    tomatoes: Annotated[
        Path | None, typer.Option(help="Manifest of fgrade4; default beside the folder.")
    ] = None,
    page: Page = Path("docs/results/parts.md"),
    as_json: AsJson = False,
) -> None:
    """Part-aware CutMix and the adaptive pairwise margin; hours, resumable."""
    from mezoroi.bench.parts import run_parts_bench

    console = Console(as_json)
    beside = tomatoes if tomatoes is not None else produce.parent / "fgrade4" / "manifest.csv"
    with console.progress() as report:
        cells = run_parts_bench(part, produce, beside, work, page, report)
    console.result({"cells": cells, "page": str(page)}, f"{cells} cells in the ledgers; {page}")


@bench_app.command("app", epilog="Example: mezoroi bench app --part kill")
def bench_app_trials(
    part: Annotated[
        str,
        typer.Option(
            help="all, kill, malformed, slow, schema, photo, uploads, pages or page.",
        ),
    ] = "all",
    work: Annotated[
        Path, typer.Option(help="Folder of made data and the ledger; an earlier one resumes.")
    ] = Path("bench-work"),
    page: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/results/app.md"),
    share: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Part of every trial to run, for a quick look.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """What the app withstands and how fast it answers; half an hour, resumable."""
    from mezoroi.bench.app import run_app_bench, share_of

    console = Console(as_json)
    with console.progress() as report:
        cells = run_app_bench(part, work, page, share_of(share), report)
    console.result({"cells": cells, "page": str(page)}, f"{cells} cells in the ledger; {page}")
