"""The reference fruits of a run: an index, and a small picture of each beside it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mezoroi.files import atomic_path
from mezoroi.retrieval.index import ReferenceIndex
from mezoroi.retrieval.reference import Neighbour, Reference

REFERENCES = "references.sqlite"
THUMBNAILS = "reference-thumbnails"
_WRITERS = 4
_QUALITY = 90


@dataclass(frozen=True)
class Gallery:
    """Reference fruits and their pictures.

    Attributes
    ----------
    index : the references
    root : folder that their thumbnails' paths are relative to
    pictures : where in it new ones go
    """

    index: ReferenceIndex
    root: Path
    pictures: str = THUMBNAILS

    @classmethod
    def create(
        cls, root: Path, dim: int, fingerprint: str, place: str | Path | None = None
    ) -> Gallery:
        """An empty gallery in a run folder; `place` as in `ReferenceIndex.create`, if elsewhere."""
        index = ReferenceIndex.create(place or root / REFERENCES, dim, fingerprint)
        return cls(index, root, _pictures_of(place))

    @classmethod
    def open(cls, root: Path, fingerprint: str, place: str | Path | None = None) -> Gallery:
        """The gallery of a run folder.

        Raises
        ------
        MezoroiError
            If there is none, it is damaged, or its vectors are of another model.
        """
        index = ReferenceIndex.open(place or root / REFERENCES)
        index.check_fingerprint(fingerprint)
        return cls(index, root, _pictures_of(place))

    def add(
        self,
        ids: Sequence[str],
        vectors: np.ndarray,
        pictures: Sequence[np.ndarray],
        metadata: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add fruits as `ReferenceIndex.add` does, with (H, W, 3) uint8 pictures of them."""
        taken = {reference.id for reference in self.index.references(ids)}
        # Not of taken ones: their picture would change although the fruit is refused.
        new = {n: one for n, one in zip(ids, pictures, strict=True) if n not in taken}
        paths = [self.root / self.thumbnail_of(name) for name in new]
        with ThreadPoolExecutor(_WRITERS) as writers:
            list(writers.map(_write_jpeg, paths, new.values()))  # to its end, or the first error
        entries = [
            {**entry, "thumbnail": self.thumbnail_of(name)}
            for name, entry in zip(ids, metadata, strict=True)
        ]
        self.index.add(ids, vectors, entries)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove fruits with their pictures."""
        found = self.index.references(ids)
        self.index.remove(ids)
        for reference in found:
            picture = self._own_picture(reference)
            if picture is not None:
                picture.unlink(missing_ok=True)

    def neighbours(
        self, vectors: np.ndarray, k: int, where: Mapping[str, Any] | None = None
    ) -> list[list[Neighbour]]:
        """The `k` fruits most similar to each vector (N, D), as `ReferenceIndex.search`."""
        ids, similarity = self.index.search(vectors, k, where)
        wanted = list(dict.fromkeys(name for row in ids for name in row))
        known = {reference.id: reference for reference in self.index.references(wanted)}
        return [
            [
                self._neighbour(known[name], float(value))
                for name, value in zip(row, values, strict=True)
                if name in known  # another program may just have removed it
            ]
            for row, values in zip(ids, similarity, strict=True)
        ]

    def thumbnail_of(self, name: str) -> str:
        """Path of a new fruit's picture, relative to the root: safe whatever the id is."""
        return f"{self.pictures}/{_hashed(name)}.jpg"

    def _neighbour(self, reference: Reference, similarity: float) -> Neighbour:
        picture = None
        if reference.thumbnail is not None:
            path = self.root.absolute() / reference.thumbnail
            picture = str(path) if path.is_file() else None
        return Neighbour(reference.id, reference.grade, similarity, picture)

    def _own_picture(self, reference: Reference) -> Path | None:
        """Its picture, if that is one of the gallery's: an index may name a user's own file."""
        if reference.thumbnail is None:
            return None
        path = (self.root / reference.thumbnail).resolve()
        is_ours = path.is_relative_to((self.root / THUMBNAILS).resolve()) and path.is_file()
        return path if is_ours else None


def _pictures_of(place: str | Path | None) -> str:
    """Folder of the pictures of an index: one elsewhere may hold other fruits by the same ids."""
    if place is None:
        return THUMBNAILS
    text = str(place)
    return f"{THUMBNAILS}/{_hashed(text if '://' in text else str(Path(text).absolute()))}"


def _hashed(text: str) -> str:
    """A file's name for any text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:20]


def _write_jpeg(path: Path, picture: np.ndarray) -> None:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=_QUALITY)
    # Not durable one by one: that would take longer than the network.
    with atomic_path(path, durable=False) as temporary:
        temporary.write_bytes(stream.getvalue())
