"""The study kit's files: who is in which arm, anonymised answers, effects."""

from __future__ import annotations

import csv
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mezoroi.errors import MezoroiError
from mezoroi.files import write_table, write_text
from mezoroi.practice.study import ANSWER_COLUMNS, TRIAL_COLUMNS, Effect, analyse, anonymise, assign


def assign_file(
    participants: Path, out: Path, arms: Sequence[str], seed: int, stratum: str | None = None
) -> dict[str, int]:
    """Assign the participants of a table to arms and write the table with a column `arm`.

    Parameters
    ----------
    participants : CSV with a column `participant`, in the order of enrolment
    stratum : name of the column that arms are balanced over, such as years of experience

    Returns
    -------
    participants by arm
    """
    if out.exists():
        raise MezoroiError(
            f"{out} exists: an assignment is drawn once; move the file away to draw another"
        )
    rows = read_rows(participants, ("participant", *([stratum] if stratum else ())))
    strata = [row[stratum] for row in rows] if stratum else None
    assigned = assign([row["participant"] for row in rows], arms, seed, strata)
    write_table(out, [{**row, "arm": assigned[row["participant"]]} for row in rows])
    return {arm: sum(given == arm for given in assigned.values()) for arm in arms}


def export_file(answers: Path, out: Path, key_file: Path) -> dict[str, int]:
    """Write answers under pseudonyms; the key is made where there is none.

    Returns
    -------
    counts of ``participants`` and ``answers``
    """
    if out.resolve() in (answers.resolve(), key_file.resolve()):
        raise MezoroiError(
            f"{out} would be overwritten, and the names with it: give another path with -o"
        )
    rows = read_rows(answers, ANSWER_COLUMNS)
    trial = anonymise(rows, _key(key_file))
    write_table(out, trial)
    return {"participants": len({row["participant"] for row in trial}), "answers": len(trial)}


def analyse_file(trial: Path, control: str, assigned: Path | None = None) -> list[Effect]:
    """The effects in a trial that `export_file` wrote.

    Parameters
    ----------
    assigned : the table that `assign_file` wrote
    """
    drawn = None
    if assigned is not None:
        drawn = Counter(row["arm"] for row in read_rows(assigned, ("participant", "arm")))
    return analyse(read_rows(trial, TRIAL_COLUMNS), control, assigned=drawn)


def effect_line(effect: Effect) -> str:
    """One line of text per effect."""
    value, low, high = effect.adjusted
    counts = ", ".join(
        f"{name} n = {effect.counted[name]} ({effect.missing[name]} missing; "
        f"median {_number(effect.delay[name])} days later, "
        f"{_number(effect.practised[name])} fruits practised)"
        for name in (effect.arm, effect.control)
    )
    if value != value:
        return f"{effect.test}: {effect.arm} - {effect.control}: not enough data; {counts}"
    chance = "p < 0.001" if effect.p_value < 0.001 else f"p = {effect.p_value:.3f}"
    return (
        f"{effect.test}: {effect.arm} - {effect.control}: {100 * value:+.1f} points "
        f"({100 * low:+.1f} to {100 * high:+.1f}), {chance}; {counts}"
    )


def _number(value: float) -> str:
    return "unknown" if value != value else f"{value:g}"


def read_rows(path: Path, columns: Sequence[str]) -> list[Mapping[str, Any]]:
    """Rows of a UTF-8 CSV file that has at least `columns`; how sure somebody was may be empty.

    Raises
    ------
    MezoroiError
        If the file is absent, is no UTF-8 table, lacks a column, or has no row.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream)
            rows = list(table)
            names = table.fieldnames or []
    except FileNotFoundError as error:
        raise MezoroiError(f"{path} does not exist: give the path of a CSV file") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MezoroiError(f"{path} is no UTF-8 CSV table ({error}): save it as one") from error
    absent = [name for name in columns if name not in names]
    if absent:
        raise MezoroiError(f"{path} has no column `{absent[0]}`: it needs {', '.join(columns)}")
    if not rows:
        raise MezoroiError(f"{path} has no rows: add some")
    for number, row in enumerate(rows, 2):
        if None in row:
            raise MezoroiError(f"{path} line {number} has more cells than columns: correct it")
        asked = [name for name in columns if name != "certainty"]
        empty = [name for name in asked if not (row[name] or "").strip()]
        if empty:
            raise MezoroiError(f"{path} line {number} has no `{empty[0]}`: fill it in")
    return [dict(row) for row in rows]


def _key(path: Path) -> bytes:
    if not path.exists():
        write_text(path, secrets.token_hex(32) + "\n")
        path.chmod(0o600)
    try:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise MezoroiError(
            f"{path} is no key of ours: give a path where one can be made, or the earlier key"
        ) from error
