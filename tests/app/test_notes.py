"""Notes of other rooms in Japanese, whatever numbers they hold."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from babel.messages.pofile import read_po
from PIL import Image

import mezoroi
from mezoroi.app import reading
from mezoroi.app.i18n import LOCALE, NOTES, catalogue
from mezoroi.app.trainer import _epoch_text
from mezoroi.capture import following, frames, images, silhouette, sources, unrolling, video

SOURCES = (
    "capture",
    "app/reading.py",
    "app/supervisor.py",
    "app/worker.py",
    "app/trainer.py",
    "app/retraining.py",
    "app/training_data.py",
    "datasets/held_out.py",
    "datasets/odd.py",
    "datasets/repeats.py",
    "reliability/judge.py",
)


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        (
            "only 62% of the surface was seen, over a turn of 240 degrees: "
            "the rest is filled in and uncertain",
            "表面の 62%（240 度分）だけが写っています。残りは周囲から補ったもので、"
            "確かではありません。",
        ),
        (
            "the fruit is overexposed in 2 of 12 frames used (number 3, 4)",
            "使った 12 コマのうち 2 コマ（3, 4 番）を除きました。果実が白飛びしています。",
        ),
        (
            "the fruit leaves the frame in 3 of 40 frames used",
            "使った 40 コマのうち 3 コマで、果実が画面からはみ出しています。",
        ),
        (
            "graded as it is, not unrolled: the fruit is only 31 pixels wide",
            "網目画像にせず、写真のまま判定しました。果実の幅が 31 画素しかありません。",
        ),
        (
            "melon (1).jpg has 20000 x 9000 pixels, more than 100000000: take a smaller picture",
            "melon (1).jpg は 20000 x 9000 画素で、上限（100000000）を超えています。"
            "小さめに撮ってください。",
        ),
        (
            "no reliability: it was fitted for grades A, B; "
            "fit it again with `mezoroi reliability fit`",
            "信頼度は出ません。等級 A, B について求めたものなので、"
            "`mezoroi reliability fit` で求め直してください。",
        ),
        ("12 train, 3 val, 4 test", "学習 12 玉、確認 3 玉、テスト 4 玉"),
        (
            "from the app: 12 train, 3 val, 2 calibration, 4 test",
            "アプリの果実から：学習 12 玉、確認 3 玉、調整 2 玉、テスト 4 玉",
        ),
        (
            _epoch_text({"epoch": "0", "train_loss": "4.5", "val_loss": "2.5", "val_acc": "0.5"}),
            "1 回目：損失 4.5、取り分けた果実での損失 2.5、その正解率 0.5",
        ),
        (_epoch_text({"epoch": "9", "train_loss": "4.5"}), "10 回目：損失 4.5"),
        (
            "grade D has 3 fruits with an expert's grade: give verdicts until every grade has 5",
            "熟練者が D と判定した果実は 3 玉です。"
            "どの等級も 5 玉になるまで、評価を続けてください。",
        ),
        (
            "1 of 40 images have no outline, the first a/b: c.jpg: "
            "no outline is used for any; capture these again, or take them out",
            "画像 40 枚のうち 1 枚に輪郭がありません（最初のものは a/b: c.jpg）。"
            "輪郭はどの果実にも使いません。撮り直すか、取り除いてください。",
        ),
        (
            "2 of 40 outlines hold other statistics, the first of a.png: "
            "no outline is used for any; capture these again, or take them out",
            "輪郭 40 個のうち 2 個は、値の種類が違います（最初のものは a.png）。"
            "輪郭はどの果実にも使いません。撮り直すか、取り除いてください。",
        ),
        (
            "3 of 40 images are no panorama, the first a.png: "
            "all are taken as photos; to learn from panoramas, capture these, or take them out",
            "画像 40 枚のうち 3 枚が網目画像ではありません（最初のものは a.png）。"
            "すべて写真として学習します。網目画像で学習するには、撮り直すか、取り除いてください。",
        ),
        (
            "no val or calibration fruit of B, C: their likeness threshold is the median of the "
            "other grades'; add such fruits to val",
            "B, C の果実が、確認用にも調整用にもありません。似ているとみなす類似度の目安には、"
            "ほかの等級の中央値を使います。確認用（val）に加えてください。",
        ),
        (
            "only 45% of the surface was seen, over a turn of 29 degrees: turn the fruit once "
            "around; note that the video is cut short: the first 33 frames are used",
            "表面の 45%（29 度分）しか写っていません。果実を一周回してください。"
            " なお、動画は途中で切れています。最初の 33 コマを使いました。",
        ),
        ("something that nobody translated", "something that nobody translated"),
        ("100%: (odd", "100%: (odd"),
    ],
)
def test_notes_with_values_are_translated(note: str, expected: str) -> None:
    assert catalogue("ja").note(note) == expected
    assert catalogue("en").note(note) == note


def test_every_note_is_still_written_by_some_room() -> None:
    """What the code no longer says needs no translation; a changed sentence needs a new one."""
    root = Path(mezoroi.__file__).parent
    files = [path for name in SOURCES for path in ((root / name).glob("**/*.py"))]
    files += [root / name for name in SOURCES if name.endswith(".py")]
    # Sentences go over several literals, with values and names of constants between them.
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text("utf-8") for path in files))
    notes: list[str] = []
    for name in NOTES:
        with (LOCALE / "ja" / "LC_MESSAGES" / name).open("rb") as stream:
            notes += [str(message.id) for message in read_po(stream, locale="ja") if message.id]
    for note in notes:
        for part in re.split(r"%\(\w+\)s|: ", note):
            if len(part) > 6:
                assert part.strip(" ,") in code, note


READING = (images, video, frames, silhouette, following, unrolling, sources, reading)
UNREACHED = {
    "as_image",
    "find_sources",
    "locate",
    "read_capture",
    "read_clip",
    "read_image",
    "read_outline",
    "unroll",
    "_as_path",
    "_naming",
    "_read_folder",
    "_saved",
    "_write_png",
}
"""Functions that no upload can make fail: what they refuse is a programmer's or a folder's."""


def refusals(module: ModuleType) -> Iterator[tuple[str, str]]:
    """What a module may say when it raises `MezoroiError`, with words for values; and where."""
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        known = {
            node.targets[0].id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "MezoroiError":
                yield function.name, "".join(_said(node.args[0], module, known))


def _said(node: ast.expr, module: ModuleType, known: dict[str, ast.expr]) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from _said(part, module, known)
    elif isinstance(node, ast.FormattedValue):
        yield from _said(node.value, module, known)
    elif isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.Name) and isinstance(known.get(node.id), ast.JoinedStr):
        yield from _said(known[node.id], module, known)
    else:
        name = node.id if isinstance(node, ast.Name) else ""
        yield str(getattr(module, name, "value"))


@pytest.mark.parametrize("module", READING, ids=lambda module: module.__name__)
def test_whatever_is_wrong_with_an_upload_is_said_in_japanese(module: ModuleType) -> None:
    said = {text for function, text in refusals(module) if function not in UNREACHED}
    assert said
    assert not [text for text in sorted(said) if catalogue("ja").note(text) == text]


def test_a_photo_that_shows_no_fruit_is_told_why_in_japanese(tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    Image.new("RGB", (320, 240), (90, 120, 90)).save(path)
    (note,) = sources.read_fruit(path, "surface").notes
    assert note == "graded as it is, not unrolled: no fruit stands out from the background"
    assert "背景と果実を見分けられません" in catalogue("ja").note(note)
