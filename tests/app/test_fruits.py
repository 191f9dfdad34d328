"""The list of fruits: filters, pages, export, corrections."""

from __future__ import annotations

import csv
import html
import io
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from mezoroi.app import exporting
from mezoroi.app.roles import Role
from mezoroi.app.store import finding, fruits, jobs, runs
from mezoroi.app.store.finding import Filter
from mezoroi.app.store.fruits import Details
from tests.app.conftest import App
from tests.app.filled import add, judge, result, user_of

NOON = datetime(2026, 9, 1, 12).astimezone()


@pytest.fixture
def filled(either: App) -> App:
    """Six fruits: what each is stands in the table of the test below."""
    services = either.services
    add(services, "A", when=NOON, reliability=0.95, details=Details(lot="朝"))
    add(services, "B", when=NOON + timedelta(days=1), reliability=0.8, details=Details(lot="朝"))
    add(services, "B", when=NOON + timedelta(days=1), reliability=0.4)
    add(services, "D", when=NOON + timedelta(days=2))
    add(services, None, when=NOON + timedelta(days=2))
    add(services, "C", when=NOON + timedelta(days=3), uploader=Role.EXPERT)
    judge(services, 2, "agree")
    judge(services, 3, "wrong", own="C")
    judge(services, 4, "agree")
    judge(services, 4, None)
    return either


def shown(client: TestClient, query: str) -> set[int]:
    page = client.get(f"/fruits?{query}")
    assert page.status_code == 200
    return {
        int(number) for number in re.findall(r'class="thumbnail" href="/fruits/(\d+)"', page.text)
    }


def rows_of(client: TestClient, query: str = "") -> list[dict[str, str]]:
    """The rows of the exported CSV."""
    content = client.get(f"/exports/fruits.csv?{query}").content
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", {1, 2, 3, 4, 5, 6}),
        ("start=&grade=&lot=", {1, 2, 3, 4, 5, 6}),
        ("grade=B", {2, 3}),
        ("grade=Z", set()),
        ("start=2026-09-02", {2, 3, 4, 5, 6}),
        ("end=2026-09-02", {1, 2, 3}),
        ("start=2026-09-02&end=2026-09-02", {2, 3}),
        ("verdict=agree", {2}),
        ("verdict=wrong", {3}),
        ("verdict=none", {1, 4, 6}),
        ("reliability=sure", {1}),
        ("reliability=fairly", {2}),
        ("reliability=unsure", {3}),
        ("reliability=unknown", {4, 6}),
        ("lot=1", {1, 2}),
        ("lot=1&grade=B&verdict=agree", {2}),
    ],
)
def test_filters_find_what_they_say(filled: App, query: str, ids: set[int]) -> None:
    assert shown(filled.client(Role.NEWCOMER), query) == ids


def test_a_filter_does_not_tell_a_blind_grader_the_grade(filled: App) -> None:
    client = filled.client(Role.EXPERT)
    assert shown(client, "") == {1, 2, 3, 4, 5, 6}
    assert shown(client, "grade=C") == shown(client, "grade=A") == set(), "whoever sent it"
    assert shown(client, "reliability=unknown") == {4}
    assert shown(client, "verdict=none") == {1, 4, 6}, "to be judged, which tells no grade"
    for query in ("verdict=none&grade=C", "verdict=none&reliability=sure"):
        assert shown(client, query) == set()
    page = client.get("/fruits?verdict=none").text
    assert len(re.findall('class="badge none">\\?<', page)) == 2
    assert re.findall('class="badge  grade-[0-9]">([A-D])<', page) == ["D"], "seen by who judged it"
    judged = rows_of(client, "verdict=none")
    assert {row["id"]: row["grade"] for row in judged} == {"1": "", "4": "D", "6": ""}
    table = rows_of(client)
    assert {row["id"] for row in table if not row["grade"]} == {"1", "5", "6"}
    assert not client.get("/summary?day=2026-09-04").text.count("badge grade-")
    judge(filled.services, 6, None, blind="B")
    assert shown(client, "grade=C") == {6}


@pytest.mark.parametrize(
    "query", ["start=yesterday", "end=2026-13-01", "start=0001-01-01", "verdict=maybe", "lot=x",
              "reliability=1", "lot=99999999999", "page=0", "grade=" + "x" * 65]
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_refused(filled: App, query: str) -> None:
    client = filled.client(Role.EXPERT)
    assert client.get(f"/fruits?{query}").status_code == 422
    if not query.startswith("page"):
        assert client.get(f"/exports/fruits.csv?{query}").status_code == 422


def test_a_list_calls_nothing_a_close_call_where_nothing_is_ahead(app: App) -> None:
    for is_clear in (True, False, None):
        add(app.services, "A", is_clear=is_clear)
    add(app.services, "A", is_clear=None, resembles=0)
    page = app.client(Role.NEWCOMER).get("/fruits", headers={"accept-language": "en"}).text
    decided = re.findall(r'<td><b class="badge[^>]*>A</b></td>\s*<td>([^<]*)</td>', page)
    assert decided == ["Unlike all grades", "–", "Close call", "Clear"]


def test_pages_hold_every_fruit_once_and_keep_the_filter(app: App) -> None:
    for number in range(65):
        add(app.services, "AB"[number % 2])
    client = app.client(Role.NEWCOMER)
    pages = [shown(client, f"grade=A&page={page}") for page in (1, 2)]
    assert sorted(pages[0] | pages[1]) == list(range(1, 66, 2))
    assert (len(pages[0]), len(pages[1])) == (30, 3)
    assert 'href="/fruits?grade=A&amp;page=2"' in client.get("/fruits?grade=A").text
    assert shown(client, "grade=A&page=77") == pages[1], "beyond the last page is the last"


def test_htmx_gets_the_list_alone(filled: App) -> None:
    client = filled.client(Role.NEWCOMER)
    part = client.get("/fruits?grade=B", headers={"hx-request": "true"}).text
    assert part.lstrip().startswith("<section") and "<html" not in part
    back = {"hx-request": "true", "hx-history-restore-request": "true"}
    assert "<html" in client.get("/fruits?grade=B", headers=back).text


def test_a_list_asks_again_while_a_fruit_of_it_is_at_work_and_no_longer(filled: App) -> None:
    client, part = filled.client(Role.NEWCOMER), {"hx-request": "true"}
    asks = re.compile(r'hx-get="([^"]+)" hx-trigger="every 3s"')
    assert asks.search(client.get("/fruits").text) is None
    user = user_of(filled.services, Role.NEWCOMER)
    with filled.services.database.write() as session:
        job = jobs.add_job(session, jobs.GRADE, fruit_id=5, user_id=user.id)
    assert asks.search(client.get("/fruits?grade=B").text) is None, "it is not listed"
    found = asks.search(client.get("/fruits?start=2026-09-03&page=1").text)
    assert found is not None
    address = html.unescape(found[1])
    assert address.startswith("/fruits?start=2026-09-03&page=1&known=")
    assert client.get(address, headers=part).status_code == 204, "nothing is new"
    with filled.services.database.write() as session:
        jobs.claim(session, jobs.GRADE, "worker", 1, 60)
    news = client.get(address, headers=part)
    assert news.status_code == 200 and asks.search(news.text) is not None
    with filled.services.database.write() as session:
        jobs.fail(session, job.id, "unreadable")
    news = client.get(address, headers=part)
    assert news.status_code == 200 and asks.search(news.text) is None


@pytest.mark.parametrize(
    "chosen",
    [
        Filter(grade="A"),
        Filter(verdict="wrong"),
        Filter(lot=1),
        Filter(start=NOON.date(), end=NOON.date()),
        Filter(reliability="unsure"),
    ],
    ids=lambda chosen: repr(chosen)[:60],
)
def test_no_filter_reads_all_fruits(app: App, chosen: Filter) -> None:
    from sqlalchemy import func, select
    from sqlalchemy.dialects import sqlite

    from mezoroi.app.tables import Fruit

    query = select(func.count()).select_from(Fruit).where(*chosen.conditions())
    options = {"literal_binds": True}
    sql = str(query.compile(dialect=sqlite.dialect(), compile_kwargs=options))
    with app.services.database.read() as session:
        plan = " ".join(
            str(row) for row in session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")
        )
    assert "USING" in plan and "INDEX" in plan


def test_what_a_fruit_repeats_follows_its_verdicts(app: App) -> None:
    number = add(app.services, "B")

    def now() -> tuple[str | None, str | None, str | None]:
        with app.services.database.read() as session:
            fruit = fruits.get_fruit(session, number)
        assert fruit is not None
        return fruit.grade, fruit.verdict, fruit.expert_grade

    assert now() == ("B", None, None)
    judge(app.services, number, None, blind="C")
    assert now() == ("B", None, "C")
    judge(app.services, number, "plausible", own="A")
    assert now() == ("B", "plausible", "A")
    judge(app.services, number, "agree", by=Role.ADMIN)
    assert now() == ("B", "agree", "B")
    judge(app.services, number, None, by=Role.ADMIN)
    assert now() == ("B", "plausible", "A"), "the other expert's verdict counts again"
    judge(app.services, number, None)
    assert now() == ("B", None, "C"), "the blind grade stands"
    number = add(app.services, "B")
    judge(app.services, number, "wrong", blind="B")
    assert now() == ("B", "wrong", None), "which is not what the expert says any more"
    judge(app.services, number, "wrong", own="C")
    judge(app.services, number, "plausible", own="A", by=Role.ADMIN)
    judge(app.services, number, "wrong", own="C", note="seen again")
    assert now() == ("B", "plausible", "A"), "another note is no newer grade"
    judge(app.services, number, "wrong", own="C", note="seen again")
    assert now() == ("B", "wrong", "C"), "the same said again is"


def test_csv_and_parquet_say_the_same(filled: App) -> None:
    client = filled.client(Role.ADMIN)
    answer = client.get("/exports/fruits.csv?grade=B")
    assert answer.headers["content-disposition"] == 'attachment; filename="fruits.csv"'
    assert answer.content.startswith("\ufeff".encode())
    rows = rows_of(client, "grade=B")
    table = parquet.read_table(io.BytesIO(client.get("/exports/fruits.parquet?grade=B").content))
    assert table.column_names == list(rows[0])
    assert [row["id"] for row in rows] == ["3", "2"] == [str(i) for i in table["id"].to_pylist()]
    assert (rows[0]["verdict"], rows[0]["expert_grade"]) == ("wrong", "C")
    assert rows[1]["lot"] == "朝" == table["lot"][1].as_py()
    assert table["similarity_B"].to_pylist() == [0.9, 0.9]
    assert table["sent_at"][0].as_py() == datetime.fromisoformat(rows[0]["sent_at"])
    empty = parquet.read_table(io.BytesIO(client.get("/exports/fruits.parquet?grade=Z").content))
    assert (empty.num_rows, empty.column_names) == (0, table.column_names)


def test_the_export_has_the_experts_grade_of_the_sheet(app: App) -> None:
    number = add(app.services, "B")
    judge(app.services, number, "wrong", own="C")
    judge(app.services, number, "wrong", by=Role.ADMIN)
    expert, admin = app.client(Role.EXPERT), app.client(Role.ADMIN)

    def told(client: TestClient) -> tuple[str, str, str]:
        (row,) = rows_of(client)
        table = parquet.read_table(io.BytesIO(client.get("/exports/fruits.parquet").content))
        assert (table["expert_grade"][0].as_py() or "") == row["expert_grade"]
        return row["verdict"], row["verdict_by"], row["expert_grade"]

    assert told(admin) == told(expert) == ("wrong", "admin", "C")
    with app.services.database.write() as session:
        run = runs.active_run(session)
        assert run is not None
        fruits.add_grading(session, number, run, result("B"))
    assert told(admin) == ("", "", "C")
    assert told(expert) == ("", "", ""), "who is asked for the grade again is told none"


def test_an_export_in_pieces_is_whole(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "_PIECE", 2)
    ids = [add(app.services, "A") for _ in range(5)]
    client = app.client(Role.ADMIN)
    rows = rows_of(client)
    assert [int(row["id"]) for row in rows] == ids[::-1]
    table = parquet.read_table(io.BytesIO(client.get("/exports/fruits.parquet").content))
    assert table["id"].to_pylist() == ids[::-1]


@given(st.text(max_size=20))
def test_no_text_is_taken_for_a_formula(text: str) -> None:
    cell = exporting.plain(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell.removeprefix("'") == text or cell == text


def test_a_formula_in_a_name_is_disarmed(app: App) -> None:
    add(
        app.services, "A", name='=HYPERLINK("http://evil")', details=Details(note="-1+1", brix=12.5)
    )
    (row,) = rows_of(app.client(Role.ADMIN))
    assert (row["file"], row["note"], row["brix"]) == (
        '\'=HYPERLINK("http://evil")',
        "'-1+1",
        "12.5",
    )


def test_newcomers_take_no_tables_along(filled: App) -> None:
    assert filled.client(Role.NEWCOMER).get("/exports/fruits.csv").status_code == 403


def test_details_are_corrected_and_what_stood_there_is_kept(filled: App) -> None:
    client = filled.client(Role.NEWCOMER)
    form = {"weight": "1200", "brix": "１３,５", "lot": "夕", "note": " 傷あり "}
    assert client.post("/fruits/1/details", data=form).headers["location"] == "/fruits/1?saved=true"
    with filled.services.database.read() as session:
        fruit = fruits.get_fruit(session, 1)
        assert fruit is not None and fruit.lot is not None
        assert (fruit.weight, fruit.brix, fruit.lot.name, fruit.note) == (
            1200,
            13.5,
            "夕",
            "傷あり",
        )
    page = client.get("/fruits/1?saved=true").text
    assert "<dd>13.5 °Bx</dd>" in page
    assert 'value="13.5"' in page and 'value="夕"' in page
    assert client.post("/fruits/77/details", data=form).status_code == 404


def form_on(page: str) -> dict[str, str]:
    """The fields of the details on a page, as the browser sends them."""
    form = page.split('action="/fruits/1/details"')[1].split("</form>")[0]
    return dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', form))


def test_of_two_who_correct_a_fruit_each_keeps_what_the_other_wrote(filled: App) -> None:
    client = filled.client(Role.NEWCOMER)
    client.post("/fruits/1/details", data={"note": "傷", "orchard": "北"})
    shown = form_on(client.get("/fruits/1").text)
    client.post("/fruits/1/details", data={**shown, "weight": "1200", "lot": "", "note": "深い傷"})
    wrong = client.post("/fruits/1/details", data={**shown, "brix": "14.5.", "orchard": ""})
    again = form_on(wrong.text)
    assert again["brix"] == "14.5." and again["shown_note"] == "傷"
    assert client.post("/fruits/1/details", data={**again, "brix": "14.5"}).status_code == 303
    with filled.services.database.read() as session:
        fruit = fruits.get_fruit(session, 1)
        assert fruit is not None
        found = fruits.get_details(fruit)
    assert found == fruits.Details(weight=1200, brix=14.5, note="深い傷")


def test_a_note_of_several_lines_stays_when_something_else_is_corrected(filled: App) -> None:
    client = filled.client(Role.NEWCOMER)
    client.post("/fruits/1/details", data={"note": "one\ntwo"})
    client.post(
        "/fruits/1/details",
        data={"note": "onetwo", "shown_note": "one\r\ntwo", "weight": "1200"},
    )
    with filled.services.database.read() as session:
        fruit = fruits.get_fruit(session, 1)
    assert fruit is not None and (fruit.note, fruit.weight) == ("one\ntwo", 1200)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"brix": "abc"}, "糖度「abc」は数値ではありません"),
        ({"weight": "5e9"}, "重さ「5000000000」は正しくありません。0 から 50000 まで"),
    ],
)
def test_details_with_a_wrong_number_are_shown_again_as_they_were_written(
    filled: App, given: dict[str, str], problem: str
) -> None:
    client = filled.client(Role.NEWCOMER)
    form = {"weight": "1200", "lot": "夕", "note": "傷あり", **given}
    page = client.post("/fruits/1/details", data=form)
    assert page.status_code == 422 and problem in page.text
    for value in form.values():
        assert f'value="{value}"' in page.text
    (name,) = given
    assert re.findall(r'<input id="field-(\w+)"[^>]*aria-invalid', page.text) == [name]
    with filled.services.database.read() as session:
        fruit = fruits.get_fruit(session, 1)
        assert fruit is not None and fruit.lot is not None
        assert (fruit.lot.name, fruit.note) == ("朝", ""), "nothing was saved"
    assert client.post("/fruits/77/details", data=form).status_code == 404


def test_ten_thousand_fruits_are_listed_from_an_index(app: App) -> None:
    """Not a timing: the work is counted in rows that SQLite steps over."""
    from sqlalchemy import insert

    from mezoroi.app.tables import Fruit

    row = {"content": "0" * 64, "media": "image/jpeg", "size": 1, "uploader_id": 1, "name": ""}
    with app.services.database.write() as session:
        session.execute(insert(Fruit), [{**row, "grade": "AB"[n % 50 == 0]} for n in range(10_000)])
    with app.services.database.read() as session:
        assert finding.count(session, Filter(grade="B")) == 200
        found = finding.find(session, Filter(grade="B"), 170, 30)
    assert [item.fruit.id for item in found] == list(range(1451, 0, -50))


def test_every_column_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "app.md").read_text(encoding="utf-8")
    section = page[page.index("### Columns of the export") : page.index("## Validity")]
    documented = set(re.findall(r"`(\w+)`", section))
    assert documented - {"agree", "plausible", "wrong"} == {*exporting.COLUMNS, "similarity_GRADE"}
