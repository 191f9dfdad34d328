"""Reliability fitted to a run: of which fruits, which it refuses, and on the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mezoroi as mz
from mezoroi.cli import main
from mezoroi.errors import MezoroiError
from mezoroi.files import content_hash
from mezoroi.new_grade import add_grade
from mezoroi.reliability.store import RELIABILITY_JSON, read_reliability, write_reliability
from mezoroi.reliability_runs import (
    fit_reliability_of_run,
    reliability_report,
)
from mezoroi.trusting import EXAMPLES, clusters_for, examples, fit_on


def test_what_cannot_be_fitted_on_is_refused(grader: mz.Grader, everything: mz.Dataset) -> None:
    with pytest.raises(MezoroiError, match="learned from train"):
        fit_on(grader, everything, "train")
    few = replace(everything, observations=everything.observations[:5])
    with pytest.raises(MezoroiError, match="5 fruits in calibration are too few"):
        fit_on(grader, few)
    with pytest.raises(MezoroiError, match="unknown method `cam`"):
        fit_on(grader, everything, method="cam")
    assert [clusters_for(count) for count in (10, 35, 200)] == [2, 3, 8]


def run_verb(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_the_verbs(
    run_dir: Path, fresh_melons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    melons = fresh_melons
    run, data = tmp_path / "run", tmp_path / "calibration.csv"
    shutil.copytree(run_dir, run)
    lines = (melons / "manifest.csv").read_text(encoding="utf-8").splitlines()
    rows = [lines[0] + ",split"]
    for line in lines[1:]:
        cells = line.split(",")
        rows.append(",".join(str(melons / c) if "captures/" in c else c for c in cells) + ",val")
    data.write_text("\n".join(rows) + "\n", encoding="utf-8")
    shutil.copy(melons / "standard.yaml", tmp_path / "standard.yaml")
    (run / RELIABILITY_JSON).unlink(missing_ok=True)
    assert run_verb("reliability", "report", run) == 2
    assert f"{run} has no reliability yet: fit it with `mezoroi" in capsys.readouterr().err
    assert run_verb("reliability", "fit", run, data, "--split", "test") == 2
    assert "has no split `test`: name one of val" in capsys.readouterr().err
    assert run_verb("reliability", "fit", run, data, "--split", "val", "--clusters", "2") == 0
    assert capsys.readouterr().err == ""
    options = ("--split", "calibration", "--clusters", "3", "--json")
    assert run_verb("reliability", "fit", run, data, *options) == 0
    told = capsys.readouterr()
    assert "no fruits of calibration: fitted on val" in told.err
    content = json.loads(told.out)
    assert content["split"] == "val"
    assert content["observations"] == 28 and content["clusters"] == 3
    assert run_verb("reliability", "report", run) == 0
    assert "cluster 3:" in capsys.readouterr().out
    page = (run / "reliability.html").read_text(encoding="utf-8")
    assert page.count("<article") == 3 and "data:image/jpeg" in page
    assert run_verb("reliability", "suspects", run, data, "--most", "2") == 0
    assert "grades are contradicted" in capsys.readouterr().out
    assert run_verb("evaluate", run, data, "--split", "val", "--adjust", "--json") == 0
    told = capsys.readouterr()
    assert "fitted on 28 of these 28 fruits and knows their errors" in told.err
    scores = json.loads(told.out)["reliability"]
    assert scores["before"] == scores["after"] and scores["sets"]["promised"] == 0.9
    chances = {name for name, row in scores["signals"].items() if row["ece"] is not None}
    assert chances == {"softmax", "tempered softmax", "saliency cluster", "combination"}
    assert run_verb("evaluate", run, data, "--split", "val") == 0
    assert "before that" not in capsys.readouterr().err
    stored = json.loads((run / RELIABILITY_JSON).read_text(encoding="utf-8"))
    stored["adjustment"] |= {"corrected": 9, "spoiled": 0}
    changed = tmp_path / "adjusting"
    shutil.copytree(run, changed)
    (changed / RELIABILITY_JSON).write_text(json.dumps(stored), encoding="utf-8")
    assert run_verb("evaluate", changed, data, "--split", "val") == 0
    assert "are adjusted, these scores are before that" in capsys.readouterr().err
    assert run_verb("grade", run, melons / "captures" / "melon-0001", "-o", tmp_path / "out") == 0
    assert "such cases were right" in (tmp_path / "out" / "report.html").read_text("utf-8")
    (told,) = (tmp_path / "out").glob("*/grading.json")
    grading = json.loads(told.read_text(encoding="utf-8"))
    line = capsys.readouterr().out.splitlines()[0]
    right = round(grading["reliability"] * grading["reliability_cases"])
    assert f": {grading['grade']}, reliability {grading['reliability']:.2f} ({right} of " in line
    assert ("ask an expert, unreliable because" in line) == grading["ask_expert"]
    assert run_verb("reliability", "fit", run, data, "--clusters", "none") == 2
    assert capsys.readouterr().err == "error: --clusters is none: give a number or eigengap\n"
    assert run_verb("reliability", "fit", run, data, "--coverage", "1.5") == 2
    assert "coverage is 1.5: use a share between 0 and 1" in capsys.readouterr().err
    assert run_verb("reliability", "fit", run, data, "--clusters", "29") == 2
    assert "28 fruits in val do not make 29 clusters" in capsys.readouterr().err


def test_fruits_of_an_unknown_grade_are_refused_and_those_of_a_single_grade_taken(
    fitted_run: Path, fresh_melons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside no standard.yaml, which would say which grades there are."""
    run = tmp_path / "run"
    shutil.copytree(fitted_run, run)
    rows = []
    for line in (fresh_melons / "manifest.csv").read_text(encoding="utf-8").splitlines()[1:]:
        image, grade, specimen, *_ = line.split(",")
        rows.append((str(fresh_melons / image), grade, specimen))

    def manifest(name: str, chosen: list[tuple[str, ...]]) -> Path:
        lines = ["image,grade,specimen", *(",".join(row) for row in chosen)]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path / name

    strange = manifest("strange.csv", [(rows[0][0], "E", rows[0][2]), *rows[1:]])
    for verb in ("fit", "suspects"):
        assert run_verb("reliability", verb, run, strange) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert "is of grade E, the grader knows A, B, C, D: leave such fruits out" in error
    single = manifest("single.csv", [row for row in rows if row[1] == "A"])
    assert run_verb("reliability", "suspects", run, single) == 0
    assert run_verb("reliability", "fit", run, single) == 2
    told = capsys.readouterr().err
    assert "7 fruits in test are too few" in told
    # The names of the training's specimens, but other fruits: said where it matters.
    assert told.count("taken as new fruits") == 2
    assert run_verb("reliability", "fit", run, strange, "--seed", 2**32) == 2
    assert "--seed" in capsys.readouterr().err


def test_fruits_that_the_grader_learned_from_are_left_out_whatever_their_split(
    run_dir: Path, dataset: mz.Dataset, fresh: mz.Dataset, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    splits = mz.Grader.load(run, device="cpu").bundle.data["splits"]
    learned = [item for item in dataset if splits[item.id] == "train"]
    renamed = [replace(item, id=f"again-{item.id}", split="calibration") for item in learned]
    with pytest.raises(
        MezoroiError, match=f"learned from all {len(learned)} fruits of calibration"
    ):
        fit_reliability_of_run(run, replace(dataset, observations=tuple(renamed)))
    mixed = replace(fresh, observations=(*fresh.observations, *renamed[:6]))
    _, record = fit_reliability_of_run(run, mixed, n_clusters=2)
    assert record.left_out == 6
    assert {row["id"] for row in record.observations} == {item.id for item in fresh}
    assert read_reliability(run)[1] == record


def test_pictures_of_an_earlier_fit_do_not_stay(
    fitted_run: Path, fresh: mz.Dataset, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted_run, run)
    half = replace(fresh, observations=fresh.observations[::2])
    _, record = fit_reliability_of_run(run, half, n_clusters=2)
    shown = {path.name for path in (run / EXAMPLES).iterdir()}
    assert shown == {row["file"] for row in examples(record)}
    assert shown <= {f"{content_hash(item.image)}.jpg" for item in half}


def test_after_a_grade_was_added_reliability_can_be_fitted_anew_and_judges_it(
    run_dir: Path, fresh: mz.Dataset, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    example = fresh.observations[0].image.parent
    add_grade(mz.Grader.load(run, device="cpu"), run, "E", [example])
    standard = mz.Grader.load(run, device="cpu").standard
    rows = tuple(replace(o, grade="E") if n < 2 else o for n, o in enumerate(fresh))
    fit_reliability_of_run(run, replace(fresh, standard=standard, observations=rows))
    grader = mz.Grader.load(run, device="cpu")
    seen = grader.predict(fresh)
    assert seen.logits.shape == (28, 5)
    np.testing.assert_allclose(
        seen.logits, grader.bundle.config.loss.scale * seen.similarity, rtol=1e-5
    )
    grading = grader.grade(example)
    assert grading.grade == "E" and grading.reliability is not None
    assert grading.chance is not None and 0 <= grading.chance <= 1
    grown = add_grade(grader, run, "F", [fresh.observations[1].image.parent])
    assert grown.reliability is None and "fit it again" in grown.notes[0]


def test_the_report_refuses_the_reliability_of_another_model(
    fitted_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted_run, run)
    model, record = read_reliability(run)
    write_reliability(run, model, replace(record, fingerprint="another"))
    with pytest.raises(MezoroiError, match="of another model: fit it again"):
        reliability_report(run, tmp_path / "page.html")


def test_scoring_reliability_that_is_not_there_is_refused_before_anything_is_computed(
    run_dir: Path, melons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    (run / RELIABILITY_JSON).unlink(missing_ok=True)
    assert run_verb("evaluate", run, melons, "--split", "all", "--adjust") == 2
    assert "no reliability yet: fit it" in capsys.readouterr().err
    assert not (run / "evaluation").exists()
