"""kill -9 for the server and its worker at random moments, while fruits and verdicts come in.

What was acknowledged must be there afterwards, and all that is there must be whole.
"""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import select

from mezoroi.app.store import fruits
from mezoroi.app.store.jobs import OPEN
from mezoroi.app.tables import GradingRow, Verdict
from mezoroi.bench.app_check import digest, inconsistencies, leftovers
from mezoroi.bench.app_server import TriedApp, network_errors, tried_app
from mezoroi.progress import Progress, silent

_SENDERS = 3
_AHEAD = 6  # uploads that may go on while a kill is due, so that it meets some under way
_LATEST_SECONDS = 0.06
_PAUSE_SECONDS = 0.05
_DOWN_SECONDS = 0.5
_GRADED_WITHIN = 240.0


@dataclass
class Traffic:
    """What the clients sent and what was acknowledged, shared by their threads.

    Attributes
    ----------
    fruits : digest of the original by id of each acknowledged fruit
    verdicts : (fruit, revision, note) of each acknowledged verdict
    allowed : how many uploads may be begun
    broken : requests whose connection broke; all were sent again
    refused : answers that no client should see, by status
    """

    fruits: dict[int, str] = field(default_factory=dict)
    verdicts: list[tuple[int, int, str]] = field(default_factory=list)
    next_upload: int = 0
    allowed: int = 0
    broken: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> int | None:
        """The number of the next photo to send, or None where none may be sent now."""
        with self.lock:
            if self.next_upload >= self.allowed:
                return None
            self.next_upload += 1
            return self.next_upload - 1


def kill_at_random(
    run: Path, folder: Path, uploads: int, kills: int, seed: int, progress: Progress = silent
) -> dict[str, Any]:
    """Kill server and worker in turns at random moments of uploads and verdicts.

    Parameters
    ----------
    folder : for the data and the log; new
    seed : of the photos, of the numbers of uploads at which a kill is due and of its delay

    Returns
    -------
    counts, and under ``findings`` a line for everything that was lost or is broken
    """
    rng = np.random.default_rng(seed)
    due = sorted(rng.choice(np.arange(_AHEAD, uploads), kills, replace=False).tolist())
    traffic = Traffic()
    findings: list[str] = []
    killed = {"server": 0, "worker": 0}
    with tried_app(run, folder) as app:
        clients = [
            threading.Thread(target=_send_photos, args=(app, traffic, seed), daemon=True)
            for _ in range(_SENDERS)
        ]
        clients.append(threading.Thread(target=_give_verdicts, args=(app, traffic), daemon=True))
        for thread in clients:
            thread.start()
        for number, at in enumerate(due):
            progress("killing", number, kills)
            if number == 0 or number % 2:
                app.wait_until_ready()  # for verdicts, and for a worker that is at work
            traffic.allowed = min(uploads, at + _AHEAD)
            _wait(lambda at=at: len(traffic.fruits) >= at)  # type: ignore[misc]
            time.sleep(rng.uniform(0, _LATEST_SECONDS))
            if number % 2:
                killed["worker"] += app.kill_worker()
                continue
            app.kill()
            killed["server"] += 1
            app.start()
            findings += [*inconsistencies(app.settings), *_lost(app, traffic)]
        traffic.allowed = uploads
        _wait(lambda: len(traffic.fruits) >= uploads)
        app.wait_until_ready()
        states = _final_states(app, traffic)
        traffic.over.set()
        for thread in clients:
            thread.join(30)
    findings += [*inconsistencies(app.settings), *_lost(app, traffic)]
    findings += [f"{n} requests were answered {status}" for status, n in traffic.refused.items()]
    never = sum(count for state, count in states.items() if state in OPEN)
    if len(traffic.fruits) < uploads:
        findings.append(f"{uploads - len(traffic.fruits)} photos were never taken")
    extra = _stored_fruits(app) - len(traffic.fruits)
    if extra > 0:
        findings.append(f"{extra} photos are there twice: a key was not known again")
    if never:
        findings.append(f"{never} acknowledged fruits were never graded")
    return {
        "uploads": len(traffic.fruits),
        "verdicts": len(traffic.verdicts),
        "broken": traffic.broken,
        "killed": killed,
        "states": dict(states),
        "extra": extra,
        "leftovers": leftovers(app.settings),
        "findings": sorted(set(findings)),
    }


def noise_photo(seed: int, width: int = 128, height: int = 64) -> bytes:
    """A JPEG that no other seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def _send_photos(app: TriedApp, traffic: Traffic, seed: int) -> None:
    """Send photos until the traffic is over; what was not acknowledged is sent again.

    A photo keeps its key: whether its acknowledgement was lost on the way or it never came, it is
    to be there once.
    """
    while not traffic.over.is_set():
        number = traffic.take()
        if number is None:
            time.sleep(_PAUSE_SECONDS)
            continue
        content = noise_photo(1_000_000 * seed + number)
        key = {"idempotency-key": f"photo-{number}"}
        while not traffic.over.is_set():
            file = {"file": ("melon.jpg", content)}
            answer = _ask(app, traffic, "/api/v1/fruits", files=file, headers=key)
            if answer is not None and answer.status_code in (200, 201):
                with traffic.lock:
                    traffic.fruits[int(answer.json()["id"])] = digest(content)
                break
            time.sleep(_PAUSE_SECONDS)


def _give_verdicts(app: TriedApp, traffic: Traffic) -> None:
    """Give a verdict on one graded fruit after the other, round and round, each with a note."""
    number = 0
    while not traffic.over.is_set():
        for fruit_id in list(traffic.fruits):
            time.sleep(_PAUSE_SECONDS)
            note = f"verdict {number}"
            given = {"answer": ("agree", "plausible", "wrong")[number % 3], "note": note}
            answer = _ask(app, traffic, f"/api/v1/fruits/{fruit_id}/verdict", json=given)
            if answer is not None and answer.status_code == 200:
                with traffic.lock:
                    traffic.verdicts.append((fruit_id, int(answer.json()["revision"]), note))
                number += 1
            if traffic.over.is_set():
                return
        time.sleep(_PAUSE_SECONDS)


def _ask(app: TriedApp, traffic: Traffic, path: str, **content: Any) -> Any:
    """The answer, or None where the connection broke. A fruit not graded yet (404) may come."""
    try:
        with app.client() as client:
            answer = client.post(path, **content)
    except network_errors():
        with traffic.lock:
            traffic.broken += 1
        time.sleep(_DOWN_SECONDS)
        return None
    if answer.status_code not in (200, 201, 404, 503):
        with traffic.lock:
            traffic.refused[answer.status_code] += 1
    return answer


def _lost(app: TriedApp, traffic: Traffic) -> list[str]:
    """Acknowledged writes that the database does not hold as they were."""
    with traffic.lock:
        sent, given = dict(traffic.fruits), list(traffic.verdicts)
    found = []
    database = app.database()
    with database.read() as session:
        for fruit_id, content in sent.items():
            fruit = fruits.get_fruit(session, fruit_id)
            if fruit is None or fruit.content != content:
                found.append(f"fruit {fruit_id} was acknowledged and is not there")
        query = select(Verdict, GradingRow.fruit_id).join(
            GradingRow, GradingRow.id == Verdict.grading_id
        )
        kept = {(of, verdict.revision, verdict.note) for verdict, of in session.execute(query)}
    database.close()
    return found + [
        f"revision {revision} of the verdict on fruit {fruit_id} was acknowledged and is not there"
        for fruit_id, revision, note in given
        if (fruit_id, revision, note) not in kept
    ]


def _final_states(app: TriedApp, traffic: Traffic) -> Counter[str]:
    """What became of each acknowledged fruit, once nothing waits any more."""
    states: dict[int, str] = {}
    until = time.monotonic() + _GRADED_WITHIN
    with app.client() as client:
        while time.monotonic() < until:
            for fruit_id in traffic.fruits:
                if states.get(fruit_id, "queued") in OPEN:
                    states[fruit_id] = _state(client, fruit_id)
            if not any(state in OPEN for state in states.values()):
                break
            time.sleep(0.2)
    return Counter(states.values())


def _state(client: Any, fruit_id: int) -> str:
    with suppress(*network_errors()):
        content = client.get(f"/api/v1/fruits/{fruit_id}").json()
        return str(content["error"] if content["state"] == "failed" else content["state"])
    return "queued"


def _stored_fruits(app: TriedApp) -> int:
    database = app.database()
    with database.read() as session:
        count = fruits.count_fruits(session)
    database.close()
    return count


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + _GRADED_WITHIN
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
