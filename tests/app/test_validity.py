"""The page on validity, from verdicts that were counted by hand."""

from __future__ import annotations

import re

import pytest

from mezoroi.app.judging import validity
from mezoroi.app.roles import Role
from mezoroi.app.store import runs
from mezoroi.app.store import validity as store
from mezoroi.app.store.finding import Filter
from tests.app.conftest import App
from tests.app.filled import add, judge


@pytest.fixture
def judged(either: App) -> App:
    """Five fruits: grade, number of grades it resembles, and what was answered."""
    services = either.services
    for grade, resembles in [("A", 2), ("A", 1), ("B", 2), ("C", 3), ("D", 2)]:
        add(services, grade, resembles=resembles)
    judge(services, 1, "agree")
    judge(services, 1, "wrong", own="D", by=Role.ADMIN)
    judge(services, 2, "plausible", own="B")
    judge(services, 3, "agree", blind="A")
    judge(services, 4, None, blind="B")
    judge(services, 5, "wrong")
    judge(services, 5, "plausible", own="C")
    return either


def counted(app: App, *, several_only: bool) -> tuple[dict[str, object], object]:
    with app.services.database.read() as session:
        run = runs.active_run(session)
        assert run is not None
        found = validity(
            store.judged(session, Filter(), run.id),
            store.graded_counts(session, Filter(), run.id),
            {},
            "ABCD",
            is_ordered=True,
            several_only=several_only,
            costs=(100.0, 10.0),
        )
    rows = {row.name: (row.graded, row.several, row.charts.answers) for row in found.grades}
    return dict(rows), found


def test_only_fruits_like_several_grades_count_as_in_the_paper(judged: App) -> None:
    rows, found = counted(judged, several_only=True)
    assert rows == {
        "A": (2, 1, (1, 0, 1)),
        "B": (1, 1, (1, 0, 0)),
        "C": (1, 1, (0, 0, 0)),
        "D": (1, 1, (0, 1, 0)),
    }
    total = found.total  # type: ignore[attr-defined]
    assert (total.graded, total.several, total.charts.answers) == (5, 4, (2, 1, 1))
    assert (total.charts.per_fruit.count, total.charts.per_fruit.total) == (2, 3)


def test_all_fruits_count_on_demand(judged: App) -> None:
    rows, _ = counted(judged, several_only=False)
    assert rows["A"] == (2, 1, (1, 1, 1))


def test_a_blind_grade_counts_before_the_one_given_later(judged: App) -> None:
    """Grades of Mezoroi and of the experts: A-A, A-D, A-B, B-A blind, C-B blind, D-C."""
    _, found = counted(judged, several_only=True)
    accepted = found.total.accepted  # type: ignore[attr-defined]
    assert (accepted.count, accepted.total) == (1, 6)
    blind = found.accepted_blind  # type: ignore[attr-defined]
    assert (blind.count, blind.total) == (0, 2)
    errors = found.misgrading  # type: ignore[attr-defined]
    assert (errors.over, errors.over_steps) == (2, 3 + 1)
    assert (errors.under, errors.under_steps) == (3, 3)
    assert errors.cost == 100 * 4 + 10 * 3


def test_an_expert_sees_their_own_numbers_an_administrator_all(judged: App) -> None:
    page = judged.client(Role.ADMIN).get("/validity").text
    assert (
        '<th scope="row" class="words">admin</th>' in page
        and '<th scope="row" class="words">expert</th>' in page
    )
    page = judged.client(Role.EXPERT).get("/validity").text
    assert (
        '<th scope="row" class="words">admin</th>' not in page
        and '<th scope="row" class="words">expert</th>' in page
    )


def test_costs_are_set_by_the_administrator_and_kept(judged: App) -> None:
    client = judged.client(Role.ADMIN)
    answer = client.post("/validity/costs", data={"over": "300", "under": "50.5"})
    assert answer.headers["location"] == "/validity?saved=true"
    page = client.get("/validity", headers={"accept-language": "en"}).text
    assert "One grade too good costs 300, one too low 50.5." in page
    assert costs_of(page) == ["1,200.0", "151.5", "1,351.5"]
    assert judged.client(Role.EXPERT).post("/validity/costs").status_code == 403


@pytest.mark.parametrize(
    ("over", "under", "shown", "each"),
    [
        ("300", "1000000", ["1,200", "3,000,000", "3,001,200"], "500200.00"),
        ("0.25", "0.5", ["1.00", "1.50", "2.50"], "0.4167"),
        ("0.001", "1", ["0.004", "3.000", "3.004"], "0.50067"),
        ("0", "1e-7", ["0.0000000", "0.0000003", "0.0000003"], "0.000000050"),
    ],
)
def test_costs_are_shown_as_finely_as_they_were_set(
    judged: App, over: str, under: str, shown: list[str], each: str
) -> None:
    client = judged.client(Role.ADMIN)
    client.post("/validity/costs", data={"over": over, "under": under})
    page = client.get("/validity", headers={"accept-language": "en"}).text
    assert costs_of(page) == shown
    assert f"Cost per compared grade: {each}." in page


def costs_of(page: str) -> list[str]:
    """The cost of grades too good, of those too low, and of all."""
    rows = page.split('<th scope="col" class="right">Cost</th>')[1].split("</tbody>")[0]
    return re.findall(r'class="right">([^<]*)</td></tr>', rows)


@pytest.mark.parametrize("cost", ["-1", "nan", "inf", "1e10", "much"])
def test_costs_that_make_no_sense_are_refused(app: App, cost: str) -> None:
    form = {"over": cost, "under": "1"}
    assert app.client(Role.ADMIN).post("/validity/costs", data=form).status_code == 422


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 200), ("run=1&charts=all", 200), ("run=9", 404), ("run=x", 422), ("start=x", 422)],
)
def test_the_page_answers(judged: App, query: str, status: int) -> None:
    assert judged.client(Role.EXPERT).get(f"/validity?{query}").status_code == status


def test_the_page_opens_on_the_verdicts_on_all_fruits(judged: App) -> None:
    client = judged.client(Role.ADMIN)
    answers = {}
    for query in ("", "charts=all", "charts=several"):
        page = client.get(f"/validity?{query}", headers={"accept-language": "en"}).text
        total = page.split("Fruits graded")[1].split('class="sum"')[1].split("</tr>")[0]
        numbers = re.findall(r'class="right">(\d+)</td>', total)
        answers[query] = [int(number) for number in numbers[1:4]]
    assert answers[""] == answers["charts=all"] == [2, 2, 1]
    assert answers["charts=several"] == [2, 1, 1]


def test_without_verdicts_the_page_says_so(app: App) -> None:
    page = app.client(Role.EXPERT).get("/validity", headers={"accept-language": "en"})
    assert "There is no verdict here yet" in page.text


def test_what_an_expert_has_yet_to_grade_is_not_told(judged: App) -> None:
    """The expert graded or judged fruits 1 to 5; on 6 and 7 only the administrator spoke."""
    english = {"accept-language": "en"}
    add(judged.services, "D", resembles=2)
    page = judged.client(Role.EXPERT).get("/validity", headers=english).text
    assert "1 fruit that you have yet to grade is not counted here" in page
    add(judged.services, "D")
    judge(judged.services, 6, "agree", by=Role.ADMIN)
    page = judged.client(Role.EXPERT).get("/validity", headers=english).text
    assert "2 fruits that you have yet to grade are not counted here" in page
    assert total_of(page) == 5
    page = judged.client(Role.ADMIN).get("/validity", headers=english).text
    assert "not counted here" not in page and total_of(page) == 7


def total_of(page: str) -> int:
    """Fruits graded, by the sum of the table of charts."""
    table = page.split("Fruits graded")[1]
    return int(table.split('class="sum"')[1].split('class="right">')[1].split("<")[0])


def test_errors_are_counted_by_grade_that_was_compared(judged: App) -> None:
    page = judged.client(Role.ADMIN).get("/validity", headers={"accept-language": "en"}).text
    assert "Grades compared" in page and '<td class="right">5 / 6</td>' in page
    assert "Cost per compared grade" in page
