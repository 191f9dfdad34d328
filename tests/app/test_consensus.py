"""After a calibration session: agreement, consensus, references, hidden repeats, drift."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from fastapi.testclient import TestClient

from mezoroi.app import drifting, teaching
from mezoroi.app.roles import Role
from mezoroi.app.store import (
    calibration,
    fruits,
    jobs,
    practice,
    references,
    specimens,
    users,
)
from mezoroi.app.tables import now
from mezoroi.app.tables_learning import CalibrationGrade, CalibrationSession
from tests.app.conftest import App, work
from tests.app.learning import prepare, send_fruits
from tests.app.sessions import fruits_on, open_session, second_expert

ENGLISH = {"accept-language": "en"}


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

    # Two who write at the same time: both notes stay, also when one of them is sent again.
    for client, note in ((first, "底のかび"), (second, "網が粗い"), (second, "網が粗い")):
        client.post(f"{fruit}/note", data={"note": note, "noted": ""})
    assert 'value="底のかび / 網が粗い"' in first.get(fruit).text
    both = {"note": "網が粗い", "noted": "底のかび / 網が粗い"}
    first.post(f"{fruit}/note", data=both)
    assert 'value="網が粗い"' in second.get(fruit).text
    second.post(f"{fruit}/note", data={"note": "", "noted": "底のかび / 網が粗い"})
    assert 'value="網が粗い"' in first.get(fruit).text, "it was changed since"


def test_a_page_from_before_does_not_overwrite_what_another_settled(prepared: App) -> None:
    first, second = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(first, count="1")
    (fruit,) = fruits_on(first, address)
    first.post(fruit, data={"grade": "A"})
    first.post(f"{address}/reveal")

    def shown(client: TestClient) -> str:
        (settled,) = re.findall(r'name="settled" value="([^"]*)"', client.get(fruit).text)
        return str(settled)

    both = shown(first), shown(second)
    assert both == ("", "")
    settled = {"grade": "B", "settled": both[0]}
    assert first.post(f"{fruit}/consensus", data=settled).status_code == 303
    stale = {"grade": "C", "settled": both[1], "note": "遅れた意見"}
    refused = second.post(f"{fruit}/consensus", data=stale, headers=ENGLISH)
    assert refused.status_code == 422 and "has changed what was settled" in refused.text
    assert shown(second) == "B" and "遅れた意見" not in second.get(fruit).text
    taken_back = {"grade": "", "settled": both[1]}
    assert second.post(f"{fruit}/consensus", data=taken_back).status_code == 422
    again = {"grade": "B", "settled": both[1]}
    assert second.post(f"{fruit}/consensus", data=again).status_code == 303, "they agree"
    anew = {"grade": "C", "settled": shown(second)}
    assert second.post(f"{fruit}/consensus", data=anew).status_code == 303
    assert shown(first) == "C"


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
    client.post(f"{fruit}/consensus", data={"grade": "", "settled": "B"})
    work(own_run_app.services)
    assert grades_of_reference(own_run_app) == []
    client.post(f"{fruit}/consensus", data={"grade": "C"})
    client.post(f"{address}/references")
    client.post(f"{fruit}/consensus", data={"grade": "D", "settled": "C"})
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


def test_the_newest_sessions_consensus_counts_and_takes_other_references_away(
    prepared: App, melons: Path
) -> None:
    client = prepared.client(Role.EXPERT)
    (sent,) = send_fruits(prepared, client, sorted(melons.glob("captures/*/surface.png"))[:1])
    prepare(prepared)
    with prepared.services.database.read() as session:
        (own,) = [item.id for item in specimens.known_specimens(session) if item.fruit_id]
    places = []
    for grade in "AB":
        address = open_session(client, way="hand", chosen=str(own))
        (fruit,) = fruits_on(client, address)
        client.post(fruit, data={"grade": grade})
        client.post(f"{address}/reveal")
        client.post(f"{fruit}/consensus", data={"grade": grade})
        places.append((address, fruit))
        if grade == "A":
            client.post(f"{address}/references")

    def state() -> tuple[str | None, list[str]]:
        with prepared.services.database.read() as session:
            queued = jobs.recent_jobs(session, jobs.REFERENCE_KINDS, 9)
            found = specimens.get_specimen(session, own)
            assert found is not None
            return found.consensus, [job.kind for job in reversed(queued)]

    first, second = places
    assert state() == ("B", [jobs.ADD_REFERENCE, jobs.REMOVE_REFERENCE]), "that of A goes"
    client.post(f"{first[1]}/consensus", data={"grade": "D", "settled": "A"})
    assert state()[0] == "B", "a late edit of the earlier session"
    assert f'action="{first[0]}/references"' not in client.get(f"{first[0]}/reveal").text
    assert f'action="{second[0]}/references"' in client.get(f"{second[0]}/reveal").text
    client.post(f"{second[1]}/consensus", data={"grade": "", "settled": "B"})
    assert state()[0] == "D", "what was settled before stands"
    with prepared.services.database.write() as session:  # as the page of references does
        references.add_reference(session, 1, f"fruit-{sent}", "C", None, sent)
    before = state()[1]
    client.post(f"{first[1]}/consensus", data={"grade": "C", "settled": "D"})
    assert state()[1] == before
    client.post(f"{first[1]}/consensus", data={"grade": "B", "settled": "C"})
    assert state()[1] == [*before, jobs.REMOVE_REFERENCE]


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


def test_two_who_gave_one_grade_alone_are_not_compared(prepared: App) -> None:
    clients = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(clients[0], count="5")
    for client in clients:
        for fruit in fruits_on(client, address):
            client.post(fruit, data={"grade": "A"})
    clients[0].post(f"{address}/reveal")
    page = clients[0].get(f"{address}/reveal", headers=ENGLISH).text
    assert (
        page.count("<td>100 %<br>") == 2
        and page.count('κ <span class="few">not enough data</span>') == 2
    )


def test_a_session_shows_the_same_after_its_grades_have_gone(prepared: App) -> None:
    """Also one that was kept before kappa came with its interval: it is then not known."""
    clients = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(clients[0], count="8")
    for client, grades in zip(clients, ("ABDAABDA", "ACDBACDB"), strict=True):
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
    few = 'κ <span class="few">not enough data</span>'
    assert old == re.sub(r"κ <b>0.\d\d</b> <small>.*?</small>", few, page)


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


def test_of_practice_only_answers_to_hidden_repeats_count_beside_a_blind_grade(
    prepared: App,
) -> None:
    client = prepared.client(Role.EXPERT)
    weeks = [timedelta(weeks=number) for number in (9, 6, 3)]
    with prepared.services.database.write() as session:
        user = users.find_user(session, "expert")
        assert user is not None
        number = user.id
        known = specimens.known_specimens(session)[:3]
        blind = calibration.open_session(session, "", "hand", number, 1, [known[0].id], [])
        (fruit,) = calibration.fruits_of(session, blind.id)
        calibration.give_grade(session, blind, fruit, number, "A", 0, "")
        for given in calibration.grades_of(session, blind.id):
            given.given_at = now() - weeks[0]
        blind.revealed_at = now() - weeks[0]
        within = practice.start_round(session, number, practice.PRACTICE, 9)
        asked = [(0, True, weeks[1]), (1, True, weeks[0]), (1, True, weeks[1])]
        asked += [(2, False, weeks[0]), (2, False, weeks[2])]
        for place, (which, is_repeat, ago) in enumerate(asked, start=1):
            question = practice.add_question(
                session, within, place, known[which].id, "A", {"repeat": is_repeat}
            )
            question.given, question.answered_at = "B", now() - ago

    def repeats() -> int:
        with prepared.services.database.read() as session:
            return drifting.watch(session)[0].repeats

    assert repeats() == 0, "without consent"
    client.post("/practice/consent", data={"agrees": "true"})
    assert repeats() == 1, "never as the first"
    with prepared.services.database.read() as session:
        names = {item.specimen for item in drifting.repeatable(session, number)}
    assert names == {known[0].name}


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
