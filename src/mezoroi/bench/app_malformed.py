"""Files that nobody should send, made from a seed: cut short, bombs, polyglots, wrong types."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, PngImagePlugin

from mezoroi.bench.app_bytes import photo_of_scans, png, png_chunk

Rng = np.random.Generator
SIDE = 96
_VIDEO_FRAMES = 6
_MARKS = (
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"RIFF\x10\x00\x00\x00WEBP",
    b"\x00\x00\x00\x18ftypheic",
    b"\x00\x00\x00\x18ftypisom",
    b"\x1aE\xdf\xa3",
    b"RIFF\x00\x00\x00\x00AVI LIST",
    b"\x00\x00\x01\xba",
)
"""First bytes of photos and videos."""


@dataclass(frozen=True)
class Malformed:
    """One upload that should not be taken as it is.

    Attributes
    ----------
    kind : what is wrong with it
    name : of the file, as a browser would send it
    may_be_taken : whether it holds a whole picture beside what is wrong, so that grading this
        picture is right as well
    """

    kind: str
    name: str
    content: bytes
    may_be_taken: bool = False


def malformed_files(count: int, seed: int) -> Iterator[Malformed]:
    """So many files, every kind in turn, each of its own seed."""
    kinds = list(_KINDS.items())
    for number in range(count):
        kind, make = kinds[number % len(kinds)]
        yield make(kind, np.random.default_rng([seed, number]))


def _photo(rng: Rng, form: str = "JPEG", **options: object) -> bytes:
    pixels = rng.integers(0, 256, (SIDE, 2 * SIDE, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


@cache
def _heic() -> bytes:
    from pillow_heif import from_pillow

    stream = io.BytesIO()
    from_pillow(Image.new("RGB", (SIDE, SIDE), "green")).save(stream)
    return stream.getvalue()


@cache
def _film(form: str) -> bytes:
    import av

    stream = io.BytesIO()
    with av.open(stream, "w", format=form) as container:
        track = container.add_stream("mpeg4", rate=5)
        track.width = track.height = SIDE
        track.pix_fmt = "yuv420p"
        for value in range(_VIDEO_FRAMES):
            pixels = np.full((SIDE, SIDE, 3), 40 * value, dtype=np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(track.encode(None))
    return stream.getvalue()


def _cut(content: bytes, rng: Rng) -> bytes:
    return content[: int(len(content) * rng.uniform(0.05, 0.9))]


def _truncated(form: str, suffix: str) -> Callable[[str, Rng], Malformed]:
    def make(kind: str, rng: Rng) -> Malformed:
        return Malformed(kind, f"melon.{suffix}", _cut(_photo(rng, form), rng))

    return make


def _truncated_heic(kind: str, rng: Rng) -> Malformed:
    return Malformed(kind, "melon.heic", _cut(_heic(), rng))


def _truncated_film(kind: str, rng: Rng) -> Malformed:
    # The table of frames stands at the end of an MP4 file: without it nothing can be shown.
    return Malformed(kind, "turn.mp4", _cut(_film("mp4"), rng))


def _overwritten(kind: str, rng: Rng) -> Malformed:
    """A tenth of the bytes replaced; a JPEG often still shows something."""
    content = np.frombuffer(_photo(rng), dtype=np.uint8).copy()
    where = rng.integers(20, len(content), len(content) // 10)
    content[where] = rng.integers(0, 256, len(where), dtype=np.uint8)
    return Malformed(kind, "melon.jpg", content.tobytes(), may_be_taken=True)


def _magic_only(kind: str, rng: Rng) -> Malformed:
    mark = _MARKS[rng.integers(len(_MARKS))]
    return Malformed(kind, "melon.jpg", mark + rng.bytes(int(rng.integers(0, 4000))))


def _empty(kind: str, rng: Rng) -> Malformed:
    return Malformed(kind, "melon.jpg", b"\x00" * int(rng.integers(0, 3)))


def _wrong_type(kind: str, rng: Rng) -> Malformed:
    texts = (
        ("melon.jpg", b"\x7fELF\x02\x01\x01" + rng.bytes(500)),
        ("melon.png", b"MZ" + rng.bytes(500)),
        ("melon.jpg", b"%PDF-1.7\n" + rng.bytes(500)),
        ("melon.mp4", b"#EXTM3U\n#EXTINF:1,\nhttp://192.0.2.1/secret.ts\n"),
        ("melon.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n"),
        ("melon.jpg", b"GIF89a" + rng.bytes(300)),
        ("melon.wav", b"RIFF\x24\x00\x00\x00WAVEfmt " + rng.bytes(200)),
        ("melon.pkl", b"\x80\x04\x95" + rng.bytes(100)),
        ("melon.json", b'{"grade": "A"}'),
        ("melon.jpg", rng.bytes(1000)),
    )
    name, content = texts[rng.integers(len(texts))]
    return Malformed(kind, name, content)


def _markup(kind: str, rng: Rng) -> Malformed:
    """A page or a drawing with script, called a picture."""
    script = f"<script>alert({rng.integers(1000)})</script>".encode()
    texts = (
        ("melon.jpg", b"<!DOCTYPE html><html>" + script),
        ("melon.png", b'<svg xmlns="http://www.w3.org/2000/svg">' + script + b"</svg>"),
        (
            "melon.svg",
            b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
            b"<svg>&a;</svg>",
        ),
    )
    name, content = texts[rng.integers(len(texts))]
    return Malformed(kind, name, content)


def _polyglot(kind: str, rng: Rng) -> Malformed:
    """A whole picture that is something else too: an archive, a page, a program."""
    which = int(rng.integers(3))
    if which == 0:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as entries:
            entries.writestr("../../evil.sh", "rm -rf /")
        return Malformed(kind, "melon.jpg", _photo(rng) + archive.getvalue(), True)
    script = b"<html><script>alert(1)</script></html>"
    if which == 1:
        return Malformed(kind, "melon.html", _photo(rng, comment=script), True)
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", script.decode())
    return Malformed(kind, "melon.php.png", _photo(rng, "PNG", pnginfo=notes), True)


def _png_bomb(kind: str, rng: Rng) -> Malformed:
    """Few bytes that say, and would give, gigabytes of pixels."""
    side = int(rng.integers(10_100, 60_000))
    rows = b"\x00" * 4_000_000
    return Malformed(kind, "melon.png", png(side, side, zlib.compress(rows, 9)))


def _png_at_limit(kind: str, rng: Rng) -> Malformed:
    """Just as many pixels as are allowed, and one row of them there."""
    width = int(rng.integers(5_000, 20_000))
    return Malformed(kind, "melon.png", png(width, 99_000_000 // width, zlib.compress(b"\x00")))


def _png_text_bomb(kind: str, rng: Rng) -> Malformed:
    """A small picture with a compressed text of 200 MB, before or after its pixels."""
    text = zlib.compress(b"\x00" * 200_000_000, 1)
    chunk = png_chunk(b"zTXt", b"Comment\x00\x00" + text)
    whole = _photo(rng, "PNG")
    at = 33 if rng.integers(2) else len(whole) - 12
    return Malformed(kind, "melon.png", whole[:at] + chunk + whole[at:], may_be_taken=True)


def _jpeg_bomb(kind: str, rng: Rng) -> Malformed:
    """A JPEG whose header says 65,535 x 65,535."""
    content = bytearray(_photo(rng))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", 65_535, 65_535)
    return Malformed(kind, "melon.jpg", bytes(content))


def _scan_bomb(kind: str, rng: Rng) -> Malformed:
    return Malformed(kind, "melon.jpg", photo_of_scans(int(rng.integers(10, 80))), True)


def _tiff_loop(kind: str, rng: Rng) -> Malformed:
    """A TIFF whose list of pictures leads back to itself, or whose numbers are absurd."""
    tags = [
        (256, 4, 1, int(rng.integers(1, 2**32))),
        (257, 4, 1, int(rng.integers(1, 2**32))),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 2**31 - 1, 8),
        (279, 4, 2**31 - 1, 8),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    content = b"II*\x00" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 8)
    return Malformed(kind, "melon.tif", content)


def _bmp_lies(kind: str, rng: Rng) -> Malformed:
    """A BMP of a size below zero or beyond its bytes."""
    size = int(rng.choice([-1, 0, 2**31 - 1, 20_000]))
    head = struct.pack("<IiiHHIIiiII", 40, size, 9_000, 1, 24, 0, 0, 0, 0, 0, 0)
    content = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head + rng.bytes(200)
    return Malformed(kind, "melon.bmp", content)


def _film_lies(kind: str, rng: Rng) -> Malformed:
    """An MP4 with a box that says it is larger than everything, or with noise for its frames."""
    content = bytearray(_film("mp4"))
    at = content.index(b"mdat" if rng.integers(2) else b"moov") - 4
    content[at : at + 4] = struct.pack(">I", int(rng.integers(2**20, 2**32)))
    return Malformed(kind, "turn.mp4", bytes(content), may_be_taken=True)


def _film_elsewhere(kind: str, rng: Rng) -> Malformed:
    """A QuickTime film that says its frames are in another file."""
    content = _film("mov").replace(b"url \x00\x00\x00\x01", b"url \x00\x00\x00\x00")
    return Malformed(kind, "turn.mov", _cut(content, rng))


def _odd_name(kind: str, rng: Rng) -> Malformed:
    """A sound photo by a name that is a path, a command or no text."""
    names = (
        "../../../etc/passwd",
        "..\\..\\windows\\system32\\melon.jpg",
        "/work/mezoroi.sqlite",
        "メロン 🍈 \u202egpj.exe",
        "a" * 5_000 + ".jpg",
        "melon.jpg; rm -rf ~",
        "<img src=x onerror=alert(1)>.jpg",
        "%2e%2e%2fmelon.jpg",
        "{{7*7}}.jpg",
        "",
    )
    return Malformed(kind, names[rng.integers(len(names))], _photo(rng), may_be_taken=True)


_KINDS: dict[str, Callable[[str, Rng], Malformed]] = {
    "truncated JPEG": _truncated("JPEG", "jpg"),
    "truncated PNG": _truncated("PNG", "png"),
    "truncated WebP": _truncated("WEBP", "webp"),
    "truncated TIFF": _truncated("TIFF", "tif"),
    "truncated BMP": _truncated("BMP", "bmp"),
    "truncated HEIC": _truncated_heic,
    "truncated MP4": _truncated_film,
    "overwritten JPEG": _overwritten,
    "first bytes and noise": _magic_only,
    "nothing, or next to it": _empty,
    "wrong type": _wrong_type,
    "page or drawing": _markup,
    "polyglot": _polyglot,
    "PNG bomb": _png_bomb,
    "PNG at the limit": _png_at_limit,
    "PNG text bomb": _png_text_bomb,
    "JPEG of absurd size": _jpeg_bomb,
    "JPEG of many scans": _scan_bomb,
    "TIFF loop": _tiff_loop,
    "BMP that lies": _bmp_lies,
    "MP4 that lies": _film_lies,
    "film kept elsewhere": _film_elsewhere,
    "odd file name": _odd_name,
}
KINDS = tuple(_KINDS)
"""What can be wrong with a file."""
