"""References, masks, graders and administration, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, expect

import mezoroi as mz
from mezoroi.app.blobs import Blobs
from mezoroi.app.database import Database
from mezoroi.app.store import expert_grades, jobs, verdicts
from mezoroi.app.tables import Fruit, GradingRow, Job, User, now
from mezoroi.files import content_hash
from tests.browser.conftest import LANDSCAPE, PORTRAIT, Server
from tests.browser.test_grading import BOTH, Visits, send_and_look, surfaces

PLACES = {
    "references": "/references",
    "graders": "/graders",
    "admin": "/admin",
    "people": "/admin/users",
    "standard": "/admin/standard",
    "standard to read": "/standard",
    "settings": "/admin/house",
    "audit": "/admin/audit",
    "tokens": "/account/tokens",
}


@contextmanager
def database_of(server: Server) -> Iterator[Database]:
    database = Database(f"sqlite:///{server.data / 'mezoroi.sqlite'}")
    yield database
    database.close()


@pytest.mark.parametrize(
    ("size", "language"), [(PORTRAIT, "ja"), (LANDSCAPE, "en")], ids=["portrait-ja", "landscape-en"]
)
def test_every_page_of_the_house_is_in_order(
    visit: Visits, size: tuple[int, int], language: str
) -> None:
    tablet = visit(size, language, "admin")
    for name, path in PLACES.items():
        tablet.go(path)
        assert tablet.page.get_attribute("html", "lang") == language
        tablet.look(name)


def test_news_of_a_job_goes_on_after_a_proxy_answered_in_the_servers_place(
    visit: Visits, server: Server
) -> None:
    tablet = visit(PORTRAIT, "en", "expert")
    page, lost = tablet.page, tablet.page.locator("[data-unheard]")
    tablet.forgive("status of 502")
    with database_of(server) as database, database.write() as session:
        job = jobs.add_job(session, jobs.INDEX_REFERENCES)
        job.state, job.step, job.worker = "running", "indexing", "another"
        job.lease_until, number = now() + timedelta(hours=1), job.id
    page.clock.install()
    page.route("**/events", lambda route: route.fulfill(status=502))
    with page.expect_response("**/events"):
        tablet.go("/references")
    page.wait_for_timeout(200)
    with page.expect_response("**/events"):
        page.clock.run_for(3000)
    expect(lost).to_have_text("No connection. What this page shows may be old.")
    page.unroute("**/events")
    page.clock.run_for(3000)
    expect(lost).to_be_hidden()
    with database_of(server) as database, database.write() as session:
        session.get_one(Job, number).state = "done"
    expect(page.locator("[data-job]")).to_have_count(0)


@BOTH
def test_a_mask_is_painted_undone_saved_and_shown(
    visit: Visits, melons: Path, server: Server, size: tuple[int, int]
) -> None:
    tablet = visit(size, "ja", "expert")
    page = tablet.page
    send_and_look(tablet, surfaces(melons)[2 + (size == LANDSCAPE)])
    page.tap("a[href$='/mask']")
    page.wait_for_selector("[data-paint][data-started]")
    canvas = page.locator("[data-canvas]")
    expect(page.locator("[data-save-mask]")).to_be_disabled()
    box = canvas.bounding_box()
    assert box is not None

    def stroke(left: float, right: float) -> None:
        page.mouse.move(box["x"] + left * box["width"], box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + right * box["width"], box["y"] + box["height"] / 2, steps=5)
        page.mouse.up()

    page.check("[name=grade][value=D]", force=True)
    page.locator("[name=size]").fill("10")
    stroke(0.1, 0.4)
    page.check("[name=grade][value=A]", force=True)
    stroke(0.6, 0.9)
    stroke(0.2, 0.3)
    page.tap("[data-undo]")
    page.check("[name=tool][value=eraser]", force=True)
    stroke(0.85, 0.95)
    page.tap("[data-clear]")
    page.tap("[data-undo]")
    canvas.focus()
    for key in ("ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    expect(page.locator("[data-save-mask]")).to_be_in_viewport(ratio=1)
    tablet.look("paint")
    page.tap("[data-save-mask]")
    page.wait_for_selector(".result")
    page.wait_for_selector("[data-mask-source][data-started]")
    page.check("[data-mask-source]", force=True)
    page.wait_for_selector("[data-mask-layer][data-drawn]")
    tablet.look("painted")

    masks = page.evaluate(
        "async () => (await (await fetch(location.pathname + '/masks.json')).json())[0].masks"
    )
    assert set(masks) == {"A", "D"}
    width = int(page.locator("[data-mask-layer]").get_attribute("width") or 0)
    columns = {
        grade: [(runs[at] % width) / width for at in range(0, len(runs), 2)]
        for grade, runs in masks.items()
    }
    # The brush's radius, 6 % of the picture's width, is painted beyond the ends of a stroke.
    assert 0.03 < min(columns["D"]) < 0.11 and max(columns["D"]) < 0.4
    assert 0.53 < min(columns["A"]) < 0.61, "the stroke at 0.2 was undone"


def test_strokes_are_not_lost_with_the_page(visit: Visits, melons: Path) -> None:
    tablet = visit(user="expert")
    page = tablet.page
    send_and_look(tablet, surfaces(melons)[4])
    page.tap("a[href$='/mask']")
    page.wait_for_selector("[data-paint][data-started]")
    painting = page.url
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.tap("[data-canvas]")
    page.locator(".bar .quiet").tap()
    expect(page.locator("[data-save-mask]")).to_be_enabled()
    page.wait_for_timeout(500)
    assert asked == ["beforeunload"] and page.url == painting
    page.context.clear_cookies()  # the login ends
    tablet.forgiven.append("401")
    page.tap("[data-save-mask]")
    expect(page.locator("[data-problem]")).to_contain_text("ログインの期限が切れた")
    tablet.look("painted-without-login")
    with page.context.expect_page() as opened:
        page.locator("[data-problem] a").tap()
    opened.value.wait_for_load_state()
    replace(tablet, page=opened.value).log_in("expert")
    page.tap("[data-save-mask]")
    page.wait_for_selector(".result")
    assert asked == ["beforeunload"], "what is saved can be left"


def test_a_fruit_becomes_a_reference_in_one_tap_and_goes_again(visit: Visits, melons: Path) -> None:
    tablet = visit(PORTRAIT, "en", "admin")
    page = tablet.page
    send_and_look(tablet, surfaces(melons)[4])
    number = page.url.rsplit("/", 1)[1].partition("?")[0]
    page.locator("form[action$='/reference'] button", has_text="B").tap()
    expect(page.locator(".notice.done")).to_be_visible()
    link = page.locator(f".card.reference a[href='/fruits/{number}']")
    for _ in range(20):
        tablet.go("/references?grade=B")
        if link.count():
            break
        page.wait_for_timeout(500)
    expect(link).to_be_visible()
    tablet.look("reference")
    own = page.locator(f"a[href='/fruits/{number}']")
    card = page.locator(".card.reference", has=own)
    card.locator("summary").tap()
    tablet.look("remove")
    card.locator("button").tap()
    expect(link).to_have_count(0, timeout=20_000)


def test_a_grader_is_trained_followed_switched_to_and_back(
    visit: Visits, melons: Path, server: Server
) -> None:
    tablet = visit(LANDSCAPE, "en", "admin")
    page = tablet.page
    for photo in surfaces(melons):
        tablet.go("/")
        page.set_input_files("#file", photo)
        page.wait_for_url("**/fruits/*")
    expect(page.locator(".result")).to_be_visible(timeout=60_000)
    give_verdicts(server, melons)
    tablet.go("/graders")
    tablet.look("before")
    page.tap(".bar .main")
    expect(page.locator("[data-job]")).to_be_visible()
    expect(page.locator("[data-log]")).to_contain_text("training begins", timeout=60_000)
    tablet.look("training")
    expect(page.locator(".grader")).to_have_count(2, timeout=120_000)
    tablet.look("trained")
    newest, oldest = page.locator(".grader").all()
    expect(newest.locator("table")).to_be_visible()
    newest.locator("header button").tap()
    expect(page.locator(".grader.active h3")).to_have_text("Grader 2")
    send_and_look(tablet, surfaces(melons)[0])
    expect(page.locator(".facts")).to_contain_text("grader 2")
    tablet.go("/graders")
    oldest.locator("header button").tap()
    expect(page.locator(".grader.active h3")).to_have_text("Grader 1")


def give_verdicts(server: Server, melons: Path) -> None:
    """What the melons' maker says of every fruit, as an expert's verdicts."""
    truth = {content_hash(item.image): item.grade for item in mz.load_dataset(melons)}
    with database_of(server) as database:
        with database.write() as session:
            admin = session.query(User).filter_by(name="admin").one()
            for row in session.query(GradingRow).all():
                grade = truth.get(session.get_one(Fruit, row.fruit_id).content)
                if grade is not None:
                    answer = "agree" if grade == row.grade else "wrong"
                    verdicts.give_verdict(session, row, admin.id, answer, own_grade=grade)
        with database.read() as session:
            graded = expert_grades.expert_graded(session)
        assert len(graded) >= len(truth)
        assert all(Blobs(server.data / "blobs").picture(item.picture).is_file() for item in graded)


def test_a_person_is_added_and_a_backup_downloaded(visit: Visits) -> None:
    tablet = visit(PORTRAIT, "ja", "admin")
    page = tablet.page
    tablet.go("/admin/users")
    page.fill("#field-name", "tanaka")
    page.fill("#field-full_name", "田中")
    page.tap(".bar .main")
    expect(page.locator(".secret")).to_be_visible()
    tablet.look("added")
    card = page.locator(".person", has_text="tanaka")
    expect(card.locator("[action$='/password'] button")).to_be_hidden()
    card.locator(".renew summary").tap()
    tablet.look("renew")
    card.locator("[action$='/password'] button").tap()
    expect(page.locator(".secret")).to_be_visible()
    page.reload()
    expect(page.locator(".secret")).to_have_count(0)
    tablet.go("/admin")
    with page.expect_download() as download:
        page.locator("form[action='/admin/backup'] button").tap()
    assert download.value.suggested_filename.endswith(".zip")
