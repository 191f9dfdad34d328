"""Who may do what: admin > expert > newcomer."""

from __future__ import annotations

from enum import Enum


class Role(str, Enum):
    """A user's role; each may do all that the ones below it may."""

    NEWCOMER = "newcomer"
    EXPERT = "expert"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """0 for the lowest."""
        return list(Role).index(self)

    def covers(self, other: Role) -> bool:
        """Whether whoever has this role may do what `other` may."""
        return self.rank >= other.rank
