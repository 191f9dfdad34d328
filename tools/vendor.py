"""Fetch what the app's pages load, at pinned versions: ``python tools/vendor.py``.

Tarballs come from the npm registry (npm's own setting, where npm is installed), are checked against
their SHA-512 and unpacked with their licences. What is there already is not fetched again.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
APP = ROOT / "src/mezoroi/app/static/vendor"
TESTS = ROOT / "tests/browser/vendor"
REGISTRY = "https://registry.npmjs.org/"
STAMP = "version.json"


@dataclass(frozen=True)
class Package:
    """One npm package.

    Attributes
    ----------
    integrity : of the tarball, as npm writes it
    files : what is kept: names in the package, or folders ending in a slash
    folder : where it goes
    """

    name: str
    version: str
    integrity: str
    files: tuple[str, ...]
    folder: Path

    @property
    def stamp(self) -> dict[str, object]:
        """What the folder was made from."""
        return {
            "name": self.name,
            "version": self.version,
            "integrity": self.integrity,
            "files": list(self.files),
        }


PACKAGES = (
    Package(
        "htmx.org",
        "2.0.11",
        "sha512-Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA==",
        ("dist/htmx.min.js", "LICENSE"),
        APP / "htmx",
    ),
    Package(
        "@fontsource-variable/noto-sans-jp",
        "5.3.1",
        "sha512-/anGvJFc5y36f8DJ+3TSh2+KAvaRLA9PaLUMvneeY5s4j8m+8X4F3lE/sjTuG9YI5BX4sykvCk4TuJMG7ecMRQ==",
        ("wght.css", "files/", "LICENSE"),
        APP / "noto-sans-jp",
    ),
    Package(
        "swagger-ui-dist",
        "5.35.0",
        "sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==",
        ("swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE"),
        APP / "swagger-ui",
    ),
    Package(
        "axe-core",
        "4.14.1",
        "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        ("axe.min.js", "LICENSE"),
        TESTS / "axe-core",
    ),
)


def main() -> int:
    """Fetch every package whose folder is not up to date."""
    registry = ""
    for package in PACKAGES:
        if _is_there(package):
            continue
        registry = registry or _registry()
        print(f"fetching {package.name} {package.version}")
        try:
            content = _download(registry, package)
        except (OSError, urllib.error.URLError) as error:
            print(
                f"error: {package.name} cannot be fetched from {registry} ({error}): "
                "check the network or `npm config set registry`",
                file=sys.stderr,
            )
            return 2
        if not _is_intact(content, package.integrity):
            print(
                f"error: {package.name} {package.version} is not the file that was pinned: "
                "do not use this registry",
                file=sys.stderr,
            )
            return 2
        _unpack(content, package)
    return 0


def _is_there(package: Package) -> bool:
    try:
        return bool(json.loads((package.folder / STAMP).read_text()) == package.stamp)
    except (OSError, ValueError):
        return False


def _registry() -> str:
    npm = shutil.which("npm")
    if npm is None:
        return REGISTRY
    asked = subprocess.run(
        [npm, "config", "get", "registry"], capture_output=True, text=True, check=False
    )
    found = asked.stdout.strip()
    return found if found.startswith("http") else REGISTRY


def _download(registry: str, package: Package) -> bytes:
    tail = package.name.rpartition("/")[2]
    url = f"{registry.rstrip('/')}/{package.name}/-/{tail}-{package.version}.tgz"
    with urllib.request.urlopen(url, timeout=120) as answer:
        content: bytes = answer.read()
    return content


def _is_intact(content: bytes, integrity: str) -> bool:
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    return integrity == f"sha512-{digest}"


def _unpack(content: bytes, package: Package) -> None:
    shutil.rmtree(package.folder, ignore_errors=True)
    package.folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar.getmembers():
            name = member.name.partition("/")[2]
            kept = any(
                name.startswith(item) if item.endswith("/") else name == item
                for item in package.files
            )
            stream = tar.extractfile(member) if kept and member.isfile() else None
            if stream is None or ".." in Path(name).parts:
                continue
            target = package.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(stream.read())
    (package.folder / STAMP).write_text(json.dumps(package.stamp, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
