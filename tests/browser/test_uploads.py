"""Pictures sent over a connection that comes and goes, in a real browser."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Route, expect

from mezoroi.app.store import fruits, jobs
from mezoroi.app.store.fruits import Details
from mezoroi.app.tables import Fruit, User, now
from tests.browser.conftest import PORTRAIT, Server, Visit
from tests.browser.test_grading import Visits, send_and_look, surfaces
from tests.browser.test_house import database_of

TOLD = (
    "ERR_FAILED",
    *(f"status of {status}" for status in (403, 415, 500)),
    *("htmx:sendError", "htmx:afterRequest"),
)
_NOTHING_IS_KEPT = """async () => {
  const asked = indexedDB.open("mezoroi", 1);
  const database = await new Promise((tell) => { asked.onsuccess = () => tell(asked.result); });
  const count = database.transaction("uploads").objectStore("uploads").count();
  return await new Promise((tell) => { count.onsuccess = () => tell(count.result === 0); });
}"""


def cut(visit: Visit) -> None:
    """Let no upload through."""

    def lose(route: Route) -> None:
        if route.request.method == "POST":
            route.abort()
        else:
            route.continue_()

    visit.page.route("**/fruits", lose)


def mend(visit: Visit) -> None:
    """Let uploads through again."""
    visit.page.unroute("**/fruits")
    forgive(visit)


def forgive(visit: Visit) -> None:
    """What the browser told of requests that the test let fail is no trouble."""
    visit.forgive(*TOLD)


def wait_until_sent(visit: Visit) -> None:
    """Wait until the server has all that was kept on the tablet."""
    for _ in range(60):
        if visit.page.evaluate(_NOTHING_IS_KEPT):
            return
        visit.page.wait_for_timeout(500)
    raise AssertionError("pictures are still kept")


def fruits_of(visit: Visit) -> list[dict[str, object]]:
    answer = visit.page.request.get(visit.server.url + "/api/v1/fruits?most=200")
    found: list[dict[str, object]] = answer.json()
    return found


def fruit_at_work(server: Server) -> int:
    """A fruit that a grader has at hand, and never finishes."""
    with database_of(server) as database, database.write() as session:
        user = session.query(User).filter_by(name="newcomer").one()
        fruit = fruits.add_fruit(
            session,
            content="0" * 64,
            media="image/png",
            size=1,
            name="melon.png",
            uploader_id=user.id,
            details=Details(),
        )
        job = jobs.add_job(session, jobs.GRADE, fruit_id=fruit.id, user_id=user.id)
        job.state, job.worker, job.lease_until = "running", "another", now() + timedelta(hours=1)
        return fruit.id


def test_a_second_photo_chosen_meanwhile_is_sent_too(visit: Visits, melons: Path) -> None:
    tablet = visit(user="newcomer")
    tablet.go("/")
    page = tablet.page
    before = len(fruits_of(tablet))
    cut(tablet)
    page.set_input_files("#file", surfaces(melons)[0])
    page.set_input_files("#file", surfaces(melons)[1])
    expect(page.locator("[data-waiting]")).to_contain_text("2")
    mend(tablet)
    page.wait_for_url("**/fruits", timeout=30_000)
    assert len(fruits_of(tablet)) == before + 2


def test_what_waits_outlives_the_page_and_goes_to_its_own_user(
    visit: Visits, melons: Path, server: Server
) -> None:
    tablet = visit(PORTRAIT, user="newcomer")
    tablet.go("/")
    page = tablet.page
    waiting = page.locator("[data-waiting]")
    before = len(fruits_of(tablet))
    cut(tablet)
    page.tap(".send summary")
    page.fill("#field-weight", "1234")
    page.set_input_files("#file", surfaces(melons)[:2])
    expect(waiting).to_contain_text("2 件をこの端末に保存しました")
    tablet.look("waiting")
    page.reload()
    expect(waiting).to_contain_text("2 件")
    tablet.go("/account")
    expect(waiting).to_contain_text("2 件")

    page.context.clear_cookies()
    tablet.log_in("expert")
    page.wait_for_load_state("networkidle")
    mend(tablet)
    tablet.go("/fruits")
    page.wait_for_load_state("networkidle")
    expect(waiting).to_be_hidden()
    assert len(fruits_of(tablet)) == before

    page.context.clear_cookies()
    tablet.log_in("newcomer")
    tablet.go("/account")
    expect(waiting).to_be_hidden()
    wait_until_sent(tablet)
    assert len(fruits_of(tablet)) == before + 2
    with database_of(server) as database, database.read() as session:
        sent = session.query(Fruit).order_by(Fruit.id.desc()).limit(2)
        assert [(each.uploader.name, each.weight) for each in sent] == [("newcomer", 1234)] * 2


def test_what_a_page_keeps_is_not_sent_as_another_user(
    visit: Visits, melons: Path, server: Server
) -> None:
    tablet = visit(user="newcomer")
    tablet.go("/")
    page, before = tablet.page, len(fruits_of(tablet))
    waiting = page.locator("[data-waiting]")
    cut(tablet)
    page.set_input_files("#file", surfaces(melons)[0])
    expect(waiting).to_contain_text("通信できません")
    page.context.clear_cookies()
    other = replace(tablet, page=page.context.new_page())
    other.log_in("expert")
    mend(tablet)
    expect(waiting).to_contain_text("ログインの期限が切れました", timeout=20_000)
    assert len(fruits_of(other)) == before
    page.context.clear_cookies()
    other.log_in("newcomer")
    wait_until_sent(other)
    assert len(fruits_of(tablet)) == before + 1
    with database_of(server) as database, database.read() as session:
        last = session.query(Fruit).order_by(Fruit.id.desc()).limit(1).one()
        assert last.uploader.name == "newcomer"
    forgive(tablet)


def test_a_photo_that_the_server_stumbles_over_is_kept_and_stops_no_other(
    visit: Visits, melons: Path
) -> None:
    tablet = visit(user="newcomer")
    tablet.go("/")
    page, before = tablet.page, len(fruits_of(tablet))

    def stumble(route: Route) -> None:
        if b"bad.png" in (route.request.post_data_buffer or b""):
            route.fulfill(status=500, json={"error": "", "detail": ""})
        else:
            route.continue_()

    content = surfaces(melons)[6].read_bytes()
    page.route("**/fruits", stumble)
    page.set_input_files(
        "#file",
        [
            {"name": name, "mimeType": "image/png", "buffer": content}
            for name in ("bad.png", "good.png")
        ],
    )
    waiting = page.locator("[data-waiting]")
    expect(waiting).to_contain_text("サーバーに問題があるため、写真や動画 2 件を")
    expect(waiting).to_contain_text("写真や動画 1 件を", timeout=20_000)
    page.reload()
    expect(waiting).to_contain_text("写真や動画 1 件を")
    page.unroute("**/fruits")
    wait_until_sent(tablet)
    assert len(fruits_of(tablet)) == before + 2
    forgive(tablet)


def test_a_page_that_a_network_answers_with_takes_no_photo(visit: Visits, melons: Path) -> None:
    tablet = visit(user="newcomer")
    tablet.go("/")
    page, before = tablet.page, len(fruits_of(tablet))
    answered: list[str] = []

    def log_in_here(route: Route) -> None:
        answered.append(route.request.url)
        route.fulfill(status=200, content_type="text/html", body="<h1>Wi-Fi</h1>")

    page.route("**/fruits", log_in_here)
    page.set_input_files("#file", surfaces(melons)[4])
    expect(page.locator("[data-waiting]")).to_contain_text("1 件")
    assert answered and len(fruits_of(tablet)) == before
    page.unroute("**/fruits")
    page.wait_for_url(re.compile(r"/fruits/\d+"), timeout=30_000)
    assert len(fruits_of(tablet)) == before + 1


def test_a_verdict_that_was_not_heard_is_told_and_can_be_tapped_again(
    visit: Visits, melons: Path
) -> None:
    tablet = visit(user="expert")
    page = tablet.page
    send_and_look(tablet, surfaces(melons)[3])
    page.route("**/verdict", lambda route: route.abort())
    page.tap(".answer.plausible")
    unheard = page.locator("[data-unheard]")
    expect(unheard).to_contain_text("保存されていません")
    tablet.look("unheard")
    page.unroute("**/verdict")
    page.tap(".answer.plausible")
    expect(page.locator(".given")).to_be_visible()
    expect(unheard).to_be_hidden()
    forgive(tablet)


def test_what_a_page_asks_does_not_hide_that_a_tap_was_not_heard(
    visit: Visits, melons: Path, server: Server
) -> None:
    tablet = visit(user="expert")
    page = tablet.page
    send_and_look(tablet, surfaces(melons)[3])
    number = int(page.url.rsplit("/", 1)[1].partition("?")[0])
    with database_of(server) as database, database.write() as session:
        job = jobs.add_job(session, jobs.GRADE, fruit_id=number)
        job.state, job.worker, job.lease_until = "running", "another", now() + timedelta(hours=1)
    page.reload()
    page.route("**/verdict", lambda route: route.abort())
    page.tap(".answer.plausible")
    unheard = page.locator("[data-unheard]")
    expect(unheard).to_contain_text("保存されていません")
    for _ in range(2):  # it asks again only when it has taken the first answer
        page.wait_for_event("response", lambda answer: "/progress" in answer.url)
    expect(unheard).to_be_visible()
    expect(unheard).to_contain_text("保存されていません")
    page.route("**/progress*", lambda route: route.abort())
    for _ in range(2):
        page.wait_for_event("requestfailed", lambda asked: "/progress" in asked.url)
    expect(unheard).to_contain_text("保存されていません")
    page.unroute_all()
    page.tap(".answer.plausible")
    expect(page.locator(".given")).to_be_visible()
    expect(unheard).to_be_hidden()
    forgive(tablet)


def test_a_waiting_page_asks_again_after_a_lost_answer(visit: Visits, server: Server) -> None:
    tablet = visit(user="newcomer")
    page = tablet.page
    number = fruit_at_work(server)
    asked: list[str] = []

    def lose_first(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.abort()
        else:
            route.continue_()

    page.route("**/progress*", lose_first)
    tablet.go(f"/fruits/{number}")
    unheard = page.locator("[data-unheard]")
    expect(unheard).to_be_visible()
    expect(unheard).to_be_hidden(timeout=20_000)
    assert len(asked) > 1
    forgive(tablet)


def test_a_list_follows_its_fruits_and_leaves_the_filter_alone(
    visit: Visits, server: Server
) -> None:
    tablet = visit(user="newcomer")
    page, fruit_id = tablet.page, fruit_at_work(server)
    tablet.go("/fruits")
    row = page.locator("tbody tr", has=page.locator(f"a[href='/fruits/{fruit_id}']"))
    expect(row).to_contain_text("判定しています")
    page.focus("[name=start]")
    with database_of(server) as database, database.write() as session:
        job = jobs.newest_job(session, fruit_id)
        assert job is not None
        jobs.fail(session, job.id, "unreadable")
    expect(row).to_contain_text("判定できませんでした", timeout=15_000)
    expect(page.locator("[name=start]")).to_be_focused()
    assert page.url.endswith("/fruits"), "the address stays"


def test_refused_files_are_named_and_the_others_are_sent(
    visit: Visits, melons: Path, tmp_path: Path
) -> None:
    letter, large, good = tmp_path / "letter.jpg", tmp_path / "large.png", tmp_path / "good.png"
    letter.write_text("this is a letter")
    shutil.copy(surfaces(melons)[5], good)
    large.write_bytes(good.read_bytes() + bytes(1))
    tablet = visit(user="newcomer")
    tablet.go("/")
    page, before = tablet.page, len(fruits_of(tablet))
    page.evaluate(
        "most => { document.querySelector('[data-upload]').dataset.most = most; }",
        good.stat().st_size,
    )
    page.set_input_files("#file", [letter, large, good])
    told = page.locator("[data-problem] p")
    expect(told).to_have_count(2)
    expect(page.locator("[data-status]")).to_have_text("写真や動画 1 件を送りました。")
    expect(told.filter(has_text="letter.jpg")).to_contain_text("写真でも動画でもありません")
    expect(told.filter(has_text="large.png")).to_contain_text("ファイルが大きすぎます")
    assert len(fruits_of(tablet)) == before + 1
    tablet.look("refused")
    forgive(tablet)


def test_an_upload_that_is_never_answered_is_sent_again(visit: Visits, melons: Path) -> None:
    tablet = visit(user="newcomer")
    page, before = tablet.page, len(fruits_of(tablet))
    page.clock.install()
    tablet.go("/")
    page.route("**/fruits", lambda route: None)  # as a connection that died
    with page.expect_request("**/fruits"):
        page.set_input_files("#file", surfaces(melons)[7])
    page.clock.run_for(121_000)
    expect(page.locator("[data-waiting]")).to_contain_text("通信できません。写真や動画 1 件")
    page.unroute("**/fruits")
    page.clock.run_for(3_000)
    page.wait_for_url("**/fruits/*")
    assert len(fruits_of(tablet)) == before + 1


def test_a_folder_that_is_dropped_is_told_and_the_photo_beside_it_sent(
    visit: Visits, melons: Path, tmp_path: Path
) -> None:
    photo = surfaces(melons)[6]
    tablet = visit(user="newcomer")
    tablet.go("/")
    page, before = tablet.page, len(fruits_of(tablet))
    hand = page.context.new_cdp_session(page)
    box = page.locator("[data-drop] .hint").bounding_box()
    assert box is not None
    dragged = {"items": [], "files": [str(tmp_path), str(photo)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"type": kind, "x": box["x"] + 5, "y": box["y"] + 5}
        hand.send("Input.dispatchDragEvent", {**place, "data": dragged})
    told = page.locator("[data-problem] p")
    expect(told).to_have_text(
        f"{tmp_path.name}: フォルダーは送れません。開いて、中の写真や動画を選んでください。"
    )
    expect(page.locator("[data-status]")).to_have_text("写真や動画 1 件を送りました。")
    assert len(fruits_of(tablet)) == before + 1


def test_a_wrong_number_is_marked_in_its_field_and_the_photo_not_blamed(
    visit: Visits, melons: Path
) -> None:
    tablet = visit(user="newcomer")
    tablet.go("/")
    page, before = tablet.page, len(fruits_of(tablet))
    page.click("#send summary")
    page.fill("[name=brix]", "abc")
    page.click("#send summary")
    photo = surfaces(melons)[5]
    page.set_input_files("#file", photo)
    told = page.locator("[data-problem] p")
    expect(told).to_contain_text("糖度「abc」は数値ではありません")
    expect(told).to_contain_text(f"もう一度 {photo.name} を選んでください")
    field = page.locator("[name=brix]")
    expect(field).to_be_visible()
    expect(field).to_have_attribute("aria-invalid", "true")
    tablet.look("wrong-number")
    assert len(fruits_of(tablet)) == before
    page.fill("[name=brix]", "14,2")
    expect(page.locator("[aria-invalid]")).to_have_count(0)
    page.set_input_files("#file", photo)
    page.wait_for_url(re.compile("/fruits/[0-9]+$"))
    tablet.forgive("status of 422")


def test_a_refusal_of_what_an_earlier_page_kept_can_be_read(
    visit: Visits, melons: Path, tmp_path: Path
) -> None:
    letter = tmp_path / "letter.jpg"
    letter.write_text("this is a letter")
    tablet = visit(user="newcomer")
    tablet.go("/")
    page = tablet.page
    cut(tablet)
    page.set_input_files("#file", letter)
    expect(page.locator("[data-waiting]")).to_contain_text("1 件")
    page.reload()
    expect(page.locator("[data-waiting]")).to_contain_text("1 件")
    page.set_input_files("#file", surfaces(melons)[1])
    expect(page.locator("[data-waiting]")).to_contain_text("2 件")
    mend(tablet)
    expect(page.locator("[data-status]")).to_have_text("写真や動画 1 件を送りました。")
    expect(page.locator("[data-problem] p")).to_contain_text("letter.jpg")
    forgive(tablet)


def test_a_file_refused_while_the_first_is_graded_leaves_no_bar_that_runs_on(
    visit: Visits, melons: Path
) -> None:
    tablet = visit(user="newcomer")
    tablet.go("/")
    page = tablet.page
    status = page.locator("[data-status]")
    held: list[Route] = []
    page.route("**/progress", lambda route: held.append(route))
    page.set_input_files("#file", surfaces(melons)[2])
    expect(status).to_have_text("判定しています …")
    page.evaluate("() => { document.querySelector('[data-upload]').dataset.most = 1; }")
    page.set_input_files("#file", surfaces(melons)[3])
    expect(page.locator("[data-problem] p")).to_contain_text("ファイルが大きすぎます")
    for route in held:
        route.continue_()
    page.unroute("**/progress")
    expect(status).to_have_text("写真や動画 1 件を送りました。")
    expect(page.locator("[data-progress]")).to_have_attribute("value", "100")
