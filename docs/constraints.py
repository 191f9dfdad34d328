"""Pin what the installed project needs: ``make constraints`` writes ``constraints.txt``.

The pins are the versions in the environment that runs this script, for mezoroi[dev] and everything
it requires there; whatever else is installed is left out, and so are pip's own tools.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PROJECT = "mezoroi"
UNPINNED = {PROJECT, "pip", "setuptools", "wheel"}
HEADER = """\
# Versions that `make` installs, so that every machine gets the same ones.
# Regenerate: delete .venv, empty this file, run `make setup`, then `make constraints`.
# The CUDA and triton pins matter only where torch asks for them (Linux). Pins that Python 3.10
# cannot install are marked; there pip chooses the newest version that it can.
"""


def needed(project: str, extra: str) -> set[str]:
    """Canonical names of everything that `project` with its `extra` requires here."""
    waiting = [(project, extra), (project, "")]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        try:
            requirements = [Requirement(text) for text in distribution(name).requires or []]
        except PackageNotFoundError as error:
            raise SystemExit(f"{name} is not installed: run `make setup` first") from error
        seen.add((name, wanted))
        for item in requirements:
            if item.marker is None or item.marker.evaluate({"extra": wanted}):
                inner = str(canonicalize_name(item.name))
                waiting += [(inner, each) for each in ("", *item.extras)]
    return {name for name, _ in seen} - UNPINNED


def pin(name: str) -> str:
    """``name==version``, with a marker where the version does not install on Python 3.10."""
    found = distribution(name)
    version = found.version.partition("+")[0]
    supported = SpecifierSet(found.metadata["Requires-Python"] or "")
    marker = "" if supported.contains("3.10") else ' ; python_version >= "3.11"'
    return f"{name}=={version}{marker}"


if __name__ == "__main__":
    pins = [pin(name) for name in sorted(needed(PROJECT, "dev"))]
    print(HEADER + "\n".join(pins))
