"""What the second reader adds to a run's reliability."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import mezoroi as mz
from mezoroi.bundle import SECOND_READER
from mezoroi.errors import MezoroiError
from mezoroi.models import SecondReader
from mezoroi.new_grade import add_grade
from mezoroi.reliability import SaliencyClusters, fit_reliability
from mezoroi.reliability.model import plain_signals
from mezoroi.reliability.store import write_reliability
from mezoroi.trusting import answers_of, fit_on


def test_the_second_reader_learned_from_the_training_fruits(
    grader: mz.Grader, everything: mz.Dataset
) -> None:
    learned = grader.bundle.data["splits"]
    rows = np.array([learned[item.id] == "train" for item in everything])
    seen = grader.predict(everything)
    labels = everything.labels
    blocks = (seen.early.shape[1] - 16, 16)  # sixteen shape statistics
    both = np.concatenate([seen.early[rows], grader.predict(everything, mirrored=True).early[rows]])
    by_hand = SecondReader.fit(both, np.tile(labels[rows], 2), 4, blocks)
    np.testing.assert_allclose(seen.reading, by_hand.read(seen.early), atol=1e-4)
    answers = answers_of(grader, everything, "activation-map")
    signal = plain_signals(answers, 1.0)["second reader"]
    expected = [row[given] for row, given in zip(seen.reading, answers.given, strict=True)]
    assert signal == pytest.approx(expected)


def test_a_grading_hears_the_second_reader(grader: mz.Grader, everything: mz.Dataset) -> None:
    """What it says reaches the chance: doubts of a reader that is always right."""
    answers = answers_of(grader, everything, "activation-map")
    answers = answers.subset(np.tile(np.arange(28), 4))
    truth = np.roll(answers.given, 1)
    sure = replace(answers, reading=np.eye(4)[truth])
    groups = np.arange(len(truth))
    model = fit_reliability(sure, truth, groups, "activation-map", SaliencyClusters(2))
    chances = model.combination.chance(model.signals(sure))
    right = answers.given == truth
    assert chances[right].min() > chances[~right].max()
    # Where it is silent it counts as on average.
    silent = replace(answers, reading=np.full_like(sure.reading, np.nan))
    assert np.isfinite(model.combination.chance(model.signals(silent))).all()


def test_runs_without_a_second_reader_grade_as_before(
    fitted_run: Path, fresh: mz.Dataset, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier"
    shutil.copytree(fitted_run, earlier)
    (earlier / SECOND_READER).unlink()
    old = mz.Grader.load(earlier, device="cpu")
    assert np.isnan(old.predict(fresh).reading).all()
    model, record = fit_on(old, fresh, clusters=SaliencyClusters(3))
    assert "second reader" not in model.combination.names
    write_reliability(earlier, model, record)
    # With that file the run is one of an earlier version, and a reader beside it changes nothing.
    shutil.copy(fitted_run / SECOND_READER, earlier / SECOND_READER)
    item = fresh.observations[3].image.parent
    assert mz.Grader.load(earlier).grade(item).chance == pytest.approx(
        mz.Grader(old.bundle, gallery=old.gallery, reliability=model).grade(item).chance
    )


def test_a_second_reader_of_an_earlier_kernel_is_left_out(
    fitted_run: Path, fresh: mz.Dataset, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier"
    shutil.copytree(fitted_run, earlier)
    tensors = load_file(earlier / SECOND_READER)
    tensors["width"] = tensors.pop("length")
    save_file(tensors, earlier / SECOND_READER)
    assert np.isnan(mz.Grader.load(earlier).predict(fresh).reading).all()
    del tensors["width"]
    save_file(tensors, earlier / SECOND_READER)
    with pytest.raises(MezoroiError, match="length is nan, not above 0"):
        mz.Grader.load(earlier)


def test_a_grade_added_since_is_unknown_to_the_second_reader(
    run_dir: Path, everything: mz.Dataset, tmp_path: Path
) -> None:
    shutil.copytree(run_dir, tmp_path / "run")
    before = mz.Grader.load(tmp_path / "run")
    example = everything.observations[0].image.parent
    after = add_grade(before, tmp_path / "run", "E", [example])
    again = mz.Grader.load(tmp_path / "run")
    assert after.notes == again.notes and after.reliability is again.reliability is None
    reading = after.predict(everything).reading
    np.testing.assert_array_equal(reading[:, :4], before.predict(everything).reading)
    assert np.isnan(reading[:, 4]).all()
