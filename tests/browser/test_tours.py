"""Pages that no other test passes by: what is said when something is not there, waits or failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from mezoroi.app.store import calibration, fruits, users
from mezoroi.app.tables_learning import Specimen
from tests.browser.conftest import LANDSCAPE, PORTRAIT, Server
from tests.browser.test_grading import BOTH, Visits, send, surfaces
from tests.browser.test_house import database_of
from tests.browser.test_uploads import fruit_at_work


@pytest.mark.parametrize(
    ("size", "language"), [(PORTRAIT, "ja"), (LANDSCAPE, "en")], ids=["portrait-ja", "landscape-en"]
)
def test_an_experts_own_pages_are_in_order(
    visit: Visits, size: tuple[int, int], language: str
) -> None:
    tablet = visit(size, language, "expert")
    for name, path in {"account": "/account", "learners": "/practice/learners"}.items():
        tablet.go(path)
        tablet.look(name)
    tablet.go("/api")
    expect(tablet.page.locator(".opblock").first).to_be_visible()
    tablet.look("api")


@BOTH
def test_a_page_that_is_not_there_says_so(visit: Visits, size: tuple[int, int]) -> None:
    tablet = visit(size, user="newcomer")
    tablet.go("/fruits/999999")
    expect(tablet.page.locator("h1")).to_be_visible()
    tablet.look("error")
    assert tablet.troubles
    tablet.forgive("status of 404")


@BOTH
def test_a_fruit_that_waits_and_one_that_failed(
    visit: Visits, server: Server, tmp_path: Path, melons: Path, size: tuple[int, int]
) -> None:
    tablet = visit(size, user="newcomer")
    tablet.go(f"/fruits/{fruit_at_work(server)}")
    expect(tablet.page.locator("progress")).to_be_visible()
    tablet.look("waiting")
    broken = tmp_path / "melon.png"
    broken.write_bytes(surfaces(melons)[0].read_bytes()[:400])
    tablet.go("/")
    tablet.page.set_input_files("#file", broken)
    expect(tablet.page.locator("main .notice.error:visible")).to_be_visible(timeout=60_000)
    tablet.look("failed")


@BOTH
def test_a_fruit_of_an_open_session_is_not_told(
    visit: Visits, server: Server, melons: Path, size: tuple[int, int]
) -> None:
    tablet = visit(size, user="newcomer")
    send(tablet, surfaces(melons)[5])
    address = tablet.page.url
    number = int(address.rsplit("/", 1)[1].partition("?")[0])
    with database_of(server) as database, database.write() as session:
        grading = fruits.newest_grading(session, number)
        expert = users.find_user(session, "expert")
        assert grading is not None and expert is not None
        specimen = Specimen(fruit_id=number, name="melon", run_id=1, result=grading.result)
        session.add(specimen)
        session.flush()
        calibration.open_session(session, "", "hand", expert.id, 1, [specimen.id], [])
    tablet.page.goto(address)
    expect(tablet.page.locator("main .blind-page")).to_be_visible()
    expect(tablet.page.locator(".result")).to_have_count(0)
    tablet.look("secret")
