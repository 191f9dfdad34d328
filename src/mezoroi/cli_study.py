"""The verbs below `study`: a trial of practice with people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mezoroi.cli_options import AsJson
from mezoroi.console import Console

study_app = typer.Typer(
    help="A trial of practice with people: assign to arms, export, analyse.", no_args_is_help=True
)


@study_app.command(
    "assign", epilog="Example: mezoroi study assign people.csv -o arms.csv --stratum years"
)
def study_assign(
    participants: Annotated[
        Path, typer.Argument(help="CSV with a column participant, in the order of enrolment.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="CSV to write; never overwritten.")],
    arms: Annotated[str, typer.Option(help="Names with commas between them.")] = "adaptive,random",
    stratum: Annotated[
        str | None, typer.Option(help="Column that the arms are balanced over.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Fix it before the first enrolment.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Assign participants to arms at random, in permuted blocks."""
    from mezoroi.practice.study_files import assign_file

    names = [name.strip() for name in arms.split(",") if name.strip()]
    counts = assign_file(participants, out, names, seed, stratum)
    told = ", ".join(f"{arm} {count}" for arm, count in counts.items())
    Console(as_json).result({"file": str(out), "arms": counts}, f"{told}; {out}")


@study_app.command(
    "export", epilog="Example: mezoroi study export answers.csv -o trial.csv --key-file secret.key"
)
def study_export(
    answers: Annotated[
        Path,
        typer.Argument(
            help="CSV: participant, arm, phase, at, specimen, truth, given, certainty, seconds."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="CSV to write.")],
    key_file: Annotated[
        Path, typer.Option(help="Secret behind the pseudonyms; made where there is none.")
    ],
    as_json: AsJson = False,
) -> None:
    """Write answers that name nobody: pseudonyms, and days since the first answer."""
    from mezoroi.practice.study_files import export_file

    counts = export_file(answers, out, key_file)
    Console(as_json).result(
        {"file": str(out), "key_file": str(key_file), **counts},
        f"{counts['answers']} answers of {counts['participants']} participants; {out}\n"
        f"{key_file} leads from names to pseudonyms: keep it secret, or delete it for good",
    )


@study_app.command("analyse", epilog="Example: mezoroi study analyse trial.csv --control random")
def study_analyse(
    trial: Annotated[Path, typer.Argument(help="CSV that `study export` wrote.")],
    control: Annotated[str, typer.Option(help="Arm that others are compared with.")] = "random",
    assigned: Annotated[
        Path | None,
        typer.Option(help="CSV that `study assign` wrote: who never answered counts as missing."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The effect of each arm in each test, adjusted for the pre-test, with its 95 % interval."""
    from mezoroi.practice.study_files import analyse_file, effect_line

    effects = analyse_file(trial, control, assigned)
    Console(as_json).result(
        [effect.to_dict() for effect in effects], "\n".join(map(effect_line, effects))
    )
