"""Notes of other rooms in Japanese, whatever numbers they hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

import mezoroi
from mezoroi.app.i18n import LOCALE, NOTES, catalogue

SOURCES = ("capture", "app/reading.py", "app/worker.py")


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        (
            "only 62% of the surface was seen, over a turn of 240 degrees: the rest was not judged",
            "表面の 62%（240 度分）だけが写っています。残りは判定していません。",
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
    with (LOCALE / "ja" / "LC_MESSAGES" / NOTES).open("rb") as stream:
        notes = [str(message.id) for message in read_po(stream, locale="ja") if message.id]
    for note in notes:
        for part in re.split(r"%\(\w+\)s|: ", note):
            if len(part) > 6:
                assert part.strip() in code, note
