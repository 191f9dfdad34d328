"""Every text of the pages has its Japanese, and nothing else has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import mezoroi.app
from mezoroi.app.i18n import LOCALE, NOTES, catalogue, choose_language

APP = Path(mezoroi.app.__file__).parent
METHODS = [("**/templates/**.html", "jinja2.ext:babel_extract"), ("**.py", "python")]
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}
OPTIONS = {"**/templates/**.html": {"trimmed": "false", "silent": "false"}}
DYNAMIC = set(NOTES)
"""Texts of other rooms, which are looked up as they come."""


def used() -> dict[tuple[str, str | None], str]:
    """Every text that is translated, and where."""
    found = {}
    for name, line, message, _, context in extract_from_dir(APP, METHODS, OPTIONS, KEYWORDS):
        text = message if isinstance(message, str) else message[0]
        found[text, context] = f"{name}:{line}"
    return found


def files() -> list[Path]:
    return sorted((LOCALE / "ja" / "LC_MESSAGES").glob("*.po"))


def test_every_text_has_its_japanese() -> None:
    texts = catalogue("ja").texts
    missing = {where: key[0] for key, where in used().items() if key not in texts}
    assert not missing


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_no_translation_is_left_over_or_unsure(path: Path) -> None:
    known = used()
    with path.open("rb") as stream:
        for message in read_po(stream, locale="ja"):
            if not message.id:
                continue
            text = message.id if isinstance(message.id, str) else message.id[0]
            assert message.string and not message.fuzzy
            assert path.name in DYNAMIC or (text, message.context) in known, text


def test_numbers_of_things_have_a_singular() -> None:
    things = r"(?:(?!of)[a-z]+ )*(?:fruits|hours|answers)\b"
    few = rf"%\(count\)s (?:{things}|(?:of \w+ fruits )?are\b)"
    always_many = ("at least", "that neither", "mean of")
    texts = [text for text, _ in used() if not any(part in text for part in always_many)]
    assert not [text for text in texts if re.search(few, text)]


def test_practice_and_calibration_call_the_machine_by_one_name() -> None:
    texts = (LOCALE / "ja" / "LC_MESSAGES" / "learning.po").read_text(encoding="utf-8")
    assert "Mezoroi の判定" in texts and not re.search("目揃い(?!会)", texts)


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_translations_keep_their_places_for_values(path: Path) -> None:
    with path.open("rb") as stream:
        for message in read_po(stream, locale="ja"):
            if message.id and message.python_format:
                assert not list(message.check())


@pytest.mark.parametrize(
    ("chosen", "cookie", "accepted", "language"),
    [
        (None, None, "", "ja"),
        (None, None, "de-DE,de;q=0.9", "ja"),
        (None, None, "de,en-GB;q=0.7,ja;q=0.3", "en"),
        (None, None, "en;q=0.2,ja-JP;q=0.9", "ja"),
        (None, "en", "ja", "en"),
        ("ja", "en", "en", "ja"),
        ("xx", "../..", "en;q=zero", "ja"),
    ],
)
def test_language_is_the_users_then_the_cookies_then_the_browsers(
    chosen: str | None, cookie: str | None, accepted: str, language: str
) -> None:
    assert choose_language(chosen, cookie, accepted) == language
