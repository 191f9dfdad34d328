"""Notes of other rooms in Japanese, whatever numbers they hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

import mezoroi
from mezoroi.app.i18n import LOCALE, NOTES, catalogue
from mezoroi.app.trainer import _epoch_text

SOURCES = (
    "capture",
    "app/reading.py",
    "app/worker.py",
    "app/trainer.py",
    "app/retraining.py",
    "app/training_data.py",
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
            "アプリの果実から: 学習 12 玉、確認 3 玉、調整 2 玉、テスト 4 玉",
        ),
        (
            _epoch_text({"epoch": "0", "train_loss": "4.5", "val_loss": "2.5", "val_acc": "0.5"}),
            "1 回目: 損失 4.5、取り分けた果実での損失 2.5、その正解率 0.5",
        ),
        (_epoch_text({"epoch": "9", "train_loss": "4.5"}), "10 回目: 損失 4.5"),
        (
            "grade D has 3 fruits with an expert's grade: give verdicts until every grade has 5",
            "熟練者が D と判定した果実は 3 玉です。"
            "どの等級も 5 玉になるまで、評価を続けてください。",
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
