"""Scripts, styles and fonts: their address changes with them, so that browsers keep them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).with_name("static")
ADDRESS = "/static"
"""Where browsers ask again, whenever they need a file, whether it is still the same."""
_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


class Assets(StaticFiles):
    """The files below `STATIC`.

    Parameters
    ----------
    is_versioned : whether their address changes with them
    """

    def __init__(self, is_versioned: bool) -> None:
        super().__init__(directory=STATIC)
        self._caching = _FOREVER if is_versioned else _ASK_AGAIN

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file with how long it may be kept."""
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = self._caching
        return response


@cache
def versioned_address() -> str:
    """`ADDRESS` with a hash of all files; scripts and styles name each other relative to it."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(STATIC).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return f"{ADDRESS}/{digest.hexdigest()[:16]}"
