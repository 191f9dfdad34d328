"""Passwords and keys: how they are made, hashed and compared."""

from __future__ import annotations

import hashlib
import secrets
from functools import lru_cache

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError

from mezoroi.errors import MezoroiError

SHORTEST = 10
LONGEST = 200
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that reads like something else


@lru_cache(maxsize=1)
def _hasher() -> PasswordHash:
    return PasswordHash.recommended()


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    return _hasher().hash(secrets.token_urlsafe())


def hash_password(password: str) -> str:
    """Argon2id hash.

    Raises
    ------
    MezoroiError
        If the password is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise MezoroiError(
            f"the password has {len(password)} characters: use {SHORTEST} to {LONGEST}"
        )
    return _hasher().hash(password)


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether it is the password; takes as long where there is no such user (hash None)."""
    try:
        found = _hasher().verify(password[:LONGEST], password_hash or _nobodys_hash())
    except UnknownHashError:
        return False
    return found and password_hash is not None


def new_password() -> str:
    """A random password that can be typed on a tablet: three groups of four."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(3))
    return "-".join(groups)


def new_key() -> str:
    """A random key for a cookie or an API token."""
    return secrets.token_urlsafe(32)


def key_hash(key: str) -> str:
    """What is stored of a key; a key is random, so a plain hash is enough."""
    return hashlib.sha256(key.encode()).hexdigest()
