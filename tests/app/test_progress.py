"""What practice adds up to: progress, certificates, consent, the study, settings."""

from __future__ import annotations

import csv
import io
import re
import time
from datetime import datetime, timedelta

import pytest

from mezoroi.app import practice_settings
from mezoroi.app.roles import Role
from mezoroi.app.store import practice, users
from mezoroi.app.tables_learning import PracticeRound, Question
from mezoroi.practice.study import ANSWER_COLUMNS, anonymise
from tests.app.conftest import App
from tests.app.learning import (
    answer,
    begin,
    play,
    questions_on,
    truth_of,
    wrong,
)

PROGRESS = "/practice/progress"
ENGLISH = {"accept-language": "en"}


def test_progress_counts_what_was_answered(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    play(ready, client)
    play(ready, client, right=False)
    page = client.get("/practice/progress", headers={"accept-language": "en"}).text
    assert "8 answers" in page and "not enough data" in page
    assert "What counts: Test after a week." in page and "kappa at least 0.80" in page
    with ready.services.database.read() as session:
        user = users.find_user(session, "newcomer")
        assert user is not None
        from mezoroi.app.progressing import progress_of

        view = progress_of(session, user.id)
    assert view.answers == 8 and view.confusion.sum() == 8
    assert view.confusion.trace() == 4
    assert view.curve[0].accuracy.value == 0.5
    assert view.streak == 1 and view.shortfalls is None


def test_figures_are_of_the_latest_test_and_of_practice_only_without_one(ready: App) -> None:
    from mezoroi.app.progressing import progress_of

    ready.client(Role.ADMIN).post("/practice/tests")
    client = ready.client(Role.NEWCOMER)

    def seen() -> tuple[str, int, int]:
        with ready.services.database.read() as session:
            user = users.find_user(session, "newcomer")
            assert user is not None
            view = progress_of(session, user.id)
        page = client.get("/practice/progress", headers=ENGLISH).text
        said = "in practice, which steers" if view.measured == "practice" else "Post-test."
        assert re.findall(r"Of (\d+) answers", page) == [str(view.confusion.sum())] * 2
        assert page.count(said) == 2
        assert (
            sum(map(int, re.findall(r'<td class="[a-z]*">(\d+)</td>', page)))
            == view.confusion.sum()
        )
        return view.measured, int(view.confusion.sum()), int(view.confusion.trace())

    play(ready, client, right=False)
    assert seen() == ("practice", 4, 0)
    asked = questions_on(client, begin(client, "post-test"))
    for question in asked[:-1]:
        answer(client, question, truth_of(ready, question), certainty="sure")
    assert seen() == ("practice", 4, 0), "the test is not over"
    answer(client, asked[-1], truth_of(ready, asked[-1]))
    assert seen() == ("post-test", 4, 4)
    play(ready, client, right=False)
    assert seen() == ("post-test", 4, 4)


def test_experts_are_not_told_the_share_of_a_test_that_is_not_over(ready: App) -> None:
    from mezoroi.app.progressing import overview

    ready.client(Role.ADMIN).post("/practice/tests")
    client = ready.client(Role.NEWCOMER)
    client.post("/practice/consent", data={"agrees": "true"})

    def seen() -> tuple[list[str], int]:
        with ready.services.database.read() as session:
            (line,) = [item for item in overview(session) if item.has_begun]
        return list(line.tests), sum(count for _, _, count in line.mistakes)

    asked = questions_on(client, begin(client, "pre-test"))
    for question in asked[:-1]:
        answer(client, question, wrong(truth_of(ready, question)))
    assert seen() == ([], 0)
    answer(client, asked[-1], wrong(truth_of(ready, asked[-1])))
    tests, mistakes = seen()
    assert tests == ["pre-test"] and mistakes > 0


def test_a_share_of_few_answers_is_told_with_their_number(ready: App) -> None:
    ready.client(Role.ADMIN).post("/practice/tests")
    client, expert = ready.client(Role.NEWCOMER), ready.client(Role.EXPERT)
    client.post("/practice/consent", data={"agrees": "true"})
    play(ready, client)
    for place, question in enumerate(questions_on(client, begin(client, "post-test"))):
        truth = truth_of(ready, question)
        answer(client, question, truth if place else wrong(truth))
    page = client.get("/practice/progress", headers=ENGLISH).text
    assert page.count("<small>3/4</small>") == 2, "of the test, and of what was fairly sure"
    assert page.count("<small>1/1</small>") == 3 and page.count("<small>0/1</small>") == 1
    page = expert.get("/practice/learners", headers=ENGLISH).text
    assert "<small>4/4</small>" in page and "<small>3/4</small>" in page


def test_questions_that_experts_dispute_after_the_test_are_said_to_be_left_out(ready: App) -> None:
    ready.client(Role.ADMIN).post("/practice/tests")
    client = ready.client(Role.NEWCOMER)
    play(ready, client)
    asked = questions_on(client, begin(client, "post-test"))
    for question in asked:
        answer(client, question, truth_of(ready, question))

    def page(language: str = "en") -> str:
        return client.get("/practice/progress", headers={"accept-language": language}).text

    def dispute(questions: list[str]) -> None:
        with ready.services.database.write() as session:
            for question in questions:
                found = session.get_one(Question, int(question.rsplit("/", 1)[1]))
                found.specimen.consensus = wrong(found.truth)

    assert "left out" not in page()
    dispute(asked[:1])
    assert "1 of 4 questions is left out, as experts now disagree on it" in page()
    assert "4 問中 1 問は、熟練者の意見が割れたため除きました" in page("ja")
    dispute(asked)
    assert "4 of 4 questions are left out" in page() and "No test has been taken" not in page()


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


def test_a_certificate_outlasts_the_answers_it_was_reached_with(ready: App) -> None:
    with ready.services.database.write() as session:
        settings = practice_settings.PracticeSettings(questions=4, test_fruits=1, test="post-test")
        practice_settings.keep_settings(session, settings)
        users.add_user(session, "late", Role.NEWCOMER, "melon-melon-melon")
    ready.client(Role.ADMIN).post("/practice/tests")
    client, expert = ready.client(Role.NEWCOMER), ready.client(Role.EXPERT)
    client.post("/practice/consent", data={"agrees": "true"})
    assert "Reached on" not in client.get("/practice/progress", headers=ENGLISH).text
    play(ready, client)
    for question in questions_on(client, begin(client, "post-test")):
        answer(client, question, truth_of(ready, question))
    with ready.services.database.write() as session:
        for item in session.query(Question):
            item.shown_at -= timedelta(days=366)
    assert ready.services.background.clear_out()["questions"] == 8
    assert "Reached on" in client.get("/practice/progress", headers=ENGLISH).text
    page = expert.get("/practice/learners", headers=ENGLISH).text
    rows = {name: row for row in page.split("<tr>") for name in ("newcomer", "late") if name in row}
    assert "has not begun" in rows["late"] and "has not begun" not in rows["newcomer"]
    assert re.search(r"</a></td><td>[^<]*\d[^<]*</td><td>0</td>", rows["newcomer"]), "its day"
    client.post("/practice/consent", data={"agrees": "false"})
    with ready.services.database.write() as session:
        for found in session.query(PracticeRound):
            found.started_at -= timedelta(days=2)
    ready.services.background.clear_out()
    assert "Reached on" not in client.get("/practice/progress", headers=ENGLISH).text


def test_a_certificate_that_is_reached_later_has_its_day_for_experts_too(ready: App) -> None:
    def ask(accuracy: float) -> None:
        with ready.services.database.write() as session:
            settings = practice_settings.PracticeSettings(
                4, 1, 0, accuracy, recall=0, kappa=0, fruits=4, test="post-test"
            )
            practice_settings.keep_settings(session, settings)

    ask(1.0)
    ready.client(Role.ADMIN).post("/practice/tests")
    client, expert = ready.client(Role.NEWCOMER), ready.client(Role.EXPERT)
    client.post("/practice/consent", data={"agrees": "true"})
    play(ready, client)
    first, *rest = questions_on(client, begin(client, "post-test"))
    answer(client, first, wrong(truth_of(ready, first)))
    for question in rest:
        answer(client, question, truth_of(ready, question))
    assert "share right: 0.75, needed 1.00" in client.get(PROGRESS, headers=ENGLISH).text
    ask(0.7)
    assert "Reached on" in client.get(PROGRESS, headers=ENGLISH).text
    page = expert.get("/practice/learners", headers=ENGLISH).text
    assert re.search(r"newcomer</a></td><td>[^<]*\d[^<]*</td>", page), "its day"
    ask(1.0)
    assert "Reached on" in client.get(PROGRESS, headers=ENGLISH).text, "it was reached"


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
    assert learners[ids[Role.NEWCOMER]].state == {} == learners[ids[Role.EXPERT]].taken
    assert learners[ids[Role.NEWCOMER]].taken.keys() == {"practice"}
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


def test_days_of_the_study_are_those_of_the_house(
    ready: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, admin = ready.client(Role.NEWCOMER), ready.client(Role.ADMIN)
    with ready.services.database.write() as session:
        user = users.find_user(session, "newcomer")
        assert user is not None
        practice.learner(session, user.id).arm = "random"
    client.post("/practice/consent", data={"agrees": "true"})
    play(ready, client)
    moments = ["2026-06-30T22:00", "2026-07-01T02:00", "2026-07-01T14:30", "2026-07-01T15:30"]
    with ready.services.database.write() as session:
        for item, moment in zip(practice.answers(session), moments, strict=True):
            item.answered_at = datetime.fromisoformat(f"{moment}+00:00")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        rows = csv.DictReader(io.StringIO(admin.get("/practice/answers.csv").text))
        trial = anonymise(list(rows), b"0123456789abcdef")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [row["day"] for row in trial] == [0, 0, 0, 1], "the day begins at 15:00 in UTC"


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
    page = admin.get("/practice/settings").text
    assert "<code>mezoroi study assign</code>" in page and "`" not in page
