"""Many fruits in a real browser: found, corrected, counted, printed, and judged."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from mezoroi.app.database import Database
from mezoroi.app.store import fruits, users, verdicts
from mezoroi.app.store.fruits import Details
from mezoroi.app.tables import Fruit, GradingRow, Run, User
from tests.browser.conftest import LANDSCAPE, PORTRAIT, Server, Visit
from tests.browser.test_grading import send, surfaces

Visits = Callable[..., Visit]
BOTH = pytest.mark.parametrize("size", [PORTRAIT, LANDSCAPE], ids=["portrait", "landscape"])
COUNT = 80


@pytest.fixture(scope="module")
def harvest(
    run_dir: Path, start_server: Callable[[Path], Server], melons: Path
) -> Callable[[Visit], Server]:
    """A server of its own; called with its first visit, fills it with a day's work, once."""
    server = start_server(run_dir)
    filled: list[bool] = []

    def fill(visit: Visit) -> Server:
        if not filled:
            send(visit, surfaces(melons)[2])
            _multiply(server)
            filled.append(True)
        return server

    fill.server = server  # type: ignore[attr-defined]
    return fill


@pytest.fixture
def server(harvest: Callable[[Visit], Server]) -> Server:
    """What `visit` opens in this module."""
    found: Server = harvest.server  # type: ignore[attr-defined]
    return found


def _multiply(server: Server) -> None:
    """Many fruits like the first, with other grades, lots, hours and verdicts."""
    database = Database(f"sqlite:///{server.data / 'mezoroi.sqlite'}")
    draw = random.Random(7)
    morning = datetime.now().astimezone().replace(hour=8, minute=0, second=0, microsecond=0)
    with database.write() as session:
        first = session.get_one(Fruit, 1)
        result, run = session.get_one(GradingRow, 1).result, session.get_one(Run, 1)
        experts = [users.find_user(session, name) for name in ("expert", "admin")]
        for number in range(COUNT):
            fruit = fruits.add_fruit(
                session,
                content=first.content,
                media=first.media,
                size=first.size,
                name=f"melon-{number}.jpg",
                uploader_id=first.uploader_id,
                details=Details(
                    lot=draw.choice(["北の畑 朝", "南の畑"]),
                    weight=draw.randint(900, 1900),
                    brix=14.5,
                ),
            )
            fruit.created_at = morning + timedelta(minutes=draw.randint(0, 500))
            grade = draw.choices("ABCD", (5, 4, 1, 2))[0]
            likeness = draw.choices([1, 2, 3], (4, 4, 2))[0]
            alike = [grade, *(name for name in "ABCD" if name != grade)][:likeness]
            changes = {"grade": grade, "reliability": draw.random(), "resembles": alike}
            grading = fruits.add_grading(session, fruit.id, run, {**result, **changes})
            for expert in experts[: draw.randint(0, 2)]:
                assert expert is not None
                answer = draw.choices(verdicts.ANSWERS, (8, 2, 1))[0]
                own = draw.choice("ABCD") if answer != "agree" else None
                if expert.role == "expert" and draw.random() < 0.5:
                    verdicts.grade_blind(session, grading, expert.id, draw.choice([grade, "B"]))
                verdicts.give_verdict(session, grading, expert.id, answer, own_grade=own)
    database.close()


@pytest.mark.parametrize(
    ("size", "language"), [(PORTRAIT, "ja"), (LANDSCAPE, "en")], ids=["portrait-ja", "landscape-en"]
)
def test_every_page_is_in_order(
    visit: Visits, harvest: Callable[[Visit], Server], size: tuple[int, int], language: str
) -> None:
    tablet = visit(size, language, user="admin")
    harvest(tablet)
    for name, path in {
        "fruits": "/fruits",
        "none": "/fruits?grade=B&verdict=wrong&lot=1&start=2020-01-01&end=2020-01-02",
        "lots": "/lots",
        "lot": "/lots/1",
        "day": "/summary",
        "sheet": "/summary/sheet?lot=1",
        "validity": "/validity",
        "result": "/fruits/2",
    }.items():
        tablet.go(path)
        tablet.look(name)


def test_a_filter_narrows_the_list_and_stays_in_the_address(
    visit: Visits, harvest: Callable[[Visit], Server]
) -> None:
    tablet = visit(PORTRAIT, user="admin")
    harvest(tablet)
    page = tablet.page
    tablet.go("/fruits")
    whole = page.locator(".count b").inner_text()
    page.select_option("[name=grade]", "A")
    expect(page.locator(".count b")).not_to_have_text(whole)
    assert "grade=A" in page.url
    narrow = page.locator(".count b").inner_text()
    badges = page.locator("tbody td:nth-child(2) .badge")
    assert set(badges.all_inner_texts()) == {"A"}
    page.click("a[rel=next]")
    assert "grade=A" in page.url and "page=2" in page.url
    expect(page.locator("[name=grade]")).to_have_value("A")
    expect(page.locator(".count b")).to_have_text(narrow)
    with page.expect_download() as started:
        page.click("text=CSV")
    lines = Path(started.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) - 1 == int("".join(itertools.takewhile(str.isdigit, narrow)))
    page.go_back()
    expect(page.locator(".count b")).to_have_text(narrow)
    page.go_back()
    expect(page.locator(".count b")).to_have_text(whole)


def test_details_are_corrected_on_the_fruits_page(
    visit: Visits, harvest: Callable[[Visit], Server]
) -> None:
    tablet = visit(user="newcomer")
    harvest(tablet)
    page = tablet.page
    tablet.go("/fruits/3")
    page.tap("#details summary")
    page.fill("#details [name=weight]", "1234")
    page.fill("#details [name=lot]", "新しいロット")
    page.tap("#details button")
    expect(page.locator("#details .notice.done")).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("1234 g")
    page.tap(".facts a")
    expect(page.locator("h1")).to_contain_text("新しいロット")


def test_the_sheet_prints_without_colour_or_buttons(
    visit: Visits, harvest: Callable[[Visit], Server]
) -> None:
    tablet = visit(user="admin")
    harvest(tablet)
    tablet.go("/summary/sheet?lot=1")
    page = tablet.page
    expect(page.locator("[data-print]")).to_be_visible()
    page.emulate_media(media="print")
    expect(page.locator("[data-print]")).to_be_hidden()
    expect(page.locator("header.top")).to_be_hidden()
    tablet.look("print")
    colours = page.evaluate(
        "[...document.querySelectorAll('.bar-shape, .badge')].map(it => {"
        "const style = getComputedStyle(it);"
        "return it.tagName === 'rect' ? style.fill : style.backgroundColor})"
    )
    assert set(colours) == {"rgb(255, 255, 255)"}


def test_high_contrast_shows_what_is_chosen_and_charts_on_paper(
    visit: Visits, harvest: Callable[[Visit], Server]
) -> None:
    tablet = visit(user="admin")
    harvest(tablet)
    page = tablet.page
    page.emulate_media(forced_colors="active", color_scheme="dark")
    background = "it => getComputedStyle(it).backgroundColor"
    tablet.go("/summary")
    charts = page.locator("main svg").evaluate_all(f"all => all.map({background})")
    assert set(charts) == {"rgb(255, 255, 255)"}
    tablet.go("/fruits/2")
    chosen = page.locator(".switch input:checked + span").first.evaluate(background)
    other = page.locator(".switch input:not(:checked) + span").first.evaluate(background)
    assert chosen != other and chosen != "rgb(27, 27, 24)", "the page's own ink is as dark as it"


@BOTH
def test_long_names_push_nothing_out_of_sight(
    visit: Visits, harvest: Callable[[Visit], Server], size: tuple[int, int]
) -> None:
    tablet = visit(size, user="admin")
    server = harvest(tablet)
    word = "W" * 128
    database = Database(f"sqlite:///{server.data / 'mezoroi.sqlite'}")
    with database.write() as session:
        for number, lot in enumerate((word, "北山第三圃場" * 21), start=70):
            fruits.set_details(session, session.get_one(Fruit, number), Details(lot=lot))
        people = [user for user in users.list_users(session) if user.role != "expert"]
        for user in people:
            user.full_name = word
    try:
        for name, path in {
            "fruits": "/fruits?lot=3",
            "lots": "/lots",
            "learners": "/practice/learners",
            "study": "/practice/settings",
            "validity": "/validity",
            "log": "/admin/audit",
        }.items():
            tablet.go(path)
            tablet.look(f"long-{name}")
            right = tablet.page.evaluate(
                "Math.max(...[...document.querySelectorAll('main *')].filter(it => !it.closest("
                "'.unseen')).map(it => it.getBoundingClientRect().right))"
            )
            assert right <= size[0], name
    finally:
        with database.write() as session:
            for user in people:
                session.get_one(User, user.id).full_name = ""
        database.close()
