"""Calibration sessions: blind until the reveal, whoever answers when."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mezoroi.app.roles import Role
from mezoroi.app.routes import calibration as calibration_pages
from mezoroi.app.store import calibration, jobs, specimens
from mezoroi.app.tables import now
from mezoroi.app.tables_learning import CalibrationGrade, CalibrationGrader, CalibrationSession
from tests.app.conftest import App
from tests.app.learning import prepare, send_fruits
from tests.app.sessions import fruits_on, grade_weeks_ago, open_session, second_expert

ENGLISH = {"accept-language": "en"}
JSON = {"accept": "application/json", **ENGLISH}


def test_nobody_sees_others_grades_before_the_reveal(prepared: App) -> None:
    first, second = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(first)
    grade_weeks_ago(prepared, 1)  # so that the drift page has something to compare with
    second.post(f"{address}/join")
    blank = second.get(address)
    for fruit in fruits_on(first, address):
        assert first.post(fruit, data={"grade": "D"}).status_code == 303

    # What the second sees does not depend on what the first gave: not in a page, not in a header.
    pages = [address, f"{address}?lead=true", f"{address}/count", "/calibration"]
    pages += ["/calibration/drift", f"{address}/reveal"]
    before = [second.get(page) for page in pages]
    with prepared.services.database.write() as session:
        for given in session.query(CalibrationGrade):
            given.grade = "A"
    after = [second.get(page) for page in pages]
    assert blank.text == before[0].text
    for one, other in zip(before, after, strict=True):
        assert one.text == other.text
        assert {**one.headers} == {**other.headers}
    assert second.get(f"{address}/reveal").headers["location"] == address
    assert second.get(fruits_on(second, address)[0]).status_code == 404
    assert "<b>1</b> / 2" in second.get(f"{address}/count").text


def test_nothing_on_the_page_tells_what_mezoroi_or_the_experts_say(prepared: App) -> None:
    client = prepared.client(Role.EXPERT)
    address = open_session(client)
    client.post(f"{address}/join")
    page = client.get(address).text
    with prepared.services.database.read() as session:
        asked = calibration.fruits_of(session, 1)
        secrets = [
            secret
            for fruit in asked
            for secret in (
                *fruit.specimen.result["pictures"]["maps"].values(),
                *(entry["picture"] for row in fruit.specimen.alike.values() for entry in row),
                fruit.specimen.name,
            )
        ]
    assert len(asked) == 4 and not [secret for secret in secrets if secret in page]
    assert 'class="badge' not in page and "radar" not in page


def test_a_session_from_opening_to_consensus(prepared: App, melons: Path) -> None:
    first, second = prepared.client(Role.EXPERT), second_expert(prepared)
    send_fruits(prepared, first, sorted(melons.glob("captures/*/surface.png"))[:3])
    prepare(prepared)
    with prepared.services.database.read() as session:
        own = [item.id for item in specimens.known_specimens(session) if item.fruit_id]
    address = open_session(first, way="hand", chosen=[str(number) for number in own])  # type: ignore[arg-type]
    for client, grades in ((first, "ABD"), (second, "ABA")):
        for fruit, grade in zip(sorted(fruits_on(client, address)), grades, strict=True):
            assert client.post(fruit, data={"grade": grade}).status_code == 303
        assert not fruits_on(client, address)
    assert "<b>2</b> / 2" in first.get(f"{address}/count").text
    assert second.post(f"{address}/reveal").status_code == 422, "it is led by the first"
    assert first.post(f"{address}/reveal").status_code == 303
    assert second.get(f"{address}/count").headers["hx-redirect"] == f"{address}/reveal"

    page = second.get(f"{address}/reveal", headers=ENGLISH).text
    listed = re.findall(rf'class="card fruit" href="({address}/fruits/\d+)"', page)
    with prepared.services.database.read() as session:
        found = calibration.get_session(session, 1)
    assert found is not None
    told = found.outcome
    assert [f"{address}/fruits/{item['id']}" for item in told["fruits"]] == listed
    assert told["fruits"][0]["labels"] == {"expert": "D", "second": "A"}
    assert told["strictness"]["expert"]["value"] == 1 and told["alpha"]["value"] is not None
    assert told["graders"][-1] == "Mezoroi"

    disputed = listed[0]
    assert first.post(f"{disputed}/consensus", data={"grade": "Z"}).status_code == 422
    first.post(f"{disputed}/consensus", data={"grade": "B", "note": "傷は浅い"})
    page = second.get(disputed).text
    assert "傷は浅い" in page and 'value="B" aria-pressed="true"' in page
    assert "data-overlay-map" in page and "likes" in page
    assert first.post(f"{address}/references").status_code == 303
    with prepared.services.database.read() as session:
        assert jobs.count_open(session, jobs.ADD_REFERENCE) == 1
    assert first.post(f"{address}/references").status_code == 303
    with prepared.services.database.read() as session:
        assert jobs.count_open(session, jobs.ADD_REFERENCE) == 1, "once is enough"
        (job,) = [jobs.get_job(session, n) for n in range(1, 30) if _adds(session, n)]
    assert job is not None and job.payload["grade"] == "B"


def _adds(session: object, number: int) -> bool:
    job = jobs.get_job(session, number)  # type: ignore[arg-type]
    return job is not None and job.kind == jobs.ADD_REFERENCE


def test_two_graders_at_the_same_moment_and_one_twice(prepared: App) -> None:
    clients = [prepared.client(Role.EXPERT), second_expert(prepared), prepared.client(Role.EXPERT)]
    address = open_session(clients[0])
    asked = sorted(fruits_on(clients[0], address))
    start = threading.Barrier(len(clients))
    statuses: list[int] = []

    def grade_all(client: TestClient, grade: str) -> None:
        start.wait()
        for fruit in asked:
            statuses.append(client.post(fruit, data={"grade": grade, "key": grade}).status_code)

    threads = [
        threading.Thread(target=grade_all, args=pair) for pair in zip(clients, "ABC", strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [303] * 12
    with prepared.services.database.read() as session:
        given = calibration.grades_of(session, 1)
        assert calibration.progress(session, 1) == calibration.Progress(2, 2)
    assert len(given) == 8, "the first grade of each grader stands"
    assert {item.grade for item in given if item.user.name == "second"} == {"B"}


def test_a_grade_kept_for_a_cancelled_session_is_none_of_the_next(prepared: App) -> None:
    client, second = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(client)
    kept = fruits_on(second, address)  # graded without a connection
    (opening, *_) = re.findall(r'name="opening" value="([^"]+)"', second.get(address).text)
    grade = {"grade": "A", "waited": "600", "opening": opening}
    assert client.post(f"{address}/cancel").status_code == 303
    for language, text in (("ja", "取り消された"), ("en", "was cancelled; the grade")):
        headers = {**JSON, "accept-language": language}
        refused = second.post(kept[0], data=grade, headers=headers)
        assert refused.status_code == 422 and text in refused.json()["error"]
    assert open_session(client, way="border") == address, "the number is free again"
    for fruit in kept:
        late = second.post(fruit, data=grade, headers=JSON)
        assert late.status_code == 422 and "cancelled" in late.json()["error"]
    with prepared.services.database.read() as session:
        assert not calibration.grades_of(session, 1)
    (fruit, *_) = fruits_on(second, address)
    (opening, *_) = re.findall(r'name="opening" value="([^"]+)"', second.get(address).text)
    now_asked = {"grade": "A", "opening": opening}
    assert second.post(fruit, data=now_asked).status_code == 303
    with prepared.services.database.read() as session:
        assert len(calibration.grades_of(session, 1)) == 1


def test_pages_of_a_cancelled_session_lead_to_the_list_which_says_so(prepared: App) -> None:
    client, second = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(client)
    fruits_on(second, address)
    assert "hx-redirect" not in second.get(f"{address}/count").headers
    goal = client.post(f"{address}/cancel").headers["location"]
    assert second.get(f"{address}/count").headers["hx-redirect"] == goal
    assert second.get(f"{address}/reveal").headers["location"] == goal
    assert "取り消されました" in second.get(goal).text
    assert "取り消されました" not in second.get("/calibration").text


def test_a_grade_after_the_reveal_is_not_taken_but_one_sent_again_is_no_error(
    prepared: App,
) -> None:
    first, second = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(first)
    fruit = fruits_on(first, address)[0]
    assert first.post(f"{address}/reveal").status_code == 422, "nobody has graded"
    first.post(fruit, data={"grade": "A", "key": "k"})
    first.post(f"{address}/reveal", data={"sure": "true"})
    late = second.post(fruit, data={"grade": "A"}, headers={"accept": "application/json"})
    assert late.status_code == 422 and "公開" in late.json()["error"]
    assert first.post(fruit, data={"grade": "A", "key": "k"}).status_code == 303
    page = second.get(f"{address}/reveal", headers=ENGLISH).text
    assert "not enough data" in page and "nan" not in page.lower().replace("nano", "")


def test_a_grade_given_before_the_reveal_counts_when_it_arrives_after(prepared: App) -> None:
    first, second = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(first, count="2")
    fruits_of_second = fruits_on(second, address)
    for fruit in fruits_on(first, address):
        first.post(fruit, data={"grade": "A"})
    with prepared.services.database.write() as session:
        for found in session.query(CalibrationSession):
            found.opened_at -= timedelta(minutes=5)
    asked = first.post(f"{address}/reveal", headers=ENGLISH)
    assert asked.status_code == 200 and "1 grader has not finished." in asked.text
    (goal,) = re.findall(r'name="next" value="([^"]+)"', asked.text)
    early = first.get(goal)
    assert (early.status_code, early.headers["location"]) == (303, address), "it is only asked"
    assert first.post(f"{address}/reveal", data={"sure": "true"}).status_code == 303
    assert "not enough data" in first.get(f"{address}/reveal", headers=ENGLISH).text

    program = {"accept": "application/json"}
    for fruit in fruits_of_second:
        late = second.post(fruit, data={"grade": "B", "waited": "60"}, headers=program)
        assert late.status_code == 200
    assert second.get(f"{address}/reveal").status_code == 200
    with prepared.services.database.read() as session:
        session_row = calibration.get_session(session, 1)
    assert session_row is not None
    for told in session_row.outcome["fruits"]:
        assert told["labels"] == {"expert": "A", "second": "B"}, "put together anew"


def test_no_wait_takes_a_grade_to_before_the_reveal_of_who_joined_later_or_saw_it(
    prepared: App,
) -> None:
    first, second = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(first, count="2")
    one, other = fruits_on(first, address)
    first.post(one, data={"grade": "A"})
    first.post(f"{address}/reveal", data={"sure": "true"})
    with prepared.services.database.write() as session:
        for found in session.query(CalibrationSession):
            found.opened_at -= timedelta(minutes=5)
        for grader in session.query(CalibrationGrader):
            grader.joined_at -= timedelta(minutes=5)
    long = {"grade": "B", "waited": "600"}
    assert second.post(one, data=long).status_code == 422, "asked for nothing before the reveal"
    assert first.get(f"{address}/reveal").status_code == 200
    with prepared.services.database.write() as session:
        (grader,) = session.query(CalibrationGrader)
        assert grader.seen_at is not None
        grader.seen_at -= timedelta(minutes=2)
        before = grader.seen_at
    assert first.get(f"{address}/reveal").status_code == 200
    assert first.post(other, data=long).status_code == 422, "saw the reveal"
    with prepared.services.database.write() as session:
        (grader,) = session.query(CalibrationGrader)
        assert grader.seen_at == before, "the first time counts"
        grader.seen_at = now()
    assert first.post(other, data=long).status_code == 303, "the page has just sent what it kept"


def test_what_a_session_shows_is_not_kept_when_a_grade_came_meanwhile(prepared: App) -> None:
    client = prepared.client(Role.EXPERT)
    address = open_session(client, count="2")
    for fruit in fruits_on(client, address):
        client.post(fruit, data={"grade": "A"})
    with prepared.services.database.write() as session:
        calibration.keep_outcome(session, 1, {"fruits": "of one grade"}, 1)
        assert calibration.get_session(session, 1).outcome == {}  # type: ignore[union-attr]
        calibration.keep_outcome(session, 1, {"fruits": "of both"}, 2)
        assert calibration.get_session(session, 1).outcome  # type: ignore[union-attr]


def test_who_leads_need_not_grade_and_nobody_takes_part_by_looking(prepared: App) -> None:
    leader, second = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(leader)
    start = leader.get(address).text
    assert f'href="{address}?lead=true"' in start and f'action="{address}/join"' in start
    assert "data-answer " not in start
    assert f"{address}?lead=true" not in second.get(address).text
    off = re.compile(r'<button id="reveal"[^>]* disabled>')
    count = f"{address}/count?lead=true"
    page = leader.get(f"{address}?lead=true", headers=ENGLISH).text
    assert "Nobody takes part yet" in page and off.search(page)
    assert "Nobody takes part yet" in leader.get("/calibration", headers=ENGLISH).text
    fruits = fruits_on(second, address)
    assert "<b>0</b> / 1" in leader.get(count).text and off.search(leader.get(count).text)
    for fruit in fruits:
        second.post(fruit, data={"grade": "A"})
    page = leader.get(f"{address}?lead=true").text
    assert "<b>1</b> / 1" in page and f'action="{address}/reveal"' in page and not off.search(page)
    swapped = leader.get(count).text
    assert 'id="reveal"' in swapped and not off.search(swapped)
    assert 'id="reveal"' not in second.get(count).text, "who may not reveal has no button"
    leader.post(f"{address}/join")
    assert f'href="{address}?lead=true"' in leader.get(address).text, "also while grading"
    assert leader.post(f"{address}/reveal").status_code == 200, "now one is missing"


def test_older_fruits_are_chosen_by_hand_on_other_pages(
    prepared: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_pages, "CHOICE_SHOWN", 8)
    client = prepared.client(Role.EXPERT)
    with prepared.services.database.read() as session:
        ids = sorted((item.id for item in specimens.known_specimens(session)), reverse=True)
    asked = {"way": "hand", "chosen": [str(ids[1]), str(ids[9])], "title": "朝"}
    seen: list[int] = []
    for page in (1, 2, 3):
        shown = client.get("/calibration/new", params={**asked, "page": page}, headers=ENGLISH).text
        boxes = re.findall(r'type="checkbox" name="chosen" value="(\d+)"( checked)?', shown)
        hidden = re.findall(r'type="hidden" name="chosen" value="(\d+)"', shown)
        seen += [int(number) for number, _ in boxes]
        checked = [int(number) for number, is_checked in boxes if is_checked]
        assert sorted([*checked, *map(int, hidden)]) == [ids[9], ids[1]], "what was chosen stays"
        assert 'value="朝"' in shown and f"{page} / " in shown
    assert seen == ids[:24]
    after = client.get("/calibration/new", params={**asked, "page": 999}, headers=ENGLISH).text
    pages = -(-len(ids) // 8)
    assert (
        f"{pages} / {pages}" in after and after.count('type="checkbox"') == len(ids) - 8 * pages + 8
    )
    assert (
        "1 fruit is chosen on other pages"
        in client.get("/calibration/new", params=asked, headers=ENGLISH).text
    )


def test_each_way_says_what_it_can_propose_and_keeps_what_was_typed(prepared: App) -> None:
    client = prepared.client(Role.EXPERT)
    with prepared.services.database.read() as session:
        names = {item.name for item in specimens.known_specimens(session)}
    page = client.get("/calibration/new?way=disputed&title=Monday", headers=ENGLISH).text
    assert "graders differ. Try another way above" in page and "can be chosen from" not in page
    assert re.search(r'<button class="main" form="open" disabled>', page)
    page = client.get("/calibration/new?way=stratified&title=Monday", headers=ENGLISH).text
    assert f"{len(names)} fruits can be chosen from" in page and 'value="Monday"' in page
    assert not re.search(r'<button class="main" form="open" disabled>', page)

    form = {"way": "stratified", "count": "1000", "title": "Monday"}
    answer = client.post("/calibration", data=form, headers=ENGLISH)
    assert answer.status_code == 422 and "A session has 1 to 100 fruits" in answer.text
    assert 'value="Monday"' in answer.text
    form = {"way": "hand", "title": "Monday"}
    answer = client.post("/calibration", data=form, headers=ENGLISH)
    assert 'class="pick"' in answer.text and 'value="Monday"' in answer.text


def test_fruits_that_are_alike_come_with_their_outline_where_it_decides(prepared: App) -> None:
    first, second = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(first)
    for client, grades in ((first, "AB"), (second, "BC")):
        for place, fruit in enumerate(sorted(fruits_on(client, address))):
            client.post(fruit, data={"grade": grades[place % 2]})
    first.post(f"{address}/reveal")
    for place, fruit in enumerate(sorted(fruits_on_reveal(first, address))):
        likes = first.get(fruit).text.split('<section class="likes"')[1].split("</section>")[0]
        pictures, outlines = likes.count("<img"), likes.count('class="silhouette"')
        assert pictures == 4 and outlines == (4 if place % 2 else 0), "A and B, or B and C"


def fruits_on_reveal(client: TestClient, address: str) -> set[str]:
    return set(re.findall(rf'href="({address}/fruits/\d+)"', client.get(f"{address}/reveal").text))


@pytest.mark.parametrize(
    "form",
    [
        {"way": "guess"},
        {"way": "stratified", "count": "0"},
        {"way": "stratified", "count": "1000"},
        {"way": "hand"},
        {"way": "hand", "chosen": "99999"},
        {"way": "disputed", "count": "3"},
    ],
)
def test_a_session_without_fruits_is_not_opened(prepared: App, form: dict[str, str]) -> None:
    assert prepared.client(Role.EXPERT).post("/calibration", data=form).status_code == 422
    with prepared.services.database.read() as session:
        assert not calibration.list_sessions(session, 0, 9)
