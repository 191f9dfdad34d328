"""Grading through the app's API, for programs and the command line."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezoroi.app.problems import PROBLEMS
from mezoroi.errors import MezoroiError
from mezoroi.files import file_names, write_bytes, write_json
from mezoroi.progress import Progress, silent

if TYPE_CHECKING:
    import httpx

GRADING_JSON = "grading.json"
AHEAD = 8
"""Fruits that are sent before the first answer is waited for."""
_POLL_SECONDS = 0.2
_TRIES = 5
_BROKEN_SECONDS = 2.0
_LONGEST_WAIT = 600.0
_OPEN = ("queued", "running")


@contextmanager
def connect(server: str, token: str) -> Iterator[httpx.Client]:
    """A connection to an app; it sends the token to this server alone.

    Raises
    ------
    MezoroiError
        If it does not answer, or does not take the token.
    """
    import httpx

    if not server.startswith(("http://", "https://")):
        raise MezoroiError(f"`{server}` is no address: write http://HOST:PORT")
    try:
        client = httpx.Client(
            base_url=server,
            headers={"authorization": f"Bearer {token}", "accept-language": "en"},
            timeout=httpx.Timeout(60.0),
            follow_redirects=False,
            trust_env=False,
        )
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        raise MezoroiError(f"address or key are not right ({error}): check both") from error
    with client:
        try:
            answer = client.get("/api/v1/fruits", params={"most": 1})
        except httpx.HTTPError as error:
            raise MezoroiError(
                f"{server} does not answer ({error}): start `mezoroi serve`"
            ) from error
        if answer.status_code != 200:
            # 403: the key is known, but its user has to act first.
            remedy = "see `mezoroi users DATA token NAME`"
            if answer.status_code == 403:
                remedy = f"log in at {server} as the user of this key"
            raise MezoroiError(f"{server}: {_reason(answer)}: {remedy}")
        yield client


def files_of(sources: Sequence[Path]) -> list[Path]:
    """The files named, and those in folders named.

    Raises
    ------
    MezoroiError
        If there is none.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            found += sorted(p for p in source.iterdir() if p.is_file() and p.name[0] != ".")
        elif source.is_file():
            found.append(source)
        else:
            raise MezoroiError(f"{source} does not exist: give photos, videos or folders of them")
    if not found:
        raise MezoroiError(f"{sources[0]} holds no file: give photos or videos")
    return found


def grade_files(
    client: httpx.Client, files: Sequence[Path], progress: Progress = silent
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Send files and yield, in order, each with what the API says of the fruit.

    What cannot be graded has a reason under ``error``; a full queue is waited for. What was not
    acknowledged is sent again with the same key, and so kept once.
    """
    waiting: deque[tuple[Path, dict[str, Any]]] = deque()
    done = 0
    for number, path in enumerate(files):
        waiting.append((path, _send(client, path)))
        while waiting and (len(waiting) > AHEAD or number == len(files) - 1):
            sent_path, sent = waiting.popleft()
            yield sent_path, _wait(client, sent)
            done += 1
            progress("grading", done, len(files))


def save(client: httpx.Client, path: Path, grading: Mapping[str, Any], folder: Path) -> None:
    """Write a grading with its surface and activation maps into `folder`.

    Raises
    ------
    MezoroiError
        If a picture cannot be fetched, or the folder not be written.
    """
    pictures = grading["pictures"]
    wanted = {"surface.jpg": pictures["surface"]["name"]}
    names = file_names(pictures["maps"])
    for name, blob in zip(names, pictures["maps"].values(), strict=True):
        wanted[f"activation-{name}.png"] = blob
    for name, blob in wanted.items():
        answer = _ask(client, "GET", f"/pictures/{blob}")
        if answer.status_code != 200:
            raise MezoroiError(f"{name} of {path}: {_reason(answer)}: run the command again")
        write_bytes(folder / name, answer.content)
    write_json(folder / GRADING_JSON, {**grading, "source": str(path)})


def _send(client: httpx.Client, path: Path) -> dict[str, Any]:
    until = time.monotonic() + _LONGEST_WAIT
    key = {"idempotency-key": str(uuid.uuid4())}
    while True:
        try:
            with path.open("rb") as stream:
                file = {"file": (path.name, stream)}
                answer = _ask(client, "POST", "/api/v1/fruits", files=file, headers=key)
        except OSError as error:
            return {"error": f"it cannot be read ({error.strerror or error}): check the file"}
        if answer.status_code in (200, 201):
            return _content(answer)
        if answer.status_code != 503 or time.monotonic() > until:
            return {"error": _reason(answer)}
        pause = answer.headers.get("retry-after", "")
        time.sleep(min(30.0, float(pause) if pause.isdecimal() else 5.0))


def _wait(client: httpx.Client, fruit: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + _LONGEST_WAIT
    while fruit.get("state") in _OPEN and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
        answer = _ask(client, "GET", f"/api/v1/fruits/{fruit['id']}")
        fruit = _content(answer) if answer.status_code == 200 else {"error": _reason(answer)}
    if fruit.get("state") in _OPEN:
        return {**fruit, "error": f"fruit {fruit['id']} is still waiting: look at it later"}
    if fruit.get("error") in PROBLEMS:
        return {**fruit, "error": PROBLEMS[fruit["error"]]}
    if fruit.get("error") is None and fruit.get("grading") is None:
        return {**fruit, "error": "its grade is asked of you first: give it in the app"}
    return fruit


def _ask(client: httpx.Client, method: str, path: str, **content: Any) -> httpx.Response:
    """The answer to what can be asked twice; asked again where the connection breaks."""
    import httpx

    tries = 0
    while True:
        try:
            return client.request(method, path, **content)
        except httpx.HTTPError as error:
            tries += 1
            if tries == _TRIES:
                raise MezoroiError(
                    f"the connection broke ({error}): what was sent is kept there; run it again"
                ) from error
        time.sleep(_BROKEN_SECONDS)


def _content(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError as error:
        raise MezoroiError("this server is not Mezoroi's: check the address") from error
    if not isinstance(content, dict):
        raise MezoroiError("this server is not Mezoroi's: check the address")
    return content


def _reason(answer: httpx.Response) -> str:
    """Why a request was refused, in one line."""
    try:
        content = answer.json()
    except ValueError:
        content = None
    if not isinstance(content, dict) or "error" not in content:
        return f"it answered {answer.status_code}"
    said = " ".join(str(content.get(name) or "") for name in ("error", "detail"))
    return " ".join(said.split()) or f"it answered {answer.status_code}"
