"""Malformed uploads sent to a real server: what became of each, and of the server."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mezoroi.app.roles import Role
from mezoroi.app.store.jobs import OPEN
from mezoroi.bench.app_bytes import photo_of_scans
from mezoroi.bench.app_check import inconsistencies
from mezoroi.bench.app_kill import noise_photo
from mezoroi.bench.app_malformed import Malformed, malformed_files
from mezoroi.bench.app_requests import WrongRequest, send_raw, wrong_requests
from mezoroi.bench.app_server import TriedApp
from mezoroi.progress import Progress, silent

if TYPE_CHECKING:
    import httpx

PATH = "/api/v1/fruits"
FILES_SHARE = 0.7
"""Part of the malformed uploads whose file is wrong; of the others the request is."""
_WITHIN = 300.0
_TRACES = (b"<script", b"evil.sh")
_SLOW_SCANS = 6_000


@dataclass
class Outcome:
    """What became of malformed uploads so far.

    Attributes
    ----------
    refused, taken, late : counts by kind: refused at once, graded, found unreadable by the worker
    waiting : uploads whose fruit waits for the worker, by fruit
    """

    refused: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    waiting: dict[int, Malformed] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    peaks: dict[int, float] = field(default_factory=dict)


def send_malformed(
    app: TriedApp, count: int, seed: int, progress: Progress = silent
) -> dict[str, Any]:
    """Send malformed uploads to a server whose worker is ready, then a sound one.

    Returns
    -------
    counts by kind, memory in megabytes before and at its peak, how many workers it took, and under
    ``findings`` a line for everything that was taken and should not have been, was refused without
    a reason, or harmed the server
    """
    outcome = Outcome()
    files = round(FILES_SHARE * count)
    before = {path.name for path in app.settings.data.iterdir()} | {"blobs"}
    server_before = app.peak_megabytes()
    worker_before = app.peak_megabytes(app.worker)
    with app.client() as client:
        for number, item in enumerate(malformed_files(files, seed)):
            progress("malformed files", number, files)
            _send_file(app, client, item, outcome)
        photo = noise_photo(seed)
        for request in wrong_requests(count - files, photo, seed):
            _send_request(app, request, outcome)
        _wait_for_all(app, client, outcome)
        _send_sound(client, seed, outcome)
    after = {path.name for path in app.settings.data.iterdir()}
    outcome.findings += [f"{name} appeared in the data folder" for name in sorted(after - before)]
    outcome.findings += [*inconsistencies(app.settings), *_traces(app)]
    return {
        "refused": dict(outcome.refused),
        "late": dict(outcome.late),
        "taken": dict(outcome.taken),
        "server_mb": [server_before, app.peak_megabytes()],
        "worker_mb": [worker_before, max(outcome.peaks.values(), default=math.nan)],
        "workers": len(outcome.peaks),
        "findings": outcome.findings,
    }


def send_slow(app: TriedApp) -> dict[str, Any]:
    """Send a small photo that takes minutes to decode, with sound ones behind it.

    Returns
    -------
    what became of it, the seconds until then, and what became of the others
    """
    contents = (photo_of_scans(_SLOW_SCANS), *map(noise_photo, range(3)))
    with app.client() as client:
        began = time.monotonic()
        answers = [client.post(PATH, files={"file": ("melon.jpg", c)}) for c in contents]
        ids = [int(answer.json()["id"]) for answer in answers]
        states = [final_state(client, ids[0])]
        seconds = time.monotonic() - began
        states += [final_state(client, fruit_id) for fruit_id in ids[1:]]
    return {"slow": states[0], "seconds": seconds, "others": states[1:]}


def _send_file(app: TriedApp, client: httpx.Client, item: Malformed, outcome: Outcome) -> None:
    until = time.monotonic() + _WITHIN
    while True:
        answer = client.post(PATH, files={"file": (item.name, item.content)})
        if answer.status_code != 503 or time.monotonic() > until:
            break
        _note_memory(app, outcome)
        time.sleep(0.5)
    if answer.status_code == 201:
        outcome.waiting[int(answer.json()["id"])] = item
    else:
        _note_refusal(item.kind, answer.status_code, answer.text, outcome)
    _note_memory(app, outcome)


def _send_request(app: TriedApp, request: WrongRequest, outcome: Outcome) -> None:
    token = app.people[Role.EXPERT].token
    status, text = send_raw(app.url, PATH, token, request)
    if status is None and request.is_cut_off:
        outcome.refused[request.kind] += 1
        return
    _note_refusal(request.kind, status, text, outcome)


def _note_refusal(kind: str, status: int | None, text: str, outcome: Outcome) -> None:
    outcome.refused[kind] += 1
    if status is None or not 400 <= status < 500:
        outcome.findings.append(f"{kind}: answered {status}: {text[:80]}")
    elif not text.strip():
        outcome.findings.append(f"{kind}: refused with {status} and no reason")


def _wait_for_all(app: TriedApp, client: httpx.Client, outcome: Outcome) -> None:
    """Note what the worker makes of the uploads that were not refused at once."""
    until = time.monotonic() + _WITHIN
    while outcome.waiting and time.monotonic() < until:
        for fruit_id, item in list(outcome.waiting.items()):
            state = _state(client, fruit_id)
            if state in OPEN:
                continue
            del outcome.waiting[fruit_id]
            if state != "done":
                outcome.late[item.kind] += 1
            else:
                outcome.taken[item.kind] += 1
                if not item.may_be_taken:
                    outcome.findings.append(f"{item.kind}: fruit {fruit_id} was graded")
        _note_memory(app, outcome)
        time.sleep(0.2)
    outcome.findings += [f"{item.kind}: still waits" for item in outcome.waiting.values()]


def _send_sound(client: httpx.Client, seed: int, outcome: Outcome) -> None:
    """After all that, a fruit is graded as ever."""
    answer = client.post(PATH, files={"file": ("melon.jpg", noise_photo(seed + 1))})
    if answer.status_code != 201:
        outcome.findings.append(f"a sound photo afterwards: answered {answer.status_code}")
        return
    state = final_state(client, int(answer.json()["id"]))
    if state != "done":
        outcome.findings.append(f"a sound photo afterwards: {state}")


def final_state(client: httpx.Client, fruit_id: int) -> str:
    """What becomes of a fruit; what it is now where nothing does in time."""
    until = time.monotonic() + _WITHIN
    while True:
        state = _state(client, fruit_id)
        if state not in OPEN or time.monotonic() > until:
            return state
        time.sleep(0.1)


def _state(client: httpx.Client, fruit_id: int) -> str:
    content = client.get(f"{PATH}/{fruit_id}").json()
    return str(content["error"] if content["state"] == "failed" else content["state"])


def _note_memory(app: TriedApp, outcome: Outcome) -> None:
    worker = app.worker
    if worker is not None:
        peak = app.peak_megabytes(worker)
        if not math.isnan(peak):
            outcome.peaks[worker] = peak


def _traces(app: TriedApp) -> list[str]:
    """Pictures that pages show and that still hold what a user's file held beside its pixels."""
    pictures = app.settings.data / "blobs" / "pictures"
    return [
        f"{path.name} holds {trace.decode()}"
        for path in pictures.rglob("*")
        if path.is_file()
        for trace in _TRACES
        if trace in path.read_bytes()
    ]
