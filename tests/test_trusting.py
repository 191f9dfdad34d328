"""Reliability from a dataset to a grading, on disk, and on the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import mezoroi as mz
from mezoroi import trust_scores
from mezoroi.bundle import SECOND_READER
from mezoroi.cli import main
from mezoroi.datasets.melons import write_melons
from mezoroi.errors import MezoroiError
from mezoroi.evaluation import true_grades
from mezoroi.files import content_hash
from mezoroi.models import SecondReader
from mezoroi.new_grade import add_grade
from mezoroi.reliability import SaliencyClusters, fit_reliability
from mezoroi.reliability.adjustment import AdjustmentTrial
from mezoroi.reliability.clusters import as_vectors
from mezoroi.reliability.model import plain_signals
from mezoroi.reliability.store import RELIABILITY_JSON, read_reliability, write_reliability
from mezoroi.reliability_runs import (
    fit_reliability_of_run,
    notes_on_adjusting,
    reliability_report,
)
from mezoroi.report.reliability import counts_text
from mezoroi.trust_scores import class_accuracies, find_suspects
from mezoroi.trusting import EXAMPLES, answers_of, clusters_for, examples, fit_on


@pytest.fixture(scope="module")
def everything(dataset: mz.Dataset) -> mz.Dataset:
    """All 28 melons as fruits that the grader never saw: not true, but enough to fit on."""
    rows = tuple(replace(item, split="calibration") for item in dataset)
    return replace(dataset, observations=rows)


@pytest.fixture(scope="module")
def fresh_melons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 melons that the grader never saw."""
    folder = tmp_path_factory.mktemp("fresh") / "melons"
    write_melons(folder, 7, seed=6, height=64)
    return folder


@pytest.fixture(scope="module")
def fresh(fresh_melons: Path) -> mz.Dataset:
    dataset = mz.load_dataset(fresh_melons)
    return dataset.with_splits({item.id: "calibration" for item in dataset})


@pytest.fixture(scope="module")
def fitted_run(run_dir: Path, fresh: mz.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted") / "melon"
    shutil.copytree(run_dir, folder)
    fit_reliability_of_run(folder, fresh, n_clusters=3)
    return folder


def test_a_grading_says_how_far_to_trust_it(
    fitted_run: Path, fresh: mz.Dataset, tmp_path: Path
) -> None:
    grader = mz.Grader.load(fitted_run, device="cpu")
    model, record = read_reliability(fitted_run)
    item = fresh.observations[0]
    grading = grader.grade(item.image.parent)
    row = record.observations[0]
    assert row["id"] == item.id
    right = [one for one in record.observations if one["cluster"] == row["cluster"]]
    assert grading.reliability_cluster == row["cluster"]
    assert grading.reliability_cases == len(right)
    share = np.mean([one["grade"] == one["given"] for one in right])
    assert grading.reliability == pytest.approx(share)
    low, high = grading.reliability_interval
    assert low < share + 1e-9 and share - 1e-9 < high
    assert grading.grade in grading.grade_set and grading.grade_set_coverage == 0.9
    assert grading.ask_expert == (grading.reliability_reason is not None)
    assert model.method == "activation-map" and grading.adjusted_from is None
    grading.save(tmp_path / "one")
    plain = json.loads((tmp_path / "one" / "grading.json").read_text(encoding="utf-8"))
    assert plain["reliability"] == pytest.approx(share)
    with Image.open(tmp_path / "one" / "reliability-cluster.png") as picture:
        assert picture.width == grading.surface.shape[1]


def test_sets_of_grades_are_scored_as_gradings_show_them(
    fitted_run: Path, fresh: mz.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is likely enough, the grade given is left, as in a grading."""
    model = read_reliability(fitted_run)[0]
    strict = replace(model, conformal=replace(model.conformal, limit=-1.0))
    monkeypatch.setattr(trust_scores, "fitted_reliability", lambda _: strict)
    scores = trust_scores.reliability_scores(mz.Grader.load(fitted_run, device="cpu"), fresh)
    assert scores["sets"]["size"] == 1
    assert scores["sets"]["coverage"] == pytest.approx(scores["after"]["overall"])


def test_maps_of_a_dataset_are_those_of_its_gradings(
    grader: mz.Grader, everything: mz.Dataset
) -> None:
    answers = answers_of(grader, everything, "activation-map")
    for number in (0, 5):
        grading = grader.grade(everything.observations[number].image.parent)
        assert answers.given[number] == grader.standard.grades.index(grading.grade)
        if grading.grade in grading.activation_maps:
            shown = as_vectors(grading.activation_maps[grading.grade][None])
            assert answers.maps[number].ravel() == pytest.approx(shown[0], abs=1e-5)


def test_a_fruit_is_no_neighbour_of_itself(grader: mz.Grader, everything: mz.Dataset) -> None:
    answers = answers_of(grader, everything, "activation-map")
    learned = {item.id for item in grader.gallery.index.references()}
    assert learned & {item.id for item in everything}
    alone = replace(everything, observations=everything.observations[:1])
    again = answers_of(grader, alone, "activation-map")
    assert again.neighbours[0].tolist() == answers.neighbours[0].tolist()
    own = grader.gallery.neighbours(grader.predict(alone).embeddings, 1)[0][0]
    if own.id == alone.observations[0].id:
        assert own.similarity == pytest.approx(1, abs=1e-3)
    assert answers.neighbours.shape == (28, 8)


def test_neighbours_are_found_behind_many_photos_of_the_same_specimen(
    run_dir: Path, dataset: mz.Dataset, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    grader = mz.Grader.load(run, device="cpu")
    assert grader.gallery is not None
    splits = grader.bundle.data["splits"]
    item = next(one for one in dataset if splits[one.id] == "train")
    one = replace(dataset, observations=(item,))
    before = answers_of(grader, one, "activation-map").neighbours
    # Twenty photos of it that are hardly different, all nearer than any other fruit.
    embedding = grader.predict(one).embeddings[0]
    noise = np.random.default_rng(0).normal(size=(20, len(embedding))) * np.abs(embedding).mean()
    photos = [replace(item, id=f"photo-{number}") for number in range(20)]
    names = [photo.id for photo in photos]
    grader.gallery.index.add(names, embedding + 0.05 * noise, [{"grade": item.grade}] * 20)
    nearest = grader.gallery.neighbours(embedding[None], 21)[0]
    assert {near.id for near in nearest} == {item.id, *names}
    again = replace(dataset, observations=(item, *photos))
    after = answers_of(grader, again, "activation-map").neighbours
    assert after[0].tolist() == before[0].tolist()
    assert (after >= 0).all()


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


def test_writing_and_reading_gives_the_same_judgements(
    grader: mz.Grader, everything: mz.Dataset, tmp_path: Path
) -> None:
    model, record = fit_on(grader, everything, clusters=SaliencyClusters("eigengap"))
    write_reliability(tmp_path, model, record)
    again, found = read_reliability(tmp_path)
    assert found == record
    answers = answers_of(grader, everything, "activation-map")
    unknown = [None] * len(everything)
    grades = grader.standard.grades
    for one, other in zip(
        again.judge(answers, grades, unknown), model.judge(answers, grades, unknown), strict=True
    ):
        assert one.chance == pytest.approx(other.chance)
        assert replace(one, chance=other.chance) == other


def test_a_cluster_that_was_mostly_wrong_adjusts_gradings(
    grader: mz.Grader, everything: mz.Dataset
) -> None:
    answers = answers_of(grader, everything, "activation-map")
    truth = (answers.given + 1) % 2
    binary = replace(answers, given=answers.given % 2, logits=answers.logits[:, :2])
    binary = binary.subset(np.tile(np.arange(28), 4))
    truth = (binary.given + 1) % 2
    groups = np.arange(112)
    model = fit_reliability(binary, truth, groups, "activation-map", SaliencyClusters(2))
    assert model.adjusts and model.trial == AdjustmentTrial(112, 0)
    judged = model.judge(binary, grader.standard.grades, [None] * 112)
    assert [one.grade for one in judged] == truth.tolist()
    assert [one.adjusted_from for one in judged] == binary.given.tolist()
    assert {one.reliability for one in judged} == {1.0}
    assert class_accuracies(truth, model.adjust(binary)) == {"overall": 1.0, "average_class": 1.0}


def test_a_doubtful_map_beside_the_fruit_looked_at_the_background(
    grader: mz.Grader, everything: mz.Dataset
) -> None:
    model, _ = fit_on(grader, everything)
    answers = answers_of(grader, everything, "activation-map").subset([0])
    grades = grader.standard.grades
    strange = replace(answers, maps=np.full_like(answers.maps, -9))
    strange.maps[:, :8] = 9
    fruit = np.zeros((64, 128), bool)
    fruit[32:] = True
    (told,) = model.judge(strange, grades, [fruit])
    assert [reason.key for reason in told.reasons][:2] == ["background", "novel"]
    (told,) = model.judge(strange, grades, [~fruit])
    assert told.reasons[0].key == "novel"
    assert told.reasons[0].ja and told.reasons[0].en


def test_reliability_of_another_model_is_refused_and_of_other_grades_left_out(
    fitted_run: Path, fresh: mz.Dataset, tmp_path: Path
) -> None:
    other = tmp_path / "run"
    shutil.copytree(fitted_run, other)
    content = json.loads((other / RELIABILITY_JSON).read_text(encoding="utf-8"))
    path = other / RELIABILITY_JSON
    path.write_text(json.dumps({**content, "fingerprint": "0" * 32}), encoding="utf-8")
    with pytest.raises(MezoroiError, match="is of another model: fit it again"):
        mz.Grader.load(other)
    path.write_text(json.dumps({**content, "grades": ["A", "B"]}), encoding="utf-8")
    grading = mz.Grader.load(other).grade(fresh.observations[0].image.parent)
    assert grading.reliability is None
    assert "it was fitted for grades A, B" in grading.notes[-1]
    path.write_text(json.dumps({**content, "format": 1}), encoding="utf-8")
    grading = mz.Grader.load(other).grade(fresh.observations[0].image.parent)
    assert grading.reliability is None
    assert "an earlier version of Mezoroi fitted it; fit it again" in grading.notes[-1]
    path.write_text(json.dumps({**content, "format": 99}), encoding="utf-8")
    with pytest.raises(MezoroiError, match="has format 99"):
        mz.Grader.load(other)
    path.write_text(json.dumps(content), encoding="utf-8")
    (other / "reliability.safetensors").unlink()
    with pytest.raises(MezoroiError, match="safetensors is missing"):
        mz.Grader.load(other)


def test_what_cannot_be_fitted_on_is_refused(grader: mz.Grader, everything: mz.Dataset) -> None:
    with pytest.raises(MezoroiError, match="learned from train"):
        fit_on(grader, everything, "train")
    few = replace(everything, observations=everything.observations[:5])
    with pytest.raises(MezoroiError, match="5 fruits in calibration are too few"):
        fit_on(grader, few)
    with pytest.raises(MezoroiError, match="unknown method `cam`"):
        fit_on(grader, everything, method="cam")
    assert [clusters_for(count) for count in (10, 35, 200)] == [2, 3, 8]


def test_suspects_are_fruits_graded_otherwise_most_doubtful_first(
    fitted_run: Path, fresh: mz.Dataset
) -> None:
    grader = mz.Grader.load(fitted_run, device="cpu")
    found = find_suspects(grader, fresh)
    wrong = grader.predict(fresh).grades != true_grades(grader, fresh)
    assert {one.id for one in found} == {
        item.id for item, bad in zip(fresh, wrong, strict=True) if bad
    }
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    # Photos of a single specimen: there is no other one in any cluster, so that nothing is known.
    single = replace(fresh, observations=tuple(replace(item, specimen="one") for item in fresh))
    assert [one.cluster for one in find_suspects(grader, single)] == pytest.approx(
        [0.75] * wrong.sum()
    )
    with pytest.raises(MezoroiError, match="has no reliability yet"):
        find_suspects(mz.Grader(grader.bundle), fresh)


def test_counts_of_two_grades_are_named_as_the_paper_does() -> None:
    counts = {"A": {"A": 5, "B": 2}, "B": {"A": 1}}
    assert counts_text(counts, ("A", "B")) == "TP 5, TN 0, FP 1, FN 2"
    assert counts_text(counts, ("A", "B", "C")) == "A>A 5, A>B 2, B>A 1"


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


def test_a_copy_under_another_name_is_no_neighbour_and_known_to_have_been_fitted_on(
    fitted_run: Path, dataset: mz.Dataset, fresh: mz.Dataset
) -> None:
    grader = mz.Grader.load(fitted_run, device="cpu")
    learned = {item.id for item in grader.gallery.index.references()}
    first = next(item for item in dataset if item.id in learned)
    copy = replace(dataset, observations=(replace(first, id="copy", specimen="copy"),))
    own = grader.gallery.neighbours(grader.predict(copy).embeddings, 9)[0]
    assert own[0].id == first.id
    heard = answers_of(grader, copy, "activation-map").neighbours[0]
    grades = [grader.standard.grades.index(one.grade) for one in own[1:9]]
    assert heard.tolist() == grades
    copies = replace(fresh, observations=tuple(replace(o, id=f"x-{o.id}") for o in fresh))
    assert "fitted on 28 of these 28" in notes_on_adjusting(fitted_run, copies)[0]
    assert notes_on_adjusting(fitted_run, dataset) == []


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
