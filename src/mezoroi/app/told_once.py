"""What one page tells once, such as a one-time password, although its address can be reloaded."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass

_MOST = 100  # kept at a time; of more, the oldest that nobody came for go


@dataclass(frozen=True)
class NewSecret:
    """A one-time password, or a key for a program.

    Attributes
    ----------
    text : the password or key
    name : whose password it is, or what the key is for
    was_reset : whether it takes the place of another
    """

    text: str
    name: str
    was_reset: bool = False


class ToldOnce:
    """Keeps secrets in memory, each until the page that shows it is loaded."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str], NewSecret] = {}
        self._lock = threading.Lock()

    def keep(self, reader_id: int, secret: NewSecret) -> str:
        """Keep a secret for a user; returns the key that it is had for."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[reader_id, key] = secret
            while len(self._kept) > _MOST:
                del self._kept[next(iter(self._kept))]
        return key

    def take(self, reader_id: int, key: str) -> NewSecret | None:
        """The secret of a key, once and for its reader alone."""
        with self._lock:
            return self._kept.pop((reader_id, key), None)
