"""A calibration session with three graders, each in a browser of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, specimens, users
from mezoroi.app.tables_learning import CalibrationFruit, Specimen
from tests.browser.conftest import LANDSCAPE, PORTRAIT, TABLET, Server, Visit
from tests.browser.test_practice import add_user, database_of, wait_until_prepared

Visits = Callable[..., Visit]


def known_grade(server: Server, page: Page) -> str:
    """The grade that the fruit on the page has already, if any: another would dispute it."""
    action = page.locator("form.consensus").get_attribute("action")
    assert action is not None
    with database_of(server) as session:
        fruit = session.get_one(CalibrationFruit, int(action.split("/")[-2]))
        grade = session.get_one(Specimen, fruit.specimen_id).grade
    return grade or "B"


def test_three_graders_grade_blind_reveal_and_settle(visit: Visits, server: Server) -> None:
    names = ("grader-1", "grader-2", "grader-3")
    for name in names:
        add_user(server, name, Role.EXPERT)
    leader = visit(LANDSCAPE, "ja", names[0])
    others = [visit(PORTRAIT, "en", names[1]), visit(PORTRAIT, "ja", names[2])]
    wait_until_prepared(leader)
    leader.go("/calibration")
    leader.look("sessions")
    leader.page.tap(".bar .main")
    leader.page.tap(".ways button >> nth=3")
    leader.page.fill("[name=title]", "9月1日")
    leader.page.fill("[name=count]", "3")
    leader.look("new")
    leader.page.tap(".bar .main")
    leader.page.wait_for_selector("form[action$='/join']")
    address = leader.page.url.removeprefix(server.url)
    for other in others:
        other.go(address)
    leader.look("start")
    for tablet in (leader, *others):
        tablet.page.tap(".bar .main")
        tablet.page.wait_for_selector("[data-question]:visible")
    leader.look("grade")
    others[0].look("grade")
    # In turn, fruit by fruit: three tablets in use at the same time.
    for number in range(1, 4):
        for tablet, grade in zip((leader, *others), "ABD", strict=True):
            page = tablet.page
            small = page.locator("[data-question]:visible h1 small")
            expect(small).to_contain_text(f"{number} / 3")
            expect(page.locator(".badge")).to_have_count(0)
            if tablet is others[1] and number == 3:
                continue  # the last one takes a while
            page.tap(f"[data-question]:visible .letter >> text='{grade}'")
    # The last grade of each can be taken back for ten seconds.
    expect(leader.page.locator("[role=status] b")).to_have_text("2", timeout=30_000)
    leader.look("waiting")
    others[1].page.tap("[data-question]:visible .letter >> text='D'")
    others[1].page.tap("[data-finish]")  # or at once
    expect(leader.page.locator("[role=status] b")).to_have_text("3", timeout=15_000)
    expect(others[0].page.locator(".bar .main")).to_have_count(0)
    leader.page.tap(".bar .main")
    expect(leader.page.locator("[data-figure=alpha] b")).to_be_visible(timeout=30_000)
    for other in others:
        other.page.wait_for_url(f"**{address}/reveal", timeout=30_000)
    leader.look("reveal")
    others[0].look("reveal")

    page = leader.page
    page.tap(".bar .main")
    # Mezoroi's grade stands beside the graders' where it did not learn from the fruit.
    expect(page.locator(".said li").nth(2)).to_be_visible()
    expect(page.locator("[data-overlay-map][data-drawn]").first).to_be_visible()
    page.fill("[name=note]", "網目の乱れは小さい")
    page.press("[name=note]", "Enter")
    page.wait_for_load_state()
    expect(page.locator("[aria-pressed=true]")).to_have_count(0)
    expect(page.locator("[name=note]")).to_have_value("網目の乱れは小さい")
    agreed = known_grade(server, page)
    page.tap(f".consensus .letter >> text='{agreed}'")
    expect(page.locator("[aria-pressed=true]")).to_have_text(agreed)
    leader.look("fruit")
    page.tap(".next")
    expect(page.locator("h1 small")).to_contain_text("2 / 3")
    others[1].go(f"{address}/reveal")
    expect(others[1].page.locator(".bar-text")).to_contain_text("3 玉中 1 玉")
    others[1].page.tap(".card.fruit >> nth=0")
    others[1].page.wait_for_url("**/fruits/*")
    others[1].look("fruit")
    leader.go("/calibration/drift")
    leader.look("drift")


@pytest.mark.parametrize("size", [PORTRAIT, (820, 1180), TABLET], ids=["768", "820", "1024"])
def test_a_consensus_can_be_taken_back(
    visit: Visits, server: Server, size: tuple[int, int]
) -> None:
    add_user(server, "settler", Role.EXPERT)
    tablet = visit(size, "en", "settler")
    wait_until_prepared(tablet)
    page = tablet.page
    with database_of(server) as session:
        user = users.find_user(session, "settler")
        assert user is not None
        ids = [item.id for item in specimens.known_specimens(session)][:2]
        found = calibration.open_session(session, "", "hand", user.id, 1, ids, [])
        for fruit in calibration.fruits_of(session, found.id):
            calibration.give_grade(session, found, fruit, user.id, "A", 0.0, "")
        calibration.close(session, found)
    tablet.go(f"/calibration/{found.id}/reveal")
    page.tap(".bar .main")
    agreed = known_grade(server, page)
    page.tap(f".consensus .letter >> text='{agreed}'")
    back = page.locator(".consensus [value='']", has_text="Take back")
    expect(back).to_be_in_viewport(ratio=1)
    legend = page.locator(".consensus legend")
    expect(legend).to_have_text("Agreed grade")
    parts = [legend, back, page.locator(".next"), *page.locator(".consensus .letter").all()]
    boxes = [box for part in parts if (box := part.bounding_box()) is not None]
    assert len(boxes) == len(parts) and boxes[0]["width"] > 48, "the legend is to be seen"
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            assert (
                one["x"] + one["width"] <= other["x"]
                or other["x"] + other["width"] <= one["x"]
                or one["y"] + one["height"] <= other["y"]
                or other["y"] + other["height"] <= one["y"]
            )
    tablet.look("settled")
    back.tap()
    expect(page.locator("[aria-pressed=true]")).to_have_count(0)


def open_for(server: Server, leader: str, count: int) -> int:
    """Open a session of the first fruits; its number."""
    with database_of(server) as session:
        user = users.find_user(session, leader)
        assert user is not None
        ids = [item.id for item in specimens.known_specimens(session)][:count]
        return calibration.open_session(session, "", "hand", user.id, 1, ids, []).id


def wait_until_sent(page: Page) -> None:
    """Wait until the tablet keeps no answer any more; the page's policy forbids to do it there."""
    for _ in range(150):
        if page.evaluate("localStorage.getItem('mezoroi-answers')") == "[]":
            return
        page.wait_for_timeout(200)
    raise AssertionError("an answer still waits on the tablet")


def test_a_session_survives_a_lost_connection(visit: Visits, server: Server) -> None:
    for name in ("lost-leader", "lost-grader"):
        add_user(server, name, Role.EXPERT)
    leader, tablet = visit(LANDSCAPE, "en", "lost-leader"), visit(PORTRAIT, "ja", "lost-grader")
    wait_until_prepared(leader)
    number = open_for(server, "lost-leader", 3)
    address = f"/calibration/{number}"
    page = tablet.page
    tablet.go(address)
    page.tap(".bar .main")
    page.wait_for_selector("[data-question]:visible")
    page.wait_for_load_state("networkidle")
    page.tap("[data-question]:visible .letter >> text='A'")
    expect(page.locator("[data-question]:visible h1 small")).to_contain_text("2 / 3")
    wait_until_sent(page)
    page.context.set_offline(True)
    page.tap("[data-question]:visible .letter >> text='B'")
    kept = page.locator("[data-answers-status]")
    expect(kept).to_contain_text("この端末に保存しました", timeout=20_000)

    # The leader does not wait, and is told so; what was given before still counts.
    leader.go(address)
    leader.page.tap("a[href$='?lead=true']")
    leader.page.tap(".bar .main")
    expect(leader.page.locator(".notice.warning:visible")).to_have_text(
        "1 grader has not finished."
    )
    leader.look("sure")
    leader.page.tap("[name=sure]")
    leader.page.wait_for_url(f"**{address}/reveal")
    page.wait_for_timeout(1000)
    page.route("**/count", lambda route: route.abort())  # or the page would go on to the results
    page.context.set_offline(False)
    wait_until_sent(page)
    with database_of(server) as session:
        given = [item.grade for item in calibration.grades_of(session, number)]
    assert given == ["A", "B"]

    # Too late: the page says so, also when another is opened before it is sent.
    page.route("**/fruits/*", lambda route: route.abort())
    page.tap("[data-question]:visible .letter >> text='D'")
    expect(kept).to_contain_text("この端末に保存しました", timeout=20_000)
    tablet.go("/lots")
    line = page.locator("[data-answers-line]")
    expect(line).to_contain_text("1 件をこの端末に保存しました")
    tablet.look("kept")
    page.unroute("**/fruits/*")
    expect(line).to_contain_text("1 件は受け付けられませんでした", timeout=15_000)
    expect(line).to_contain_text("公開")
    tablet.look("refused")
    tablet.forgive("ERR_INTERNET_DISCONNECTED", "ERR_FAILED", "status of 422")


def test_who_is_still_grading_at_the_reveal_is_led_to_the_results(
    visit: Visits, server: Server
) -> None:
    names = ("quick-grader", "slow-grader")
    for name in names:
        add_user(server, name, Role.EXPERT)
    tablet = visit(TABLET, "en", names[1])
    wait_until_prepared(tablet)
    page = tablet.page
    addresses = []
    with database_of(server) as session:
        first = users.find_user(session, names[0])
        assert first is not None
        ids = [item.id for item in specimens.known_specimens(session)][:3]
        for _ in range(2):
            found = calibration.open_session(session, "", "hand", first.id, 1, ids, [])
            fruit = calibration.fruits_of(session, found.id)[0]
            calibration.give_grade(session, found, fruit, first.id, "A", 0.0, "")
            addresses.append(f"/calibration/{found.id}")

    def reveal(address: str) -> None:
        with database_of(server) as session:
            found = calibration.get_session(session, int(address.rsplit("/", 1)[1]))
            assert found is not None
            calibration.close(session, found)

    tablet.go(addresses[0])
    page.tap(".bar .main")
    page.wait_for_selector("[data-question]:visible")
    reveal(addresses[0])
    page.wait_for_url(f"**{addresses[0]}/reveal", timeout=15_000)

    # One who grades before the page asks is told, and finds the way.
    page.route("**/count", lambda route: route.abort())
    tablet.go(addresses[1])
    page.tap(".bar .main")
    page.wait_for_selector("[data-question]:visible")
    reveal(addresses[1])
    for _ in range(2):
        page.tap("[data-question]:visible .letter >> text='B'")
    status = page.locator("[data-answers-status]")
    expect(status).to_contain_text("this grade came too late", timeout=15_000)
    tablet.look("late")
    page.tap("[data-results] a")
    page.wait_for_url(f"**{addresses[1]}/reveal")
    tablet.forgive("ERR_FAILED", "status of 422")


def test_a_page_that_is_loaded_again_asks_no_fruit_twice(visit: Visits, server: Server) -> None:
    add_user(server, "hasty-grader", Role.EXPERT)
    tablet = visit(TABLET, "en", "hasty-grader")
    wait_until_prepared(tablet)
    number = open_for(server, "hasty-grader", 2)
    page = tablet.page
    tablet.go(f"/calibration/{number}")
    page.tap(".bar .main")
    page.wait_for_load_state("networkidle")
    tablet.forgive("ERR_FAILED")
    page.route("**/fruits/*", lambda route: route.abort())
    visible = page.locator("[data-question]:visible")
    pictures = []
    for grade in "AB":
        pictures.append(visible.locator("img").first.get_attribute("src"))
        page.wait_for_timeout(700)  # before that a tap is taken for a second one
        visible.locator(f".letter >> text='{grade}'").tap()
        page.reload()
        if grade == "A":
            expect(visible).to_have_count(1)
            assert visible.locator("img").first.get_attribute("src") != pictures[0]
    expect(visible).to_have_count(0)
    status = page.locator("[data-answers-status]")
    expect(status).to_contain_text("Answers kept on this tablet: 2", timeout=20_000)
    page.unroute("**/fruits/*")
    expect(page.locator("[data-sheet]")).to_have_count(0, timeout=20_000)  # where the server leads
    with database_of(server) as session:
        given = [item.grade for item in calibration.grades_of(session, number)]
    assert sorted(given) == ["A", "B"]


def test_who_grades_with_the_keyboard_goes_on_at_the_next_fruit(
    visit: Visits, server: Server
) -> None:
    add_user(server, "typing-grader", Role.EXPERT)
    tablet = visit(LANDSCAPE, "ja", "typing-grader")
    wait_until_prepared(tablet)
    number = open_for(server, "typing-grader", 2)
    page = tablet.page
    tablet.go(f"/calibration/{number}")
    page.tap(".bar .main")
    visible = page.locator("[data-question]:visible")
    expect(visible.locator("h1")).to_contain_text("1 / 2")
    expect(visible.locator("h1")).not_to_be_focused()
    for heading in (visible.locator("h1"), page.locator("[data-last] h1")):
        page.wait_for_timeout(700)  # before that nothing can be pressed
        visible.locator(".letter >> text='A'").press("Enter")
        expect(heading).to_be_focused()
    tablet.look("last")
    page.locator("[data-take-back]").press("Enter")
    expect(visible.locator("h1")).to_contain_text("2 / 2")
    expect(visible.locator("h1")).to_be_focused()


def test_a_grade_that_waits_is_not_given_by_another_who_logs_in(
    visit: Visits, server: Server
) -> None:
    names = ("first-grader", "second-grader")
    for name in names:
        add_user(server, name, Role.EXPERT)
    tablet = visit(PORTRAIT, "ja", names[0])
    wait_until_prepared(tablet)
    number = open_for(server, names[0], 3)
    page = tablet.page
    tablet.go(f"/calibration/{number}")
    page.tap(".bar .main")
    page.wait_for_load_state("networkidle")
    page.route("**/fruits/*", lambda route: route.abort())
    page.tap("[data-question]:visible .letter >> text='A'")
    status = page.locator("[data-answers-status]")
    expect(status).to_contain_text("通信できません", timeout=20_000)

    page.context.clear_cookies()
    other = replace(tablet, page=page.context.new_page())
    other.log_in(names[1])
    page.unroute("**/fruits/*")
    expect(status).to_contain_text("ログインの期限が切れました", timeout=15_000)
    page.context.clear_cookies()
    other.log_in(names[0])
    wait_until_sent(page)
    with database_of(server) as session:
        given = [(item.user.name, item.grade) for item in calibration.grades_of(session, number)]
    assert given == [(names[0], "A")]
    tablet.forgive("ERR_FAILED", "status of 403")
