"""The administrator's pages: people, standard, house settings, audit log."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from markupsafe import escape

import mezoroi
from mezoroi.app.roles import Role
from mezoroi.app.store import audit, house, runs, users
from mezoroi.app.tables import AuditEntry, now
from mezoroi.app.tables_learning import PracticeRound, Question, Specimen
from mezoroi.cli import main
from mezoroi.cli_app import _first_logins
from tests.app.conftest import PASSWORD, App
from tests.app.helpers import send, send_all

ENGLISH = {"accept-language": "en"}


def told(admin: TestClient, path: str, form: dict[str, str] | None = None) -> tuple[str, str]:
    """The page that follows on a form which makes a one-time password, and that password."""
    answer = admin.post(path, data=form or {})
    assert answer.status_code == 303
    page = admin.get(answer.headers["location"], headers=ENGLISH).text
    return page, page.split('class="secret">')[1].split("<")[0]


def test_a_person_is_added_changes_the_password_and_is_locked(app: App) -> None:
    admin = app.client(Role.ADMIN)
    person = {"name": "Sato", "full_name": "佐藤", "role": "expert"}
    page, secret = told(admin, "/admin/users", person)
    assert "earlier logins" not in page
    assert secret not in admin.get("/admin/users").text
    sato = app.client()
    assert sato.post("/login", data={"name": "sato", "password": secret}).status_code == 303
    assert sato.get("/").headers["location"] == "/account", "the one-time password is due"
    refused = admin.post("/admin/users", data=person)
    assert refused.status_code == 422
    assert 'value="Sato"' in refused.text and 'value="佐藤"' in refused.text
    assert '<option value="expert" selected>' in refused.text.split('id="new-person"')[1]

    with app.services.database.read() as session:
        user = users.find_user(session, "sato")
    assert user is not None and user.role == "expert" and user.blind
    admin.post(f"/admin/users/{user.id}/role", data={"role": "newcomer"})
    admin.post(f"/admin/users/{user.id}/lock", data={"active": "false"})
    assert sato.get("/").headers["location"].startswith("/login")
    assert app.client().post("/login", data={"name": "sato", "password": secret}).status_code == 401
    admin.post(f"/admin/users/{user.id}/lock", data={"active": "true"})
    renewed, second = told(admin, f"/admin/users/{user.id}/password")
    assert "earlier logins" in renewed
    for password, status in ((secret, 401), (second, 303)):
        login = app.client().post("/login", data={"name": "sato", "password": password})
        assert login.status_code == status
    log = admin.get("/admin/audit", headers=ENGLISH).text
    locked = ("User locked out", "User let in again")
    for action in ("User added", "Role changed", *locked, "Password reset"):
        assert action in log
    assert secret not in log and second not in log


def test_a_one_time_password_is_shown_once_and_to_whoever_made_it(app: App) -> None:
    admin, other = app.client(Role.ADMIN), app.client(Role.ADMIN)
    with app.services.database.write() as session:
        person = users.find_user(session, "newcomer")
        assert person is not None
        second = users.add_user(session, "boss", Role.ADMIN, PASSWORD)
        other.cookies.set("mezoroi_session", users.start_login(session, second))
    page = admin.post(f"/admin/users/{person.id}/password").headers["location"]
    assert 'class="secret"' not in other.get(page).text
    assert 'class="secret"' in admin.get(page).text
    with app.services.database.read() as session:
        before = users.get_user(session, person.id)
    again = admin.get(page, headers=ENGLISH).text
    assert 'class="secret"' not in again and "was shown before" in again
    with app.services.database.read() as session:
        after = users.get_user(session, person.id)
    assert before is not None and after is not None
    assert before.password_hash == after.password_hash, "a reload resets nothing"


def test_administrators_change_their_own_password_in_their_settings(app: App) -> None:
    admin = app.client(Role.ADMIN)
    with app.services.database.read() as session:
        user = users.find_user(session, "admin")
    assert user is not None
    answer = admin.post(f"/admin/users/{user.id}/password")
    assert answer.headers["location"] == "/account"
    assert admin.get("/admin/users").status_code == 200, "still logged in"
    assert f"/admin/users/{user.id}/password" not in admin.get("/admin/users").text


def test_a_refused_login_keeps_the_name_and_not_the_password(app: App) -> None:
    page = app.client().post("/login", data={"name": "sato", "password": "melon-melon"})
    assert page.status_code == 401
    assert 'value="sato"' in page.text and "melon-melon" not in page.text


@pytest.mark.parametrize("way", ["password", "lock"])
def test_who_failed_too_often_is_let_in_by_the_administrator(app: App, way: str) -> None:
    for _ in range(users.FREE_FAILURES):
        app.client().post("/login", data={"name": "expert", "password": "wrong"})
    right = {"name": "expert", "password": PASSWORD}
    assert app.client().post("/login", data=right).status_code == 429
    with app.services.database.read() as session:
        user = users.find_user(session, "expert")
    assert user is not None
    admin, path = app.client(Role.ADMIN), f"/admin/users/{user.id}/{way}"
    if way == "password":
        right["password"] = told(admin, path)[1]
    else:
        admin.post(path, data={"active": "true"})
    assert app.client().post("/login", data=right).status_code == 303


def test_who_becomes_an_expert_starts_in_blind_mode(app: App) -> None:
    with app.services.database.read() as session:
        user = users.find_user(session, "newcomer")
    assert user is not None and not user.blind
    for is_blind in (True, False):
        app.client(Role.ADMIN).post(f"/admin/users/{user.id}/role", data={"role": "expert"})
        with app.services.database.write() as session:
            found = users.get_user(session, user.id)
            assert found is not None and found.blind is is_blind
            found.blind = False  # by choice, which the same role given again leaves alone


def test_a_trial_has_logins_at_every_start(app: App) -> None:
    settings, database = app.services.settings, app.services.database
    assert _first_logins(settings, demo=False) == []
    with database.write() as session:
        admin, expert = (users.find_user(session, name) for name in ("admin", "expert"))
        assert admin is not None and expert is not None
        key = users.add_token(session, expert, "camera")
        users.set_role(session, expert, Role.ADMIN)
        users.set_role(session, admin, Role.NEWCOMER)
        users.set_active(session, admin, False)
    told = [_first_logins(settings, demo=True) for _ in range(2)]
    with database.read() as session:
        assert users.user_of_token(session, key) is None
        assert {user.name: user.role for user in users.list_users(session)} == {
            role.value: role.value for role in Role
        }
        kept = audit.list_entries(session, 0, 3)
    assert [(entry.action, entry.subject, entry.detail) for entry, _ in kept] == [
        ("password reset", name, {"role": name, "by": audit.COMMAND_LINE})
        for name in ("newcomer", "expert", "admin")
    ]
    for number, status in ((0, 401), (1, 303)):
        logins = [re.findall("`([^`]+)`", line) for line in told[number]]
        assert [name for name, _ in logins] == ["admin", "expert", "newcomer"]
        for name, password in logins:
            answer = app.client().post("/login", data={"name": name, "password": password})
            assert answer.status_code == status


def test_the_language_can_be_chosen_after_every_form(app: App) -> None:
    admin = app.client(Role.ADMIN)
    with app.services.database.read() as session:
        user = users.find_user(session, "newcomer")
    assert user is not None
    for path, goal in (
        (f"/admin/users/{user.id}/role", "/admin/users"),
        ("/admin/users", "/admin/users"),
        ("/fruits/1/verdict", "/fruits/1"),
        ("/language", "/"),
    ):
        assert f'name="next" value="{goal}"' in admin.post(path, data={}).text


@pytest.mark.parametrize(
    ("came_from", "path", "goal"),
    [
        ("/fruits?grade=A&lot=1", "/fruits", "/fruits?grade=A&lot=1"),
        ("/login?next=/fruits/1", "/login", "/login?next=/fruits/1"),
        ("/fruits?grade=%E7%A7%80", "/fruits", "/fruits?grade=%E7%A7%80"),
        ("/fruits?grade=A", "/lots", "/lots"),
        ("/fruits", "/fruits", "/fruits"),
        ("/?x=1", "//elsewhere.example", "/?x=1"),
        ("/fruits?grade=A", "https://elsewhere.example/fruits", "/"),
    ],
)
def test_a_page_stays_as_it_was_in_the_other_language(
    app: App, came_from: str, path: str, goal: str
) -> None:
    form = {"language": "en", "next": path}
    for host, shown in (("http://testserver", goal), ("http://[", goal.partition("?")[0])):
        headers = {"referer": f"{host}{came_from}"}
        answer = app.client().post("/language", data=form, headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (303, shown)


def test_the_log_is_in_the_users_language(app: App) -> None:
    admin = app.client(Role.ADMIN)
    admin.post("/admin/house", data={"performance": "30", "audit": "60", "language": "ja"})
    page = admin.get("/admin/audit", headers={"accept-language": "ja"}).text
    for text in ("全体の設定を変更", "言語: 日本語", "保存日数: (", "操作記録: 60"):
        assert text in page


def test_a_page_of_the_log_after_the_last_is_the_last(app: App) -> None:
    with app.services.database.write() as session:
        for number in range(60):
            audit.record(session, None, "lot added", f"lot {number}")
    page = app.client(Role.ADMIN).get("/admin/audit?page=99").text
    assert "2 / 2" in page and "lot 0<" in page and 'href="/admin/audit?page=1"' in page


def test_what_the_command_line_did_is_in_the_users_language(app: App) -> None:
    data = str(app.services.settings.data)
    for action in ("add", "password", "token", "lock", "unlock"):
        with pytest.raises(SystemExit):
            main(["users", data, action, "sato"])
    page = app.client(Role.ADMIN).get("/admin/audit", headers={"accept-language": "ja"}).text
    with app.services.database.read() as session:
        kept = [entry.action for entry, _ in audit.list_entries(session, 0, 5)]
    assert kept == ["unlocked", "locked", "token made", "password reset", "user added"]
    assert page.count("操作元: コマンドライン") == 5 and "command line" not in page


def test_the_log_tells_what_people_wrote_as_they_wrote_it(app: App, melons: Path) -> None:
    surface = next(melons.glob("captures/*/surface.png"))
    fruit_id = send(app, surface.read_bytes())
    newcomer, note = app.client(Role.NEWCOMER), "<b hx-post='/x'>糖度 80%"
    for shown, text in (("", note), (note, "")):
        form = {"shown_note": shown, "note": text}
        newcomer.post(f"/fruits/{fruit_id}/details", data=form)
    page = app.client(Role.ADMIN).get("/admin/audit")
    assert page.status_code == 200
    assert str(escape(note)) in page.text and "<b hx-post" not in page.text


def test_the_command_line_locks_not_the_last_administrator(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    data, expert = str(app.services.settings.data), app.client(Role.EXPERT)
    with pytest.raises(SystemExit) as ended:
        main(["users", data, "lock", "admin"])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.err == "error: no administrator would be left: make another one first\n"
    assert app.client(Role.ADMIN).get("/admin").status_code == 200
    with pytest.raises(SystemExit):
        main(["users", data, "lock", "expert"])
    assert expert.get("/").headers["location"].startswith("/login")


def test_every_line_of_the_log_has_words() -> None:
    """The actions and details that the code records are those that pages can say."""
    actions, details = set(), set()
    for path in Path(mezoroi.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "audit.record":
                said = ast.walk(call.args[2])
                actions |= {node.value for node in said if isinstance(node, ast.Constant)}
                details |= {keyword.arg for keyword in call.keywords}
    assert actions == audit.ACTIONS.keys()
    assert details <= audit.DETAILS.keys()


@pytest.mark.parametrize(
    ("path", "data"), [("role", {"role": "expert"}), ("lock", {"active": "false"})]
)
def test_the_last_administrator_stays(app: App, path: str, data: dict[str, str]) -> None:
    with app.services.database.read() as session:
        user = users.find_user(session, "admin")
    assert user is not None
    answer = app.client(Role.ADMIN).post(f"/admin/users/{user.id}/{path}", data=data)
    assert answer.status_code == 422
    assert app.client(Role.ADMIN).get("/admin").status_code == 200


def test_other_words_for_the_grades_are_a_new_version(app: App, melons: Path) -> None:
    surfaces = sorted(melons.glob("captures/*/surface.png"))
    (first,) = send_all(app, surfaces[:1])
    admin = app.client(Role.ADMIN)
    admin.post("/admin/standard/example", data={"fruit_id": first, "grade": "A"})
    with app.services.database.read() as session:
        before = runs.active_run(session)
    assert before is not None
    words = {"title-0-ja": "特秀", "description-0-ja": "網が細かい", "note": "春の目揃い会"}
    for place, entry in enumerate(before.standard.content["grades"].values()):
        for part in ("title", "description"):
            for code, value in entry[part].items():
                words.setdefault(f"{part}-{place}-{code}", value)
    assert admin.post("/admin/standard", data=words).status_code == 303
    admin.post("/admin/standard", data=words | {"note": "the same once more"})

    with app.services.database.read() as session:
        after = runs.active_run(session)
        versions = house.list_standards(session)
        assert after is not None
        examples = house.examples(session, after.standard_id)
    assert [item.version for item in versions] == [2, 1]
    assert versions[0].note == "春の目揃い会"
    assert versions[1].content == before.standard.content
    assert after.standard.content["grades"]["A"]["title"]["ja"] == "特秀"
    assert list(after.standard.content["grades"]) == list(before.standard.content["grades"])
    assert [(item.grade, item.fruit_id) for item in examples] == [("A", first)]
    (second,) = send_all(app, surfaces[1:2])
    for fruit, version in ((first, 1), (second, 2)):
        page = admin.get(f"/fruits/{fruit}", headers=ENGLISH).text
        assert f"standard version {version}" in page

    # Experts read both versions, with the examples whose grade they are not asked for.
    expert, japanese = app.client(Role.EXPERT), {"accept-language": "ja"}
    example = f'href="/fruits/{first}"'
    page = expert.get("/standard", headers=japanese).text
    assert "特秀" in page and "春の目揃い会" in page and example not in page
    older = expert.get("/standard?version=1", headers=japanese).text
    assert "特秀" not in older and "（使用中）" not in older and "<textarea" not in older
    expert.post(f"/fruits/{first}/blind", data={"grading_id": "1", "grade": "C"})
    assert example in expert.get("/standard").text
    assert [expert.get(f"/standard?version={number}").status_code for number in (3, 0)] == [
        404,
        422,
    ]


def test_the_house_language_is_for_who_chose_none(app: App) -> None:
    page = {"accept-language": "en"}
    assert '<html lang="en"' in app.client().get("/login", headers=page).text
    days = {"performance": "30", "audit": "60"}
    admin = app.client(Role.ADMIN)
    assert admin.post("/admin/house", data=days | {"language": "ja"}).status_code == 303
    assert '<html lang="ja"' in app.client().get("/login", headers=page).text
    cookie = {"cookie": "mezoroi_language=en"}
    assert '<html lang="en"' in app.client().get("/login", headers=cookie).text
    assert admin.post("/admin/house", data={"performance": "0", "audit": "60"}).status_code == 422


def test_what_is_older_than_the_house_keeps_it_goes(app: App) -> None:
    with app.services.database.write() as session:
        house.set_setting(session, house.RETENTION, {"performance": 10, "audit": 40})
        user = users.find_user(session, "newcomer")
        assert user is not None
        user.consent_at = now()
        specimen = Specimen(reference="x", name="x", grade="A")
        practice = PracticeRound(user_id=user.id, phase="practice", length=2)
        session.add_all([specimen, practice])
        session.flush()
        for number, days in enumerate((9, 11)):
            session.add(
                Question(
                    round_id=practice.id,
                    user_id=user.id,
                    number=number,
                    specimen_id=specimen.id,
                    truth="A",
                    shown_at=now() - timedelta(days=days),
                )
            )
        for days in (39, 41):
            session.add(AuditEntry(action="old", created_at=now() - timedelta(days=days)))
    gone = app.services.background.clear_out()
    assert (gone["questions"], gone["audit"]) == (1, 1)
    assert app.services.background.clear_out()["questions"] == 0


def test_keys_for_programs_are_shown_once_and_revoked(make_app: Callable[..., App]) -> None:
    app = make_app()
    newcomer = app.client(Role.NEWCOMER)
    made = newcomer.post("/account/tokens", data={"name": "camera"}).headers["location"]
    assert 'class="secret"' not in app.client(Role.ADMIN).get(made).text, "not theirs"
    key = newcomer.get(made).text.split('class="secret">')[1].split("<")[0]
    again = newcomer.get(made, headers=ENGLISH).text
    assert key not in again and "was shown before" in again
    assert again.count("/revoke") == 1, "loaded again it makes no other key"
    program = {"authorization": f"Bearer {key}"}
    assert app.client().get("/api/v1/fruits", headers=program).status_code == 200
    listed = newcomer.get("/account/tokens").text
    assert "camera" in listed and key not in listed
    token_id = listed.split("/account/tokens/")[1].split("/")[0]
    app.client(Role.EXPERT).post(f"/account/tokens/{token_id}/revoke")
    assert app.client().get("/api/v1/fruits", headers=program).status_code == 200, "not theirs"
    newcomer.post(f"/account/tokens/{token_id}/revoke")
    assert app.client().get("/api/v1/fruits", headers=program).status_code == 401
