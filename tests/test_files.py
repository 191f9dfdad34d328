"""Files that are whole or absent."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezoroi.errors import MezoroiError
from mezoroi.files import (
    atomic_path,
    content_hash,
    folder_names,
    nan_to_none,
    read_json,
    write_arrays,
    write_json,
    write_text,
)


def write_half(target: Path, error: Exception) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error


def test_an_error_keeps_what_stood_there_and_leaves_no_trace(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="stop"):
        write_half(target, RuntimeError("stop"))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_folders_are_made_and_the_mode_is_that_of_a_new_file(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "網目.txt"
    write_text(target, "メロン")
    plain = tmp_path / "plain"
    plain.touch()
    assert target.read_text(encoding="utf-8") == "メロン"
    assert target.stat().st_mode == plain.stat().st_mode


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with pytest.raises(MezoroiError, match=r"No space left.*: check free space"):
        write_half(target, OSError(28, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MezoroiError, match="cannot write"):
        write_text(tmp_path / "file" / "inside.txt", "")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_any_value_becomes_strict_json(value: object) -> None:
    text = json.dumps(nan_to_none(value), allow_nan=False)

    def same(one: object, other: object) -> bool:
        if isinstance(one, float) and not math.isfinite(one):
            return other is None
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(same, one, other))
        if isinstance(one, dict) and isinstance(other, dict):
            return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
        return one == other

    assert same(value, json.loads(text))


def test_json_is_written_as_text_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    write_json(path, {"果": (1, float("nan"))})
    assert "果" in path.read_text(encoding="utf-8")
    assert read_json(path, "copy it again") == {"果": [1, None]}


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_damaged_json_names_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(MezoroiError, match=r"cannot be read as JSON.*: copy it again") as caught:
        read_json(path, "copy it again")
    assert "\n" not in str(caught.value)
    with pytest.raises(MezoroiError, match="is missing: copy it again"):
        read_json(tmp_path / "none.json", "copy it again")


def test_a_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "large"
    content = bytes(range(256)) * 9000
    path.write_bytes(content)
    assert content_hash(path) == hashlib.sha256(content).hexdigest()


def test_arrays_may_have_any_name(tmp_path: Path) -> None:
    arrays = {
        "file": np.arange(3.0),
        "allow_pickle": np.zeros((2, 2), np.float32),
        "等級": np.ones(1),
    }
    write_arrays(tmp_path / "maps.npz", arrays)
    with np.load(tmp_path / "maps.npz") as stored:
        assert set(stored.files) == set(arrays)
        assert all(np.array_equal(stored[name], values) for name, values in arrays.items())
        assert stored["allow_pickle"].dtype == np.float32


def test_a_folder_has_no_suffix(tmp_path: Path) -> None:
    folders = [tmp_path / "fruit.10", tmp_path / "fruit.2"]
    for folder in folders:
        folder.mkdir()
    assert folder_names([*folders, tmp_path / "a.b.mp4"]) == ["fruit.10", "fruit.2", "a.b"]
