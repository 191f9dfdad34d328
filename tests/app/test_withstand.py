"""What the app must withstand: kill -9, malformed uploads, senseless questions, many at once.

Short forms of what `mezoroi bench app` tries at length, against real servers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from mezoroi.bench.app_kill import kill_at_random, noise_photo
from mezoroi.bench.app_load import PAGES, grade_over_http, read_pages, send_at_once
from mezoroi.bench.app_malformed import KINDS as FILE_KINDS
from mezoroi.bench.app_requests import KINDS as REQUEST_KINDS
from mezoroi.bench.app_schema import ADMINISTRATOR, ask_at_random
from mezoroi.bench.app_server import TriedApp, tried_app
from mezoroi.bench.app_uploads import send_malformed


@pytest.fixture(scope="module")
def tried(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TriedApp]:
    """A server whose worker is ready."""
    with tried_app(run_dir, tmp_path_factory.mktemp("tried")) as app:
        app.wait_until_ready()
        yield app


def test_nothing_acknowledged_is_lost_when_processes_are_killed(
    run_dir: Path, tmp_path: Path
) -> None:
    result = kill_at_random(run_dir, tmp_path, uploads=30, kills=3, seed=0)
    assert result["findings"] == []
    assert result["killed"] == {"server": 2, "worker": 1}
    assert result["uploads"] == 30 and result["verdicts"] > 0
    assert set(result["states"]) <= {"done", "crashed"} and result["states"]["done"] >= 25


def test_the_api_never_fails(tried: TriedApp) -> None:
    result = ask_at_random(tried, examples=8)
    assert result["findings"] == []
    assert len(result["answers"]) >= 10
    # The questions reach further than "there is no such thing".
    for operation in ("GET /api/v1/fruits/{fruit_id}", "POST /api/v1/fruits/{fruit_id}/verdict"):
        assert "200" in result["answers"][operation], operation
    assert set(result["answers"]["GET /api/v1/graders"]) == {"403"}
    assert "200" in result["answers"]["GET /api/v1/graders" + ADMINISTRATOR]


def test_many_uploads_at_once_are_all_graded(tried: TriedApp) -> None:
    result = send_at_once(tried, noise_photo(7), 40)
    assert result["lost"] == 0 and result["states"] == {"done": 40}
    assert result["answers"]["201"] == 40
    assert set(result["answers"]) <= {"201", "503 with Retry-After"}


def test_pages_are_shown_to_several_readers(tried: TriedApp) -> None:
    assert len(grade_over_http(tried, [noise_photo(8)])) == 1
    result = read_pages(tried, users=4, rounds=1, think=0.0, seed=0)
    assert result["failed"] == {}
    assert {page: len(times) for page, times in result["seconds"].items()} == dict.fromkeys(
        PAGES, 4
    )


def test_malformed_uploads_are_refused_and_harm_nothing(tried: TriedApp) -> None:
    result = send_malformed(tried, count=60, seed=1)
    assert result["findings"] == []
    tried_kinds = {*result["refused"], *result["late"], *result["taken"]}
    assert tried_kinds == {*FILE_KINDS, *REQUEST_KINDS}
    before, peak = result["server_mb"]
    assert peak - before < 150 or math.isnan(peak)
    assert '"exception"' not in tried.log.read_text(encoding="utf-8")
