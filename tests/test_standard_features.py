"""Features of a standard: they explain its grades, and define nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import mezoroi as mz
from mezoroi.capture.outline import FEATURES
from mezoroi.config import Config
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard
from mezoroi.standard_features import Feature, ShownBy

MELON = GradingStandard.melon()


def test_every_feature_of_the_melon_standard_has_words_in_both_languages() -> None:
    found = [(grade, feature.key) for grade, feature in MELON.features]
    assert found == [
        ("A", "net-uniform"),
        ("A", "shape-true"),
        ("B", "net-disordered"),
        ("C", "flattened"),
        ("C", "elongated"),
        ("C", "bumped"),
        ("D", "scar"),
        ("D", "stain"),
        ("D", "black-mould"),
        ("D", "net-gross"),
    ]
    for _, feature in MELON.features:
        assert set(feature.word) == set(feature.line) == {"ja", "en"}
    shown = {feature.key: feature.shown_by for _, feature in MELON.features if feature.shown_by}
    assert shown["flattened"] == ShownBy("height_width", "low")
    assert set(shown) == {"shape-true", "flattened", "elongated", "bumped"}
    assert {each.measure for each in shown.values()} <= set(FEATURES)


def test_features_survive_the_file(tmp_path: Path) -> None:
    MELON.to_yaml(tmp_path / "standard.yaml")
    read = GradingStandard.from_yaml(tmp_path / "standard.yaml")
    assert read == MELON and read.features == MELON.features
    flat = MELON.judged_on_surface()
    assert flat.features == MELON.features and flat.outline_grades == ()


def test_a_standard_without_features_is_written_as_before_there_were_any(tmp_path: Path) -> None:
    bare = MELON.without_features()
    assert bare.features == () and "features" not in json.dumps(bare.to_dict())
    assert bare.grades == MELON.grades and bare.precedence == MELON.precedence
    assert set(bare.to_dict()["grades"]["C"]) == {"title", "description", "view"}
    old = tmp_path / "standard.yaml"
    old.write_text("grades:\n  x: {title: {en: X}}\n  y:\n", encoding="utf-8")
    assert GradingStandard.from_yaml(old).features == ()


def test_a_word_is_found_in_the_languages_there_are() -> None:
    feature = Feature("scar", {"ja": "傷"}, {})
    assert feature.word_in("en") == feature.word_in("ja") == "傷"


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("scar", "`features` of grade `A` must be a list"),
        ("[scar]", "a feature of grade `A` must be a mapping with key and word"),
        ("[{word: {en: Scar}}]", "a feature of grade `A` has the key ``"),
        ("[{key: A scar, word: {en: Scar}}]", "has the key `A scar`: use up to 48 lower-case"),
        ("[{key: scar}]", "`word` of feature `scar` must map languages to text"),
        ("[{key: scar, word: {}}]", "`word` of feature `scar` must map languages to text"),
        ("[{key: scar, word: {ja: ''}}]", "`word` of feature `scar` must map languages to text"),
        ("[{key: scar, word: Scar}]", "`word` of feature `scar` must map languages to text"),
        ("[{key: scar, word: {en: S}, line: 5}]", "`line` of feature `scar` must map languages"),
        ("[{key: scar, word: {en: S}, colour: red}]", "unknown key `colour` in feature `scar`"),
        ("[{key: s, word: {en: S}, shown_by: width}]", "`shown_by` of feature `s` must name"),
        ("[{key: s, word: {en: S}, shown_by: {measure: w}}]", "must name measure and end"),
        ("[{key: s, word: {en: S}, shown_by: {measure: 5, end: low}}]", "measure of feature `s`"),
        ("[{key: s, word: {en: S}, shown_by: {measure: w, end: top}}]", "end of feature `s` is"),
        ("[{key: s, word: {en: S}}, {key: s, word: {en: T}}]", "two features have the key `s`"),
    ],
)
def test_wrong_features_are_one_line_naming_the_file(
    tmp_path: Path, features: str, message: str
) -> None:
    path = tmp_path / "standard.yaml"
    path.write_text(f"grades:\n  A: {{features: {features}}}\n  B:\n", encoding="utf-8")
    with pytest.raises(MezoroiError) as caught:
        GradingStandard.from_yaml(path)
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_is_one_of_a_kind_in_the_whole_standard(tmp_path: Path) -> None:
    one = [{"key": "scar", "word": {"en": "Scar"}}]
    content = {"grades": {"A": {"features": one}, "B": {"features": one}}}
    path = tmp_path / "standard.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(MezoroiError, match="two features have the key `scar`"):
        GradingStandard.from_yaml(path)


def test_features_travel_with_datasets_and_runs(melons: Path, run_dir: Path) -> None:
    assert mz.load_dataset(melons).standard == MELON
    assert mz.Grader.load(run_dir, device="cpu").standard == MELON


def test_a_run_begun_without_features_goes_on_with_data_that_have_them(
    dataset: mz.Dataset, tiny: Callable[..., Config], run_dir: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["standard"] = MELON.without_features().to_dict()
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert dataset.standard.features, "the data have them"
    assert mz.train(dataset, tiny(), run, resume=True).standard.grades == MELON.grades
    bare = replace(dataset, standard=MELON.without_features())
    assert mz.train(bare, tiny(), run_dir, resume=True).standard == MELON, "and the other way round"
    assert bare.fingerprint == dataset.fingerprint
    other = {**MELON.descriptions, "A": replace(MELON.descriptions["A"], description={"en": "?"})}
    changed = replace(dataset, standard=replace(MELON, descriptions=other))
    with pytest.raises(MezoroiError, match="the grading standard is another than the one"):
        mz.train(changed, tiny(), run, resume=True)


def test_a_grader_of_before_is_tried_on_data_with_features(
    melons: Path, run_dir: Path, tmp_path: Path
) -> None:
    from mezoroi.evaluation import evaluate

    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    content = json.loads((run / "grader.json").read_text(encoding="utf-8"))
    content["standard"] = MELON.without_features().to_dict()
    (run / "grader.json").write_text(json.dumps(content), encoding="utf-8")
    grader = mz.Grader.load(run, device="cpu")
    assert grader.standard.features == ()
    data = mz.load_dataset(melons)
    assert evaluate(grader, data)["grading"]["confusion_matrix"]
