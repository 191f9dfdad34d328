"""What the reveal says of fruits and of graders who have few in common."""

from __future__ import annotations

import re

import pytest

from mezoroi.app import calibrating_sessions
from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, specimens
from mezoroi.app.tables_learning import Specimen
from tests.app.conftest import App
from tests.app.learning import wrong
from tests.app.sessions import open_session, second_expert

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


def test_fruits_in_common_are_counted_also_with_mezoroi() -> None:
    outcome = {
        "graders": ["a", "b", "Mezoroi"],
        "fruits": [
            {"id": "1", "labels": {"a": "A", "b": "B"}, "model": None},
            {"id": "2", "labels": {"a": "A"}, "model": "A"},
        ],
    }
    assert calibrating_sessions.in_common(outcome) == [[2, 1, 1], [1, 1, 0], [1, 0, 1]]


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
    (card,) = (one for one in cards if f"fruits/{fruits[second.id]}" in one)
    assert "graded by nobody" in card and "graded by one" not in card
    page = client.get(f"{address}/fruits/{fruits[second.id]}", headers=ENGLISH).text
    assert "graded by nobody" in page and "Disputed" not in page


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
