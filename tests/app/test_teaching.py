"""Fruits that teach and that test, and the gallery: agreed grades alone, hidden where needed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

import mezoroi as mz
from mezoroi.app import gallery, hiding, teaching
from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, jobs, practice, references, specimens
from mezoroi.app.tables import GradingRow, Run, User
from mezoroi.app.tables_learning import PracticeRound, Specimen
from mezoroi.retrieval.gallery import THUMBNAILS
from mezoroi.retrieval.reference import Reference
from tests.app.conftest import App
from tests.app.learning import (
    prepare,
    send_fruits,
    wrong,
)


def test_references_are_graded_as_the_grader_would(ready: App, grader: mz.Grader) -> None:
    with ready.services.database.read() as session:
        known = specimens.known_specimens(session)
    assert grader.gallery is not None
    references = {item.id: item for item in grader.gallery.index.references()}
    assert {item.reference for item in known} == set(references)
    for item in known:
        assert item.labels == {"reference": references[item.reference or ""].grade}
        assert item.name == references[item.reference or ""].more["specimen"]
        assert all(value is not None for value in item.similarity.values()), "outlines are known"
    folder = grader.gallery.root / THUMBNAILS
    assert folder.is_dir()
    with ready.services.database.read() as session:
        found = specimens.get_specimens(session, [item.id for item in known])
    for specimen in found.values():
        near = [entry["id"] for row in specimen.alike.values() for entry in row]
        assert near and specimen.reference not in near
        for grade, row in specimen.alike.items():
            assert {references[entry["id"]].grade for entry in row} == {grade}
            for entry in row:
                assert entry["outline"] == references[entry["id"]].more["outline"]


def test_pairs_on_the_border_to_a_grade_of_the_outline_show_both_outlines(ready: App) -> None:
    page = ready.client(Role.NEWCOMER).get("/practice/gallery").text
    pairs = page.split('aria-labelledby="pairs"')[1].split('<div class="card pair">')[1:]
    shown: dict[bool, set[int]] = {}
    for pair in pairs:
        grades = tuple(re.findall(r'<b class="badge[^>]*>(\w)</b>', pair))
        shown.setdefault("C" in grades, set()).add(pair.count('class="silhouette"'))
    assert shown == {True: {2}, False: {0}}


def test_the_gallery_shows_what_mezoroi_looks_at(ready: App) -> None:
    with ready.services.database.write() as session:
        for item in session.query(Specimen).filter_by(grade="A"):
            pictures = item.result["pictures"]
            width, height = pictures["surface"]["width"], pictures["surface"]["height"]
            spot = np.zeros((height, width), np.uint8)
            spot[: height // 8, -width // 8 :] = 255  # upper right
            stream = io.BytesIO()
            Image.fromarray(spot).save(stream, "PNG")
            name = ready.services.blobs.keep_picture(stream.getvalue(), "png")
            maps = {**pictures["maps"], "A": name}
            item.result = {**item.result, "pictures": {**pictures, "maps": maps}}
        view = gallery.gallery(session, "en", ready.services.blobs)
    first = view.parts[0]
    assert first.crop is not None
    left, top, side, _ = first.crop
    assert (left, top) == (first.fruits[0].surface["width"] - side, 0)
    assert {part.grade for part in view.parts if part.crop is None} == {"C"}, "C is an outline's"
    page = ready.client(Role.NEWCOMER).get("/practice/gallery", headers={"accept-language": "ja"})
    looked_at = page.text.split('class="looked-at"')[1].split("</section>")[0]
    assert f'viewBox="{left} {top} {side} {side}"' in looked_at
    assert looked_at.count("<image ") == 3 and "Mezoroi が見ているところ" in looked_at


def test_disputed_and_waiting_fruits_are_no_examples(ready: App, melons: Path) -> None:
    files = sorted(melons.glob("captures/*/surface.png"))[:3]
    send_fruits(ready, ready.client(Role.EXPERT), files)
    prepare(ready)

    def hidden() -> set[str]:
        with ready.services.database.read() as session:
            return hiding.hidden_names(session)

    assert hidden() == set()
    with ready.services.database.write() as session:
        first, second, *_ = session.query(Specimen).filter(Specimen.reference.is_not(None))
        names = [first.reference, second.reference]
        first.consensus = wrong(first.grade or "")
        for number in (1, 2):
            references.add_reference(session, 1, f"fruit-{number}", "A", None, number)
        own = session.query(Specimen).filter_by(fruit_id=1).one()
        own.consensus = "B"
    assert hidden() == {names[0], "fruit-1"}, "experts settled otherwise"
    with ready.services.database.write() as session:
        waiting = session.query(Specimen).filter_by(fruit_id=2).one()
        tested = session.query(Specimen).filter_by(reference=names[1]).one()
        practice.keep_tests(session, {"pre-test": [(tested.id, "A")]})
        calibration.open_session(session, "", "hand", 1, 1, [waiting.id], [])
    assert hidden() == {*names, "fruit-1", "fruit-2"}


def test_a_result_tells_newcomers_no_grade_of_a_hidden_reference(ready: App, melons: Path) -> None:
    surface = next(melons.glob("captures/*/surface.png"))
    (fruit_id,) = send_fruits(ready, ready.client(Role.NEWCOMER), [surface])

    def near(role: Role, address: str) -> list[str]:
        found = ready.client(role).get(address).json()
        (fruit,) = found if isinstance(found, list) else [found]
        return [item["id"] for item in fruit["grading"]["neighbours"]]

    def pictures(role: Role) -> list[str]:
        page = ready.client(role).get(f"/fruits/{fruit_id}").text
        return re.findall(r'<img src="[^"]+" alt="([^"]+)"', page.split('id="alike"')[-1])

    with ready.services.database.write() as session:
        for item in session.query(User):
            item.blind = False
    addresses = (f"/api/v1/fruits/{fruit_id}", "/api/v1/fruits")
    every = near(Role.EXPERT, addresses[0])
    assert near(Role.NEWCOMER, addresses[0]) == every and len(every) == 8
    with ready.services.database.write() as session:
        by_name = {item.reference: item for item in session.query(Specimen)}
        tested, waiting, disputed = (by_name[name] for name in every[:3])
        practice.keep_tests(session, {"pre-test": [(tested.id, tested.grade or "")]})
        calibration.open_session(session, "", "hand", 1, 1, [waiting.id], [])
        disputed.consensus = wrong(disputed.grade or "")
    for address in addresses:
        assert near(Role.NEWCOMER, address) == every[3:]
        assert near(Role.EXPERT, address) == every
    assert pictures(Role.NEWCOMER) == every[3:7]
    assert pictures(Role.EXPERT) == every[:4]
    with ready.services.database.write() as session:
        another = Run(folder="x", digest="x", standard_id=1, input_kind="surface", metrics={})
        session.add(another)
        session.flush()
        session.query(GradingRow).one().run_id = another.id
    for address in addresses:
        assert near(Role.NEWCOMER, address) == [], "another run's references"
    assert pictures(Role.NEWCOMER) == []


def test_fruits_stay_the_same_under_a_grader_trained_in_the_app(
    ready: App, grader: mz.Grader, melons: Path
) -> None:
    assert grader.gallery is not None
    old = grader.gallery.index.references()
    new = [
        one._replace(
            id=f"images/data-{number}.png",
            more={**one.more, "specimen": f"data/{one.more['specimen']}"},
        )
        for number, one in enumerate(old, start=1)
    ]
    upload = new[0]._replace(id="images/fruit-1.png", more={"specimen": "fruit-1"})
    with ready.services.database.write() as session:
        settled = session.query(Specimen).filter_by(reference=old[3].id).one()
        settled.consensus = "D"
        before = {item.name: item.id for item in session.query(Specimen)}

    def note(present: list[Reference]) -> dict[str | None, Specimen]:
        with ready.services.database.write() as session:
            specimens.note_references(session, 1, present)
            return {
                item.reference: item for item in session.query(Specimen).filter_by(fruit_id=None)
            }

    def named(known: dict[str | None, Specimen]) -> dict[str, int]:
        return {item.name: item.id for item in known.values()}

    first = send_fruits(
        ready, ready.client(Role.EXPERT), sorted(melons.glob("captures/*/surface.png"))[:1]
    )
    with ready.services.database.write() as session:
        references.add_reference(session, 1, upload.id, upload.grade, None, first[0])
    # Then numbered the other way round: each takes the name of another.
    swapped = [one._replace(id=two.id) for one, two in zip(new, new[::-1], strict=True)]
    for present in (new, swapped):
        known = note([*present, upload])
        assert named(known) == before and upload.id not in known
        assert not [item for item in known.values() if item.retired]
        assert known[present[3].id].consensus == "D"
        assert known[present[3].id].id == settled.id
    known = note(old[1:])
    assert named(known) == before and known[old[3].id].consensus == "D"
    (gone,) = (item for item in known.values() if item.retired)
    assert gone.name == old[0].more["specimen"]


def test_nothing_to_practise_on_is_said_in_words(app: App) -> None:
    client = app.client(Role.NEWCOMER)
    reply = client.post("/practice/rounds", headers={"accept-language": "en"})
    assert reply.status_code == 422 and "too few fruits to practise on" in reply.text
    with app.services.database.read() as session:
        assert not session.query(PracticeRound).all(), "the pre-test is not missed for it"


def test_disputed_fruits_never_teach_and_agreed_ones_do(ready: App, melons: Path) -> None:
    expert, admin = ready.client(Role.EXPERT), ready.client(Role.ADMIN)
    files = sorted(melons.glob("captures/*/surface.png"))[:2]
    send_fruits(ready, expert, files)
    prepare(ready)

    def taught() -> dict[int, str]:
        with ready.services.database.read() as session:
            fruits = teaching.teaching_fruits(session, teaching.active_standard(session))
            own = {
                item.id: item.fruit_id
                for item in specimens.known_specimens(session)
                if item.fruit_id is not None
            }
        return {own[int(f.id)]: f.grade for f in fruits if int(f.id) in own}

    assert taught() == {}, "no expert has graded them"
    for number in (1, 2):
        form = {"grading_id": str(number), "answer": "wrong", "own_grade": "A"}
        assert expert.post(f"/fruits/{number}/verdict", data=form).status_code == 303
    assert taught() == {1: "A", 2: "A"}
    form = {"grading_id": "2", "answer": "wrong", "own_grade": "B"}
    admin.post("/fruits/2/verdict", data=form)
    assert taught() == {1: "A"}
    with ready.services.database.write() as session:
        session.query(Specimen).filter_by(fruit_id=2).one().consensus = "B"
    assert taught() == {1: "A", 2: "B"}


def test_a_grade_judged_on_the_outline_needs_an_outline(ready: App) -> None:
    with ready.services.database.write() as session:
        standard = teaching.active_standard(session)
        before = teaching.teaching_fruits(session, standard)
        for item in session.query(Specimen):
            item.similarity = {**item.similarity, "C": None}
        after = teaching.teaching_fruits(session, standard)
    assert {fruit.grade for fruit in before} == set("ABCD")
    assert {fruit.grade for fruit in after} == set("ABD")


def test_preparation_goes_on_after_fruits_that_people_sent(prepared: App, photo: bytes) -> None:
    from mezoroi.app.worker import Worker

    with prepared.services.database.write() as session:
        assert not specimens.order_preparation(session), "all is prepared"
        for item in session.query(Specimen).limit(6):
            item.run_id = None
        assert specimens.order_preparation(session)
        assert not specimens.order_preparation(session), "one at a time"
    worker = Worker(prepared.services.settings, "worker-test", lambda said: None)
    assert worker.work_once()
    prepared.client(Role.NEWCOMER).post("/fruits", files={"file": ("a.jpg", photo)})
    assert worker.work_once()
    with prepared.services.database.read() as session:
        assert jobs.count_open(session, jobs.GRADE) == 0
        assert jobs.count_open(session, jobs.PREPARE) == 1
        assert specimens.count_unprepared(session, 1) == 2
    while worker.work_once():
        pass
    with prepared.services.database.read() as session:
        assert jobs.count_open(session, jobs.PREPARE) == 0
        assert specimens.count_unprepared(session, 1) == 0


def test_no_page_tells_the_grade_of_a_fruit_that_is_asked_for_elsewhere(
    ready: App, melons: Path
) -> None:
    files = sorted(melons.glob("captures/*/surface.png"))[:3]
    tested_id, waiting_id, free_id = send_fruits(ready, ready.client(Role.EXPERT), files)
    prepare(ready)
    with ready.services.database.write() as session:
        for item in session.query(User):
            item.blind = False
        tested, waiting = (
            session.query(Specimen).filter_by(fruit_id=number).one().id
            for number in (tested_id, waiting_id)
        )
        practice.keep_tests(session, {"pre-test": [(tested, "A")]})
        opened = calibration.open_session(session, "", "hand", 1, 1, [waiting], [])
        ((fruit,),) = [calibration.fruits_of(session, opened.id)]
        expert = session.query(User).filter_by(role=Role.EXPERT.value).first()
        assert expert is not None
        number, grader, place = opened.id, expert.id, fruit.id

    def hidden(role: Role) -> set[int]:
        client, found = ready.client(role), set()
        told = {each["id"]: each for each in client.get("/api/v1/fruits").json()}
        listed = client.get("/fruits", headers={"accept-language": "en"}).text
        filtered = "".join(client.get(f"/fruits?grade={name}").text for name in "ABCD")
        for fruit_id in (tested_id, waiting_id, free_id):
            page = client.get(f"/fruits/{fruit_id}", headers={"accept-language": "en"}).text
            row = next(part for part in listed.split("<tr>") if f'"/fruits/{fruit_id}"' in part)
            is_hidden = "The grade is not told now" in page
            assert is_hidden == ("Not told now" in row) == ('class="badge none"' in row)
            assert is_hidden == (told[fruit_id]["grading"] is None)
            assert is_hidden != (f'href="/fruits/{fruit_id}"' in filtered)
            assert is_hidden != ("radar" in page) == ('name="map"' in page)
            found |= {fruit_id} if is_hidden else set()
        return found

    assert hidden(Role.NEWCOMER) == {tested_id, waiting_id}
    assert hidden(Role.EXPERT) == set(), "who does not take part"
    with ready.services.database.write() as session:
        calibration.join(session, number, grader)
    assert hidden(Role.EXPERT) == {waiting_id}
    with ready.services.database.write() as session:
        found = calibration.get_session(session, number)
        item = calibration.get_fruit(session, number, place)
        assert found is not None and item is not None
        calibration.give_grade(session, found, item, grader, "A", 0, "")
    assert hidden(Role.EXPERT) == set()
    with ready.services.database.write() as session:
        found = calibration.get_session(session, number)
        assert found is not None
        calibration.close(session, found)
    assert hidden(Role.NEWCOMER) == {tested_id}


def test_a_fruit_asked_for_is_kept_from_verdicts_sums_references_and_earlier_sessions(
    ready: App, melons: Path
) -> None:
    expert, newcomer = ready.client(Role.EXPERT), ready.client(Role.NEWCOMER)
    first, second = sorted(melons.glob("captures/*/surface.png"))[:2]
    tested_id, waiting_id, again_id = send_fruits(ready, expert, [first, second, first])
    prepare(ready)
    with ready.services.database.write() as session:
        for item in session.query(User):
            item.blind = False
        by_fruit = {item.fruit_id: item.id for item in session.query(Specimen)}
        reference = session.query(Specimen).filter(Specimen.reference.is_not(None)).first()
        user = session.query(User).filter_by(role=Role.EXPERT.value).first()
        assert reference is not None and reference.reference and user is not None
        name, own, expert_id = reference.reference, reference.grade, user.id
        practice.keep_tests(session, {"pre-test": [(by_fruit[tested_id], "A")]})
        asked = [by_fruit[waiting_id], reference.id]
        earlier = calibration.open_session(session, "", "hand", expert_id, 1, asked, [])
        for fruit in calibration.fruits_of(session, earlier.id):
            calibration.give_grade(session, earlier, fruit, expert_id, "A", 0, "")
        calibration.close(session, earlier)
        opened = calibration.open_session(session, "", "hand", expert_id, 1, asked, asked)
        calibration.join(session, opened.id, expert_id)
        place = calibration.fruits_of(session, earlier.id)[0].id
    grading_id = expert.get(f"/api/v1/fruits/{waiting_id}").json()["grading_id"]

    assert newcomer.get(f"/api/v1/fruits/{again_id}").json()["grading"] is None, "the same file"
    day = newcomer.get("/summary", headers={"accept-language": "en"}).text
    assert "2 fruits in a test or an open calibration session" not in day
    assert "3 fruits in a test or an open calibration session are not counted" in day

    verdict = {"answer": "agree", "grading_id": grading_id}
    for address in ("verdict", "blind"):
        sent = expert.post(f"/fruits/{waiting_id}/{address}", data={**verdict, "grade": "A"})
        assert sent.status_code == 422
    assert expert.post(f"/api/v1/fruits/{waiting_id}/verdict", json=verdict).status_code == 422
    mask = {"grading_id": grading_id, "masks": {}}
    assert expert.post(f"/fruits/{waiting_id}/mask", json=mask).status_code == 403

    listed = expert.get(f"/api/v1/references?grade={own}&most=200").json()
    assert name not in [item["name"] for item in listed] and listed
    assert f'value="{name}"' not in expert.get(f"/references?grade={own}").text
    told = expert.get(f"/api/v1/fruits/{tested_id}").json()["grading"]["neighbours"]
    assert name not in [item["id"] for item in told]

    page = expert.get(f"/calibration/{earlier.id}/reveal", headers={"accept-language": "en"}).text
    assert "2 fruits are not shown" in page and 'class="card fruit"' not in page
    shown = expert.get(f"/calibration/{earlier.id}/fruits/{place}", follow_redirects=False)
    assert shown.status_code == 303 and shown.headers["location"] == "/calibration"


def test_a_session_that_nobody_graded_is_cancelled(ready: App, melons: Path) -> None:
    (fruit_id,) = send_fruits(
        ready, ready.client(Role.EXPERT), [next(melons.glob("captures/*/surface.png"))]
    )
    prepare(ready)
    expert, newcomer = ready.client(Role.EXPERT), ready.client(Role.NEWCOMER)
    with ready.services.database.write() as session:
        specimen = session.query(Specimen).filter_by(fruit_id=fruit_id).one().id
        leader = session.query(User).filter_by(role=Role.EXPERT.value).first()
        assert leader is not None
        opened = calibration.open_session(session, "", "hand", leader.id, 1, [specimen], [])
        number = opened.id
    address = f"/api/v1/fruits/{fruit_id}"
    assert newcomer.get(address).json()["grading"] is None
    assert f'action="/calibration/{number}/cancel"' in expert.get(f"/calibration/{number}").text
    assert newcomer.post(f"/calibration/{number}/cancel").status_code == 403
    assert expert.post(f"/calibration/{number}/cancel").status_code in (200, 303)
    assert newcomer.get(address).json()["grading"] is not None
    assert expert.get(f"/calibration/{number}").status_code == 404
    with ready.services.database.write() as session:
        graded = calibration.open_session(session, "", "hand", leader.id, 1, [specimen], [])
        (fruit,) = calibration.fruits_of(session, graded.id)
        calibration.give_grade(session, graded, fruit, leader.id, "A", 0, "")
        number = graded.id
    refused = expert.post(f"/calibration/{number}/cancel", headers={"accept-language": "en"})
    assert refused.status_code == 422 and "Please reveal it" in refused.text
    assert "/cancel" not in expert.get(f"/calibration/{number}").text
