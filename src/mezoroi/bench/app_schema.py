"""The API asked with whatever its own description allows, and what it does not (schemathesis)."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mezoroi.app.roles import Role
from mezoroi.bench.app_kill import noise_photo
from mezoroi.bench.app_uploads import PATH, final_state
from mezoroi.errors import MezoroiError

if TYPE_CHECKING:
    from mezoroi.bench.app_server import TriedApp

DESCRIPTION = "/api/v1/openapi.json"
ADMINISTRATOR = ", as an administrator"
_FEW = 4


def ask_at_random(app: TriedApp, examples: int) -> dict[str, Any]:
    """Ask every operation of the API so many times, as an expert; always the same questions.

    What an expert may not ask at all is asked as an administrator as well.

    Every second question is about a fruit, job or reference that may exist: of the numbers that
    are allowed hardly any does.

    Returns
    -------
    answers by operation and status, and under ``findings`` every operation that failed
    """
    schemathesis, hypothesis = _peer("schemathesis"), _peer("hypothesis")
    tokens = {role: {"authorization": f"Bearer {app.people[role].token}"} for role in Role}
    with app.client() as client:
        for number in range(_FEW):
            photo = {"file": ("melon.jpg", noise_photo(900 + number))}
            final_state(client, int(client.post(PATH, files=photo).json()["id"]))
    settings = hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    schema = schemathesis.openapi.from_url(app.url + DESCRIPTION, headers=tokens[Role.EXPERT])
    answers: dict[str, Counter[str]] = {}
    findings: list[str] = []

    def ask_about(operation: Any, role: Role) -> Counter[str]:
        name = f"{operation.method.upper()} {operation.path}"
        name += ADMINISTRATOR if role is Role.ADMIN else ""
        counts = answers.setdefault(name, Counter())

        def ask(case: Any) -> None:
            if counts.total() % 2:
                for place in (case.path_parameters, case.body):
                    _point_at_few(place)
            status = case.call(base_url=app.url, headers=tokens[role]).status_code
            counts[str(status)] += 1
            if status >= 500:
                findings.append(f"{name} answered {status}: {case.as_curl_command()[:200]}")

        settings(hypothesis.given(case=operation.as_strategy())(ask))()
        return counts

    for result in schema.get_all_operations():
        if set(ask_about(result.ok(), Role.EXPERT)) == {"403"}:
            ask_about(result.ok(), Role.ADMIN)
    return {
        "answers": {name: dict(counts) for name, counts in answers.items()},
        "findings": findings,
    }


def _point_at_few(place: Any) -> None:
    """Make the numbers of things small enough to be there."""
    if isinstance(place, dict):
        for key, value in place.items():
            if key.endswith("_id") and isinstance(value, int):
                place[key] = value % _FEW + 1


def _peer(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MezoroiError(f"{module} is not installed: pip install 'mezoroi[dev]'") from error
