"""What several graders said of a fruit, and images or pictures that are listed twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mezoroi.datasets import (
    consensus,
    load_dataset,
    load_usable,
    same_pictures,
    without_same_pictures,
    write_mask,
)
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard
from tests.datasets.manifests import problems_of, two_each, write_manifest


def test_several_graders(root: Path) -> None:
    path = write_manifest(root, *[f"photos/{i}.png" for i in range(6)], header="image")
    labels = ["AAB", "BBA", "ABD", "AAA", "BBB", "DDD"]
    table = [
        f"photos/{i}.png,{grader},{label}"
        for i, given in enumerate(labels)
        for grader, label in zip(("佐藤", "鈴木", "高橋"), given, strict=True)
    ]
    graders = root / "graders.csv"
    graders.write_text("\n".join(["image,grader,grade", *table]), encoding="utf-8")
    dataset = load_dataset(path, trainable=False)
    assert [o.grade for o in dataset] == ["A", "B", "B", "A", "B", "D"]
    assert dataset.observations[2].labels == {"佐藤": "A", "鈴木": "B", "高橋": "D"}
    more = ["photos/0.png,佐藤,A", "photos/9.png,佐藤,A", "photos/1.png,,A", "photos/3.png,中村,Z"]
    graders.write_text("\n".join(["image,grader,grade", *table, *more]), encoding="utf-8")
    found = "\n".join(problems_of(path, standard=GradingStandard.from_grades("ABD")))
    for words in (
        "graded photos/0.png twice",
        "9.png is not in",
        "row 22 has an empty",
        "grade `Z`",
    ):
        assert words in found


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("A", "A"),
        ("AAD", "A"),
        ("AB", "B"),  # two middle ones: the lower quality
        ("AD", "D"),
        ("ABD", "B"),  # no majority: the median
        ("AABBD", "B"),
        ("AADD", "D"),
    ],
)
def test_consensus(labels: str, expected: str) -> None:
    standard = GradingStandard.from_grades("ABCD")
    assert consensus(labels, standard) == consensus(labels[::-1], standard) == expected


def test_consensus_of_kinds_takes_precedence() -> None:
    kinds = GradingStandard.from_grades(["crack", "hole", "none"], ordered=False)
    assert consensus(["hole", "crack"], kinds) == "hole"
    with pytest.raises(MezoroiError, match="no grader"):
        consensus([], kinds)


def test_an_image_listed_twice_counts_once_or_not_at_all(root: Path) -> None:
    write_manifest(root, *two_each("photos/0.png,A", "photos/4.png,A", "photos/4.png,B"))
    dataset = load_dataset(root)
    assert [o.id for o in dataset] == [f"photos/{i}.png" for i in range(4)]
    assert [("counted once" in note, "left out" in note) for note in dataset.notes[1:]] == [
        (True, False),
        (False, True),
    ]
    assert "row 7" in dataset.notes[2]


@pytest.mark.parametrize(
    ("again", "words"),
    [
        ("A,s9,train,,", "specimen s0 and s9: keep the right row"),
        ("A,s0,test,,", "split test and train: keep"),
        ("A,s9,test,,", "specimen s0 and s9, split test and train: keep"),
        ("A,,train,,", "specimen no specimen and s0: keep"),
        ("A,s0,train,monday,", "session monday and no session: keep"),
        ("A,s0,train,,m.png", "m.png and no mask: keep"),
        (",s0,train,,", "grade A and no grade: keep"),
    ],
)
def test_an_image_listed_twice_differently_is_a_problem(root: Path, again: str, words: str) -> None:
    write_mask(root / "m.png", {"A": np.ones((12, 16), bool)})
    rows = [f"photos/{i}.png,{'AB'[i % 2]},s{i},train,," for i in range(4)]
    path = write_manifest(
        root, *rows, f"photos/0.png,{again}", header="image,grade,specimen,split,session,mask"
    )
    problem = next(problem for problem in problems_of(path) if "is listed with" in problem)
    assert problem.startswith("manifest.csv row 2 and manifest.csv row 6: photos/0.png is listed ")
    assert words in problem
    usable, unusable = load_usable(path, GradingStandard.from_grades("AB"))
    assert len(usable) == 4 and [item.problem for item in unusable] == [problem]


def test_the_same_picture_under_two_specimens_is_named(root: Path) -> None:
    twin = root / "photos/twin.png"
    twin.write_bytes((root / "photos/0.png").read_bytes())
    write_manifest(root, *two_each("photos/twin.png,A"))
    dataset = load_dataset(root)
    assert len(dataset) == 5
    _, note = dataset.notes
    assert "photos/0.png" in note and "photos/twin.png" in note and "same picture" in note
    assert {o.id for group in same_pictures(dataset) for o in group} == {
        "photos/0.png",
        "photos/twin.png",
    }
    assert [o.id for o in without_same_pictures(dataset)] == [f"photos/{i}.png" for i in (1, 2, 3)]


def test_views_of_one_specimen_may_be_the_same_picture(root: Path) -> None:
    twin = root / "photos/twin.png"
    twin.write_bytes((root / "photos/0.png").read_bytes())
    rows = ["photos/0.png,A,one", "photos/twin.png,A,one", "photos/1.png,A,two"]
    rows += ["photos/2.png,B,three", "photos/3.png,B,four"]
    (root / "manifest.csv").write_text("\n".join(["image,grade,specimen", *rows]), encoding="utf-8")
    assert not any("same picture" in note for note in load_dataset(root).notes)
