"""The verbs below `reliability`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mezoroi.cli_options import AsJson, Language, Run
from mezoroi.console import Console
from mezoroi.errors import MezoroiError

reliability_app = typer.Typer(
    help="How far to trust gradings: fit, report, and labels to look at again.",
    no_args_is_help=True,
)
Data = Annotated[Path, typer.Argument(help="Folder of grades, or CSV or Parquet manifest.")]


@reliability_app.command(
    "fit", epilog="Example: mezoroi reliability fit runs/melon melons/ --split calibration"
)
def fit(
    run: Run,
    data: Data,
    split: Annotated[
        str | None,
        typer.Option(
            help="calibration, val or test; default, and where there is no calibration, "
            "the first of these there is."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Maps: activation-map, grad-cam, occlusion or lime; default the first that suits."
        ),
    ] = None,
    clusters: Annotated[
        str | None,
        typer.Option(help="How many, or eigengap; default 8, fewer below 80 fruits."),
    ] = None,
    kernel_scale: Annotated[
        str, typer.Option(help="Of distances, whose largest is 1; or median.")
    ] = "0.2",
    coverage: Annotated[
        float, typer.Option(help="Share of cases in which a set of grades holds the expert's.")
    ] = 0.9,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the clustering.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Cluster where the grader looked and count its errors; gradings then say how reliable."""
    from mezoroi.bundle import read_bundle
    from mezoroi.datasets import load_graded
    from mezoroi.grader import Grader
    from mezoroi.reliability_runs import fit_reliability_of_run
    from mezoroi.workflow import with_splits_of

    console = Console(as_json)
    grader = Grader(read_bundle(run))  # a reliability that no longer fits is no hindrance
    dataset = with_splits_of(grader, load_graded(data, grader.standard))
    console.notes(dataset.notes)
    with console.progress() as report:
        model, record = fit_reliability_of_run(
            run,
            dataset,
            split=split,
            method=method,
            n_clusters=_number_or(clusters, "--clusters", "eigengap", int),
            kernel_scale=_number_or(kernel_scale, "--kernel-scale", "median", float),
            coverage=coverage,
            seed=seed,
            progress=report,
        )
    if split is not None and split != record.split:
        console.notes([f"no fruits of {split}: fitted on {record.split}, held out in training too"])
    if record.left_out:
        console.notes([f"left out {record.left_out} fruits that the grader learned from"])
    fitted = model.clusters
    right = sum(row["grade"] == row["given"] for row in record.observations)
    variance = float(fitted.explained_variance_ratio_.sum())
    adjusts = "adjusts grades" if model.adjusts else "leaves grades as they are"
    console.result(
        {
            "run": str(run),
            "split": record.split,
            "method": model.method,
            "observations": len(record.observations),
            "left_out": record.left_out,
            "right": right,
            "clusters": fitted.n_clusters_,
            "variance_kept": variance,
            "adjusts": model.adjusts,
            "corrected": model.trial.corrected,
            "spoiled": model.trial.spoiled,
        },
        f"{len(record.observations)} fruits of {record.split}, {right} right, in "
        f"{fitted.n_clusters_} clusters; {len(fitted.explained_variance_ratio_)} components keep "
        f"{variance:.0%} of the variance\n{adjusts}: tried on held-out fruits it corrected "
        f"{model.trial.corrected} and spoiled {model.trial.spoiled}",
    )


@reliability_app.command("report", epilog="Example: mezoroi reliability report runs/melon")
def report(
    run: Run,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Page; default RUN/reliability.html.")
    ] = None,
    language: Annotated[Language, typer.Option(help="Language shown first.")] = Language.ja,
    as_json: AsJson = False,
) -> None:
    """Show the clusters: where it looked, how often it was right there, and examples."""
    from mezoroi.reliability_runs import reliability_report

    console = Console(as_json)
    page = out if out is not None else run / "reliability.html"
    clusters, text = reliability_report(run, page, language.value)
    console.result({"page": str(page), "clusters": clusters}, f"{text}\n{page}")


@reliability_app.command(
    "suspects", epilog="Example: mezoroi reliability suspects runs/melon melons/ --split test"
)
def suspects(
    run: Run,
    data: Data,
    split: Annotated[str, typer.Option(help="train, val, calibration, test or all.")] = "all",
    most: Annotated[int, typer.Option(min=1, help="Fruits to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List fruits whose expert grade is contradicted, to be looked at again."""
    from mezoroi.datasets import load_graded
    from mezoroi.grader import Grader
    from mezoroi.trust_scores import find_suspects
    from mezoroi.workflow import with_splits_of

    console = Console(as_json)
    grader = Grader.load(run)
    dataset = with_splits_of(grader, load_graded(data, grader.standard))
    console.notes(dataset.notes)
    chosen = dataset if split == "all" else dataset.select(split)
    with console.progress() as progress:
        found = find_suspects(grader, chosen, progress)
    lines = [
        f"{one.score:.2f}  {one.id}: expert {one.grade}, grader {one.given} (against the expert: "
        f"model {one.model:.2f}, neighbours {one.neighbours:.2f}, cluster {one.cluster:.2f})"
        for one in found[:most]
    ]
    lines.append(f"{len(found)} of {len(chosen)} grades are contradicted")
    console.result([vars(one) for one in found[:most]], "\n".join(lines))


def _number_or(text: str | None, option: str, word: str, kind: type) -> Any:
    """The number that an option holds, or the one word that it may hold instead."""
    if text is None or text == word:
        return text
    try:
        return kind(text)
    except ValueError:
        raise MezoroiError(f"{option} is {text}: give a number or {word}") from None
