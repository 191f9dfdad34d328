"""From an upload to a grading to a verdict, through the routes, with the worker in this process."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

import mezoroi as mz
from mezoroi.app.blobs import Blobs
from mezoroi.app.intake import _PHOTOS, _VIDEOS, SUFFIXES, sniff
from mezoroi.app.roles import Role
from mezoroi.app.settings import Limits
from mezoroi.app.store import fruits, jobs, verdicts
from tests.app.conftest import App, jpeg, work


def send(app: App, content: bytes, role: Role = Role.EXPERT, **fields: str) -> str:
    """Upload as a browser without script would; the fruit's page."""
    answer = app.client(role).post("/fruits", files={"file": ("a.jpg", content)}, data=fields)
    assert answer.status_code == 303
    location: str = answer.headers["location"]
    return location


@pytest.fixture
def graded(either: App, melons: Path) -> tuple[App, str, Path]:
    """An app with one fruit that an expert sent and the worker graded."""
    surface = sorted(melons.glob("captures/*/surface.png"))[3]
    path = send(either, surface.read_bytes(), weight="1250", lot="9/1 朝")
    work(either.services)
    return either, path, surface


def test_the_app_says_what_the_grader_says(
    graded: tuple[App, str, Path], grader: mz.Grader
) -> None:
    app, path, surface = graded
    expected = grader.grade(np.asarray(Image.open(surface).convert("RGB"))).to_dict()
    shown = app.client(Role.NEWCOMER).get(f"/api/v1{path}").json()["grading"]
    assert shown["grade"] == expected["grade"]
    for grade, value in expected["similarity"].items():
        assert (value is None) == (shown["similarity"][grade] is None)
        assert value is None or math.isclose(value, shown["similarity"][grade], abs_tol=1e-4)
    assert [item["id"] for item in shown["neighbours"]] == [
        item["id"] for item in expected["neighbours"]
    ]


def test_maps_reach_the_browser_as_they_are(
    graded: tuple[App, str, Path], grader: mz.Grader
) -> None:
    app, path, surface = graded
    maps = grader.grade(np.asarray(Image.open(surface).convert("RGB"))).activation_maps
    client = app.client(Role.NEWCOMER)
    pictures = client.get(f"/api/v1{path}").json()["grading"]["pictures"]["maps"]
    assert set(pictures) == set(maps)
    for grade, name in pictures.items():
        sent = Image.open(io.BytesIO(client.get(f"/pictures/{name}").content))
        assert sent.mode == "L"
        assert np.abs(np.asarray(sent) / 255 - maps[grade]).max() <= 0.5 / 255 + 1e-3


@pytest.mark.parametrize("sender", [Role.EXPERT, Role.NEWCOMER])
def test_nothing_of_the_answer_leaks_before_a_blind_grade(
    app: App, melons: Path, sender: Role
) -> None:
    surface = sorted(melons.glob("captures/*/surface.png"))[3]
    path = send(app, surface.read_bytes(), sender, lot="9/1 朝")
    work(app.services)
    client = app.client(Role.EXPERT)
    told = app.client(Role.NEWCOMER).get(f"/api/v1{path}").json()["grading"]
    secrets = [*told["pictures"]["maps"].values(), told["neighbours"][0]["picture"], "radar"]
    lists = ("/", "/fruits", "/summary", "/summary/sheet", "/lots/1", "/validity")
    for address in (path, *lists, f"/api/v1{path}", "/api/v1/fruits"):
        content = client.get(address).text
        assert not [secret for secret in secrets if secret in content], address
        assert "badge grade-" not in content and "badge  grade-" not in content, address
    assert path not in client.get(f"/fruits?grade={told['grade']}").text
    client.post(f"{path}/blind", data={"grading_id": "1", "grade": "C"})
    assert "badge huge" in client.get(path).text


def test_a_blind_grade_stays_what_it_was(graded: tuple[App, str, Path]) -> None:
    app, path, _ = graded
    client = app.client(Role.EXPERT)
    for grade in "CD":
        client.post(f"{path}/blind", data={"grading_id": "1", "grade": grade})
    client.post(f"{path}/verdict", data={"grading_id": "1", "answer": "wrong"})
    with app.services.database.read() as session:
        past = verdicts.history(session, 1)
    assert [(v.revision, v.answer, v.own_grade, v.blind_grade) for v in past] == [
        (1, None, "C", "C"),
        (2, "wrong", "C", "C"),
    ]


def test_verdicts_are_corrected_with_history_kept(graded: tuple[App, str, Path]) -> None:
    app, path, _ = graded
    client = app.client(Role.EXPERT)
    grade = app.client(Role.NEWCOMER).get(f"/api/v1{path}").json()["grading"]["grade"]
    other = next(name for name in "ABCD" if name != grade)
    steps = [
        {"answer": "plausible"},
        {"answer": "plausible", "own_grade": other},
        {"answer": "withdraw"},
        {"answer": "agree", "note": " よい網目 "},
    ]
    for step in steps:
        answer = client.post(f"{path}/verdict", data={"grading_id": "1", **step})
        assert answer.status_code == 303
    with app.services.database.read() as session:
        past = [(v.answer, v.own_grade, v.note) for v in verdicts.history(session, 1)]
    assert past == [
        ("plausible", None, ""),
        ("plausible", other, ""),
        (None, None, ""),
        ("agree", grade, "よい網目"),
    ]


def test_a_verdict_given_anew_keeps_the_blind_grade_and_the_note(
    graded: tuple[App, str, Path],
) -> None:
    app, path, _ = graded
    client = app.client(Role.EXPERT)
    grade = app.client(Role.NEWCOMER).get(f"/api/v1{path}").json()["grading"]["grade"]
    blind, other = [name for name in "ABCD" if name != grade][:2]
    client.post(f"{path}/blind", data={"grading_id": "1", "grade": blind})
    steps = [
        {"answer": "plausible", "own_grade": other, "note": "網が粗い"},
        {"answer": "withdraw"},
        {"answer": "wrong"},
        {"answer": "wrong", "note": "", "note_shown": "true"},
        {"answer": "agree"},
        {"answer": "plausible"},
    ]
    for step in steps:
        client.post(f"{path}/verdict", data={"grading_id": "1", **step})
    with app.services.database.read() as session:
        past = [(v.answer, v.own_grade, v.note) for v in verdicts.history(session, 1)]
    assert past[1:] == [
        ("plausible", other, "網が粗い"),
        (None, None, "網が粗い"),
        ("wrong", blind, "網が粗い"),
        ("wrong", blind, ""),
        ("agree", grade, ""),
        ("plausible", blind, ""),
    ]


def test_a_program_keeps_or_deletes_its_note(graded: tuple[App, str, Path]) -> None:
    app, path, _ = graded
    client = app.client(Role.EXPERT)
    notes = [
        client.post(f"/api/v1{path}/verdict", json={"answer": "agree", **said}).json()["note"]
        for said in ({"note": "粗い"}, {}, {"note": ""})
    ]
    assert notes == ["粗い", "粗い", ""]


@pytest.mark.parametrize(
    "form",
    [
        {"grading_id": "1", "answer": "perhaps"},
        {"grading_id": "1", "answer": "wrong", "own_grade": "Z"},
        {"grading_id": "x", "answer": "wrong"},
        {"answer": "wrong"},
    ],
)
def test_a_verdict_that_makes_no_sense_is_refused(
    graded: tuple[App, str, Path], form: dict[str, str]
) -> None:
    app, path, _ = graded
    assert app.client(Role.EXPERT).post(f"{path}/verdict", data=form).status_code == 422


def test_pictures_keep_no_trace_of_where_they_were_taken(app: App) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[2] = (34.0, 42.0, 30.0)
    content = jpeg(1, exif=exif)
    assert b"SecretCamera" in content
    path = send(app, content)
    work(app.services)
    client = app.client(Role.NEWCOMER)
    pictures = client.get(f"/api/v1{path}").json()["grading"]["pictures"]
    names = [pictures[kind]["name"] for kind in ("surface", "thumbnail", "photo") if pictures[kind]]
    for name in names:
        served = client.get(f"/pictures/{name}").content
        assert b"SecretCamera" not in served and b"Exif" not in served
    originals = app.services.blobs.root / "originals"
    assert [p.read_bytes() for p in originals.rglob("*") if p.is_file()] == [content]


def test_administrators_alone_get_the_original_file(app: App) -> None:
    content = jpeg(1, comment=b"<script>")
    path = send(app, content, Role.NEWCOMER)
    work(app.services)
    for role in (Role.NEWCOMER, Role.EXPERT):
        assert app.client(role).get(f"{path}/original").status_code == 403
        assert f"{path}/original" not in app.client(role).get(path).text
    admin = app.client(Role.ADMIN)
    assert f"{path}/original" in admin.get(path).text
    answer = admin.get(f"{path}/original")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="fruit-1-original.jpg"'
    log = admin.get("/admin/audit", headers={"accept-language": "en"}).text
    assert "Original file downloaded" in log
    assert admin.get("/fruits/77/original").status_code == 404


def test_every_kind_of_file_has_a_suffix() -> None:
    kinds = {kind for *_, kind in (*_PHOTOS, *_VIDEOS)}
    assert SUFFIXES.keys() == kinds | {"image/heic", "video/mp2t"}


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 422), (b"not a picture", 415), (b"<svg onload='alert(1)'/>", 415), (b"GIF89a...", 415)],
)
def test_what_is_no_photo_or_video_is_refused_at_once(
    app: App, content: bytes, status: int
) -> None:
    answer = app.client(Role.NEWCOMER).post("/fruits", files={"file": ("melon.jpg", content)})
    assert answer.status_code == status
    assert not list((app.services.blobs.root).rglob("*"))


def test_a_damaged_photo_is_said_to_be_one(app: App, photo: bytes) -> None:
    path = send(app, photo[: len(photo) // 2])
    work(app.services)
    page = app.client(Role.NEWCOMER).get(path, headers={"accept-language": "ja"}).text
    assert "ファイルを読み取れません" in page
    assert str(app.services.settings.data) not in page


@pytest.mark.parametrize("value", ["-1", "99999999", "nan", "heavy", "1e400"])
def test_details_that_no_fruit_has_are_refused(app: App, photo: bytes, value: str) -> None:
    answer = app.client(Role.NEWCOMER).post(
        "/fruits", files={"file": ("a.jpg", photo)}, data={"weight": value}
    )
    assert answer.status_code == 422
    assert f"重さ「{value.replace('1e400', 'inf')}」" in answer.text


def test_a_wrong_number_is_named_with_its_field_to_people_and_programs(
    app: App, photo: bytes
) -> None:
    client, files = app.client(Role.NEWCOMER), {"file": ("a.jpg", photo)}
    page = client.post("/fruits", files=files, data={"brix": "5%d"})
    assert page.status_code == 422
    assert "糖度「5%d」は数値ではありません" in page.text and "no number" not in page.text
    headers = {"accept": "application/json", "accept-language": "en"}
    told = client.post("/fruits", files=files, data={"brix": "51"}, headers=headers).json()
    assert told["field"] == "brix"
    assert told["error"] == "Sugar (Brix): “51” cannot be right. Please give 0 to 50."


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1250", 1250.0),
        ("12,5", 12.5),
        ("0,125", 0.125),
        ("１２.５", 12.5),
        ("１２．５", 12.5),
        ("1,500", 1500.0),
        ("1,500.5", 1500.5),
        ("１，５００", 1500.0),
        ("１５００", 1500.0),
    ],
)
def test_numbers_are_taken_as_people_write_them(
    app: App, photo: bytes, text: str, value: float
) -> None:
    send(app, photo, brix=text) if value < 50 else send(app, photo, weight=text)
    with app.services.database.read() as session:
        fruit = fruits.get_fruit(session, 1)
        assert fruit is not None
        assert (fruit.brix if value < 50 else fruit.weight) == value


def test_a_full_queue_says_when_to_come_back(make_app: Callable[..., App]) -> None:
    app = make_app(limits=Limits(queue=2))
    for seed in range(2):
        send(app, jpeg(seed))
    client = app.client(Role.NEWCOMER)
    refused = client.post(
        "/api/v1/fruits", files={"file": ("c.jpg", jpeg(2))}, headers={"accept-language": "en"}
    )
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "Many fruits are waiting" in refused.json()["error"]
    with app.services.database.read() as session:
        assert jobs.count_open(session, jobs.GRADE) == 2


@pytest.mark.parametrize(
    ("head", "media"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b"\x00\x00\x00\x18ftypisom", "video/mp4"),
        (b"\x00\x00\x00\x14ftypqt  ", "video/mp4"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "video/x-msvideo"),
        (b"G" + b"\x00" * 187 + b"G", "video/mp2t"),
        (b"#EXTM3U\nhttp://evil.example/", None),
        (b"<!DOCTYPE html>", None),
        (b"%PDF-1.7", None),
        (b"G", None),
    ],
)
def test_files_are_known_by_their_content(head: bytes, media: str | None) -> None:
    assert sniff(head) == media


@pytest.mark.parametrize(
    "name", ["../../mezoroi.sqlite", "%2e%2e%2fx", "a" * 64, "a" * 64 + ".html", "0" * 64 + ".jpg"]
)
def test_pictures_are_found_by_digest_alone(app: App, name: str) -> None:
    assert app.client(Role.NEWCOMER).get(f"/pictures/{name}").status_code == 404


def test_a_queue_that_fills_while_a_file_comes_in_leaves_no_file_without_a_fruit(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(limits=Limits(queue=1))
    keep = Blobs.keep_original

    def keep_slowly(blobs: Blobs, stream: BinaryIO) -> tuple[str, int]:
        kept = keep(blobs, stream)
        with app.services.database.write() as session:
            jobs.add_job(session, jobs.GRADE)
        return kept

    monkeypatch.setattr(Blobs, "keep_original", keep_slowly)
    send(app, jpeg(0))
    with app.services.database.read() as session:
        fruit = fruits.get_fruit(session, 1)
    assert fruit is not None
    originals = (app.services.settings.data / "blobs" / "originals").glob("*/*")
    assert [path.name for path in originals] == [fruit.content]


def test_names_of_what_cannot_be_made_again_are_on_disk(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("mezoroi.app.blobs._sync_folder", synced.append)
    blobs = app.services.blobs
    for _ in range(2):  # also where the file is there: who put it may not have come so far
        digest, _size = blobs.keep_original(io.BytesIO(b"melon"))
        folder = blobs.original(digest).parent
        assert synced == [folder, folder.parent]
        synced.clear()
    blobs.keep_picture(b"drawn anew any time", "png")
    assert synced == []
    folder = blobs.picture(blobs.keep_picture(b"painted", "png", durable=True)).parent
    assert synced == [folder, folder.parent]
