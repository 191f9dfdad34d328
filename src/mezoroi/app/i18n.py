"""The app's words in Japanese and English.

English stands in the code and the templates; ``locale/ja/LC_MESSAGES/*.po`` hold the Japanese, a
file per group of pages, read and merged when the app starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from babel.messages.pofile import read_po

LANGUAGES = {"ja": "日本語", "en": "English"}
DEFAULT = "ja"
NOTES = ("capture.po", "training.po")
"""The files with the texts of other rooms and processes."""
_PLACE = re.compile(r"%\((\w+)\)s")
LOCALE = Path(__file__).with_name("locale")

Key = tuple[str, str | None]


@dataclass(frozen=True)
class Catalogue:
    """Translations into one language; Japanese has no plural forms, so one text is enough.

    Attributes
    ----------
    language : ``ja`` or ``en``
    texts : by the English text and its context
    """

    language: str
    texts: Mapping[Key, str]

    def gettext(self, text: str) -> str:
        """The text in this language."""
        return self.texts.get((text, None), text)

    def ngettext(self, singular: str, plural: str, number: int) -> str:
        """The text for a number of things in this language."""
        found = self.texts.get((singular, None))
        return found if found is not None else singular if number == 1 else plural

    def note(self, text: str) -> str:
        """A line of another room in this language: one that holds numbers is known by its form.

        The form's English stands in the catalogue with ``%(name)s`` where the numbers are; what
        stands there is translated itself where it is known.
        """
        known = self.texts.get((text, None))
        if known is not None:
            return known
        for form, translated in _forms(self.language):
            found = form.fullmatch(text)
            if found is not None:
                parts = {name: self.note(part) for name, part in found.groupdict().items()}
                return translated % parts
        return text

    def pgettext(self, context: str, text: str) -> str:
        """The text in this language, where one English word has several meanings."""
        return self.texts.get((text, context), text)


@lru_cache(maxsize=len(LANGUAGES))
def catalogue(language: str) -> Catalogue:
    """The catalogue of a language.

    Raises
    ------
    ValueError
        If two files translate one text differently.
    """
    texts: dict[Key, str] = {}
    for path in sorted((LOCALE / language / "LC_MESSAGES").glob("*.po")):
        for key, translated in _read(path).items():
            if texts.setdefault(key, translated) != translated:
                raise ValueError(f"{path.name} translates `{key[0]}` otherwise than another file")
    return Catalogue(language, texts)


def _read(path: Path) -> dict[Key, str]:
    """The translations of one file; none where there is no such file."""
    if not path.is_file():
        return {}
    texts: dict[Key, str] = {}
    with path.open("rb") as stream:
        for message in read_po(stream, locale=path.parent.parent.name):
            if not message.id or not message.string or message.fuzzy:
                continue
            text = message.id if isinstance(message.id, str) else message.id[0]
            given = message.string
            texts[text, message.context] = given if isinstance(given, str) else given[0]
    return texts


@lru_cache(maxsize=len(LANGUAGES))
def _forms(language: str) -> list[tuple[re.Pattern[str], str]]:
    """The texts of `NOTES` with places for values, as patterns."""
    found = []
    texts = [_read(LOCALE / language / "LC_MESSAGES" / name) for name in NOTES]
    for (text, _), translated in (item for file in texts for item in file.items()):
        if _PLACE.search(text):
            parts = _PLACE.split(text)  # fixed text and names of places by turns
            pattern = "".join(
                f"(?P<{part}>.+?)" if place % 2 else re.escape(part)
                for place, part in enumerate(parts)
            )
            found.append((re.compile(pattern), translated))
    return found


def choose_language(chosen: str | None, cookie: str | None, accepted: str) -> str:
    """The user's choice, else the cookie, else the browser's first that there is, else Japanese.

    Parameters
    ----------
    accepted : the header ``Accept-Language``
    """
    for name in (chosen, cookie):
        if name in LANGUAGES:
            return str(name)
    ranked = []
    for place, part in enumerate(accepted.split(",")):
        name, _, weight = part.strip().partition(";q=")
        try:
            rank = float(weight or 1)
        except ValueError:
            continue
        ranked.append((-rank, place, name.strip().lower().partition("-")[0]))
    return next((name for _, _, name in sorted(ranked) if name in LANGUAGES), DEFAULT)
