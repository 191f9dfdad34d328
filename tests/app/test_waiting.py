"""What a page asks while its fruit is graded, and what browsers may keep."""

from __future__ import annotations

import io
import re
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mezoroi.app.assets import ADDRESS, STATIC, versioned_address
from mezoroi.app.reading import read_upload
from mezoroi.app.roles import Role
from mezoroi.app.routes import grade
from mezoroi.app.settings import Limits
from mezoroi.app.store import jobs, users
from mezoroi.capture.sources import PHOTO_SIDE
from mezoroi.errors import MezoroiError
from tests.app.conftest import App, jpeg, work
from tests.app.helpers import grading_of, send


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "PNG")
    return stream.getvalue()


def job_of(app: App, fruit_id: int) -> int:
    with app.services.database.read() as session:
        job = jobs.newest_job(session, fruit_id)
    assert job is not None
    return job.id


def test_news_are_told_at_once_and_the_end_reloads(app: App) -> None:
    fruit_id = send(app, png())
    client = app.client(Role.NEWCOMER)
    asked = client.get(f"/fruits/{fruit_id}/progress", params={"known": "running.grading.0"})
    assert asked.status_code == 200 and "known=queued..0" in asked.text
    with app.services.database.write() as session:
        jobs.fail(session, job_of(app, fruit_id), "unreadable")
    over = client.get(f"/fruits/{fruit_id}/progress", params={"known": "queued..0"})
    assert over.status_code == 204 and over.headers["hx-refresh"] == "true"


@pytest.mark.parametrize("known", [None, "queued..0"])
def test_without_news_the_answer_is_held(
    app: App, monkeypatch: pytest.MonkeyPatch, known: str | None
) -> None:
    """The fruit fails at the third look: who gets no other answer had to wait for it."""
    fruit_id = send(app, png())
    look, looks = grade._stage, []

    def third_time_failed(*args: object) -> object:
        looks.append(1)
        if len(looks) == 3:
            with app.services.database.write() as session:
                jobs.fail(session, job_of(app, fruit_id), "unreadable")
        return look(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(grade, "_stage", third_time_failed)
    monkeypatch.setattr(grade, "_HOLD_SECONDS", 600.0)
    params = {} if known is None else {"known": known}
    answer = app.client(Role.NEWCOMER).get(f"/fruits/{fruit_id}/progress", params=params)
    assert answer.status_code == 204 and len(looks) == 3


def test_grading_again_is_followed_and_its_failure_told(app: App) -> None:
    fruit_id = send(app, jpeg(0))
    work(app.services)
    assert grading_of(app, fruit_id)
    client, page = app.client(Role.EXPERT), f"/fruits/{fruit_id}"
    with app.services.database.write() as session:
        user = users.find_user(session, "expert")
        assert user is not None
        user.blind = False
    follows = f'hx-get="{page}/progress'
    assert follows not in client.get(page).text
    assert client.post(f"{page}/again").status_code == 303
    assert follows in client.get(page).text and "badge huge" in client.get(page).text
    with app.services.database.write() as session:
        jobs.fail(session, job_of(app, fruit_id), "crashed")
    failed = client.get(page).text
    assert follows not in failed and "badge huge" in failed
    assert "再判定できませんでした" in failed and "メモリーがかかりすぎました" in failed


def test_scripts_and_styles_are_kept_under_an_address_of_their_own(app: App) -> None:
    client = app.client(Role.ADMIN)
    for page in ("/", "/fruits", "/validity", "/practice", "/calibration"):
        named = re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get(page).text)
        assert len(named) >= 6
        for address in named:
            assert address.startswith(versioned_address() + "/")
            answer = client.get(address)
            assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    plain = client.get(f"{ADDRESS}/css/base.css")
    assert plain.headers["cache-control"] == "no-cache"
    assert client.get(f"{versioned_address()}/nothing.css").status_code == 404


def test_scripts_and_styles_name_each_other_relatively() -> None:
    """Else they would leave the address that changes with them."""
    own = [path for kind in ("js", "css") for path in (STATIC / kind).glob(f"*.{kind}")]
    assert len(own) > 10
    assert not [path.name for path in own if "/static/" in path.read_text(encoding="utf-8")]


def test_a_large_photo_without_a_fruit_is_graded_reduced(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    path = tmp_path / "large.jpg"
    Image.fromarray(noise).resize((2400, 1800), Image.Resampling.NEAREST).save(path)
    for kind in ("surface", "photo"):
        upload = read_upload(path, False, kind, Limits())  # type: ignore[arg-type]
        assert upload.fruit.image.shape == (1200, PHOTO_SIDE, 3)
        assert upload.photo is None


def test_a_video_with_frames_too_large_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "melon.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height = 64, 48
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(MezoroiError, match="has 64 x 48 pixels, more than 3000: take a smaller"):
        read_upload(path, True, "surface", Limits(frame_pixels=3000))
    with pytest.raises(MezoroiError, match="fruit"):  # decoded, and black
        read_upload(path, True, "surface", Limits(frame_pixels=3072))


def test_only_experts_have_a_fruit_graded_again_by_the_same_grader(app: App) -> None:
    fruit_id = send(app, jpeg(0))
    newcomer, path = app.client(Role.NEWCOMER), f"/fruits/{fruit_id}/again"
    with app.services.database.write() as session:
        jobs.fail(session, job_of(app, fruit_id), "crashed")
    assert newcomer.post(path).status_code == 303, "it failed"
    work(app.services)
    assert newcomer.post(path).status_code == 403
    with app.services.database.read() as session:
        assert jobs.count_open(session, jobs.GRADE) == 0
    assert app.client(Role.EXPERT).post(path).status_code == 303
