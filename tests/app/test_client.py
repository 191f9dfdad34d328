"""The command line grades through the API of an app, here without a network between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from mezoroi.app import client as api
from mezoroi.app.roles import Role
from mezoroi.app.settings import Limits
from mezoroi.app.store import fruits, users
from mezoroi.cli import main
from mezoroi.errors import MezoroiError
from tests.app.conftest import NAMES, App, jpeg, work


@pytest.fixture
def online(app: App, monkeypatch: pytest.MonkeyPatch) -> Callable[[Role], str]:
    """Makes keys; what httpx asks reaches the app, whose worker grades whenever one waits."""

    inside = TestClient(app.app, follow_redirects=False)

    def answer(request: httpx.Request) -> httpx.Response:
        kept = ("authorization", "accept-language", "content-type", "idempotency-key")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        path = request.url.raw_path.decode()
        said = inside.request(request.method, path, content=request.read(), headers=headers)
        return httpx.Response(said.status_code, headers=said.headers, content=said.content)

    class Wired(httpx.Client):
        def __init__(self, **options: object) -> None:
            super().__init__(transport=httpx.MockTransport(answer), **options)  # type: ignore[arg-type]

    def make_key(role: Role) -> str:
        with app.services.database.write() as session:
            user = users.find_user(session, NAMES[role])
            assert user is not None
            return users.add_token(session, user, "test")

    monkeypatch.setattr(httpx, "Client", Wired)
    monkeypatch.setattr(api.time, "sleep", lambda seconds: work(app.services))
    return make_key


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(item) for item in arguments])
    return int(ended.value.code or 0)


def test_photos_are_graded_as_in_the_app(
    app: App, online: Callable[[Role], str], melons: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    surfaces = sorted(melons.glob("captures/*/surface.png"))[:2]
    (tmp_path / "letter.jpg").write_text("a letter")
    options = ("--server", "http://house:8000", "--token", online(Role.NEWCOMER), "--json")
    status = run("grade", *surfaces, tmp_path / "letter.jpg", "-o", tmp_path / "out", *options)
    said = json.loads(capsys.readouterr().out)["results"]
    assert status == 1
    assert [item.get("fruit") for item in said] == [1, 2, None]
    assert "not a photo or a video" in said[2]["error"]
    shown = app.client(Role.NEWCOMER).get("/api/v1/fruits/1").json()["grading"]
    written = json.loads((tmp_path / "out" / "surface" / "grading.json").read_text())
    assert written["similarity"] == shown["similarity"]
    folder = tmp_path / "out" / "surface-2"
    assert sorted(path.name for path in folder.iterdir()) == [
        "activation-A.png", "activation-B.png", "activation-D.png", "grading.json", "surface.jpg",
    ]  # fmt: skip


def test_a_batch_goes_on_past_a_file_that_cannot_be_read(
    online: Callable[[Role], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    photos = [tmp_path / f"{number}.jpg" for number in range(3)]
    for number, path in enumerate(photos):
        path.write_bytes(jpeg(number))
    opened = Path.open

    def refuse(path: Path, *arguments: object, **options: object) -> object:
        if path == photos[1]:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)  # type: ignore[call-overload]

    options = ("--server", "http://house", "--token", online(Role.NEWCOMER))
    monkeypatch.setattr(Path, "open", refuse)
    assert run("grade", *photos, "-o", tmp_path / "out", *options) == 1
    said = capsys.readouterr().out
    assert f"{photos[1]}: it cannot be read (Permission denied)" in said
    assert "2 graded, 1 failed" in said


def test_a_batch_of_which_nothing_is_graded_is_an_error(
    online: Callable[[Role], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = [tmp_path / "1.jpg", tmp_path / "2.jpg"]
    for path in letters:
        path.write_text("a letter")
    options = ("--server", "http://house", "--token", online(Role.NEWCOMER))
    assert run("grade", *letters, "-o", tmp_path / "out", *options) == 2
    said = capsys.readouterr()
    assert "0 graded, 2 failed" in said.out
    assert said.err.startswith("error: none of 2 fruits could be graded, the first: ")
    assert said.err.count("\n") == 1 and str(letters[0]) in said.err


def test_a_full_queue_is_waited_for(
    app: App, online: Callable[[Role], str], tmp_path: Path
) -> None:
    object.__setattr__(app.services.settings, "limits", Limits(queue=2))
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(number))
    with api.connect("http://house", online(Role.NEWCOMER)) as client:
        found = list(api.grade_files(client, api.files_of([tmp_path])))
    assert [fruit["state"] for _, fruit in found] == ["done"] * 4


def test_what_was_not_acknowledged_is_sent_again_and_kept_once(
    app: App, online: Callable[[Role], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(number))
    ask, posts = httpx.Client.request, 0

    def ask_in_vain(client: httpx.Client, method: str, path: str, **content: object) -> object:
        nonlocal posts
        answer = ask(client, method, path, **content)  # type: ignore[arg-type]
        posts += method == "POST"
        if method == "POST" and posts in (1, 2, 4):
            raise httpx.ReadError("the answer was lost")
        return answer

    with api.connect("http://house", online(Role.NEWCOMER)) as client:
        monkeypatch.setattr(httpx.Client, "request", ask_in_vain)
        found = list(api.grade_files(client, api.files_of([tmp_path])))
    assert posts == 5
    assert [(fruit["id"], fruit["state"]) for _, fruit in found] == [(1, "done"), (2, "done")]
    with app.services.database.read() as session:
        assert fruits.count_fruits(session) == 2


def test_a_connection_that_stays_broken_is_said_to_be_so(
    online: Callable[[Role], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.jpg").write_bytes(jpeg(1))

    def fail(*_arguments: object, **_content: object) -> None:
        raise httpx.ConnectError("no route")

    with api.connect("http://house", online(Role.NEWCOMER)) as client:
        monkeypatch.setattr(httpx.Client, "request", fail)
        with pytest.raises(MezoroiError, match="the connection broke"):
            list(api.grade_files(client, [tmp_path / "1.jpg"]))


def test_a_blind_grader_gets_no_grade(
    online: Callable[[Role], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.jpg").write_bytes(jpeg(1))
    options = ("--server", "http://house", "--token", online(Role.EXPERT))
    assert run("grade", tmp_path / "1.jpg", "-o", tmp_path / "out", *options) == 2
    assert "asked of you first" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_key_waits_for_its_user_to_change_the_one_time_password(
    app: App, online: Callable[[Role], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = app.services.settings
    told = ("--database", place.url)
    assert run("users", place.data, "add", "kiku", *told) == 0
    capsys.readouterr()
    assert run("users", place.data, "token", "kiku", *told) == 0
    printed = capsys.readouterr()
    assert "note: the key works once kiku has changed the one-time password" in printed.err
    (tmp_path / "1.jpg").write_bytes(jpeg(1))
    key = printed.out.split()[-1]
    options = ("--server", "http://house", "--token", key)
    assert run("grade", tmp_path / "1.jpg", "-o", tmp_path / "out", *options) == 2
    assert "log in at http://house as the user of this key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--server", "http://house"), "needs a key"),
        (("--server", "house:1", "--token", "x"), "is no address"),
        (("--server", "http://house", "--token", "forged"), "users DATA token"),
        ((), "no fruit to grade"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    online: Callable[[Role], str], tmp_path: Path, options: tuple[str, ...], reason: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("MEZOROI_TOKEN", raising=False)
    (tmp_path / "1.jpg").write_bytes(jpeg(1))
    assert run("grade", tmp_path / "1.jpg", "-o", tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and reason in error


def test_a_server_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="does not answer"):
        api.connect("http://127.0.0.1:9", "key").__enter__()
    with pytest.raises(MezoroiError, match="does not exist"):
        api.files_of([tmp_path / "none.jpg"])
    with pytest.raises(MezoroiError, match="holds no file"):
        api.files_of([tmp_path])
