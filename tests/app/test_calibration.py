"""Calibration sessions: blind until the reveal, agreement, consensus, references, drift."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mezoroi.app import drifting, teaching
from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, fruits, jobs, references, specimens, users
from mezoroi.app.tables import now
from mezoroi.app.tables_learning import CalibrationGrade, CalibrationSession
from tests.app.conftest import PASSWORD, App, work
from tests.app.learning import prepare, send_fruits

ENGLISH = {"accept-language": "en"}


def open_session(client: TestClient, **fields: str) -> str:
    """Open a session; its address."""
    form = {"way": "stratified", "count": "4", "title": "朝", **fields}
    answer = client.post("/calibration", data=form)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def fruits_on(client: TestClient, address: str) -> list[str]:
    """The addresses that fruits of a session are graded at by who takes part."""
    assert client.post(f"{address}/join").status_code == 303
    return re.findall(r'<form data-answer method="post" action="([^"]+)"', client.get(address).text)


def second_expert(app: App) -> TestClient:
    """A browser of another expert."""
    with app.services.database.write() as session:
        users.add_user(session, "second", Role.EXPERT, PASSWORD)
        user = users.find_user(session, "second")
        assert user is not None
        client = app.client()
        client.cookies.set("mezoroi_session", users.start_login(session, user))
    return client


def grade_weeks_ago(app: App, session_id: int) -> None:
    """The expert graded a session's fruits once before, all as A."""
    at = now() - timedelta(weeks=3)
    with app.services.database.write() as session:
        user = users.find_user(session, "expert")
        assert user is not None
        ids = [fruit.specimen_id for fruit in calibration.fruits_of(session, session_id)]
        found = calibration.open_session(session, "", "hand", user.id, 1, ids, [])
        for fruit in calibration.fruits_of(session, found.id):
            calibration.give_grade(session, found, fruit, user.id, "A", 0, "")
        for given in calibration.grades_of(session, found.id):
            given.given_at = at
        found.revealed_at = at


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


def test_a_note_is_kept_without_deciding_anything(prepared: App) -> None:
    first, second = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(first, count="2")
    for fruit in fruits_on(first, address):
        first.post(fruit, data={"grade": "A"})
    first.post(f"{address}/reveal")
    page = first.get(f"{address}/reveal").text
    fruit, last = re.findall(rf'class="card fruit" href="({address}/fruits/\d+)"', page)

    shown = first.get(fruit).text
    form = shown[shown.index('<form id="consensus"') :]
    default = re.search(r"<button[^>]*>", form)
    assert default is not None and f'formaction="{fruit}/note"' in default[0], "Enter in the note"
    assert "<a" not in form[: form.index("</button>", form.index("main next"))]
    number = last.rsplit("/", 1)[1]
    onwards = first.post(f"{fruit}/note", data={"note": "浅い傷", "following": number})
    assert onwards.headers["location"] == last
    shown = second.get(fruit).text
    assert 'value="浅い傷"' in shown and 'aria-pressed="true"' not in shown

    # A page from before the note was written neither empties it nor takes a consensus back.
    first.post(f"{fruit}/consensus", data={"grade": "B", "note": "浅い傷", "noted": "浅い傷"})
    assert second.post(f"{fruit}/note", data={"note": ""}).headers["location"].endswith("/reveal")
    second.post(f"{fruit}/consensus", data={"grade": "B", "note": ""})
    shown = second.get(fruit).text
    assert 'value="浅い傷"' in shown and 'value="B" aria-pressed="true"' in shown
    second.post(f"{fruit}/note", data={"note": "", "noted": "浅い傷"})
    assert "浅い傷" not in first.get(fruit).text


def _adds(session: object, number: int) -> bool:
    job = jobs.get_job(session, number)  # type: ignore[arg-type]
    return job is not None and job.kind == jobs.ADD_REFERENCE


def test_consensus_fruits_become_references(own_run_app: App, melons: Path) -> None:
    client = own_run_app.client(Role.EXPERT)
    send_fruits(own_run_app, client, sorted(melons.glob("captures/*/surface.png"))[:1])
    with own_run_app.services.database.write() as session:
        specimens.note_fruits(session)
        grading = fruits.newest_grading(session, 1)
        assert grading is not None
        prepared = {"result": grading.result, "similarity": grading.result["similarity"]}
        specimens.keep_prepared(session, 1, 1, **prepared)
        (own,) = [item.id for item in specimens.known_specimens(session) if item.fruit_id]
    address = open_session(client, way="hand", chosen=str(own))
    (fruit,) = fruits_on(client, address)
    client.post(fruit, data={"grade": "B"})
    client.post(f"{address}/reveal")
    client.post(f"{fruit}/consensus", data={"grade": "B"})
    client.post(f"{address}/references")
    asks = f'action="{address}/references"'
    assert asks not in client.get(f"{address}/reveal").text, "it waits already"
    with own_run_app.services.database.write() as session:
        (job,) = jobs.recent_jobs(session, jobs.REFERENCE_KINDS, 2)
        jobs.fail(session, job.id, "reference", "the disk was full")
        job.fruit_id = 1  # as such jobs were kept before
    newcomer = own_run_app.client(Role.NEWCOMER)
    for told in (newcomer.get("/api/v1/fruits/1").json(), newcomer.get("/api/v1/fruits").json()[0]):
        assert (told["state"], told["error"]) == ("done", None), "the fruit is graded all the same"
    assert "could not be graded again" not in newcomer.get("/fruits/1", headers=ENGLISH).text
    assert asks in client.get(f"{address}/reveal").text
    client.post(f"{address}/references")
    work(own_run_app.services)
    assert grades_of_reference(own_run_app) == ["B"]

    # A consensus that is taken back or changed takes its reference with it.
    client.post(f"{fruit}/consensus", data={"grade": "B"})
    work(own_run_app.services)
    assert grades_of_reference(own_run_app) == ["B"], "nothing changed"
    client.post(f"{fruit}/consensus", data={"grade": ""})
    work(own_run_app.services)
    assert grades_of_reference(own_run_app) == []
    client.post(f"{fruit}/consensus", data={"grade": "C"})
    client.post(f"{address}/references")
    client.post(f"{fruit}/consensus", data={"grade": "D"})
    work(own_run_app.services)
    assert grades_of_reference(own_run_app) == [], "changed before the worker came to it"
    client.post(f"{address}/references")
    work(own_run_app.services)
    assert grades_of_reference(own_run_app) == ["D"]


def grades_of_reference(app: App) -> list[str | None]:
    """What the run's references say of the first fruit."""
    import mezoroi as mz

    gallery = mz.Grader.load(app.services.settings.run, device="cpu").gallery
    assert gallery is not None
    return [item.grade for item in gallery.index.references(["fruit-1"])]


def test_references_do_not_count_for_mezorois_agreement(prepared: App, melons: Path) -> None:
    client = prepared.client(Role.EXPERT)
    sent = send_fruits(prepared, client, sorted(melons.glob("captures/*/surface.png"))[:2])
    prepare(prepared)
    with prepared.services.database.write() as session:
        references.add_reference(session, 1, "images/fruit-1.png", "A", None, sent[0])
        own = [item.id for item in specimens.known_specimens(session) if item.fruit_id]
    address = open_session(client, way="hand", chosen=[str(number) for number in own])  # type: ignore[arg-type]
    for fruit in fruits_on(client, address):
        client.post(fruit, data={"grade": "A"})
    client.post(f"{address}/reveal")
    page = client.get(f"{address}/reveal", headers=ENGLISH).text
    assert "Mezoroi learned from 1 of these fruits" in page
    with prepared.services.database.read() as session:
        found = calibration.get_session(session, 1)
        assert found is not None
        fruits_of = {str(item.id): item for item in calibration.fruits_of(session, 1)}
    models = {
        fruits_of[item["id"]].specimen.fruit_id: item["model"] for item in found.outcome["fruits"]
    }
    assert models[sent[0]] is None and models[sent[1]] is not None


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
    assert "<b>0</b> / 0" in leader.get(f"{address}?lead=true").text
    for fruit in fruits_on(second, address):
        second.post(fruit, data={"grade": "A"})
    page = leader.get(f"{address}?lead=true").text
    assert "<b>1</b> / 1" in page and f'action="{address}/reveal"' in page
    leader.post(f"{address}/join")
    assert f'href="{address}?lead=true"' in leader.get(address).text, "also while grading"
    assert leader.post(f"{address}/reveal").status_code == 200, "now one is missing"


def test_two_who_gave_one_grade_alone_are_not_compared(prepared: App) -> None:
    clients = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(clients[0], count="2")
    for client in clients:
        for fruit in fruits_on(client, address):
            client.post(fruit, data={"grade": "A"})
    clients[0].post(f"{address}/reveal")
    page = clients[0].get(f"{address}/reveal", headers=ENGLISH).text
    assert "100 %" in page and page.count('κ <span class="few">not enough data</span>') == 2


def test_a_session_shows_the_same_after_its_grades_have_gone(prepared: App) -> None:
    """Also one that was kept before kappa came with its interval, which is then left out."""
    clients = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(clients[0], count="3")
    for client, grades in zip(clients, ("ABD", "ACD"), strict=True):
        for fruit, grade in zip(sorted(fruits_on(client, address)), grades, strict=True):
            client.post(fruit, data={"grade": grade})
    clients[0].post(f"{address}/reveal")
    page = clients[0].get(f"{address}/reveal", headers=ENGLISH).text
    assert len(re.findall(r"κ <b>0.\d\d</b> <small>\(", page)) == 2
    with prepared.services.database.write() as session:
        session.query(CalibrationGrade).delete()
    assert clients[0].get(f"{address}/reveal", headers=ENGLISH).text == page
    with prepared.services.database.write() as session:
        (found,) = session.query(CalibrationSession)
        new = ("kappa_low", "kappa_high")
        found.outcome = {name: value for name, value in found.outcome.items() if name not in new}
    old = clients[0].get(f"{address}/reveal", headers=ENGLISH).text
    assert old == re.sub(r"(κ <b>0.\d\d</b>) <small>.*?</small>", r"\1", page)


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
        assert not calibration.list_sessions(session, 9)


def test_fruits_of_an_open_session_do_not_teach(prepared: App) -> None:
    client = prepared.client(Role.EXPERT)

    def found() -> set[int]:
        with prepared.services.database.read() as session:
            standard = teaching.active_standard(session)
            return {int(f.id) for f in teaching.teaching_fruits(session, standard)}

    before = found()
    address = open_session(client)
    with prepared.services.database.read() as session:
        chosen = {fruit.specimen_id for fruit in calibration.fruits_of(session, 1)}
    assert found() == before - chosen
    client.post(fruits_on(client, address)[0], data={"grade": "A"})
    client.post(f"{address}/reveal", data={"sure": "true"})
    disputed = before - found()
    assert disputed <= chosen and len(disputed) <= 1, "one whose grade the expert disputes"


def test_hidden_repeats_are_slipped_in_and_watched(prepared: App) -> None:
    client = prepared.client(Role.EXPERT)
    address = open_session(client)
    for fruit in fruits_on(client, address):
        client.post(fruit, data={"grade": "B"})
    client.post(f"{address}/reveal")
    with prepared.services.database.write() as session:
        names = {fruit.specimen.name for fruit in calibration.fruits_of(session, 1)}
        for given in session.query(CalibrationGrade):
            given.given_at -= timedelta(weeks=3)
        for found in session.query(CalibrationSession):
            found.revealed_at = now() - timedelta(weeks=3)
    again = open_session(client, count="2")
    client.post(f"{again}/join")
    page = client.get(again).text
    with prepared.services.database.read() as session:
        chosen = calibration.fruits_of(session, 2)
        repeats = [f for f in chosen if f.is_repeat]
        known = [f for f in chosen if f.specimen.name in names]  # some may be proposed by chance
    assert 1 <= len(repeats) <= 2 and {f.specimen.name for f in repeats} <= names
    assert "repeat" not in page, "unannounced"
    for fruit in fruits_on(client, again):
        client.post(fruit, data={"grade": "C"})
    with prepared.services.database.read() as session:
        assert drifting.watch(session)[0].repeats == 0, "the session is still open"
    client.post(f"{again}/reveal")
    with prepared.services.database.read() as session:
        expert, model = drifting.watch(session)
    assert (expert.name, expert.repeats) == ("expert", len(known))
    assert expert.drift.consistency.value == 0 and model.name is None
    assert client.get("/calibration/drift").status_code == 200


def test_the_drift_page_draws_a_chart_and_warns(prepared: App) -> None:
    client = prepared.client(Role.EXPERT)
    start = now() - timedelta(weeks=60)
    with prepared.services.database.write() as session:
        user = users.find_user(session, "expert")
        assert user is not None
        ids = [item.id for item in specimens.known_specimens(session)][:8]
        for number in range(6):
            found = calibration.open_session(session, "", "hand", user.id, 1, ids, [])
            for fruit in calibration.fruits_of(session, found.id):
                grade = "A" if number < 4 else "D"
                calibration.give_grade(session, found, fruit, user.id, grade, 0, "")
            for given in calibration.grades_of(session, found.id):
                given.given_at = start + timedelta(weeks=4 * number)
            found.revealed_at = start + timedelta(weeks=4 * number)
    page = client.get("/calibration/drift", headers=ENGLISH).text
    assert "40 repeats" in page and page.count("<svg") == 2
    assert "Grades stricter than before" in page and 'class="alert"' in page
