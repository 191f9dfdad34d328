"""Calibration fruits that teach little: an answer that says so, and no failure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mezoroi.reliability import Answers, ReliabilityModel, SaliencyClusters, fit_reliability
from mezoroi.reliability.store import Record, read_reliability, write_reliability
from tests.reliability.test_clusters import blobs

GRADES = ("A", "B", "C", "D")
COUNT = 40


def answers_with(maps: np.ndarray, given: np.ndarray) -> Answers:
    """Answers of four grades whose head, neighbours and second reader agree with the grade."""
    rng = np.random.default_rng(0)
    logits = 3 * np.eye(4)[given] + rng.normal(size=(len(given), 4))
    neighbours = np.repeat(given[:, None], 8, axis=1)
    return Answers(given, logits / 9, logits, neighbours, maps, np.eye(4)[given])


def fitted(answers: Answers, truth: np.ndarray, folder: Path) -> ReliabilityModel:
    """A reliability that was written and read again."""
    clusters = SaliencyClusters(4)
    groups = np.arange(len(truth))
    model = fit_reliability(answers, truth, groups, "activation-map", clusters)
    write_reliability(folder, model, Record("f", GRADES, "calibration", ()))
    return read_reliability(folder)[0]


def test_identical_maps_are_one_cluster_with_the_overall_share(tmp_path: Path) -> None:
    truth = np.arange(COUNT) % 4
    given = np.where(np.arange(COUNT) < 10, (truth + 1) % 4, truth)
    answers = answers_with(np.ones((COUNT, 8, 8)), given)
    model = fitted(answers, truth, tmp_path)
    told = model.judge(answers, GRADES, [None] * COUNT)
    assert {(one.cluster, one.reliability, one.cases) for one in told} == {(0, 0.75, COUNT)}


@pytest.mark.parametrize("right", [True, False])
def test_without_a_right_or_a_wrong_answer_chances_stay_within_0_and_1(
    right: bool, tmp_path: Path
) -> None:
    maps, place = blobs(COUNT)
    answers = answers_with(maps, place if right else (place + 1) % 4)
    model = fitted(answers, place, tmp_path)
    told = model.judge(answers, GRADES, [None] * COUNT)
    known = (COUNT + 1) / (COUNT + 2)
    for one in told:
        assert one.low < one.high
        if right:
            assert one.adjusted_from is None
            assert one.chance == pytest.approx(known) and one.reliability == 1
        else:  # every cluster has one wrong answer, which is corrected
            assert model.adjusts and one.adjusted_from is not None and one.reliability == 1


def test_a_grade_without_calibration_fruits_is_judged_but_never_adjusted(tmp_path: Path) -> None:
    maps, place = blobs(COUNT)
    truth = place % 3
    given = np.where(place == 3, 1, truth)
    model = fitted(answers_with(maps, given), truth, tmp_path)
    assert model.clusters.classes_.tolist() == [0, 1, 2]
    assert model.adjusts  # the cluster at the fourth place was given 1 and is 0
    unseen = answers_with(maps, np.full(COUNT, 3))
    for one in model.judge(unseen, GRADES, [None] * COUNT):
        assert (one.grade, one.adjusted_from) == (3, None) and 3 in one.grade_set
        assert 0 <= one.chance <= 1


def test_photos_of_one_specimen_do_not_vouch_for_each_other_in_a_fit() -> None:
    """Neither its range of novelty nor what the combination learns comes from the own specimen."""
    generator = np.random.default_rng(4)
    kinds = generator.random((24, 8, 8))
    maps = np.repeat(kinds, 6, axis=0) + 0.01 * generator.random((144, 8, 8))
    groups = np.repeat(np.arange(24), 6)
    given = np.repeat(generator.integers(4, size=24), 6)
    # A specimen is right or wrong in all of its photos: its own record would tell everything.
    truth = np.where(np.repeat(np.arange(24) % 2 == 0, 6), given, (given + 1) % 4)
    answers = answers_with(maps, given)
    model = fit_reliability(answers, truth, groups, "activation-map", SaliencyClusters(8))
    assert (model.clusters.novelty(generator.random((40, 8, 8))) > 1).mean() < 0.3
    own, novelty = model.clusters.held_out(given == truth, groups)
    weights = dict(zip(model.combination.names, model.combination.mean, strict=True))
    assert weights["familiarity"] == pytest.approx(np.mean(-np.log(novelty + 1e-3)))
    # Its own photos would say which of them were right; other specimens say nothing of it.
    alone = np.flatnonzero(np.bincount(model.clusters.labels_) == 6)
    in_own = np.isin(model.clusters.labels_, alone)
    assert own[in_own] == pytest.approx((given == truth).mean())
    assert abs(np.corrcoef(own, given == truth)[0, 1]) < 0.5


def test_a_record_that_leaving_out_turned_around_is_not_learned() -> None:
    """With one cluster a right fruit leaves a lower share behind than a wrong one."""
    answers = answers_with(np.ones((40, 8, 8)), np.arange(40) % 4)
    truth = np.where(np.arange(40) % 3 > 0, answers.given, (answers.given + 1) % 4)
    model = fit_reliability(answers, truth, np.arange(40), "activation-map", SaliencyClusters(1))
    assert "saliency cluster" not in model.combination.names
