"""Pictures put together byte by byte, as no camera would."""

from __future__ import annotations

import struct
import zlib


def photo_of_scans(scans: int) -> bytes:
    """A progressive JPEG of nearly the largest size allowed, with so many scans of nothing.

    Every scan has a few bytes and takes a decoder as long as a whole picture.
    """
    side = 9_900
    frame = struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00"
    content = b"\xff\xd8" + _segment(0xDB, b"\x00" + b"\x01" * 64) + _segment(0xC2, frame)
    content += _segment(0xC4, b"\x00" + b"\x01" + b"\x00" * 15 + b"\x00")
    # One code in the table of the further coefficients: "the next 32,767 blocks are empty".
    content += _segment(0xC4, b"\x10" + b"\x01" + b"\x00" * 15 + b"\xe0")
    runs = -(-(((side + 7) // 8) ** 2) // 32_767)
    scan = bytes.fromhex("7fff" * (2 * runs)).replace(b"\xff", b"\xff\x00")
    return content + scans * (_segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + scan) + b"\xff\xd9"


def png(width: int, height: int, pixels: bytes) -> bytes:
    """A PNG that says it is an RGB picture of this size, with whatever bytes for its pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def png_chunk(name: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def _segment(mark: int, content: bytes) -> bytes:
    return bytes([0xFF, mark]) + struct.pack(">H", len(content) + 2) + content
