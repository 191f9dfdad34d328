"""Which fruits a search index holds: places, names and holes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mezoroi.retrieval.held import Held


def names(*given: str) -> np.ndarray:
    return np.array(given, dtype=object)


def test_an_empty_one_holds_nothing() -> None:
    held = Held()
    assert (len(held), held.live, held.all_but_holes) == (0, 0, None)
    assert len(held.places(np.array([1, 2]))) == 0


def test_a_fruit_without_a_name_is_a_hole() -> None:
    held = Held()
    held.append(np.array([1, 2, 3]), names("a", "", "c"))
    held.append(np.array([7, 9]), names("g", ""))
    assert (len(held), held.live, held.holes.tolist()) == (5, 3, [2, 9])
    assert [held.all_but_holes.is_member(place) for place in range(5)] == [1, 0, 1, 1, 0]


def test_lists_have_no_names_and_no_holes_by_them() -> None:
    held = Held()
    held.append(np.array([4, 5]), names())
    assert (held.live, len(held.names)) == (2, 0)


@given(
    st.sets(st.integers(1, 60), min_size=1),
    st.sets(st.integers(1, 60)),
    st.sets(st.integers(1, 60)),
)
def test_places_and_holes_are_those_of_sets(
    here: set[int], first: set[int], second: set[int]
) -> None:
    def ascending(numbers: set[int]) -> np.ndarray:
        return np.array(sorted(numbers), dtype=np.int64)

    held = Held()
    held.append(ascending(here), np.array([str(number) for number in sorted(here)], dtype=object))
    order = sorted(here)
    assert held.places(ascending(first)).tolist() == [order.index(n) for n in sorted(here & first)]
    held.remove(ascending(first))
    held.remove(ascending(second))
    assert set(held.holes.tolist()) == here & (first | second)
    assert held.live == len(here - first - second)
    held.keep_only(ascending(second))
    assert set(held.holes.tolist()) == here - second
    selector = held.all_but_holes
    kept = [n for place, n in enumerate(order) if selector is None or selector.is_member(place)]
    assert set(kept) == here & second
