"""What a reference index promises, wherever it is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mezoroi import MezoroiError
from mezoroi.retrieval import Reference, ReferenceIndex
from tests.retrieval.conftest import COUNT, DIM, MODEL

STRAY = b"north \xff".decode("utf-8", "surrogateescape")
"""A name of bytes that are no UTF-8, as Python reads it."""


@pytest.fixture
def index(
    place: str, ids: list[str], vectors: np.ndarray, metadata: list[Any]
) -> Iterator[ReferenceIndex]:
    with ReferenceIndex.create(place, DIM, MODEL) as made:
        made.add(ids, vectors, metadata)
        yield made


def test_finds_the_most_similar_first(
    index: ReferenceIndex,
    ids: list[str],
    vectors: np.ndarray,
    nearest: Callable[..., list[int]],
) -> None:
    found, similarity = index.search(vectors[:5] * 7, k=4)
    for query, row in enumerate(found):
        assert row == [ids[number] for number in nearest(vectors[query], 4)]
    assert similarity.shape == (5, 4)
    assert similarity.dtype == np.float32
    np.testing.assert_allclose(similarity[:, 0], 1, atol=1e-6)
    assert (np.diff(similarity, axis=1) <= 0).all()
    assert len(index) == COUNT


@pytest.mark.parametrize("rows", [1, 20, 40])  # FAISS multiplies matrices from 20 queries on
@pytest.mark.parametrize("factor", [1e-15, 0.01, 1.0, 3.0, 1e15])
def test_similarity_is_the_cosine_whatever_the_length(
    index: ReferenceIndex, vectors: np.ndarray, rows: int, factor: float
) -> None:
    queries = np.random.default_rng(8).normal(size=(rows, DIM)).astype(np.float32)
    exact = queries.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    all_of_them = vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    expected = -np.sort(-exact @ all_of_them.T, axis=1)[:, :5]
    _, similarity = index.search(queries * np.float32(factor), 5)
    np.testing.assert_allclose(similarity, expected, atol=2e-6)


def test_rounding_makes_no_similarity_beyond_one(path: Path, vectors: np.ndarray) -> None:
    both = np.concatenate([vectors, -vectors])
    with ReferenceIndex.create(path, DIM, MODEL) as index:
        index.add([str(number) for number in range(len(both))], both)
        alone = np.concatenate([index.search(row[None], len(both))[1] for row in vectors])
        together = index.search(vectors, len(both))[1]
        products = index._store.search(vectors, np.linalg.norm(vectors, axis=1) ** -1, 1, None)[1]
    assert products.max() > 1  # what it would be without the bound
    assert alone.max() == together.max() == 1
    assert alone.min() == together.min() == -1


def test_vectors_may_lie_in_memory_as_they_like(place: str, ids: list[str]) -> None:
    vectors = np.random.default_rng(5).normal(size=(40, 2 * DIM))
    columns = np.asfortranarray(vectors[:, ::2])
    with ReferenceIndex.create(place, DIM, MODEL) as index:
        index.add(ids[:20], columns[::2])
        index.search(columns[:1], 1)
        index.add(ids[20:40], columns[1::2].tolist())
        found, _ = index.search(columns[5:25:3], 1)
    assert found == [[ids[n // 2 + 20 * (n % 2)]] for n in range(5, 25, 3)]


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ({"grade": "B"}, lambda item: item["grade"] == "B"),
        ({"grade": ["A", "B"]}, lambda item: True),
        ({"orchard": '南 "2"'}, lambda item: item["orchard"] == '南 "2"'),
        ({"date": "2026-07-09"}, lambda item: item["date"] == "2026-07-09"),
        ({"date": ("2026-07-09", None)}, lambda item: item["date"] >= "2026-07-09"),
        (
            {"date": ("2026-07-02", "2026-07-11"), "grade": "A", "orchard": "north"},
            lambda item: (
                "2026-07-02" <= item["date"] <= "2026-07-11"
                and item["grade"] == "A"
                and item["orchard"] == "north"
            ),
        ),
        ({"grade": "none such"}, lambda item: False),
    ],
)
def test_filters(
    index: ReferenceIndex,
    vectors: np.ndarray,
    metadata: list[Any],
    ids: list[str],
    nearest: Callable[..., list[int]],
    where: dict[str, Any],
    passes: Callable[[Any], bool],
) -> None:
    allowed = [number for number, item in enumerate(metadata) if passes(item)]
    (found,), similarity = index.search(vectors[:1], 5, where)
    assert found == [ids[number] for number in nearest(vectors[0], 5, allowed)] if allowed else True
    assert similarity.shape == (1, min(5, len(allowed)))
    assert len(index.references(where=where)) == len(allowed)


def test_removed_fruits_are_not_found(
    index: ReferenceIndex, ids: list[str], vectors: np.ndarray, nearest: Callable[..., list[int]]
) -> None:
    gone = nearest(vectors[0], 3)[:2]
    index.search(vectors[:1], 1)
    index.remove([ids[number] for number in gone])
    rest = [number for number in range(COUNT) if number not in gone]
    expected = [ids[number] for number in nearest(vectors[0], 4, rest)]
    assert index.search(vectors[:1], 4)[0] == [expected]
    index.rebuild()
    assert index.search(vectors[:1], 4)[0] == [expected]
    assert len(index) == COUNT - 2
    index.add([ids[gone[0]]], vectors[gone[:1]])
    assert index.search(vectors[gone[0]][None], 1)[0] == [[ids[gone[0]]]]


def test_keeps_what_is_known_of_a_fruit(index: ReferenceIndex, ids: list[str]) -> None:
    assert index.references([ids[3], "unknown", ids[1]]) == [
        Reference(ids[3], "B", "2026-07-04", '南 "2"', "thumbnails/3.jpg", {"lot": 3}),
        Reference(ids[1], "B", "2026-07-02", "north", "thumbnails/1.jpg", {"lot": 1}),
    ]
    index.add(["bare"], np.ones((1, DIM)))
    assert index.references(["bare"]) == [Reference("bare")]
    assert len(index.references()) == COUNT + 1


def test_more_neighbours_than_fruits(index: ReferenceIndex, vectors: np.ndarray) -> None:
    found, similarity = index.search(vectors[:2], 10 * COUNT)
    assert [len(row) for row in found] == [COUNT, COUNT]
    assert similarity.shape == (2, COUNT)


def test_no_query_has_as_many_columns_as_others_would(index: ReferenceIndex) -> None:
    nothing = np.empty((0, DIM))
    for k, where, width in ((3, None, 3), (COUNT + 9, None, COUNT), (200, {"grade": "A"}, 150)):
        found, similarity = index.search(nothing, k, where)
        assert found == []
        assert (similarity.shape, similarity.dtype) == ((0, width), np.float32)


def test_an_empty_index_answers_with_nothing(place: str) -> None:
    with ReferenceIndex.create(place, DIM, MODEL) as index:
        assert len(index) == 0
        found, similarity = index.search(np.ones((2, DIM)), 3)
        assert found == [[], []]
        assert similarity.shape == (2, 0)
        index.add([], np.empty((0, DIM)))
        assert index.references() == []
        index.rebuild()


def test_opening_again(place: str, ids: list[str], vectors: np.ndarray) -> None:
    with ReferenceIndex.create(place, DIM, MODEL) as index:
        index.add(ids[:200], vectors[:200])
    with ReferenceIndex.open(place) as index:
        assert (index.dim, index.fingerprint, len(index)) == (DIM, MODEL, 200)
        index.add(ids[200:], vectors[200:])
        assert index.search(vectors[250:251], 1)[0] == [[ids[250]]]
    with ReferenceIndex.open(place) as index:
        assert index.search(vectors[299:], 1)[0] == [[ids[299]]]


@pytest.mark.parametrize(
    ("names", "rows", "reason"),
    [
        (["new", "new"], np.ones((2, DIM)), "given twice"),
        (["a\0b"], np.ones((1, DIM)), "holds what no text can"),
        (["a\ud800"], np.ones((1, DIM)), "holds what no text can"),
        (["new", "果実-7"], np.ones((2, DIM)), "`果実-7` is in the references already"),
        (["new"], np.full((1, DIM), np.nan), "NaN"),
        (["new"], np.full((1, DIM), np.inf), "infinite"),
        (["new"], np.zeros((1, DIM)), "zero"),
        (["new"], np.full((1, DIM), 3e-23), "zero, or nearly so"),  # their squares have one digit
        (["new"], np.ones((1, DIM + 1)), "shape"),
        (["new"], np.ones(DIM), "shape"),
        (["new"], np.ones((2, DIM)), "2 vectors for 1 ids"),
        ([""], np.ones((1, DIM)), "no text"),
        ([3], np.ones((1, DIM)), "no text"),
    ],
)
def test_refuses_and_adds_nothing(
    index: ReferenceIndex, names: list[Any], rows: np.ndarray, reason: str
) -> None:
    with pytest.raises(MezoroiError, match=reason) as error:
        index.add(names, rows)
    assert "\n" not in str(error.value)
    assert len(index) == COUNT
    assert index.references(["new"]) == []


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda index, row: index.search(row, 0), "k is 0"),
        (lambda index, row: index.search(row, np.int64(-1)), "no whole number"),
        (lambda index, row: index.search(row, True), "k is True, no whole number"),
        (lambda index, row: index.search(row, "3"), "k is '3', no whole number"),
        (lambda index, row: index.search(row, 2.5), r"k is 2\.5, no whole number"),
        (lambda index, row: index.search(row, 1, {"grade": 1}), "grade is 1: filter by a name"),
        (lambda index, row: index.search(row, 1, {"orchard": ["a", None]}), "filter by a name"),
        (lambda index, row: index.search(row, 1, {"colour": "red"}), "cannot filter by `colour`"),
        (lambda index, row: index.search(row, 1, {"date": "yesterday"}), "no date"),
        (lambda index, row: index.search(row, 1, {"date": ("2026-01-01",)}), "first and the last"),
        (lambda index, row: index.search(row, 1, {"date": "2026-07-31xyz"}), "no date"),
        (lambda index, row: index.search(row, 1, {"date": ""}), "no date"),
        (lambda index, row: index.search([[1.0, 2.0], [3.0]], 1), "not all as long"),
        (lambda index, row: index.search([["a"] * DIM], 1), "no array of numbers"),
        (lambda index, row: index.search(row, 1, {"grade": STRAY}), "not Unicode text"),
        (lambda index, row: index.remove([STRAY]), "not Unicode text"),
        (lambda index, row: index.references([STRAY]), "not Unicode text"),
        (lambda index, row: index.add([STRAY], row), "what no text can"),
        (lambda index, row: index.add(["new"], row, [{"orchard": STRAY}]), "not Unicode text"),
        (lambda index, row: index.add(["new"], row, [{"thumbnail": STRAY}]), "not Unicode text"),
        (lambda index, row: index.add(["new"], row, [{"lot": [STRAY]}]), "not Unicode text"),
        (lambda index, row: index.remove(["果実-1", "unknown"]), "`unknown` is not in"),
        (lambda index, row: index.remove("果実-1"), "list of ids"),
        (lambda index, row: index.references("果実-1"), "list of ids"),
        (lambda index, row: index.add("n", row), "list of ids"),
        (
            lambda index, row: index.references(where={"date": ("2026-08-01", "2026/7/31")}),
            "2026-08-01 is after 2026-07-31",
        ),
        (lambda index, row: index.add(["new"], row, [{"date": "31.7."}]), "no date"),
        (lambda index, row: index.add(["new"], row, [{"photo": object()}]), "cannot be kept"),
        (lambda index, row: index.add(["new"], row, []), "0 metadata for 1 ids"),
        (lambda index, row: index.check_fingerprint("another"), "of another model"),
    ],
)
def test_bad_use_is_one_line(
    index: ReferenceIndex, vectors: np.ndarray, call: Callable[..., Any], reason: str
) -> None:
    with pytest.raises(MezoroiError, match=reason) as error:
        call(index, vectors[:1])
    assert "\n" not in str(error.value)
    assert len(index) == COUNT


@pytest.mark.parametrize(
    ("dim", "fingerprint", "reason"),
    [
        (8.5, MODEL, r"dim is 8\.5, no whole number"),
        ("8", MODEL, "dim is '8', no whole number"),
        (True, MODEL, "dim is True, no whole number"),
        (8, None, "fingerprint is None: give a text"),
        (8, "", "fingerprint is ''"),
    ],
)
def test_an_index_of_nothing_is_not_made(
    place: str, dim: Any, fingerprint: Any, reason: str
) -> None:
    with pytest.raises(MezoroiError, match=reason):
        ReferenceIndex.create(place, dim, fingerprint)
    assert not Path(place).exists()


def test_counts_may_be_numpys(place: str) -> None:
    with ReferenceIndex.create(place, np.int64(2), MODEL) as index:
        index.add(["a", "b", "c"], [[1, 0], [1, 1], [0, 1]])
        for k in (np.int64(2), np.uint8(2), np.arange(3)[2]):
            assert index.search([[1, 0]], k)[0] == [["a", "b"]]


def test_what_tables_say_is_kept(place: str) -> None:
    nothing = float("nan")
    entries = [
        {"grade": "A", "date": "2026/7/5", "orchard": "北"},
        {"grade": nothing, "date": nothing, "orchard": nothing},
    ]
    with ReferenceIndex.create(place, 2, MODEL) as index:
        index.add(["a", "b"], np.eye(2), entries)
        first, second = index.references(["a", "b"])
        assert (first.grade, first.date, first.orchard) == ("A", "2026-07-05", "北")
        assert (second.grade, second.date, second.orchard) == (None, None, None)
        assert index.search(np.eye(2)[:1], 2, {"date": ("2026/7/1", None)})[0] == [["a"]]


def test_ids_and_names_may_hold_any_letter(place: str) -> None:
    names = ['quo"te', "apo's", "back\\slash", "\\u0041", "tab\t", "a\nb", "a\rb", "\x01", "🍈 玉 "]
    rows = np.eye(len(names))
    with ReferenceIndex.create(place, len(names), MODEL) as index:
        index.add(names, rows, [{"grade": name, "orchard": name} for name in names])
        for name, row in zip(names, rows, strict=True):
            ((found,), _) = index.search(row[None], 9, {"grade": name, "orchard": [name]})
            assert found == [name]
            assert [one.id for one in index.references([name])] == [name]
            with pytest.raises(MezoroiError, match="already"):
                index.add([name], row[None])
        assert sorted(one.id for one in index.references()) == sorted(names)
        for name in names:
            index.remove([name])
        assert len(index) == 0


def test_a_closed_index_says_so(index: ReferenceIndex, vectors: np.ndarray) -> None:
    index.search(vectors[:1], 1)
    index.close()
    index.close()
    for call in (
        lambda: index.search(vectors[:1], 1),
        lambda: index.add(["new"], vectors[:1]),
        lambda: index.references(),
        lambda: len(index),
    ):
        with pytest.raises(MezoroiError, match="is closed: open it again"):
            call()


def test_does_not_overwrite_or_invent(place: str, index: ReferenceIndex, tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="already exists"):
        ReferenceIndex.create(place, DIM, MODEL)
    with pytest.raises(MezoroiError, match="dim is 0"):
        ReferenceIndex.create(tmp_path / "new.sqlite", 0, MODEL)
    missing = tmp_path / ("new.db" if place.endswith(".db") else "new.sqlite")
    with pytest.raises(MezoroiError, match="create the reference"):
        ReferenceIndex.open(missing)
    assert not ReferenceIndex.exists(missing)
    assert not missing.exists()
    assert ReferenceIndex.exists(place)
    index.check_fingerprint(MODEL)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_vectors_may_be_tensors_of_a_graph(place: str, dtype: torch.dtype) -> None:
    vectors = torch.eye(DIM, dtype=dtype, requires_grad=True)
    names = [str(number) for number in range(DIM)]
    with ReferenceIndex.create(place, DIM, MODEL) as index:
        index.add(names, vectors)
        found, similarity = index.search(vectors, 1)
    assert found == [[name] for name in names]
    np.testing.assert_allclose(similarity, 1, atol=1e-6)
