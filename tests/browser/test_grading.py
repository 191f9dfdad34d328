"""Grading at the bench, in a real browser: log in, send, look, judge, change one's mind."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from mezoroi.datasets.melons.collection import indexed_melon
from mezoroi.datasets.melons.render import Conditions
from mezoroi.datasets.melons.styles import style_of
from mezoroi.datasets.melons.turn import Turn
from mezoroi.datasets.melons.video import render_views, write_video
from tests.browser.conftest import LANDSCAPE, PORTRAIT, Visit

Visits = Callable[..., Visit]
_FIRST_ANSWER_IS_LOST = """
  const listen = EventTarget.prototype.addEventListener;
  let isLost = false;
  XMLHttpRequest.prototype.addEventListener = function (kind, heard) {
    if (kind === "load" && !isLost) {
      isLost = this.isDeaf = true;
    } else {
      listen.call(this, this.isDeaf && kind === "error" ? "load" : kind, heard);
    }
  };
"""
_MARGINS = """it => {
  const text = document.createRange();
  text.selectNodeContents(it);
  const [inner, outer] = [text, it].map((each) => each.getBoundingClientRect());
  return [inner.left - outer.left, outer.right - inner.right];
}"""
Point = tuple[float, float]
BOTH = pytest.mark.parametrize("size", [PORTRAIT, LANDSCAPE], ids=["portrait", "landscape"])


def surfaces(melons: Path) -> list[Path]:
    return sorted(melons.glob("captures/*/surface.png"))


def send(visit: Visit, photo: Path) -> None:
    """Choose a file on the start page and wait until there is an answer."""
    visit.go("/")
    visit.page.set_input_files("#file", photo)
    visit.page.wait_for_selector(".result, .blind-page", timeout=60_000)


def send_and_look(visit: Visit, photo: Path) -> None:
    """Send a fruit and come to its result, past the blind page."""
    send(visit, photo)
    if visit.page.locator(".blind-page").count():
        visit.page.tap(".letters .quiet")
    visit.page.wait_for_selector(".result")


def filmed_turn(path: Path) -> Path:
    """A short, small film of a melon that turns once."""
    rng = np.random.default_rng(3)
    melon, _ = indexed_melon(0, 3)
    light = Conditions.draw(rng, style_of("standard"))
    turn = Turn(frames=48, fps=24, size=(240, 320))
    frames, _ = render_views(melon.body, melon.texture, light, turn, rng)
    write_video(path, frames, turn.fps)
    return path


def _move_fingers(visit: Visit, places: Sequence[tuple[Point, ...]]) -> None:
    """Put fingers on the screen, move them from place to place, and lift them."""
    hand = visit.page.context.new_cdp_session(visit.page)
    for kind, fingers in [("touchStart", places[0]), *(("touchMove", each) for each in places[1:])]:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def see_many_grades(visit: Visit) -> None:
    """A standard may have twenty grades: all can be tapped, and the page does not grow sideways."""
    page = visit.page
    page.evaluate(
        """() => {
          for (const [row, each] of [[".letters", ".letter"], [".switch", "label"]]) {
            for (const box of document.querySelectorAll(row)) {
              const one = box.querySelector(each);
              while (box.querySelectorAll(each).length < 20) one.after(one.cloneNode(true));
              for (const it of box.querySelectorAll(each)) {
                (it.querySelector("span") ?? it).textContent = "規格外";
              }
            }
          }
        }"""
    )
    for each in page.locator(".letters .letter, .switch span").all():
        box = each.bounding_box()
        assert box is not None
        assert box["x"] >= 0 and box["x"] + box["width"] <= page.viewport_size["width"]
        assert box["height"] < 80, "a name in one line"
    visit.look("many grades")
    page.reload()


def overlay_sum(visit: Visit) -> int:
    """How much is drawn on the overlay."""
    return int(
        visit.page.evaluate(
            """() => {
              const canvas = document.querySelector("[data-overlay]");
              const { width, height } = canvas;
              const pixels = canvas.getContext("2d").getImageData(0, 0, width, height);
              return pixels.data.reduce((sum, value) => sum + value, 0);
            }"""
        )
    )


@pytest.mark.parametrize(
    ("size", "language"), [(PORTRAIT, "ja"), (LANDSCAPE, "en")], ids=["portrait-ja", "landscape-en"]
)
def test_an_expert_grades_blind_then_judges_and_corrects(
    visit: Visits, melons: Path, size: tuple[int, int], language: str
) -> None:
    tablet = visit(size, language)
    tablet.go("/")
    tablet.look("login")
    card = tablet.page.locator("form.card").bounding_box()
    assert card is not None
    assert card["x"] == pytest.approx(size[0] - card["x"] - card["width"], abs=1), "in the middle"
    tablet.log_in("expert")
    page = tablet.page
    assert page.get_attribute("html", "lang") == language
    tablet.look("start")

    send(tablet, surfaces(melons)[size[0] % 7])
    expect(page.locator(".blind-page")).to_be_visible()
    expect(page.locator(".badge")).to_have_count(0)
    tablet.look("blind")
    see_many_grades(tablet)
    page.tap(".letters .letter >> text='B'")
    expect(page.locator(".decision .badge.huge")).to_have_text(re.compile("^[ABCD]$"))
    expect(page.locator(".radar svg")).to_be_visible()
    for selector in (".next", ".answer.agree"):
        expect(page.locator(selector)).to_be_in_viewport(ratio=1)
    page.wait_for_selector("[data-viewer][data-shown]")
    tablet.look("result")
    see_many_grades(tablet)

    page.tap(".answer.wrong")
    expect(page.locator(".verdict .own-grade")).to_be_visible()
    page.tap(".verdict .own-grade .letter >> text='D'")
    expect(page.locator(".verdict .own-grade [aria-pressed=true]")).to_have_text("D")
    assert min(page.locator(".bar > .main").evaluate(_MARGINS)) >= 16, "room around its words"
    tablet.look("verdict")
    page.tap(".undo")
    expect(page.locator(".answer.agree")).to_be_visible()
    page.tap(".answer.agree")
    expect(page.locator(".given")).to_be_visible()
    page.tap(".more summary >> nth=-1")
    expect(page.locator(".history li")).to_have_count(5)
    page.reload()
    expect(page.locator(".given")).to_be_visible()


def test_maps_are_switched_faded_zoomed_and_laid_bare(visit: Visits, melons: Path) -> None:
    tablet = visit(user="newcomer")
    send(tablet, surfaces(melons)[0])
    page = tablet.page
    drawn = {}
    for map_choice in page.locator("[data-map]").all():
        picture = map_choice.get_attribute("value")
        map_choice.check(force=True)
        page.wait_for_selector(f"[data-viewer][data-shown='{picture}']", state="attached")
        drawn[picture] = overlay_sum(tablet)
    assert drawn.pop("") == 0
    assert len(drawn) == 3 and len(set(drawn.values())) == 3 and min(drawn.values()) > 0

    page.locator("[data-opacity]").fill("20")
    assert page.locator("[data-overlay]").evaluate("it => it.style.opacity") == "0.2"

    page.tap("[data-zoom='1']")
    page.tap("[data-zoom='1']")
    expect(page.locator("[data-viewer]")).to_have_attribute("data-scale", "2.56")
    page.tap("[data-zoom='-1']")
    page.tap("[data-zoom='-1']")

    box = page.locator("[data-layers]").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    expect(page.locator("[data-viewer]")).to_have_class(re.compile("bare"))
    page.mouse.up()
    expect(page.locator("[data-viewer]")).not_to_have_class(re.compile("bare"))


def test_fingers_on_the_picture_scroll_the_page_and_zoom_between_them(
    visit: Visits, melons: Path
) -> None:
    tablet = visit((1024, 500), user="newcomer")  # low: the picture is narrower than its stage
    send(tablet, surfaces(melons)[0])
    page, layers = tablet.page, tablet.page.locator("[data-layers]")
    box = layers.bounding_box()
    assert box is not None
    at = (box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])
    spread = range(20, 61, 4)
    _move_fingers(tablet, [((at[0] - half, at[1]), (at[0] + half, at[1])) for half in spread])
    zoomed = layers.evaluate("it => it.getBoundingClientRect().toJSON()")
    assert zoomed["width"] == pytest.approx(3 * box["width"], rel=0.01)
    assert (at[0] - zoomed["x"]) / zoomed["width"] == pytest.approx(0.75, abs=0.01)

    swipe = [((at[0], at[1] - up),) for up in (0, 40, 80)]
    _move_fingers(tablet, swipe)
    assert page.evaluate("scrollY") == 0 and layers.bounding_box() != zoomed
    for _ in range(3):
        page.tap("[data-zoom='-1']")
    _move_fingers(tablet, swipe)
    page.wait_for_function("scrollY > 20")


def test_a_page_sends_nothing_while_somebody_else_is_logged_in(visit: Visits, melons: Path) -> None:
    tablet = visit(user="expert")
    page = tablet.page
    send_and_look(tablet, surfaces(melons)[1])
    notice, given = page.locator("[data-other-user]"), page.locator(".given")
    other = replace(tablet, page=page.context.new_page())
    page.context.clear_cookies()
    other.log_in("newcomer")
    expect(notice).to_be_visible()
    tablet.look("somebody-else")
    page.tap(".answer.agree")
    other.go(page.url.removeprefix(tablet.server.url))
    expect(other.page.locator(".history li")).to_have_count(0)
    expect(given).to_have_count(0)
    page.context.clear_cookies()
    other.log_in("expert")
    expect(notice).to_be_hidden()
    page.tap(".answer.agree")
    expect(given).to_be_visible()


def test_a_filmed_turn_is_unrolled_and_graded(visit: Visits, tmp_path: Path) -> None:
    tablet = visit(PORTRAIT, user="newcomer")
    page = tablet.page
    tablet.go("/")
    page.set_input_files("[data-file][accept='video/*']", filmed_turn(tmp_path / "turn.mp4"))
    expect(page.locator(".decision .badge.huge")).to_be_visible(timeout=60_000)
    expect(page.locator(".silhouette .mean")).to_be_visible()
    page.wait_for_selector("[data-viewer][data-shown]")
    tablet.look("film")


def test_a_map_that_does_not_come_leaves_no_other_in_its_place(visit: Visits, melons: Path) -> None:
    tablet = visit(user="newcomer")
    send(tablet, surfaces(melons)[3])
    page = tablet.page
    page.wait_for_selector("[data-viewer][data-shown]")
    choices = page.locator("[data-map]").all()
    pictures = [choice.get_attribute("value") for choice in choices]
    shown = page.locator("[data-viewer]").get_attribute("data-shown")
    assert shown and overlay_sum(tablet) > 0
    page.context.clear_cookies()  # the login ends
    other = next(n for n, picture in enumerate(pictures) if picture not in ("", shown))
    choices[other].check(force=True)
    for _ in range(200):  # the page's own policy forbids `wait_for_function`
        if overlay_sum(tablet) == 0:
            break
        page.wait_for_timeout(50)
    assert overlay_sum(tablet) == 0
    expect(page.locator("[data-viewer]")).to_have_attribute("data-shown", shown)


def test_a_grade_differs_although_the_chart_is_fair(visit: Visits, melons: Path) -> None:
    tablet = visit(user="expert")
    page = tablet.page
    send_and_look(tablet, surfaces(melons)[6])
    page.tap(".answer.plausible")
    expect(page.locator(".given b").first).to_have_text("違うが図は妥当")
    page.tap(".verdict .own-grade .letter >> text='C'")
    expect(page.locator(".verdict .own-grade [aria-pressed=true]")).to_have_text("C")
    page.reload()
    expect(page.locator(".given b").first).to_have_text("違うが図は妥当")
    expect(page.locator(".given .badge")).to_have_text("C")
    tablet.look("plausible")


def test_the_language_is_switched_and_kept(visit: Visits, server: object) -> None:
    tablet = visit(user="newcomer")
    page = tablet.page
    tablet.go("/")
    expect(page.locator("h1")).to_have_text("果実を判定する")
    page.tap(".own [value=en]")
    expect(page.locator("h1")).to_have_text("Grade a fruit")
    tablet.go("/fruits")
    expect(page.locator("header nav [aria-current]")).to_have_text("Fruits")
    page.tap(".own [value=ja]")
    expect(page.locator("header nav [aria-current]")).to_have_text("果実")


@BOTH
def test_the_other_pages_are_in_order(visit: Visits, melons: Path, size: tuple[int, int]) -> None:
    tablet = visit(size, user="newcomer")
    send(tablet, surfaces(melons)[1])
    expect(tablet.page.locator(".answer")).to_have_count(0)
    for name, path in {"fruits": "/fruits", "account": "/account"}.items():
        tablet.go(path)
        tablet.look(name)


def test_what_is_no_picture_is_refused_in_words(visit: Visits, tmp_path: Path) -> None:
    file = tmp_path / "melon.jpg"
    file.write_text("this is a letter")
    tablet = visit(user="newcomer")
    tablet.go("/")
    tablet.page.set_input_files("#file", file)
    expect(tablet.page.locator("[data-problem]")).to_contain_text("写真でも動画でもありません")
    # The browser itself reports the refused request.
    assert tablet.troubles
    tablet.forgive("status of 415")


def test_a_photo_whose_answer_was_lost_is_sent_again_and_kept_once(
    visit: Visits, melons: Path
) -> None:
    tablet = visit(user="newcomer")
    page, posts = tablet.page, []
    page.add_init_script(_FIRST_ANSWER_IS_LOST)
    page.on("request", lambda asked: posts.append(asked) if asked.method == "POST" else None)

    def count() -> int:
        answer = page.request.get(tablet.server.url + "/api/v1/fruits?most=200")
        return len(answer.json())

    before = count()
    send(tablet, surfaces(melons)[2])
    assert [asked.response().status for asked in posts] == [201, 200]  # type: ignore[union-attr]
    assert len({asked.headers["idempotency-key"] for asked in posts}) == 1
    assert count() == before + 1


def test_the_api_is_described_offline(visit: Visits) -> None:
    tablet = visit(user="newcomer")
    tablet.go("/api")
    expect(tablet.page.locator(".opblock").first).to_be_visible()
