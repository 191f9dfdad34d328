"""The verbs about reference fruits: `search` and `references`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezoroi.cli_options import AsJson, Language, Run
from mezoroi.console import Console, Report, leave_with
from mezoroi.errors import MezoroiError

if TYPE_CHECKING:
    from mezoroi.grader import Grader

SEARCH_EXAMPLE = "Example: mezoroi search runs/melon fruit.jpg -k 8 -o out/"
REFERENCES_EXAMPLE = "Example: mezoroi references runs/melon add new_fruits/ --grade B"


class Action(str, Enum):
    """What is done with the references."""

    add = "add"
    remove = "remove"
    list = "list"
    rebuild = "rebuild"
    add_grade = "add-grade"


_USED: dict[Action, frozenset[str]] = {
    Action.add: frozenset({"items", "grade", "orchard", "date"}),
    Action.remove: frozenset({"items"}),
    Action.list: frozenset({"grade", "orchard", "date", "since", "until"}),
    Action.rebuild: frozenset(),
    Action.add_grade: frozenset({"items", "orchard", "date"}),
}
"""What each action takes besides the run and the place of its references."""
_MOST_FOUND = 100


Index = Annotated[
    str | None,
    typer.Option(
        help="References elsewhere: a file, a Milvus folder NAME.db, or http://HOST:PORT."
    ),
]
Grade = Annotated[str | None, typer.Option(help="Only this grade; of added fruits, their grade.")]
Orchard = Annotated[str | None, typer.Option(help="Only of this orchard; likewise.")]


def search(
    run: Run,
    sources: Annotated[list[Path], typer.Argument(help="Photos, videos, captures, or folders.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the sheets.")],
    k: Annotated[
        int, typer.Option("-k", min=1, help=f"Fruits to find, at most {_MOST_FOUND}.")
    ] = 8,
    grade: Grade = None,
    orchard: Orchard = None,
    since: Annotated[str | None, typer.Option(help="Only from this day on, as 2026-07-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Only up to this day.")] = None,
    index: Index = None,
    language: Annotated[Language, typer.Option(help="Language of the sheets.")] = Language.ja,
    as_json: AsJson = False,
) -> None:
    """Show the reference fruits most like a fruit, and where they are alike."""
    console = Console(as_json)
    _check_index(index)
    from mezoroi.grader import Grader
    from mezoroi.grading import GradingFailure
    from mezoroi.searching import search_to_folder

    grader = Grader.load(run, references=index)
    where: dict[str, Any] = _given(grade=grade, orchard=orchard)
    if since is not None or until is not None:
        where["date"] = (since, until)
    with console.progress() as report:
        results = search_to_folder(
            grader,
            sources,
            out,
            k=min(k, _MOST_FOUND),
            where=where,
            language=language.value,
            progress=report,
        )
    lines = []
    for item in results:
        if isinstance(item, GradingFailure):
            lines.append(f"{item.source}: {item.error}")
            continue
        lines.append(f"{item.source}: {item.grade}; sheet: {item.sheet}")
        lines += [
            f"  {found.similarity:.3f}  {found.grade or '?'}  {found.id}"
            for found in item.neighbours
        ]
    console.result(
        {"folder": str(out), "results": [item.to_dict() for item in results]}, "\n".join(lines)
    )
    failures = [item.error for item in results if isinstance(item, GradingFailure)]
    leave_with(failures, len(results), "searched for")


def references(
    run: Run,
    action: Annotated[Action, typer.Argument(help="What to do.")],
    items: Annotated[
        list[str] | None,
        typer.Argument(
            help="add: photos, captures, folders, or a manifest. remove: ids. "
            "add-grade: its name, then 1 to 5 examples."
        ),
    ] = None,
    grade: Grade = None,
    orchard: Orchard = None,
    date: Annotated[str | None, typer.Option(help="Only of this day; likewise.")] = None,
    since: Annotated[str | None, typer.Option(help="list: only from this day on.")] = None,
    until: Annotated[str | None, typer.Option(help="list: only up to this day.")] = None,
    index: Index = None,
    as_json: AsJson = False,
) -> None:
    """Add, remove or list reference fruits, rebuild their index, or add a grade from a few."""
    console = Console(as_json)
    given = items or []
    known: dict[str, Any] = _given(grade=grade, orchard=orchard, date=date)
    _check_use(action, given, {*known, *_given(since=since, until=until)})
    if since is not None or until is not None:
        known["date"] = (since, until)
    _check_index(index)
    from mezoroi.grader import Grader

    grader = Grader.load(run, references=None if action is Action.add else index)
    with console.progress() as report:
        if action is Action.add:
            _add(console, grader, run, given, known, index, report)
        elif action is Action.add_grade:
            _add_grade(console, grader, run, given, known)
        else:
            _manage(console, grader, action, given, known, report)


def _check_index(place: str | None) -> None:
    """Refuse a server that does not answer, before the network is loaded: that takes longer."""
    if place is not None and "://" in place:
        from mezoroi.retrieval import ReferenceIndex

        ReferenceIndex.exists(place)


def _check_use(action: Action, items: list[str], options: set[str]) -> None:
    """Refuse what an action would not look at."""
    used = _USED[action]
    if "items" in used and not items:
        raise MezoroiError(f"`{action.value}` needs to know what: see mezoroi references --help")
    if "items" not in used and items:
        raise MezoroiError(f"`{action.value}` takes no `{items[0]}`: leave it out")
    if unused := sorted(options - used):
        raise MezoroiError(f"`{action.value}` takes no --{unused[0]}: leave it out")
    if "date" in options and options & {"since", "until"}:
        raise MezoroiError("--date is one day, --since and --until are a range: give one of them")


def _add(
    console: Console,
    grader: Grader,
    run: Path,
    sources: list[str],
    known: dict[str, Any],
    place: str | None,
    report: Report,
) -> None:
    from mezoroi import references as rooms
    from mezoroi.new_references import find_new

    grader = rooms.with_gallery(grader, run, place)
    fruits = find_new(grader, sources, known)
    failures = rooms.add_references(grader, fruits, report)
    total = len(rooms.gallery_of(grader).index)
    lines = [f"{item.source}: {item.error}" for item in failures]
    lines.append(f"{len(fruits) - len(failures)} added, {len(failures)} failed; {total} references")
    console.result(
        {
            "added": len(fruits) - len(failures),
            "references": total,
            "failures": [item.to_dict() for item in failures],
        },
        "\n".join(lines),
    )
    leave_with([item.error for item in failures], len(fruits), "added")


def _add_grade(
    console: Console, grader: Grader, run: Path, items: list[str], known: dict[str, Any]
) -> None:
    from mezoroi.new_grade import MOST_EXAMPLES, add_grade
    from mezoroi.references import with_gallery

    name, *sources = items
    if not sources:
        raise MezoroiError(f"no examples of `{name}`: give 1 to {MOST_EXAMPLES} photos")
    grader = add_grade(with_gallery(grader, run), run, name, sources, known)
    grades = list(grader.standard.grades)
    threshold = float(grader.bundle.prototypes.thresholds[-1])
    console.result(
        {"grades": grades, "threshold": threshold},
        f"grades: {', '.join(grades)}; a fruit resembles {grades[-1]} from similarity "
        f"{threshold:.3f} on",
    )


def _manage(
    console: Console,
    grader: Grader,
    action: Action,
    ids: list[str],
    known: dict[str, Any],
    report: Report,
) -> None:
    from mezoroi.references import gallery_of

    gallery = gallery_of(grader)
    if action is Action.list:
        found = gallery.index.references(where=known)
        lines = [
            "  ".join((item.id, item.grade or "?", item.date or "-", item.orchard or "-"))
            for item in found
        ]
        lines.append(f"{len(found)} references in {gallery.index.place}")
        console.result([item.to_dict() for item in found], "\n".join(lines))
        return
    if action is Action.remove:
        gallery.remove(ids)
    else:
        gallery.index.rebuild(report)
    total = len(gallery.index)
    done = "removed" if action is Action.remove else "rebuilt"
    console.result({"references": total}, f"{done}; {total} references in {gallery.index.place}")


def _given(**values: str | None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
