"""The README's commands and its Python, run as they stand but with smaller numbers."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezoroi import cli
from mezoroi.datasets.melons import indexed_melon

README = Path(__file__).parents[1] / "README.md"
MARK = "# tests/test_readme.py runs th"
PER_GRADE = 6
SMALL = (
    *("--preset", "tiny"),
    *("--set", "train.epochs=1"),
    *("--set", "train.cached_views=1"),
    *("--set", "train.batch_size=32"),
    *("--set", "input.height=32"),
)


def _blocks(language: str) -> list[str]:
    """Fenced blocks in a language that say they are run here."""
    text = README.read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for block in found if block.startswith(MARK)]


def _commands(block: str) -> list[str]:
    return [line for line in block.splitlines() if line and not line.startswith("#")]


def _smaller(words: list[str]) -> list[str]:
    if "--per-grade" in words:
        words[words.index("--per-grade") + 1] = str(PER_GRADE)
    return [*words, *SMALL] if words[0] in ("train", "cross-validate") else words


def _run(command: str) -> str:
    """Run one line of the README in this process; its standard output."""
    words = shlex.split(command, comments=True)
    assert words[0] == "mezoroi"
    target = None
    if ">" in words:
        position = words.index(">")
        target = Path(words[position + 1])
        words = words[:position]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.raises(SystemExit) as stop:
        cli.main(_smaller(words[1:]))
    assert stop.value.code == 0, f"`{command}` failed"
    if target is not None:
        target.write_text(output.getvalue(), encoding="utf-8")
    return output.getvalue()


def _make_photos(folder: Path) -> None:
    """What the README takes for granted: photos by grade, a table of them, and new photos."""
    rows = ["image,grade,specimen"]
    for index in range(4 * PER_GRADE):
        melon, _ = indexed_melon(index, seed=1, height=64)
        path = folder / "photos" / melon.grade / f"{index:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(melon.surface[:, :64]).save(path)
        rows.append(f"{path.relative_to(folder)},{melon.grade},fruit{index}")
    (folder / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    (folder / "folder").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8)
    for name in ("photo.jpg", "folder/果実.png"):
        Image.fromarray(noise).save(folder / name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which all commands of the README have been run, in order."""
    folder = tmp_path_factory.mktemp("readme")
    _make_photos(folder)
    with contextlib.chdir(folder) if hasattr(contextlib, "chdir") else _inside(folder):
        for block in _blocks("bash"):
            for command in _commands(block):
                _run(command)
        yield folder


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def test_readme_shows_every_verb_of_the_main_job() -> None:
    lines = [line for block in _blocks("bash") for line in _commands(block)]
    shown = {shlex.split(line)[1] for line in lines}
    assert shown >= {"make-melons", "train", "evaluate", "cross-validate", "grade", "settings"}


def test_no_command_of_the_readme_is_left_out() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(re.findall(r"^```bash$", text, re.MULTILINE)) == len(_blocks("bash"))
    assert len(re.findall(r"^```python$", text, re.MULTILINE)) == len(_blocks("python"))


def test_commands_write_what_the_readme_says(place: Path) -> None:
    text = README.read_text(encoding="utf-8")
    section = text.split("## What `grade` writes")[1].split("## ")[0]
    names = re.findall(r"`(?:out/)?(?:NAME/)?([\w.-]+\.\w+)`", section)
    assert len(names) >= 6
    for name in names:
        path = name.replace("GRADE", "D")
        folder = place / "out" if path == "report.html" else place / "out" / "melon-0001"
        assert (folder / path).stat().st_size > 0
    assert (place / "runs/melon/evaluation/test/evaluation.json").is_file()
    assert (place / "runs/folds/cross-validation.json").is_file()
    assert (place / "graded/果実/grading.json").is_file()


def test_python_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = _blocks("python")
    smaller = block.replace('"quick"', '"tiny"').replace("epochs=40", "epochs=1")
    assert smaller != block
    exec(compile(smaller, str(README), "exec"), {})
    printed = capsys.readouterr().out
    assert "missing.jpg" in printed
    assert (place / "graded-one/grading.json").is_file()
    assert (place / "runs/python/grader.json").is_file()
