"""What the reveal says of fruits and of graders who have few in common."""

from __future__ import annotations

import re

import pytest

from mezoroi.app import calibrating_sessions
from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, specimens, users
from mezoroi.app.tables_learning import Specimen
from tests.app.conftest import PASSWORD, App
from tests.app.learning import wrong
from tests.app.sessions import fruits_on, open_session, second_expert

ENGLISH = {"accept-language": "en"}


def revealed(app: App, shares: dict[str, list[int]], wrongly: bool) -> tuple[str, list[str]]:
    """A session on some fruits, each grader grading some of them, rightly or not; its cards."""
    clients = {"expert": app.client(Role.EXPERT), "second": second_expert(app)}
    most = max(place for own in shares.values() for place in own) + 1
    with app.services.database.read() as session:
        ids = [item.id for item in specimens.known_specimens(session)][:most]
    address = open_session(clients["expert"], way="hand", chosen=[str(one) for one in ids])  # type: ignore[arg-type]
    with app.services.database.read() as session:
        fruits = calibration.fruits_of(session, 1)
        truth = {fruit.id: session.get_one(Specimen, fruit.specimen_id).grade for fruit in fruits}
    for name, own in shares.items():
        clients[name].post(f"{address}/join")
        for place in own:
            grade = truth[fruits[place].id] or ""
            given = {"grade": wrong(grade) if wrongly else grade}
            asked = f"{address}/fruits/{fruits[place].id}"
            assert clients[name].post(asked, data=given).status_code == 303
    assert clients["expert"].post(f"{address}/reveal", data={"sure": "true"}).status_code == 303
    page = clients["expert"].get(f"{address}/reveal", headers=ENGLISH).text
    return page, page.split('<a class="card fruit"')[1:]


@pytest.mark.parametrize(("number", "shown"), [(1, "1 / 1"), (4, "4 / 4"), (5, "100 %")])
def test_with_few_fruits_in_common_agreement_is_told_in_counts(
    prepared: App, number: int, shown: str
) -> None:
    places = list(range(number))
    page, _ = revealed(prepared, {"expert": [*places, 5], "second": places}, wrongly=False)
    matrix = page[page.index('id="pairs"') :]
    cells = [re.sub("<[^>]+>", " ", cell).strip() for cell in matrix.split("<td>")[2:]]
    assert [cell.split("κ")[0].strip() for cell in cells[1:3]] == [shown, shown]
    assert "fewer than 5 fruits in common" in matrix


def test_in_how_many_fruits_fleiss_kappa_has_is_told_where_a_grader_left(prepared: App) -> None:
    page, cards = revealed(prepared, {"expert": [0, 1, 2, 3], "second": [0]}, wrongly=False)
    assert len(cards) == 4 and "kappa is of the fruits that all have graded: 1 of 4." in page
    japanese = {"accept-language": "ja"}
    page = prepared.client(Role.EXPERT).get("/calibration/1/reveal", headers=japanese).text
    assert "（4 玉のうち 1 玉）" in page


def test_of_fruits_that_all_graded_nothing_more_is_said(prepared: App) -> None:
    page, _ = revealed(prepared, {"expert": [0, 1], "second": [0, 1]}, wrongly=False)
    assert "kappa is of the fruits" not in page


def test_fruits_in_common_are_counted_also_with_mezoroi() -> None:
    outcome = {
        "graders": ["a", "b", "Mezoroi"],
        "fruits": [
            {"id": "1", "labels": {"a": "A", "b": "B"}, "model": None},
            {"id": "2", "labels": {"a": "A"}, "model": "A"},
        ],
    }
    assert calibrating_sessions.in_common(outcome) == [[2, 1, 1], [1, 1, 0], [1, 0, 1]]


@pytest.mark.parametrize(("number", "known"), [(4, False), (5, True)])
def test_with_few_fruits_in_common_kappa_is_not_told(
    prepared: App, number: int, known: bool
) -> None:
    clients = prepared.client(Role.EXPERT), second_expert(prepared)
    address = open_session(clients[0], count="8")
    for client, grades in zip(clients, ("ABDABDAB", "ACDBBDAB"[:number]), strict=True):
        for fruit, grade in zip(sorted(fruits_on(client, address)), grades, strict=False):
            client.post(fruit, data={"grade": grade})
    clients[0].post(f"{address}/reveal", data={"sure": "true"})
    page = clients[0].get(f"{address}/reveal", headers=ENGLISH).text
    assert ('κ <span class="few">not enough data</span>' not in page) is known
    assert (page.count("κ <b>") == 2) is known


def test_of_mezorois_agreement_too_kappa_takes_five_fruits(prepared: App) -> None:
    _, _ = revealed(prepared, {"expert": [0, 1, 2, 3], "second": [0, 1, 2, 3, 4]}, wrongly=False)
    with prepared.services.database.write() as session:
        found = calibration.get_session(session, 1)
        assert found is not None
        known = {"value": 0.5, "low": 0.25, "high": 0.75}
        found.outcome = {
            **found.outcome,
            "graders": [*found.outcome["graders"], "Mezoroi"],
            "fruits": [{**fruit, "model": "A"} for fruit in found.outcome["fruits"]],
            "against_model": {"second": known, "expert": known},
            **{key: [[0.5] * 3] * 3 for key in ("same", "kappa", "kappa_low", "kappa_high")},
        }
    page = prepared.client(Role.EXPERT).get("/calibration/1/reveal", headers=ENGLISH).text
    compared = page[page.index("With Mezoroi") :]
    assert re.search(r"<dt>second</dt><dd><b>0.50</b>", compared)
    assert re.search(r'<dt>expert</dt><dd><span class="few">not enough data', compared)


def test_all_the_same_is_said_where_all_who_took_part_agree(prepared: App) -> None:
    _, cards = revealed(prepared, {"expert": [0], "second": [0]}, wrongly=False)
    assert "all the same" in cards[0] and "2 agree" not in cards[0]
    with prepared.services.database.write() as session:
        user = users.add_user(session, "third", Role.EXPERT, PASSWORD)
        calibration.join(session, 1, user.id)
    client = prepared.client(Role.EXPERT)
    (card,) = client.get("/calibration/1/reveal", headers=ENGLISH).text.split("card fruit")[1:]
    assert "2 agree" in card and "all the same" not in card
    assert "一致（2 人）" in client.get("/calibration/1/reveal").text


def test_a_fruit_that_one_graded_is_not_disputed(prepared: App) -> None:
    _, cards = revealed(prepared, {"expert": [0, 1], "second": [0]}, wrongly=False)
    assert "all the same" in cards[0] and "graded by one" in cards[1]
    assert "–" not in cards[1]


def test_a_fruit_that_nobody_graded_is_neither_graded_by_one_nor_disputed(
    prepared: App,
) -> None:
    client = prepared.client(Role.EXPERT)
    with prepared.services.database.write() as session:
        first, second = specimens.known_specimens(session)[:2]
        item = session.get_one(Specimen, second.id)
        item.grade = item.reference = None  # as if sent, and no expert ever said
    chosen = [str(first.id), str(second.id)]
    address = open_session(client, way="hand", chosen=chosen)  # type: ignore[arg-type]
    with prepared.services.database.read() as session:
        fruits = {fruit.specimen_id: fruit.id for fruit in calibration.fruits_of(session, 1)}
    client.post(f"{address}/join")
    client.post(f"{address}/fruits/{fruits[first.id]}", data={"grade": "A"})
    client.post(f"{address}/reveal", data={"sure": "true"})
    cards = client.get(f"{address}/reveal", headers=ENGLISH).text.split('<a class="card fruit"')[1:]
    own = f' href="{address}/fruits/{fruits[second.id]}"'
    (card,) = (one for one in cards if one.startswith(own))
    assert "not graded in this session" in card and "graded by one" not in card
    page = client.get(f"{address}/fruits/{fruits[second.id]}", headers=ENGLISH).text
    assert (
        "graded by nobody" in page
        and "not graded in this session" not in page
        and "Disputed" not in page
    )


def test_a_removed_reference_is_none_any_more(prepared: App) -> None:
    _, _ = revealed(prepared, {"expert": [0], "second": [0]}, wrongly=True)
    with prepared.services.database.write() as session:
        fruit = calibration.fruits_of(session, 1)[0]
        session.get_one(Specimen, fruit.specimen_id).retired = True
    page = prepared.client(Role.EXPERT).get("/calibration/1/reveal", headers=ENGLISH).text
    assert "Among the references" not in page


def test_all_are_not_said_to_agree_where_the_reference_is_of_another_grade(prepared: App) -> None:
    _, cards = revealed(prepared, {"expert": [0], "second": [0]}, wrongly=True)
    assert "all the same" not in cards[0]
    assert "the same here, disputed elsewhere" in cards[0]
    with prepared.services.database.read() as session:
        fruit = calibration.fruits_of(session, 1)[0]
        reference = fruit.specimen.grade
    assert f"{reference}</b>" in cards[0][cards[0].index("Among the references") :]
    client = prepared.client(Role.EXPERT)
    address = f"/calibration/1/fruits/{fruit.id}"
    said = client.get(address, headers=ENGLISH).text
    assert f"{reference}</b> Among the references" in said
    assert "Disputed: not used in practice" in said
    assert client.post(f"{address}/consensus", data={"grade": "D"}).status_code == 303
    assert "D</b> Agreed grade" in client.get(address, headers=ENGLISH).text


def test_where_the_reference_is_of_the_same_grade_all_agree(prepared: App) -> None:
    _, cards = revealed(prepared, {"expert": [0], "second": [0]}, wrongly=False)
    assert "all the same" in cards[0] and "Among the references" not in cards[0]


def ask(app: App, specimen_id: int) -> None:
    """A newer session asks the expert for a fruit."""
    with app.services.database.write() as session:
        user = users.find_user(session, "expert")
        assert user is not None
        opened = calibration.open_session(session, "", "hand", user.id, 1, [specimen_id], [])
        calibration.join(session, opened.id, user.id)


def test_a_fruit_that_is_asked_for_is_kept_in_all_its_pictures(prepared: App) -> None:
    _, cards = revealed(prepared, {"expert": [0, 1], "second": [0, 1]}, wrongly=False)
    assert len(cards) == 2
    with prepared.services.database.write() as session:
        told = calibration.fruits_of(session, 1)[0]
        asked = session.query(Specimen).filter(Specimen.id.not_in([1, 2])).first()
        assert asked is not None and told.specimen_id in (1, 2)
        asked.name, names = told.specimen.name, [asked.reference, told.specimen.reference]
    ask(prepared, asked.id)
    expert = prepared.client(Role.EXPERT)
    page = expert.get("/calibration/1/reveal", headers=ENGLISH).text
    assert "1 fruit is not shown" in page and page.count("card fruit") == 1
    assert expert.get(f"/calibration/1/fruits/{told.id}").status_code == 303
    listed = expert.get("/api/v1/references?most=200").json()
    assert listed and not {item["name"] for item in listed} & set(names)
    other = prepared.client(Role.ADMIN)
    assert other.get(f"/calibration/1/fruits/{told.id}").status_code == 200, "nobody asks this one"


def test_talking_over_passes_by_a_fruit_that_is_asked_for(prepared: App) -> None:
    revealed(prepared, {"expert": [0, 1, 2], "second": [0, 1, 2]}, wrongly=False)
    expert = prepared.client(Role.EXPERT)
    with prepared.services.database.read() as session:
        found = calibration.get_session(session, 1)
        assert found is not None
        first, asked, last = (int(item["id"]) for item in found.outcome["fruits"])
        fruit = calibration.get_fruit(session, 1, asked)
        assert fruit is not None
    ask(prepared, fruit.specimen_id)
    page = expert.get(f"/calibration/1/fruits/{first}", headers=ENGLISH).text
    assert f'name="following" value="{last}">Next fruit' in page and "1 / 2" in page
    page = expert.get(f"/calibration/1/fruits/{last}", headers=ENGLISH).text
    assert "To the overview" in page and "2 / 2" in page
