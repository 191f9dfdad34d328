"""Manifests: what is read, and that every problem is listed at once."""

from __future__ import annotations

import json
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezoroi.datasets import (
    DatasetError,
    consensus,
    load_dataset,
    load_usable,
    same_pictures,
    without_same_pictures,
    write_mask,
)
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def photo(path: Path, size: tuple[int, int] = (16, 12), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight photos, 0.png to 7.png."""
    for i in range(8):
        photo(tmp_path / "photos" / f"{i}.png", seed=i)
    return tmp_path


def write_manifest(root: Path, *rows: str, header: str = "image,grade", encoding="utf-8") -> Path:
    (root / "manifest.csv").write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return root / "manifest.csv"


def problems_of(path: Path, **options: object) -> tuple[str, ...]:
    with pytest.raises(DatasetError) as error:
        load_dataset(path, **options)
    assert "\n" not in str(error.value)
    return error.value.problems


def two_each(*more: str) -> list[str]:
    return [f"photos/{i}.png,{'AB'[i % 2]}" for i in range(4)] + list(more)


def test_all_columns(root: Path) -> None:
    (root / "o.json").write_text(json.dumps({"width": 2, "height": 1.5}))
    write_mask(root / "m.png", {"A": np.ones((12, 16), bool)})
    write_manifest(
        root,
        *[
            f"photos/{i}.png,{'AB'[i % 2]},fruit{i // 4},train,m.png,July,o.json,畑{i}"
            for i in range(8)
        ],
        header="image,grade,specimen,split,mask,session,outline,畑",
        encoding="utf-8-sig",
    )
    dataset = load_dataset(root)
    assert len(dataset) == 8 and dataset.standard.grades == ("A", "B")
    first = dataset.observations[0]
    assert (first.id, first.grade, first.specimen) == ("photos/0.png", "A", "fruit0")
    assert (first.split, first.session, first.extra) == ("train", "July", {"畑": "畑0"})
    assert first.outline == {"width": 2.0, "height": 1.5}
    mask = dataset.mask_of(first)
    assert mask is not None and mask.shape == (12, 16) and mask.all()
    assert dataset.mask_of(first, "B") is None
    np.testing.assert_array_equal(dataset.labels, [0, 1] * 4)
    assert dataset.labels.dtype == np.int64
    assert dataset.specimens == ("fruit0",) * 4 + ("fruit1",) * 4
    assert dataset.has_outlines and dataset.outline_names == ("height", "width")
    np.testing.assert_array_equal(dataset.outline_matrix(), [[1.5, 2.0]] * 8)
    assert dataset.outline_matrix().dtype == np.float32
    assert dataset.counts() == {"A": 4, "B": 4}


def test_defaults(root: Path) -> None:
    dataset = load_dataset(write_manifest(root, *two_each()))
    assert dataset.specimens == tuple(o.id for o in dataset)
    assert all(o.split is o.mask is o.session is o.outline is None for o in dataset)
    assert not dataset.has_outlines and dataset.outline_names == ()
    with pytest.raises(MezoroiError, match=r"photos/0\.png has no outline"):
        dataset.outline_matrix()


def test_numbers_and_na_are_names_in_natural_order(root: Path) -> None:
    grades = ["10", "2", "1", "NaN"]
    rows = [f"photos/{i}.png,{grades[i % 4]}" for i in range(8)]
    assert load_dataset(write_manifest(root, *rows)).standard.grades == ("1", "2", "10", "NaN")


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


def test_a_capture_folder_is_an_image(root: Path) -> None:
    for i in range(4):
        photo(root / f"capture{i}" / "surface.png", (32, 16))
        (root / f"capture{i}" / "outline.json").write_text(json.dumps({"roundness": i}))
    dataset = load_dataset(write_manifest(root, *[f"capture{i},{'AB'[i % 2]}" for i in range(4)]))
    assert dataset.observations[2].id == "capture2/surface.png"
    np.testing.assert_array_equal(dataset.outline_matrix(), [[0], [1], [2], [3]])
    assert dataset.is_panorama


def test_standard_beside_the_manifest(root: Path) -> None:
    GradingStandard.from_grades("BA").to_yaml(root / "standard.yaml")
    path = write_manifest(root, *two_each())
    assert load_dataset(path).standard.grades == ("B", "A")
    assert load_dataset(path, GradingStandard.from_grades("AB")).standard.grades == ("A", "B")


def test_all_problems_are_listed_at_once(root: Path) -> None:
    (root / "photos/text.png").write_text("hello")
    whole = (root / "photos/6.png").read_bytes()
    (root / "photos/6.png").write_bytes(whole[: len(whole) // 2])
    write_mask(root / "small.png", {"A": np.ones((12, 15), bool)})
    (root / "bad.json").write_text("{}")
    write_manifest(
        root,
        "photos/0.png,A,x,train,,",
        "photos/1.png,B,x,test,,",
        "photos/none.png,A,,,,",
        "photos/2.png,Q,,,,",
        "photos/text.png,B,,,,",
        "photos/6.png,B,,,,",
        "photos/0.png,A,x,train,,",
        "photos/3.png,A,,holdout,,",
        "photos/4.png,,,,,",
        "photos/5.png,A,,,small.png,",
        "photos/7.png,A,,,,bad.json",
        ",A,,,,",
        header="image,grade,specimen,split,mask,outline",
    )
    found = problems_of(root, standard=GradingStandard.from_grades("ABC"))
    expected = [
        ("row 13", "names no image"),
        ("row 4", "does not exist"),
        ("row 5", "unknown grade `Q`"),
        ("row 6", "text.png"),
        ("row 7", "truncated"),
        ("row 9", "unknown split `holdout`"),
        ("row 10", "no grade"),
        ("row 11", "mask of 15 x 12 pixels for an image of 16 x 12"),
        ("row 12", "bad.json"),
        ("specimen `x`", "train and test"),
        ("grade `C`", "0 specimens"),
    ]
    assert len(found) == len(expected), found
    for problem, words in zip(found, expected, strict=True):
        assert all(word in problem for word in words), (problem, words)


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


def test_the_summary_is_one_line_and_survives_pickling(root: Path) -> None:
    write_manifest(root, *two_each("photos/none.png,A", "photos/4.png,"))
    with pytest.raises(DatasetError) as caught:
        load_dataset(root)
    assert str(caught.value).startswith(
        "manifest.csv has 2 problems, the first: manifest.csv row 6"
    )
    assert str(caught.value).endswith("(and 1 more): correct them and run again")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value) and copy.problems == caught.value.problems


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (["x,A"], "file,class", "lacks the columns `image` and `grade` (it has file, class)"),
        (["x,A"], "image,image", "two columns `image`"),
        ([], "image,grade", "no rows"),
        (["photos/0.png,A,B"], "image,grade", "3 cells under 2 columns"),
        (["photos/0.png,A", "photos/1.png,A"], "image,grade", "only one grade (`A`)"),
        (["photos/0.png,A", "photos/1.png,B"], "image,grade", "`A` has 1 specimen: at least 4"),
        (["photos/0.png,", "photos/1.png,"], "image,grade", "no grade"),
    ],
)
def test_unusable_manifests(root: Path, rows: list[str], header: str, words: str) -> None:
    assert any(
        words in problem for problem in problems_of(write_manifest(root, *rows, header=header))
    )


def test_not_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").touch()
    assert "empty" in problems_of(tmp_path)[0]
    (tmp_path / "manifest.csv").write_bytes(b"\x00\xff\xfe\x81")
    assert "save the CSV as UTF-8" in problems_of(tmp_path)[0]
    (tmp_path / "notes.txt").touch()
    assert "is no dataset" in problems_of(tmp_path / "notes.txt")[0]
    assert "does not exist" in problems_of(tmp_path / "none.csv")[0]


def test_what_is_only_graded_may_lack_grades(root: Path) -> None:
    path = write_manifest(root, "photos/0.png,A")
    dataset = load_dataset(path, GradingStandard.from_grades("AB"), trainable=False)
    assert dataset.counts() == {"A": 1, "B": 0}


def test_verify_decodes_every_image(root: Path) -> None:
    broken = bytearray((root / "photos/0.png").read_bytes())
    middle = len(broken) // 2
    broken[middle : middle + 40] = bytes(40)
    (root / "photos/0.png").write_bytes(bytes(broken))
    path = write_manifest(root, *two_each())
    assert len(load_dataset(path)) == 4
    assert "0.png" in problems_of(path, verify=True)[0]


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


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("優 可 良 特秀 秀", "特秀 秀 優 良 可"),
        ("優 秀 良", "秀 優 良"),
        ("bad Good", "Good bad"),
        ("bad good medium", "bad good medium"),
        ("B a C", "a B C"),
        ("10 2 1", "1 2 10"),
        ("優 B", "B 優"),
    ],
)
def test_the_order_of_grades_without_a_standard_is_told(
    root: Path, named: str, expected: str
) -> None:
    path = write_manifest(
        root,
        *[f"photos/{2 * i + k}.png,{g}" for i, g in enumerate(named.split()) for k in (0, 1)],
    )
    for number in range(12):
        photo(root / "photos" / f"{number}.png", seed=number)
    dataset = load_dataset(path)
    assert " ".join(dataset.standard.grades) == expected
    order = expected.replace(" ", " > ")
    assert dataset.notes == (
        f"grades from best to worst are taken as {order}: write standard.yaml if that is not so",
    )
    assert load_dataset(path, trainable=False).notes == ()
    dataset.standard.to_yaml(root / "standard.yaml")
    assert load_dataset(path).notes == ()


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


def test_tomatoes() -> None:
    path = SHARED / "fgrade4" / "manifest.csv"
    if not path.is_file():
        pytest.skip("the tomato photos (fgrade4) are not beside the repository")
    dataset = load_dataset(path)
    # One photo is listed with two grades there, and one under two tomatoes.
    assert len(dataset) == 2291 and len(dataset.notes) == 3
    assert "059_041.jpg" in dataset.notes[1]
    assert "tomato029 and tomato051, in test and train" in dataset.notes[2]
    assert len(without_same_pictures(dataset)) == 2289
    assert dataset.splits == ("train", "val", "test")
    assert dataset.standard.grades == tuple("ABCD")
    assert len(set(dataset.specimens)) == 82
    assert not dataset.is_panorama


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


@pytest.mark.parametrize("listed", ["captures/{}", "captures/{}/surface.png"])
@pytest.mark.parametrize("graded", ["captures/{}", "captures/{}/surface.png"])
def test_a_capture_folder_is_its_surface_image(tmp_path: Path, listed: str, graded: str) -> None:
    names = [f"{grade}{number}" for grade in "AB" for number in range(2)]
    for name in names:
        photo(tmp_path / "captures" / name / "surface.png", seed=names.index(name))
    rows = [listed.format(name) for name in names]
    write_manifest(tmp_path, *rows, header="image")
    labels = [f"{graded.format(name)},sato,{name[0]}" for name in names]
    (tmp_path / "graders.csv").write_text("\n".join(["image,grader,grade", *labels]))
    assert [o.grade for o in load_dataset(tmp_path)] == ["A", "A", "B", "B"]

    write_manifest(tmp_path, *rows, graded.format("A0"), header="image")
    (note,) = [note for note in load_dataset(tmp_path).notes if "listed" in note]
    assert "manifest.csv row 2 and manifest.csv row 6" in note and "counted once" in note
