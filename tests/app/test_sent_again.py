"""An upload that comes twice with the same key is one fruit."""

from __future__ import annotations

import io
import threading
from typing import BinaryIO

import pytest
from httpx import Response

from mezoroi.app import intake
from mezoroi.app.blobs import Blobs
from mezoroi.app.intake import Accepted
from mezoroi.app.roles import Role
from mezoroi.app.settings import Limits
from mezoroi.app.store import fruits, jobs, users
from mezoroi.app.store.fruits import Details
from tests.app.conftest import NAMES, App, jpeg, work

API, PAGE = "/api/v1/fruits", "/fruits"
KEY = "5b0d8c3e-8d2f-4c55-9f0e-0c6f5a1f7a11"


def send(
    app: App, content: bytes, key: str | bytes | None = KEY, role: Role = Role.NEWCOMER,
    path: str = API, accept: str = "application/json", **fields: str,
) -> Response:  # fmt: skip
    headers: dict[str, str | bytes] = {"accept": accept}
    if key is not None:
        headers["idempotency-key"] = key
    file = {"file": ("melon.jpg", content)}
    return app.client(role).post(path, files=file, data=fields, headers=headers)


def count(app: App) -> tuple[int, int]:
    """Fruits, and those that wait."""
    with app.services.database.read() as session:
        return fruits.count_fruits(session), jobs.count_open(session, jobs.GRADE)


def test_the_first_fruit_is_answered_again(app: App, photo: bytes) -> None:
    first, again = send(app, photo), send(app, photo)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert count(app) == (1, 1)
    work(app.services)
    later = send(app, photo)
    assert (later.status_code, later.json()["id"], later.json()["state"]) == (200, 1, "done")
    assert count(app) == (1, 0)


def test_without_a_key_or_with_another_one_it_is_another_fruit(app: App, photo: bytes) -> None:
    statuses = [send(app, photo, key).status_code for key in (None, None, "1", "2")]
    statuses += [send(app, photo, "1", role).status_code for role in (Role.EXPERT, Role.ADMIN)]
    assert statuses == [201] * 6 and count(app) == (6, 6)


def test_the_page_is_answered_likewise(app: App, photo: bytes) -> None:
    first, again = send(app, photo, path=PAGE), send(app, photo, path=PAGE)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() == {"location": "/fruits/1"}
    as_form = send(app, photo, path=PAGE, accept="text/html")
    assert (as_form.status_code, as_form.headers["location"]) == (303, "/fruits/1")
    assert send(app, photo).json()["id"] == 1, "the key is the user's, whichever way it comes"
    assert count(app) == (1, 1)


def test_a_key_is_of_one_file(app: App, photo: bytes) -> None:
    send(app, photo)
    for path in (API, PAGE):
        refused = send(app, jpeg(1), path=path)
        assert refused.status_code == 422
        assert "\n" not in refused.json()["error"] and refused.json()["error"]
    assert count(app) == (1, 1)


@pytest.mark.parametrize("key", ["", "k" * 65, "a b", 'say "x"', "1/2", "鍵".encode()])
def test_odd_keys_are_refused(app: App, photo: bytes, key: str | bytes) -> None:
    for path in (API, PAGE):
        refused = send(app, photo, key, path=path)
        assert refused.status_code == 422 and "Idempotency-Key" in refused.json()["detail"]
    assert count(app) == (0, 0)
    assert send(app, photo, "k" * 64).status_code == 201


def test_it_is_acknowledged_although_the_queue_is_full(app: App, photo: bytes) -> None:
    object.__setattr__(app.services.settings, "limits", Limits(queue=1))
    assert send(app, photo).status_code == 201
    assert send(app, jpeg(1), "other").status_code == 503
    assert send(app, photo, weight="-1").status_code == 200, "what was taken is taken"


def test_what_was_refused_leaves_its_key_free(app: App, photo: bytes) -> None:
    assert send(app, b"a letter").status_code == 415
    assert send(app, photo).status_code == 201


def test_the_api_describes_the_key(app: App) -> None:
    content = app.client(Role.NEWCOMER).get("/api/v1/openapi.json").json()
    operation = content["paths"][API]["post"]
    (header,) = [item for item in operation["parameters"] if item["in"] == "header"]
    assert header["name"] == "Idempotency-Key" and not header["required"]
    assert {"200", "201"} <= operation["responses"].keys()


class Together(Blobs):
    """Keeps an original only when all have come as far, so that none finds another's fruit."""

    def __init__(self, blobs: Blobs, parties: int) -> None:
        super().__init__(blobs.root)
        self._barrier = threading.Barrier(parties, timeout=60)

    def keep_original(self, stream: BinaryIO) -> tuple[str, int]:
        self._barrier.wait()
        return super().keep_original(stream)


def test_of_uploads_at_the_same_moment_one_is_kept(either: App) -> None:
    services, parties = either.services, 6
    together = Together(services.blobs, parties)
    with services.database.read() as session:
        user = users.find_user(session, NAMES[Role.NEWCOMER])
    assert user is not None
    outcomes: list[Accepted | str] = []

    def accept(content: bytes) -> None:
        try:
            accepted = intake.accept(
                io.BytesIO(content), "melon.jpg", Details(), user, key=KEY,
                database=services.database, blobs=together, limits=services.settings.limits,
            )  # fmt: skip
        except intake.UploadProblem as problem:
            outcomes.append(problem.code)
        else:
            outcomes.append(accepted)

    contents = [jpeg(0)] * (parties - 1) + [jpeg(1)]
    threads = [threading.Thread(target=accept, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == parties and count(either) == (1, 1)
    kept = [item for item in outcomes if isinstance(item, Accepted)]
    assert sum(item.is_new for item in kept) == 1 and len({item.fruit_id for item in kept}) == 1
    # Either the one with the other file was first, or it was refused.
    assert outcomes.count("other upload") in (1, parties - 1)
