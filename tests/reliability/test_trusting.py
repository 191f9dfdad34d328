"""Reliability from a dataset to a grading, and on disk."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mezoroi as mz
from mezoroi import trust_scores
from mezoroi.errors import MezoroiError
from mezoroi.evaluation import true_grades
from mezoroi.reliability import SaliencyClusters, fit_reliability
from mezoroi.reliability.adjustment import AdjustmentTrial
from mezoroi.reliability.clusters import as_vectors
from mezoroi.reliability.store import RELIABILITY_JSON, read_reliability, write_reliability
from mezoroi.reliability_runs import (
    notes_on_adjusting,
)
from mezoroi.report.reliability import counts_text
from mezoroi.trust_scores import class_accuracies, find_suspects
from mezoroi.trusting import answers_of, fit_on


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
