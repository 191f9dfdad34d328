"""The watched folder, looked into by hand: no clock, no thread."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mezoroi.app.roles import Role
from mezoroi.app.settings import Limits
from mezoroi.app.store import fruits, runs, users
from mezoroi.app.tables import Run
from mezoroi.app.watching import Watcher
from mezoroi.errors import MezoroiError
from tests.app.conftest import App, jpeg, work

LATER = 2e9
"""Long after every file was written."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "camera"
    made.mkdir()
    return made


def watcher_of(app: App, folder: Path, user: str = "expert") -> Watcher:
    here = app.services
    return Watcher(folder, user, here.settings, here.database, here.blobs, lambda: None)


def test_a_file_is_taken_once_when_it_is_whole(app: App, folder: Path) -> None:
    watcher, photo = watcher_of(app, folder), folder / "1.jpg"
    photo.write_bytes(jpeg(1)[:100])
    assert watcher.look(LATER) == [], "seen for the first time: it may still grow"
    photo.write_bytes(jpeg(1))
    assert watcher.look(LATER) == [], "it grew"
    assert watcher.look(photo.stat().st_mtime + 1) == [], "it is too fresh"
    assert watcher.look(LATER) == [1]
    assert watcher.look(LATER) == []
    assert photo.read_bytes() == jpeg(1)
    restarted = watcher_of(app, folder)
    assert restarted.look(LATER) == restarted.look(LATER) == []
    assert 'href="/fruits/1"' in app.client(Role.NEWCOMER).get("/fruits").text


def look(watcher: Watcher) -> list[int]:
    """Look twice: what is seen the same both times is whole."""
    return watcher.look(LATER) + watcher.look(LATER)


def test_the_same_content_is_taken_once_whatever_its_name(app: App, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(jpeg(1))
    shutil.copy(folder / "a.jpg", folder / "b.jpg")
    watcher = watcher_of(app, folder)
    assert look(watcher) == [1]
    os.utime(folder / "a.jpg", ns=(1, 1))
    assert look(watcher) == []


def test_a_subfolder_names_the_lot_and_fruits_count_for_the_user(app: App, folder: Path) -> None:
    (folder / "9月1日 朝").mkdir()
    (folder / "9月1日 朝" / "a.jpg").write_bytes(jpeg(1))
    assert look(watcher_of(app, folder)) == [1]
    with app.services.database.read() as session:
        fruit = fruits.get_fruit(session, 1)
    assert fruit is not None and fruit.lot is not None
    assert (fruit.uploader.name, fruit.lot.name, fruit.name) == ("expert", "9月1日 朝", "a.jpg")


def test_what_is_no_picture_is_left_alone(app: App, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(jpeg(3))
    (folder / "link.jpg").symlink_to(secret)
    (folder / ".hidden.jpg").write_bytes(jpeg(4))
    (folder / "empty.jpg").touch()
    (folder / "letter.txt").write_text("this is a letter")
    (folder / "good.jpg").write_bytes(jpeg(5))
    assert look(watcher_of(app, folder)) == [1]


def test_what_finds_the_queue_full_is_taken_later(
    make_app: Callable[..., App], folder: Path
) -> None:
    app = make_app(limits=Limits(queue=2))
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(jpeg(number))
    watcher = watcher_of(app, folder)
    assert look(watcher) == [1, 2]
    assert look(watcher) == []
    work(app.services)
    assert look(watcher) == [3]


def test_the_start_page_follows_the_folder_and_tells_what_was_refused(
    make_app: Callable[..., App], folder: Path
) -> None:
    app = make_app(watch=folder, watch_user="expert", limits=Limits(upload_bytes=20_000))
    client = app.client(Role.NEWCOMER)
    asks = re.compile(r'hx-get="(/recent\?known=\w+)" hx-trigger="every 3s"')
    found = asks.search(client.get("/").text)
    assert found is not None
    assert client.get(found[1]).status_code == 204, "nothing is new"
    (folder / "film.mp4").write_bytes(jpeg(1) + bytes(20_000))
    (folder / "letter.txt").write_text("this is a letter")
    (folder / "good.jpg").write_bytes(jpeg(2))
    watcher: Watcher = app.app.state.watcher
    assert look(watcher) == [1]
    assert [(each.name, each.code) for each in watcher.refused] == [
        ("letter.txt", "not media"),
        ("film.mp4", "too large"),
    ]
    news = client.get(found[1])
    assert news.status_code == 200 and 'href="/fruits/1"' in news.text
    assert "film.mp4" in news.text and "ファイルが大きすぎます" in news.text
    assert "letter.txt" in news.text
    again = asks.search(news.text)
    assert again is not None and client.get(again[1]).status_code == 204
    assert look(watcher) == [] and len(watcher.refused) == 2, "refused once"


def test_what_was_too_large_is_taken_when_the_limit_is_raised(app: App, folder: Path) -> None:
    here = app.services
    photo = folder / "1.jpg"
    photo.write_bytes(jpeg(1))

    def watcher(most: int) -> Watcher:
        settings = replace(here.settings, limits=Limits(upload_bytes=most))
        return Watcher(folder, "expert", settings, here.database, here.blobs, lambda: None)

    strict = watcher(photo.stat().st_size - 1)
    assert look(strict) == look(strict) == [] and len(strict.refused) == 1, "refused once"
    (folder / "2.jpg").write_bytes(jpeg(2, 40, 30))
    assert look(strict) == [1], "the others go on"
    assert look(watcher(photo.stat().st_size)) == [2]


def test_a_film_is_taken_once_a_grader_for_films_is_used(app: App, folder: Path) -> None:
    (folder / "turn.mp4").write_bytes(b"\x00\x00\x00\x18ftypisom" + bytes(1000))
    with app.services.database.write() as session:
        run = runs.active_run(session)
        assert run is not None
        run.input_kind = "photo"
    watcher = watcher_of(app, folder)
    assert look(watcher) == look(watcher) == []
    assert [(each.name, each.code) for each in watcher.refused] == [("turn.mp4", "no video")]
    with app.services.database.write() as session:
        other = Run(folder="x", digest="x", standard_id=1, input_kind="surface", metrics={})
        session.add(other)
        session.flush()
        runs.activate_run(session, other)
    assert look(watcher) == [1] and not watcher.refused


def test_without_a_watched_folder_the_start_page_asks_for_nothing(app: App) -> None:
    assert "hx-get" not in app.client(Role.NEWCOMER).get("/").text


def test_folder_and_user_must_be_there(app: App, folder: Path, tmp_path: Path) -> None:
    watcher_of(app, folder).check()
    with pytest.raises(MezoroiError, match="is no folder"):
        watcher_of(app, tmp_path / "none").check()
    with pytest.raises(MezoroiError, match="no user `sato`"):
        watcher_of(app, folder, "sato").check()
    with app.services.database.write() as session:
        user = users.find_user(session, "expert")
        assert user is not None
        user.active = False
    (folder / "a.jpg").write_bytes(jpeg(1))
    assert look(watcher_of(app, folder)) == []


def test_a_full_queue_is_seen_before_a_file_is_read(
    make_app: Callable[..., App], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(limits=Limits(queue=1))
    for number in (1, 2):
        (folder / f"{number}.jpg").write_bytes(jpeg(number))
    watcher = watcher_of(app, folder)
    assert look(watcher) == [1]
    read: list[object] = []
    monkeypatch.setattr(fruits, "has_content", lambda *args: read.append(args))
    assert look(watcher) == [] and read == []
    work(app.services)
    assert look(watcher) == [2] and len(read) == 1
