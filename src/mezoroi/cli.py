"""The command line: one thin verb per function of the package.

Heavy imports stay inside the verbs, so that ``mezoroi --help`` answers at once.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from mezoroi import (
    __version__,
    cli_app,
    cli_backup,
    cli_bench,
    cli_explain,
    cli_export,
    cli_making,
    cli_references,
    cli_reliability,
    cli_study,
)
from mezoroi.cli_options import AsJson, Language, Run
from mezoroi.console import Console, leave_with
from mezoroi.errors import MezoroiError

_INTERRUPTED = 130

app = typer.Typer(
    name="mezoroi",
    help="Learn a fruit grading standard, grade new fruit and show why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_bench.bench_app, name="bench")
app.add_typer(cli_study.study_app, name="study")
app.add_typer(cli_reliability.reliability_app, name="reliability")


class Group(str, Enum):
    """What a split never separates."""

    specimen = "specimen"
    session = "session"


Data = Annotated[Path, typer.Argument(help="Folder of grades, or CSV or Parquet manifest.")]
Preset = Annotated[str, typer.Option(help="Settings to start from: quick, gradual, paper or tiny.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, as section.name=value.")
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"mezoroi {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command(epilog=cli_making.MELONS_EXAMPLE)(cli_making.make_melons)
app.command(epilog=cli_making.CAPTURE_EXAMPLE)(cli_making.capture)


@app.command(epilog="Example: mezoroi train melons/ -o runs/melon --set train.epochs=40")
def train(
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Run folder to write.")],
    preset: Preset = "quick",
    config: ConfigFile = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted training.")] = False,
    as_json: AsJson = False,
) -> None:
    """Learn the grading standard of a dataset."""
    from mezoroi.datasets import load_dataset
    from mezoroi.datasets.dataset import SPLITS
    from mezoroi.datasets.folders import require_outside
    from mezoroi.datasets.held_out import notes_on_held_out
    from mezoroi.presets import make_config, notes_on_preset

    console = Console(as_json)
    chosen = make_config(preset, config, overrides)
    console.notes(notes_on_preset(preset, config))
    require_outside(out, data)
    dataset = load_dataset(data)
    # These bring PyTorch, which takes seconds: faulty data and settings are told before.
    from mezoroi import outputs, workflow
    from mezoroi.run_folder import notes_on_resuming

    console.notes((*dataset.notes, *workflow.notes_on_settings(dataset, chosen)))
    console.notes(notes_on_held_out(dataset))
    if resume:
        console.notes(notes_on_resuming(out))
    with console.progress() as report:
        grader = workflow.train(dataset, chosen, out, resume=resume, progress=report)
    outputs.draw_training_curve(out)
    splits = Counter(grader.bundle.data["splits"].values())
    others = ", ".join(f"{splits[name]} {name}" for name in SPLITS[1:] if splits[name])
    console.result(
        {
            "run": str(out),
            "observations": len(dataset),
            "splits": dict(splits),
            "grades": list(grader.standard.grades),
        },
        f"learned from {splits['train']} of {len(dataset)} observations ({others}) of grades "
        f"{', '.join(grader.standard.grades)}; run folder: {out}",
    )


@app.command(epilog="Example: mezoroi grade runs/melon melon.mp4 folder/ -o out/")
def grade(
    run: Annotated[
        Path, typer.Argument(help="Run folder that `mezoroi train` wrote; none with --server.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for gradings and report.")],
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Photos, videos, captures, or folders.")
    ] = None,
    language: Annotated[Language, typer.Option(help="Language of charts.")] = Language.ja,
    batch_size: Annotated[int, typer.Option(min=1, help="Fruits at a time.")] = 16,
    server: Annotated[
        str | None, typer.Option(help="Grade through the app at this address, without RUN.")
    ] = None,
    token: Annotated[
        str, typer.Option(envvar="MEZOROI_TOKEN", help="Its key: `mezoroi users DATA token NAME`.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Grade fruit: a folder per fruit with its charts, and one report of the batch."""
    console = Console(as_json)
    if server is not None:
        cli_app.grade_on_server(server, token, [run, *(sources or ())], out, console)
        return
    if not sources:
        raise MezoroiError("no fruit to grade: name photos, videos, captures or folders after RUN")
    from mezoroi.app.i18n import catalogue
    from mezoroi.grader import Grader
    from mezoroi.grading import GradingFailure
    from mezoroi.outputs import grade_to_folder, grading_line

    grader = Grader.load(run)
    with console.progress() as report:
        results = grade_to_folder(
            grader,
            sources,
            out,
            language=language.value,
            batch_size=batch_size,
            progress=report,
            in_japanese=catalogue("ja").note,
        )
    failures = [item for item in results if isinstance(item, GradingFailure)]
    console.notes(grader.notes)
    for item in results:
        if not isinstance(item, GradingFailure):
            console.notes_on(item.source, [note for note in item.notes if note not in grader.notes])
    lines = [
        f"{item.source}: {item.error}" if isinstance(item, GradingFailure) else grading_line(item)
        for item in results
    ]
    lines.append(f"{len(results) - len(failures)} graded, {len(failures)} failed")
    lines.append(f"report: {out / 'report.html'}")
    console.result(
        {"report": str(out / "report.html"), "results": [item.to_dict() for item in results]},
        "\n".join(lines),
    )
    leave_with([item.error for item in failures], len(results), "graded")


@app.command(epilog="Example: mezoroi evaluate runs/melon melons/ --split test")
def evaluate(
    run: Run,
    data: Data,
    split: Annotated[str, typer.Option(help="train, val, calibration, test or all.")] = "test",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder; default RUN/evaluation/SPLIT.")
    ] = None,
    adjust: Annotated[
        bool, typer.Option("--adjust", help="Also score reliability: adjusted grades, suspects.")
    ] = False,
    language: Annotated[Language, typer.Option(help="Language of plots.")] = Language.ja,
    as_json: AsJson = False,
) -> None:
    """Score a grader on a split, with 95 % intervals by specimen."""
    from mezoroi.datasets import load_graded
    from mezoroi.grader import Grader
    from mezoroi.outputs import evaluate_to_folder
    from mezoroi.reliability_runs import notes_on_adjusting
    from mezoroi.report.evaluation import evaluation_text
    from mezoroi.trust_scores import fitted_reliability
    from mezoroi.workflow import with_splits_of

    console = Console(as_json)
    grader = Grader.load(run)
    dataset = load_graded(data, grader.standard)
    dataset = with_splits_of(grader, dataset)
    console.notes(dataset.notes)
    chosen = dataset if split == "all" else dataset.select(split)
    folder = out if out is not None else run / "evaluation" / split
    if adjust:
        fitted_reliability(grader)
        console.notes(notes_on_adjusting(run, chosen))
    elif grader.reliability is not None and grader.reliability.adjusts:
        console.notes(
            ["gradings of this run are adjusted, these scores are before that: --adjust adds both"]
        )
    with console.progress() as report:
        scores = evaluate_to_folder(grader, chosen, folder, language.value, report, adjust)
    console.result(scores, evaluation_text(scores) + f"\n{folder / 'evaluation.json'}")


app.command(epilog=cli_explain.EXAMPLE)(cli_explain.explain)
app.command(epilog=cli_references.SEARCH_EXAMPLE)(cli_references.search)
app.command(epilog=cli_references.REFERENCES_EXAMPLE)(cli_references.references)
app.command(epilog=cli_export.EXAMPLE)(cli_export.export)
app.command(epilog=cli_app.SERVE_EXAMPLE)(cli_app.serve)
app.command(epilog=cli_app.USERS_EXAMPLE)(cli_app.users)
app.command(epilog=cli_backup.BACKUP_EXAMPLE)(cli_backup.backup)
app.command(epilog=cli_backup.RESTORE_EXAMPLE)(cli_backup.restore)


@app.command(epilog="Example: mezoroi cross-validate melons/ --folds 3 --group session -o cv/")
def cross_validate(
    data: Data,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the folds' runs; an earlier one resumes.")
    ] = Path("runs/cross-validation"),
    folds: Annotated[int, typer.Option(min=2, help="Number of folds.")] = 3,
    group: Annotated[Group, typer.Option(help="What stays together.")] = Group.specimen,
    preset: Preset = "quick",
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train and test on every fold; each fruit is graded by a grader that never saw it."""
    from mezoroi.datasets import load_dataset
    from mezoroi.datasets.folders import require_outside
    from mezoroi.presets import make_config, notes_on_preset

    console = Console(as_json)
    chosen = make_config(preset, config, overrides)
    console.notes(notes_on_preset(preset, config))
    require_outside(out, data)
    dataset = load_dataset(data)
    # As in `train`, after what can be wrong with the data.
    from mezoroi import cross_validation, workflow
    from mezoroi.report.evaluation import evaluation_text

    console.notes((*dataset.notes, *workflow.notes_on_settings(dataset, chosen)))
    with console.progress() as report:
        scores = cross_validation.cross_validate(dataset, chosen, out, folds, group.value, report)
    console.result(scores, evaluation_text(scores["pooled"]) + f"\n{out / 'cross-validation.json'}")


@app.command(epilog="Example: mezoroi demo -o demo/")
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to make.")] = Path("demo"),
    per_grade: Annotated[int, typer.Option(min=4, help="Melons of each grade.")] = 60,
    preset: Preset = "quick",
    as_json: AsJson = False,
) -> None:
    """Make melons, train a grader on them, grade the test fruits and say where the report is."""
    from mezoroi.app.i18n import catalogue
    from mezoroi.demo import run_demo

    console = Console(as_json)
    with console.progress() as report:
        outcome = run_demo(out, per_grade, preset, report, catalogue("ja").note)
    accuracy = outcome["accuracy"]
    console.result(
        outcome, f"accuracy on unseen melons: {accuracy:.0%}\nreport: {outcome['report']}"
    )


@app.command(epilog="Example: mezoroi settings > my.yaml")
def settings() -> None:
    """Print every setting with its default and meaning, as a YAML file for `train --config`."""
    from mezoroi.config import example_yaml

    typer.echo(example_yaml(), nl=False)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every expected error is one line and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot write Japanese
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status: Any = app(args=given, prog_name="mezoroi", standalone_mode=False)
    except TyperException as error:
        _fail_as_used(error)
    except MezoroiError as error:
        problems = getattr(error, "problems", ())
        for problem in problems[:50] if len(problems) > 1 else ():
            print(f"  {problem}", file=sys.stderr)
        _fail(str(error))
    except (typer.Abort, KeyboardInterrupt):
        status = _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}: check free space and permissions")
    if status == _INTERRUPTED:  # also how Typer answers Ctrl-C
        again = "run the same command with --resume" if given[:1] == ["train"] else "run again"
        print(f"interrupted: what was finished is kept; {again} to continue", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def _fail_as_used(error: TyperException) -> None:
    """Say what was wrong with the arguments, and where to read about them.

    Without any where some are needed, the message of the error is the help.
    """
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    if context is not None and message == context.get_help():
        print(message, file=sys.stderr)
        sys.exit(2)
    line = " ".join(message.split()).rstrip(".").replace(": Value error, ", ": ")
    _fail(f"{line}: see {'mezoroi' if context is None else context.command_path} --help")


def _fail(reason: str) -> None:
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(2)
