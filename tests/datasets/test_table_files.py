"""Manifests as spreadsheets and people write them: encodings, separators, ends of lines, dates."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from mezoroi.datasets import load_dataset
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard
from tests.datasets.manifests import photo, problems_of, two_each, write_manifest


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16"])
def test_encodings(root: Path, encoding: str) -> None:
    rows = [f"photos/{i}.png,{'秀優'[i % 2]}" for i in range(4)]
    dataset = load_dataset(write_manifest(root, *rows, encoding=encoding))
    assert [o.grade for o in dataset] == ["秀", "優"] * 2


@pytest.mark.parametrize("separator", [";", "\t"])
def test_separators_and_windows_paths(root: Path, separator: str) -> None:
    rows = [f"photos\\{i}.png{separator}{'AB'[i % 2]}" for i in range(4)]
    dataset = load_dataset(write_manifest(root, *rows, header=f"image{separator}grade"))
    assert [o.id for o in dataset] == [f"photos/{i}.png" for i in range(4)]


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_cell_may_hold_marks_that_look_like_ends_of_lines(root: Path, mark: str) -> None:
    rows = [f"photos/{i}.png,{'AB'[i % 2]},one{mark}two" for i in range(4)]
    made = load_dataset(write_manifest(root, *rows, header="image,grade,remark"))
    assert [item.extra["remark"] for item in made] == [f"one{mark}two"] * 4


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(root: Path, end: str) -> None:
    text = end.join(["", "image,grade,remark", *(f"{row},'a'" for row in two_each()), ""])
    (root / "manifest.csv").write_bytes(text.encode())
    assert len(load_dataset(root)) == 4
    quoted = end.join(["image,grade,remark", *(f'{row},"a{end}b"' for row in two_each()), ""])
    (root / "manifest.csv").write_bytes(quoted.encode())
    assert [item.extra["remark"] for item in load_dataset(root)] == [f"a{end}b"] * 4


def test_decomposed_file_names(root: Path) -> None:
    names = [f"がぞう{i}.png" for i in range(4)]
    for name in names:
        photo(root / unicodedata.normalize("NFD", name))
    dataset = load_dataset(
        write_manifest(root, *[f"{name},{'AB'[i % 2]}" for i, name in enumerate(names)])
    )
    assert [o.id for o in dataset] == names


def test_parquet_gives_the_same_dataset(root: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = [f"photos/{i}.png,{i % 2 + 1}" for i in range(4)]
    from_csv = load_dataset(write_manifest(root, *rows))
    frame = pandas.DataFrame(
        {"image": [f"photos/{i}.png" for i in range(4)], "grade": [1.0, 2.0, 1.0, 2.0]}
    )
    frame.to_parquet(root / "other.parquet")
    assert load_dataset(root / "other.parquet").fingerprint == from_csv.fingerprint
    (root / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(MezoroiError, match="not a Parquet table"):
        load_dataset(root / "bad.parquet")


def test_rows_have_the_numbers_that_a_spreadsheet_shows(root: Path) -> None:
    table = (
        "\n"  # 1
        "image,grade,words\n"  # 2
        "\n"
        ",,\n"
        'photos/0.png,A,"netted\nall over"\n'  # 5, on two lines of the file
        "photos/1.png,Q,\n"  # 6
        "\n"
        "photos/none.png,B,\n"  # 8
    )
    (root / "manifest.csv").write_text(table, encoding="utf-8")
    labels = "image,grader,grade\n\nphotos/0.png,sato,A\n\nphotos/9.png,sato,A\n"
    (root / "graders.csv").write_text(labels, encoding="utf-8")
    found = problems_of(root, standard=GradingStandard.from_grades("AB"), trainable=False)
    assert sorted(problem.partition(": ")[0] for problem in found) == [
        "graders.csv row 5",
        "manifest.csv row 6",
        "manifest.csv row 8",
    ]
    (root / "manifest.csv").write_text(f"{table}\nphotos/2.png,A,a,b\n", encoding="utf-8")
    with pytest.raises(MezoroiError, match="row 10 has 4 cells under 3 columns"):
        load_dataset(root)


def test_dates_are_checked_with_everything_else(root: Path) -> None:
    rows = ["photos/0.png,A,2026/7/31", "photos/1.png,A,soon", "photos/2.png,B,", "photos/x.png,B,"]
    path = write_manifest(root, *rows, header="image,grade,date")
    first, second = problems_of(path, trainable=False)
    assert first == "manifest.csv row 3: `soon` is no date: write it as 2026-07-31"
    assert "x.png" in second


def test_dates_of_excel_and_of_parquet_are_read(root: Path) -> None:
    import pandas as pd

    table = pd.DataFrame(
        {
            "image": ["photos/0.png", "photos/1.png", "photos/2.png", "photos/3.png"],
            "grade": list("ABAB"),
            "date": [pd.Timestamp("2026-07-31"), None, pd.NaT, pd.Timestamp("2026-08-01 10:00")],
            "orchard": [float("nan"), 3.0, float("nan"), 4.0],
        }
    )
    table.to_parquet(root / "manifest.parquet")
    assert len(load_dataset(root)) == 4
