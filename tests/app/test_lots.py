"""Lots, the summary of a day, and the shipping sheet."""

from __future__ import annotations

import html
import re
from datetime import datetime, timedelta

import pytest

from mezoroi.app.roles import Role
from mezoroi.app.routes import lots as lot_pages
from mezoroi.app.store import fruits, lots, tallies, users, verdicts
from mezoroi.app.store.finding import Filter
from mezoroi.app.store.fruits import Details
from mezoroi.app.tables import Lot
from tests.app.conftest import App
from tests.app.filled import add, judge, user_of

MORNING = datetime(2026, 9, 1, 8, 30).astimezone()


@pytest.fixture
def packed(either: App) -> App:
    """Five fruits on one day in two hours, three of them in a lot; one was corrected."""
    services = either.services
    lot = Details(lot="朝の畑", weight=1000)
    add(services, "A", when=MORNING, details=lot)
    add(services, "A", when=MORNING + timedelta(minutes=29), details=Details(lot="朝の畑"))
    add(services, "B", when=MORNING + timedelta(hours=2), details=lot)
    add(services, "D", when=MORNING + timedelta(hours=2), details=Details(brix=14.0))
    add(services, None, when=MORNING + timedelta(hours=2))
    add(services, "A", when=MORNING + timedelta(days=1))
    judge(services, 2, "wrong", own="B")
    return either


def test_a_day_is_counted_by_hand(packed: App) -> None:
    day = MORNING.date()
    with packed.services.database.read() as session:
        found = tallies.tally(session, Filter(start=day, end=day), "ABCD")
    assert [(item.grade, item.count, item.corrected) for item in found.grades] == [
        ("A", 1, 0),
        ("B", 2, 1),
        ("D", 1, 0),
    ]
    assert [item.share for item in found.grades] == [0.25, 0.5, 0.25]
    assert [item.weight for item in found.grades] == [1000, 1000, None]
    assert [item.brix for item in found.grades] == [None, None, 14.0]
    assert (found.graded, found.waiting, found.hidden, found.total) == (4, 1, 0, 5)
    assert (found.weight, found.weighed, found.corrected) == (2000, 2, 1)
    assert found.by_hour == {8: 2, 10: 3}
    assert found.by_day == {day: 5}


def test_the_count_leaves_out_what_an_expert_has_yet_to_grade_and_says_so(packed: App) -> None:
    client = packed.client(Role.EXPERT)
    for address in ("/summary?day=2026-09-01", "/lots/1"):
        page = client.get(address, headers={"accept-language": "en"}).text
        hidden = 3 if "day" in address else 2
        assert f"{hidden} fruits that you have yet to grade are not counted" in page
    with packed.services.database.read() as session:
        expert = users.find_user(session, "expert")
        assert expert is not None
        found = tallies.tally(session, Filter(end=MORNING.date(), blind_for=expert.id), "ABCD")
    assert [(item.grade, item.count) for item in found.grades] == [("B", 1)]
    assert (found.waiting, found.hidden, found.total) == (1, 3, 5)


def test_a_lot_is_counted_over_all_its_days(packed: App) -> None:
    with packed.services.database.read() as session:
        found = tallies.tally(session, Filter(lot=1), "ABCD")
    assert [(item.grade, item.count) for item in found.grades] == [("A", 1), ("B", 2)]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [("day=2026-09-01", (1, 2, 1)), ("lot=1", (1, 2)), ("day=2026-09-01&lot=1", (1, 2))],
)
def test_the_sheet_says_what_was_counted(packed: App, query: str, numbers: tuple[int, ...]) -> None:
    page = packed.client(Role.NEWCOMER).get(f"/summary/sheet?{query}").text
    for number in numbers:
        assert f'<td class="right">{number}</td>' in page
    assert ("朝の畑" in page) == ("lot" in query)
    assert ('<td class="right">14.0 °Bx</td>' in page) == ("lot" not in query)


def test_there_is_no_sheet_until_a_blind_grader_has_graded_all_of_it(packed: App) -> None:
    client = packed.client(Role.EXPERT)
    for query, left, ids in [("lot=1", 2, [3, 1]), ("day=2026-09-01&lot=1", 2, [3, 1])]:
        page = client.get(f"/summary/sheet?{query}", headers={"accept-language": "en"}).text
        assert f"not graded yet: {left} are left" in page
        for part in ("data-print", "<table", "<svg", 'class="sheet"'):
            assert part not in page, part
        goal = re.search(r'class="button main" href="([^"]+)"', page)
        assert goal is not None
        listed = client.get(html.unescape(goal[1])).text
        assert [int(n) for n in re.findall(r'thumbnail" href="/fruits/(\d+)"', listed)] == ids
    expert = user_of(packed.services, Role.EXPERT)
    with packed.services.database.write() as session:
        for fruit_id in (1, 3):
            grading = fruits.newest_grading(session, fruit_id)
            assert grading is not None
            verdicts.grade_blind(session, grading, expert.id, "A")
    page = client.get("/summary/sheet?lot=1").text
    assert "data-print" in page and '<td class="right">3</td>' in page


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("path", ["/lots", "/lots/1", "/summary?day=2026-09-01", "/summary"])
def test_the_pages_answer_in_both_languages(packed: App, path: str, language: str) -> None:
    page = packed.client(Role.NEWCOMER).get(path, headers={"accept-language": language})
    assert page.status_code == 200
    assert f'lang="{language}"' in page.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/lots/77", 404),
        ("/summary?day=soon", 422),
        ("/summary?lot=77", 404),
        ("/summary/sheet?lot=x", 422),
        ("/lots/x", 422),
    ],
)
def test_what_is_not_there_is_said(packed: App, path: str, status: int) -> None:
    assert packed.client(Role.NEWCOMER).get(path).status_code == status


def test_a_lot_is_made_offered_and_closed(app: App) -> None:
    client = app.client(Role.NEWCOMER)
    made = client.post("/lots", data={"name": " 9/1 夕 ", "orchard": "北"})
    assert made.headers["location"] == "/lots/1"
    assert client.post("/lots", data={"name": "9/1 夕"}).headers["location"] == "/lots/1"
    offer = '<option value="9/1 夕"></option>'
    assert offer in client.get("/").text
    client.post("/lots/1", data={"closed": "true", "orchard": "北", "note": "済"})
    assert offer not in client.get("/").text
    assert "済" in client.get("/lots/1").text
    assert client.post("/lots", data={"name": "  "}).status_code == 422
    assert client.post("/lots/77", data={}).status_code == 404


def test_the_lot_of_the_last_fruit_is_offered_again(app: App) -> None:
    client = app.client(Role.NEWCOMER)
    add(app.services, "A", details=Details(lot="朝"))
    assert 'name="lot" type="text" value="朝"' in client.get("/").text
    add(app.services, "A")
    assert 'name="lot" type="text" value=""' in client.get("/").text


def test_a_closed_lot_stays_closed_when_its_name_is_given_again(packed: App) -> None:
    client = packed.client(Role.NEWCOMER)
    client.post("/lots/1", data={"closed": "true", "note": "shipped"})
    answer = client.post("/lots", data={"name": "朝の畑", "orchard": "東"})
    assert answer.headers["location"] == "/lots/1"
    with packed.services.database.read() as session:
        lot = lots.get_lot(session, 1)
    assert lot is not None and lot.closed_at is not None
    assert (lot.orchard, lot.note) == ("東", "shipped")


def test_a_page_from_before_a_lot_was_closed_keeps_it_closed(packed: App) -> None:
    client = packed.client(Role.NEWCOMER)
    page = client.get("/lots/1").text
    form = page.split('action="/lots/1"')[1].split("</form>")[0]
    shown = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', form))
    assert shown.pop("closed") == "true", "a box that is not ticked is not sent"
    client.post("/lots/1", data={**shown, "closed": "true", "note": "shipped"})
    client.post("/lots/1", data={**shown, "orchard": "東"})
    with packed.services.database.read() as session:
        lot = lots.get_lot(session, 1)
    assert lot is not None and lot.closed_at is not None
    assert (lot.orchard, lot.note) == ("東", "shipped")
    reopened = {"shown_closed": "true", "shown_note": "shipped", "shown_orchard": "東"}
    client.post("/lots/1", data=reopened)
    with packed.services.database.read() as session:
        lot = lots.get_lot(session, 1)
    assert lot is not None and (lot.closed_at, lot.orchard, lot.note) == (None, "", "")


def test_older_lots_are_on_further_pages(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lot_pages, "PAGE", 2)
    client = app.client(Role.NEWCOMER)
    for name in ("a", "b", "c"):
        client.post("/lots", data={"name": name})
    pages = [client.get(f"/lots?page={page}").text for page in (1, 2, 9)]
    shown = [re.findall(r'href="/lots/(\d+)"', page) for page in pages]
    assert shown == [["3", "2"], ["1"], ["1"]]
    assert 'href="/lots?page=2"' in pages[0] and 'href="/lots?page=1"' in pages[1]


@pytest.mark.parametrize("page", ["/fruits", "/summary"])
def test_a_chosen_lot_is_among_those_to_choose_however_old(app: App, page: str) -> None:
    with app.services.database.write() as session:
        session.add_all([Lot(name=f"lot {number}") for number in range(202)])
    client = app.client(Role.NEWCOMER)
    option = '<option value="1" selected>lot 0</option>'
    assert option in client.get(f"{page}?lot=1").text
    assert '<option value="1"' not in client.get(page).text
    assert client.get(f"{page}?lot=202").text.count('<option value="202" selected>') == 1


def test_a_lot_is_the_same_however_its_name_is_typed(either: App) -> None:
    composed, of_a_mac = "がらす室", "か\N{COMBINING KATAKANA-HIRAGANA VOICED SOUND MARK}らす室"
    with either.services.database.write() as session:
        first = lots.find_or_add_lot(session, of_a_mac)
        assert first is not None
        assert lots.find_or_add_lot(session, f" {composed}\t") == first
        made = lots.get_lot(session, first)
        assert made is not None and made.name == composed
        assert lots.find_or_add_lot(session, "a\r\nb") == lots.find_or_add_lot(session, "a b")
        assert lots.find_or_add_lot(session, "\x1b \n") is None
        session.add(Lot(name=f"{of_a_mac}二"))  # as earlier versions kept it
        session.flush()
        kept = lots.find_or_add_lot(session, f"{of_a_mac}二")
        assert kept is not None and kept != first, "its fruits stay in it"
