"""Practice on a tablet: a round with right and wrong answers, a test, a lost connection."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session

from mezoroi.app import practice_settings, teaching
from mezoroi.app.database import Database
from mezoroi.app.passwords import hash_password
from mezoroi.app.roles import Role
from mezoroi.app.store import practice, specimens, users
from tests.browser.conftest import LANDSCAPE, PORTRAIT, TABLET, Server, Visit

Visits = Callable[..., Visit]
PASSWORD = "melon-melon-melon"


@contextmanager
def database_of(server: Server) -> Iterator[Session]:
    """A writing transaction in the server's database."""
    database = Database(f"sqlite:///{server.data / 'mezoroi.sqlite'}")
    with database.write() as session:
        yield session
    database.close()


def add_user(server: Server, name: str, role: Role) -> None:
    """A user with a login of their own, who agreed that results are kept."""
    with database_of(server) as session:
        if users.find_user(session, name) is None:
            user = users.add_user(session, name, role, PASSWORD)
            user.password_hash, user.blind = hash_password(PASSWORD), False
            practice.give_consent(session, user.id, agrees=True)
    server.logins[name] = PASSWORD


def truth_of(server: Server, page: Page) -> str:
    """The agreed grade of the fruit on the page, which the page does not tell."""
    action = page.locator("[data-question]:visible form").get_attribute("action")
    assert action is not None
    number = int(action.rsplit("/", 1)[1])
    with database_of(server) as session:
        found = [
            practice.get_question(session, number, user.id) for user in users.list_users(session)
        ]
        return next(item.truth for item in found if item is not None)


def wait_until_prepared(visit: Visit) -> None:
    """The server prepares its reference fruits by itself; the page says how far it is."""
    visit.go("/practice")
    expect(visit.page.locator(".progress")).to_have_count(0, timeout=120_000)


@pytest.fixture
def short(server: Server) -> Server:
    """Rounds of three fruits, tests of one fruit per grade, made before anybody practises."""
    settings = practice_settings.PracticeSettings(questions=3, test_fruits=1)
    for _ in range(240):
        with database_of(server) as session:
            practice_settings.keep_settings(session, settings)
            if specimens.count_all(session) and not specimens.is_half_prepared(session):
                if not practice.list_tests(session):
                    teaching.make_tests(session, settings, anew=True)
                return server
        time.sleep(0.5)
    raise TimeoutError


@pytest.mark.parametrize(
    ("size", "language", "key"),
    [(PORTRAIT, "ja", "scar"), (LANDSCAPE, "en", "stain")],
    ids=["portrait-ja", "landscape-en"],
)
def test_an_expert_chooses_the_picture_of_a_feature(
    visit: Visits, short: Server, size: tuple[int, int], language: str, key: str
) -> None:
    name = f"chooser-{language}"
    add_user(short, name, Role.EXPERT)
    tablet = visit(size, language, name)
    wait_until_prepared(tablet)
    page = tablet.page
    tablet.go("/practice/gallery")
    entry = page.locator(f"#feature-{key}")
    expect(entry.locator("svg")).to_have_count(0)
    tablet.look("features")
    entry.locator("a").tap()
    page.wait_for_url(f"**/standard/features/{key}")
    tablet.look("choice")
    page.locator(".choice-grid a").first.tap()
    expect(page.locator(".cells button")).to_have_count(32)
    for cell in (page.locator(".cells button").first, page.locator(".cells button").last):
        box = cell.bounding_box()
        assert box is not None and min(box["width"], box["height"]) >= 48
    last, bar = (
        page.locator(".cells button").last.bounding_box(),
        page.locator(".bar").bounding_box(),
    )
    assert last is not None and bar is not None and last["y"] + last["height"] <= bar["y"]
    tablet.look("place")
    page.locator(".cells button").nth(10).tap()
    page.wait_for_url(f"**/practice/gallery#feature-{key}")
    expect(entry.locator("svg image")).to_be_in_viewport()
    tablet.look("chosen")
    entry.locator("a").tap()
    page.wait_for_url(f"**/standard/features/{key}")
    page.locator("form[action$='/remove'] button").tap()
    expect(page.locator("form[action$='/remove']")).to_have_count(0)


@pytest.mark.parametrize(
    ("size", "language"), [(PORTRAIT, "ja"), (LANDSCAPE, "en")], ids=["portrait-ja", "landscape-en"]
)
def test_a_round_with_right_and_wrong_answers(
    visit: Visits, short: Server, size: tuple[int, int], language: str
) -> None:
    name = f"learner-{language}"
    add_user(short, name, Role.NEWCOMER)
    tablet = visit(size, language, name)
    wait_until_prepared(tablet)
    page = tablet.page
    tablet.look("home")
    tablet.go("/practice/gallery")
    expect(page.locator(".typical img").first).to_be_visible()
    tablet.look("gallery")
    tablet.go("/practice")
    page.tap(".bar [value=practice]")
    for number in range(1, 4):
        expect(page.locator(".question h1 small")).to_contain_text(f"{number} / 3")
        expect(page.locator(".badge")).to_have_count(0)
        for selector in (".letter >> nth=0", ".letter >> nth=-1", ".certainty"):
            expect(page.locator(selector)).to_be_in_viewport(ratio=1)
        if number == 1:
            tablet.look("question")
        truth = truth_of(short, page)
        given = truth if number != 2 else next(grade for grade in "ABCD" if grade != truth)
        page.locator(".certainty input").nth(2).check(force=True)
        page.tap(f".letter >> text='{given}'")
        expect(page.locator(".told-head")).to_have_class(
            re.compile("right" if given == truth else "wrong")
        )
        expect(page.locator(".told-head .badge")).to_have_text(truth)
        expect(page.locator(".look")).not_to_be_empty()
        expect(page.locator(".radar svg")).to_be_visible()
        expect(page.locator(".next")).to_be_in_viewport(ratio=1)
        drawn = page.locator("[data-overlay-map]")
        for place in range(drawn.count()):
            expect(drawn.nth(place)).to_have_attribute("data-drawn", "true")
        if number == 2:
            see_the_bare_fruit(page)
            see_the_answer_on_a_phone(tablet)
        if number < 3:
            tablet.look(f"answer-{number}")
        page.tap(".next")
    expect(page.locator(".answers-list li")).to_have_count(3)
    tablet.look("over")
    tablet.go("/practice/progress")
    expect(page.locator(".matrix")).to_be_visible()
    expect(page.locator("svg.chart")).to_be_visible()
    tablet.look("progress")


def see_the_answer_on_a_phone(visit: Visit) -> None:
    page, before = visit.page, visit.page.viewport_size
    assert before is not None
    page.set_viewport_size({"width": 360, "height": 740})
    for picture in page.locator(".like img").all():
        assert picture.evaluate("it => it.clientWidth") > 90, "a similar fruit can be made out"
    assert page.locator(".told-side summary").evaluate("it => it.clientHeight") < 60, "one line"
    visit.look("phone")
    page.set_viewport_size(before)


def see_the_bare_fruit(page: Page) -> None:
    """Maps are faded with a slider, and gone while one of them is held."""
    layer = page.locator("[data-overlay-map]").first
    page.locator("[data-opacity]").fill("10")
    expect(layer).to_have_css("opacity", "0.1")
    page.locator("[data-held]").first.hover()
    page.mouse.down()
    expect(layer).to_be_hidden()
    page.mouse.up()
    expect(layer).to_be_visible()
    page.locator("[data-opacity]").fill("55")


def test_the_table_of_learners_shows_every_test(visit: Visits, short: Server) -> None:
    name = "kobayashi-midori"
    add_user(short, name, Role.NEWCOMER)
    with database_of(short) as session:
        user = users.find_user(session, name)
        assert user is not None
        practice.learner(session, user.id)
        for phase in (practice.PRACTICE, *practice_settings.TESTS):
            found = practice.start_round(session, user.id, phase, 12)
            asked = list(specimens.known_specimens(session))[:12]
            for number, item in enumerate(asked, start=1):
                truth = item.labels["reference"]
                question = practice.add_question(session, found, number, item.id, truth)
                given = truth if number % 3 else next(one for one in "ABCD" if one != truth)
                practice.answer_question(session, question, given, "fairly", 3.0, 0.0, f"{number}")
            practice.finish_round(session, found)
    tablet = visit(TABLET, "en", "expert")
    tablet.go("/practice/learners")
    page = tablet.page
    row = page.locator("tr", has_text=name)
    expect(row.locator("td").last).to_contain_text("%")
    places = [box for part in row.locator(".mistake").all() if (box := part.bounding_box())]
    assert len(places) > 1
    for one, other in itertools.pairwise(places):
        assert one["y"] + one["height"] <= other["y"], "one below the other"
    for cell in (page.locator("thead th").last, page.locator("tbody td").last):
        expect(cell).to_be_in_viewport(ratio=1)
    tablet.look("learners")


def test_a_test_tells_no_answer_and_survives_a_lost_connection(
    visit: Visits, short: Server
) -> None:
    add_user(short, "learner-test", Role.NEWCOMER)
    tablet = visit(PORTRAIT, "ja", "learner-test")
    wait_until_prepared(tablet)
    office = visit(LANDSCAPE, "ja", "admin")
    office.go("/practice/settings")
    office.look("settings")
    page = tablet.page
    tablet.go("/practice")
    page.tap(".tests button >> nth=0")
    expect(page.locator("[data-question]:visible h1 small")).to_contain_text("1 / 4")
    page.wait_for_load_state("networkidle")
    tablet.look("test")
    page.tap("[data-question]:visible .letter >> text='A'")
    expect(page.locator("[data-question]:visible h1 small")).to_contain_text("2 / 4")

    page.context.set_offline(True)
    for number in (2, 3, 4):
        expect(page.locator("[data-question]:visible h1 small")).to_contain_text(f"{number} / 4")
        page.tap("[data-question]:visible .letter >> text='B'")
    status = page.locator("[data-answers-status]")
    expect(status).to_be_visible()
    expect(status).to_contain_text("この端末に保存しました")
    tablet.look("offline")
    kept = page.evaluate("localStorage.getItem('mezoroi-answers')")
    assert kept.count('"key"') == 4 and "session" not in kept, "the first could be taken back"
    page.context.set_offline(False)
    page.wait_for_selector("text=テストが終わりました", timeout=30_000)
    expect(page.locator(".badge")).to_have_count(0)
    assert page.evaluate("localStorage.getItem('mezoroi-answers')") == "[]"
    with database_of(short) as session:
        user = users.find_user(session, "learner-test")
        assert user is not None
        given = [item.given for item in practice.answers(session, user.id)]
    assert given == ["A", "B", "B", "B"]
    tablet.forgive("ERR_INTERNET_DISCONNECTED")


@pytest.mark.parametrize(
    ("size", "language"), [(TABLET, "ja"), (PORTRAIT, "en")], ids=["tablet-ja", "portrait-en"]
)
def test_before_the_first_round_consent_and_the_pre_test_come_first(
    visit: Visits, short: Server, size: tuple[int, int], language: str
) -> None:
    name = f"learner-first-{language}"
    add_user(short, name, Role.NEWCOMER)
    with database_of(short) as session:
        user = users.find_user(session, name)
        assert user is not None
        practice.give_consent(session, user.id, agrees=False)
    tablet = visit(size, language, name)
    wait_until_prepared(tablet)
    page = tablet.page
    agree = page.locator(".consent button")
    expect(agree).to_be_in_viewport(ratio=1)
    place = agree.bounding_box()
    tests, bar = page.locator(".tests").bounding_box(), page.locator(".bar").bounding_box()
    assert place is not None and tests is not None and bar is not None
    assert place["y"] + place["height"] < min(tests["y"], bar["y"])
    expect(page.locator(".bar .main")).to_contain_text("4")
    expect(page.locator(".bar-text")).to_be_in_viewport(ratio=1)
    tablet.look("first")
    agree.tap()
    expect(page.locator(".two-columns .consent")).to_have_count(1)
    page.tap(".bar .main")
    expect(page.locator("[data-question]:visible h1 small")).to_contain_text("1 / 4")


def test_a_double_tap_grades_one_fruit_and_the_newest_grade_can_be_taken_back(
    visit: Visits, short: Server
) -> None:
    add_user(short, "learner-double", Role.NEWCOMER)
    tablet = visit(PORTRAIT, "ja", "learner-double")
    wait_until_prepared(tablet)
    page = tablet.page
    page.tap(".bar .main")
    small = page.locator("[data-question]:visible h1 small")
    expect(small).to_contain_text("1 / 4")
    address = page.url
    page.wait_for_timeout(700)
    page.dblclick("[data-question]:visible .letter >> text='A'")
    page.wait_for_timeout(700)
    expect(small).to_contain_text("2 / 4")
    undo = page.locator("[data-take-back]")
    expect(undo).to_have_text("取り消す A")
    undo.tap()
    expect(small).to_contain_text("1 / 4")
    expect(undo).to_be_hidden()
    assert page.evaluate("localStorage.getItem('mezoroi-answers')") == "[]"
    for number, grade in enumerate("BCDA", start=1):
        expect(small).to_contain_text(f"{number} / 4")
        page.tap(f"[data-question]:visible .letter >> text='{grade}'")
        if number == 1:
            expect(undo).to_have_text("取り消す B")
            tablet.look("undo")
            page.set_viewport_size({"width": 360, "height": 740})
            above = undo.evaluate("it => it.getBoundingClientRect().bottom")
            heading = page.locator("[data-question]:visible h1")
            assert heading.evaluate("it => it.getBoundingClientRect().top") >= above, "not beside"
            page.set_viewport_size({"width": PORTRAIT[0], "height": PORTRAIT[1]})
    last = page.locator("[data-last]")
    expect(last).to_be_visible()
    undo.tap()
    expect(small).to_contain_text("4 / 4")
    page.dblclick("[data-question]:visible .letter >> text='B'")
    expect(last).to_be_visible()  # the second tap finishes nothing

    # A page that is left sends what it held.
    with page.expect_request(re.compile("/practice/questions/"), timeout=5_000):
        page.goto(tablet.server.url + "/fruits")
    for _ in range(50):
        if page.evaluate("localStorage.getItem('mezoroi-answers')") == "[]":
            break
        page.wait_for_timeout(200)
    with database_of(short) as session:
        number = int(address.rsplit("/", 1)[1])
        given = [item.given for item in practice.questions_of(session, number)]
    assert given == list("BCDB")


def test_an_answer_waits_on_the_tablet_even_when_the_page_is_left(
    visit: Visits, short: Server
) -> None:
    add_user(short, "learner-lost", Role.NEWCOMER)
    tablet = visit(PORTRAIT, "en", "learner-lost")
    wait_until_prepared(tablet)
    page = tablet.page
    page.tap(".bar [value=practice]")
    page.wait_for_load_state("networkidle")
    address = page.url
    truth = truth_of(short, page)
    page.context.set_offline(True)
    page.tap(f".letter >> text='{truth}'")
    expect(page.locator("[data-answers-status]")).to_contain_text("Answers kept on this tablet: 1")
    tablet.forgive("ERR_INTERNET_DISCONNECTED")
    context = page.context
    page.close()
    context.set_offline(False)
    tablet.page = page = context.new_page()
    tablet.go("/fruits")
    for _ in range(100):
        if page.evaluate("localStorage.getItem('mezoroi-answers')") == "[]":
            break
        page.wait_for_timeout(200)
    page.goto(address)
    expect(page.locator(".question h1 small")).to_contain_text("2 / 3")


def test_a_pre_test_in_english_that_is_left_goes_on_before_practice(
    visit: Visits, short: Server
) -> None:
    add_user(short, "learner-english", Role.NEWCOMER)
    tablet = visit(LANDSCAPE, "en", "learner-english")
    wait_until_prepared(tablet)
    page = tablet.page
    tablet.go("/practice")
    page.tap(".tests button >> nth=0")
    expect(page.locator("[data-question]:visible h1 small")).to_contain_text("Pre-test 1 / 4")
    with page.expect_response(re.compile("/practice/questions/"), timeout=20_000):
        page.tap("[data-question]:visible .letter >> text='A'")
    tablet.go("/practice")
    expect(page.locator(".bar .main")).to_have_text("Go on with the test")
    tablet.look("left")
    page.tap(".bar .main")
    for number in (2, 3, 4):
        expect(page.locator("[data-question]:visible h1 small")).to_contain_text(
            f"Pre-test {number} / 4"
        )
        page.tap("[data-question]:visible .letter >> text='B'")
    # It goes on by itself.
    page.wait_for_selector("text=Test finished", timeout=30_000)


def test_a_dead_connection_is_told_and_what_another_tab_sent_is_known(
    visit: Visits, short: Server
) -> None:
    add_user(short, "learner-tabs", Role.NEWCOMER)
    tablet = visit(PORTRAIT, "en", "learner-tabs")
    wait_until_prepared(tablet)
    page = tablet.page
    page.add_init_script(
        "const timeout = AbortSignal.timeout.bind(AbortSignal);"
        "AbortSignal.timeout = (ms) => timeout(ms === 15000 ? 300 : 999999);"
    )
    page.tap(".bar [value=practice]")
    page.wait_for_load_state("networkidle")
    page.route("**/practice/questions/*", lambda route: None)  # never answered
    page.tap(".letter >> nth=0")
    expect(page.locator("[data-answers-status]")).to_contain_text("Answers kept on this tablet: 1")
    other = page.context.new_page()
    other.goto(tablet.server.url + "/fruits")
    for _ in range(100):
        if other.evaluate("localStorage.getItem('mezoroi-answers')") == "[]":
            break
        other.wait_for_timeout(200)
    page.unroute("**/practice/questions/*")
    expect(page.locator(".told-head")).to_be_visible()


def test_an_answer_that_is_forbidden_keeps_no_other_back(visit: Visits, short: Server) -> None:
    add_user(short, "learner-forbidden", Role.NEWCOMER)
    tablet = visit(PORTRAIT, "en", "learner-forbidden")
    wait_until_prepared(tablet)
    page = tablet.page
    page.tap(".bar [value=practice]")
    page.wait_for_load_state("networkidle")
    page.evaluate(
        "localStorage.setItem('mezoroi-answers', JSON.stringify([{key: 'forbidden', user:"
        " document.body.dataset.user, address: '/calibration/1/fruits/1', fields: {grade: 'A'},"
        " at: Date.now()}]))"
    )
    page.tap(".letter >> nth=0")
    expect(page.locator(".told-head")).to_be_visible()
    kept = page.evaluate("localStorage.getItem('mezoroi-answers')")
    assert kept.count('"key"') == 1 and '"forbidden"' in kept
    page.wait_for_load_state("networkidle")  # it is tried again, later
    page.evaluate("localStorage.setItem('mezoroi-answers', '[]')")
    tablet.forgive("status of 403")
