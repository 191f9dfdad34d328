"""Practice: fruits that teach, rounds, tests, progress; nothing tells an answer too early."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import mezoroi as mz
from mezoroi.app import gallery, hiding, practice_settings, practising, teaching
from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, jobs, practice, references, specimens, users
from mezoroi.app.tables import GradingRow, Run, User, now
from mezoroi.app.tables_learning import PracticeRound, Question, Specimen
from mezoroi.practice.study import ANSWER_COLUMNS, anonymise
from mezoroi.retrieval.gallery import THUMBNAILS
from mezoroi.retrieval.reference import Reference
from tests.app.conftest import App
from tests.app.learning import answer, begin, prepare, questions_on, send_fruits, truth_of


@pytest.fixture
def ready(prepared: App) -> App:
    """Rounds have four fruits, tests one of each grade."""
    with prepared.services.database.write() as session:
        settings = practice_settings.PracticeSettings(questions=4, test_fruits=1)
        practice_settings.keep_settings(session, settings)
    return prepared


def wrong(truth: str) -> str:
    return next(name for name in "ABCD" if name != truth)


def play(app: App, client: TestClient, *, right: bool = True) -> str:
    """Play a round of practice to its end; its address."""
    address = begin(client)
    for _ in range(4):
        (question,) = questions_on(client, address)
        truth = truth_of(app, question)
        answer(client, question, truth if right else wrong(truth))
    return address


@pytest.mark.parametrize(
    ("length", "repeats", "places"),
    [(20, 2, [6, 12]), (20, 3, [5, 10, 15]), (20, 0, []), (4, 2, [2, 4]), (5, 20, [2, 4])],
)
def test_an_expert_meets_at_most_as_many_repeats_as_set(
    length: int, repeats: int, places: list[int]
) -> None:
    numbers = range(1, length + 1)
    found = [n for n in numbers if practising.is_place_of_repeat(n, length, repeats)]
    assert found == places


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


def test_the_gallery_shows_the_feature_of_every_grade(ready: App) -> None:
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
    features = page.text.split('class="features"')[1].split("</dl>")[0]
    assert "目印" in page.text and f'viewBox="{left} {top} {side} {side}"' in features
    assert features.count("<image ") == 3 and features.count('class="mean"') == 1


def test_nothing_tells_the_answer_before_it_is_given(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    (question,) = questions_on(client, address)
    page = client.get(address)
    with ready.services.database.read() as session:
        found = practice.get_question(session, int(question.rsplit("/", 1)[1]), 3)
        found = found or practice.get_question(session, int(question.rsplit("/", 1)[1]), 1)
    assert found is not None
    result = found.specimen.result
    secrets = [
        *result["pictures"]["maps"].values(),
        *(entry["picture"] for row in found.specimen.alike.values() for entry in row),
        found.specimen.name,
        found.specimen.reference or "",
        "radar",
        "similarity",
    ]
    for address_ in (address, "/practice", "/practice/progress"):
        reply = client.get(address_)
        raw = reply.text + str(reply.headers)
        assert not [secret for secret in secrets if secret in raw], address_
    assert not re.findall(r'class="badge', page.text)
    assert client.get(question).status_code == 404
    letters = re.findall(r'name="grade" value="([^"]+)"', page.text)
    assert letters == list("ABCD"), "every grade can be chosen, in the standard's order"


def test_a_round_teaches_and_comes_to_an_end(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    seen = []
    for number in range(4):
        (question,) = questions_on(client, address)
        truth = truth_of(ready, question)
        given = truth if number % 2 else wrong(truth)
        told = client.get(answer(client, question, given)["location"]).text
        assert f">{truth}</b>" in told and "radar" in told
        assert ("data-overlay-map" in told) == ({truth, given} != {"C"}), "C is an outline's"
        assert ("told-head right" in told) == (given == truth)
        seen.append(question)
    assert len(set(seen)) == 4
    assert "2 / 4" not in client.get(address).text
    with ready.services.database.read() as session:
        user = users.find_user(session, "newcomer")
        assert user is not None
        learner = practice.get_learner(session, user.id)
        rounds = practice.list_rounds(session, user.id)
        names = [item.specimen.name for item in practice.questions_of(session, rounds[0].id)]
    assert learner is not None and learner.state["pairs"]
    assert learner.state["shown"] == names
    assert rounds[0].finished_at is not None
    assert len(set(names)) == 4, "a fresh fruit every time"


def test_an_answer_counts_once_however_often_it_is_sent(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    (question,) = questions_on(client, begin(client))
    with ready.services.database.write() as session:
        session.query(Question).one().shown_at -= timedelta(seconds=200)
    first = answer(client, question, "A", key="k1", waited="120")
    again = answer(client, question, "B", key="k1")
    assert first == again
    with ready.services.database.read() as session:
        (found,) = practice.answers(session)
    assert (found.given, found.key) == ("A", "k1")
    assert found.answered_at is not None
    assert timedelta(seconds=115) < now() - found.answered_at < timedelta(seconds=180)


def test_how_sure_one_is_need_not_be_said_and_is_not_made_up(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    (question,) = questions_on(client, address)
    assert not re.findall(r'name="certainty"[^>]*checked', client.get(address).text)
    assert client.post(question, data={"grade": truth_of(ready, question)}).status_code == 303
    with ready.services.database.read() as session:
        (found,) = practice.answers(session)
        user = users.find_user(session, "newcomer")
        assert user is not None
        from mezoroi.app.progressing import progress_of

        shares = progress_of(session, user.id).certainty
    assert found.certainty is None
    assert all(np.isnan(share.value) for share in shares.values())


@pytest.mark.parametrize(
    "form",
    [
        {"grade": "Z"},
        {"grade": "A", "certainty": "perhaps"},
        {"grade": "A", "seconds": "-1"},
        {"grade": "A", "waited": "nan"},
        {},
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(ready: App, form: dict[str, str]) -> None:
    client = ready.client(Role.NEWCOMER)
    (question,) = questions_on(client, begin(client))
    assert client.post(question, data=form).status_code == 422
    with ready.services.database.read() as session:
        assert not practice.answers(session)


def test_rounds_of_others_are_their_own(ready: App) -> None:
    client, other = ready.client(Role.NEWCOMER), ready.client(Role.EXPERT)
    address = begin(client)
    (question,) = questions_on(client, address)
    assert other.get(address).status_code == 404
    assert other.post(question, data={"grade": "A"}).status_code == 404


def test_tests_tell_nothing_and_their_fruits_occur_nowhere_else(ready: App) -> None:
    admin, client = ready.client(Role.ADMIN), ready.client(Role.NEWCOMER)
    assert admin.post("/practice/tests").status_code == 303
    address = begin(client, "pre-test")
    questions = questions_on(client, address)
    assert len(questions) == 4
    for question in questions:
        reply = answer(client, question, truth_of(ready, question))
        assert reply == {"location": address}
        assert client.get(question).status_code == 404, "no answer is told, not even afterwards"
    with ready.services.database.read() as session:
        hidden = hiding.hidden_names(session)
        tests = teaching.test_ids(session)
        fruits = teaching.practice_fruits(session, teaching.active_standard(session))
        pictures = {
            item.result["pictures"]["surface"]["name"]
            for item in specimens.get_specimens(session, tests).values()
        }
    assert len(tests) == 16 and len(hidden) == 16
    assert not tests & {int(fruit.id) for fruit in fruits}
    page = client.get("/practice/gallery").text
    assert not [name for name in pictures if name in page]
    assert client.post("/practice/rounds", data={"phase": "pre-test"}).status_code == 422


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


def test_tests_have_their_time(ready: App) -> None:
    ready.client(Role.ADMIN).post("/practice/tests")
    client = ready.client(Role.NEWCOMER)

    def states() -> list[str]:
        with ready.services.database.read() as session:
            user = users.find_user(session, "newcomer")
            assert user is not None
            rounds = practice.list_rounds(session, user.id)
        return [item.state for item in practising.test_states(rounds)]

    assert states() == ["open", "locked", "locked", "locked"]
    play(ready, client)
    assert states() == ["missed", "open", "locked", "locked"]
    for question in questions_on(client, begin(client, "post-test")):
        answer(client, question, "A")
    assert states() == ["missed", "done", "later", "later"]
    with ready.services.database.write() as session:
        for item in session.query(PracticeRound).filter_by(phase="post-test"):
            assert item.finished_at is not None
            item.finished_at -= timedelta(days=1)
    assert states() == ["missed", "done", "open", "later"]
    refused = client.post("/practice/rounds", data={"phase": "1 week"})
    assert refused.status_code == 422


def test_tests_that_somebody_began_are_not_made_anew(ready: App) -> None:
    admin = ready.client(Role.ADMIN)
    admin.post("/practice/tests")
    begin(ready.client(Role.NEWCOMER), "pre-test")
    assert admin.post("/practice/tests").status_code == 422


def test_too_few_fruits_for_tests_are_said_in_words(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    reply = client.post(
        "/practice/rounds", data={"phase": "pre-test"}, headers={"accept-language": "ja"}
    )
    assert reply.status_code == 422 and "テストに使える果実が足りません" in reply.text


def test_nothing_to_practise_on_is_said_in_words(app: App) -> None:
    client = app.client(Role.NEWCOMER)
    reply = client.get(begin(client), headers={"accept-language": "en"})
    assert reply.status_code == 422 and "too few fruits to practise on" in reply.text


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


def test_progress_counts_what_was_answered(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    play(ready, client)
    play(ready, client, right=False)
    page = client.get("/practice/progress", headers={"accept-language": "en"}).text
    assert "8 answers" in page and "not enough data" in page
    with ready.services.database.read() as session:
        user = users.find_user(session, "newcomer")
        assert user is not None
        from mezoroi.app.progressing import progress_of

        view = progress_of(session, user.id)
    assert view.answers == 8 and view.confusion.sum() == 8
    assert view.confusion.trace() == 4
    assert view.curve[0].accuracy.value == 0.5
    assert view.streak == 1 and view.shortfalls is None


def test_all_fruits_of_a_short_test_are_enough_for_the_certificate(ready: App) -> None:
    from mezoroi.app.progressing import progress_of

    with ready.services.database.write() as session:
        settings = practice_settings.PracticeSettings(questions=4, test_fruits=1, test="post-test")
        practice_settings.keep_settings(session, settings)
    ready.client(Role.ADMIN).post("/practice/tests")
    client = ready.client(Role.NEWCOMER)
    play(ready, client)
    for question in questions_on(client, begin(client, "post-test")):
        answer(client, question, truth_of(ready, question))
    with ready.services.database.read() as session:
        user = users.find_user(session, "newcomer")
        assert user is not None
        assert progress_of(session, user.id).shortfalls == []


def test_experts_see_results_of_those_who_agree(ready: App) -> None:
    client, expert = ready.client(Role.NEWCOMER), ready.client(Role.EXPERT)
    play(ready, client, right=False)
    with ready.services.database.read() as session:
        user = users.find_user(session, "newcomer")
    assert user is not None
    own = f"/practice/learners/{user.id}"
    assert "mistake" not in expert.get("/practice/learners").text
    assert expert.get(own).status_code == 404
    client.post("/practice/consent", data={"agrees": "true"})
    assert "mistake" in expert.get("/practice/learners").text
    assert expert.get(own).status_code == 200
    client.post("/practice/consent", data={"agrees": "false"})
    assert expert.get(own).status_code == 404


def test_results_go_after_a_day_without_consent(ready: App) -> None:
    people = [Role.NEWCOMER, Role.EXPERT, Role.ADMIN]
    newcomer, expert, admin = (ready.client(role) for role in people)
    expert.post("/practice/consent", data={"agrees": "true"})
    for client in (newcomer, expert, admin):
        play(ready, client)
    ids = {}
    with ready.services.database.write() as session:
        for role in people:
            user = users.find_user(session, role.value)
            assert user is not None
            ids[role] = user.id
        practice.learner(session, ids[Role.ADMIN]).arm = "random"
    assert ready.services.background.clear_out()["practice"] == 0, "not yet"
    with ready.services.database.write() as session:
        for item in session.query(PracticeRound):
            item.started_at -= timedelta(days=1)
    begin(newcomer)
    assert ready.services.background.clear_out()["practice"] == 2
    with ready.services.database.read() as session:
        left = {item.user_id for item in practice.answers(session)}
        assert left == {ids[Role.EXPERT]}
        assert len(practice.list_rounds(session, ids[Role.NEWCOMER])) == 1, "that of today"
        learners = {item.user_id: item for item in practice.list_learners(session)}
    assert learners.keys() == {ids[Role.EXPERT], ids[Role.ADMIN]}
    assert learners[ids[Role.EXPERT]].state["pairs"]
    assert (learners[ids[Role.ADMIN]].arm, learners[ids[Role.ADMIN]].state) == ("random", {})
    play(ready, newcomer)


def test_the_study_gets_answers_of_those_who_agree(ready: App) -> None:
    client, admin = ready.client(Role.NEWCOMER), ready.client(Role.ADMIN)
    with ready.services.database.read() as session:
        user = users.find_user(session, "newcomer")
    assert user is not None
    arm = f"/practice/learners/{user.id}/arm"
    assert admin.post(arm, data={"arm": "none"}).status_code == 422
    assert admin.post(arm, data={"arm": "random"}).status_code == 303
    play(ready, client)
    assert admin.post(arm, data={"arm": "adaptive"}).status_code == 422, "practice has begun"
    outsider = ready.client(Role.EXPERT)
    play(ready, outsider)
    outsider.post("/practice/consent", data={"agrees": "true"})

    def rows() -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(admin.get("/practice/answers.csv").text)))

    assert rows() == []
    client.post("/practice/consent", data={"agrees": "true"})
    exported = rows()
    assert [set(row) for row in exported] == [set(ANSWER_COLUMNS)] * 4
    assert {row["arm"] for row in exported} == {"random"}
    trial = anonymise(exported, b"0123456789abcdef")
    assert [row["right"] for row in trial] == [1] * 4


def test_settings_are_kept_and_nonsense_is_refused(ready: App) -> None:
    admin = ready.client(Role.ADMIN)
    form = {
        "questions": "10", "test_fruits": "2", "repeats": "1", "accuracy": "90", "recall": "60",
        "kappa": "0.7", "fruits": "8", "test": "post-test",
    }  # fmt: skip
    assert admin.post("/practice/settings", data=form).status_code == 303
    with ready.services.database.read() as session:
        settings = practice_settings.read_settings(session)
    assert settings.rule.accuracy == 0.9 and settings.rule.test == "post-test"
    for change in ({"questions": "0"}, {"kappa": "2"}, {"test": "exam"}, {"fruits": "x"}):
        assert admin.post("/practice/settings", data={**form, **change}).status_code == 422


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
