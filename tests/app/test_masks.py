"""Painted masks: pixels there and back, as datasets read them, and who may see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mezoroi.app.painting import mask_of_runs, mask_png, read_painted, runs_of_mask
from mezoroi.app.roles import Role
from mezoroi.datasets import read_mask
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard
from tests.app.conftest import App
from tests.app.helpers import grading_of, send_all


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_runs_bring_back_every_mask(mask: np.ndarray) -> None:
    assert np.array_equal(mask_of_runs(runs_of_mask(mask), *mask.shape), mask)


def test_runs_count_pixels_in_reading_order() -> None:
    found = mask_of_runs([1, 2, 5, 1], 2, 3)
    assert found.tolist() == [[False, True, True], [False, False, True]]


@pytest.mark.parametrize(
    "runs", [[0], [0, 0], [5, 2], [3, 2, 1, 1], [0, 3, 2, 1], [-1, 2], [2**40, 2]]
)
def test_runs_that_do_not_fit_are_refused(runs: list[int]) -> None:
    with pytest.raises(MezoroiError, match="paint it again"):
        mask_of_runs(runs, 2, 3)


@pytest.mark.parametrize("count", [1, 3, 8, 12])
def test_datasets_read_what_was_painted(tmp_path: Path, count: int) -> None:
    grades = [f"G{number}" for number in range(count + 1)]
    generator = np.random.default_rng(count)
    masks = {grade: generator.random((20, 40)) > 0.5 for grade in grades[:count]}
    path = tmp_path / "mask.png"
    path.write_bytes(mask_png(masks))
    standard = GradingStandard.from_grades(grades)
    own = read_painted(path)
    for grade, mask in masks.items():
        found = read_mask(path, grade, standard, (20, 40))
        assert found is not None and np.array_equal(found, mask)
        assert np.array_equal(own[grade], mask)


def test_a_mask_is_kept_with_the_verdict_and_shown(app: App, melons: Path) -> None:
    (fruit_id,) = send_all(app, sorted(melons.glob("captures/*/surface.png"))[:1])
    grading_id = grading_of(app, fruit_id)
    expert, newcomer = app.client(Role.EXPERT), app.client(Role.NEWCOMER)
    path = f"/fruits/{fruit_id}/mask"
    painted = {"grading_id": grading_id, "masks": {"A": [10, 5, 130, 2], "B": []}}

    # The expert is in blind mode: nothing is shown or taken before the own grade.
    assert expert.get(path).status_code == 303
    assert expert.post(path, json=painted).status_code == 403
    expert.post(f"/fruits/{fruit_id}/blind", data={"grading_id": grading_id, "grade": "B"})

    assert expert.get(path).status_code == 200
    assert expert.post(path, json=painted).status_code == 200
    verdict = {"grading_id": grading_id, "answer": "wrong", "own_grade": "D"}
    expert.post(f"/fruits/{fruit_id}/verdict", data=verdict)
    shown = [{"user": "expert", "masks": {"A": [10, 5, 130, 2]}}]
    for client in (expert, newcomer):
        assert client.get(f"/fruits/{fruit_id}/masks.json").json() == shown
    assert "data-mask-layer" in newcomer.get(f"/fruits/{fruit_id}").text

    assert expert.post(path, json=painted | {"masks": {}}).status_code == 200
    assert newcomer.get(f"/fruits/{fruit_id}/masks.json").json() == []


@pytest.mark.parametrize(
    ("masks", "reason"),
    [
        ({"C": [0, 1]}, "not judged on the surface"),
        ({"A": [0, 10**6]}, "does not fit"),
        ({"A": [0]}, "no pairs"),
        ({"A": [-1, 1]}, "greater than or equal to 0"),
    ],
)
def test_masks_that_do_not_fit_are_refused(
    app: App, melons: Path, masks: dict[str, list[int]], reason: str
) -> None:
    (fruit_id,) = send_all(app, sorted(melons.glob("captures/*/surface.png"))[:1])
    content = {"grading_id": grading_of(app, fruit_id), "masks": masks}
    admin = app.client(Role.ADMIN)
    answer = admin.post(
        f"/fruits/{fruit_id}/mask", json=content, headers={"accept": "application/json"}
    )
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]
