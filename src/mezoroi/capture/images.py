"""Reading photos: any common file in, an (H, W, 3) uint8 RGB array out, or one line saying why not.

The format is taken from the file's first bytes, never from its name. Pillow's readers are called
directly rather than through ``Image.open``: its guard against decompression bombs is a process-wide
setting and a warning, ours (`MAX_PIXELS`) is an error raised from the header, before decoding.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import (
    BmpImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from mezoroi.errors import MezoroiError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif")
MAX_PIXELS = 100_000_000
"""Largest image that is read, in pixels (300 MB of RGB)."""
MIN_SIDE = 8
"""Shortest side that is read, in pixels."""
SURFACE_NAME = "surface.png"
"""The surface image in a capture folder."""
OUTLINE_NAME = "outline.json"
"""The outline statistics in a capture folder."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def _heif_image(stream: BinaryIO) -> ImageFile.ImageFile:
    """Pillow's view of a HEIF file, without registering a plugin for the whole process."""
    from pillow_heif import HeifImageFile

    reader: Callable[..., ImageFile.ImageFile] = HeifImageFile
    return reader(stream)


_READERS: tuple[tuple[bytes, int, Callable[..., ImageFile.ImageFile]], ...] = (
    (b"\xff\xd8\xff", 0, JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", 0, PngImagePlugin.PngImageFile),
    (b"WEBP", 8, WebPImagePlugin.WebPImageFile),
    (b"BM", 0, BmpImagePlugin.BmpImageFile),
    (b"II*\x00", 0, TiffImagePlugin.TiffImageFile),
    (b"MM\x00*", 0, TiffImagePlugin.TiffImageFile),
    *((b"ftyp" + brand, 4, _heif_image) for brand in _HEIF_BRANDS),
)
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    RuntimeError,
    struct.error,
)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_READ_WHOLE = ("WEBP",)
_ORIENTATION_TAG = 0x0112
_HEAD_BYTES = 16
_TAIL_BYTES = 64
_PANORAMA_TOLERANCE_PERCENT = 2


def read_image(path: str | Path, max_side: int | None = None) -> np.ndarray:
    """Read a photo upright, as 8-bit RGB.

    Grey, palette, CMYK and 16-bit images are converted (16 bit by its full range, 65535 -> 255),
    transparency is laid on white and the EXIF orientation is applied.

    Parameters
    ----------
    path : JPEG, PNG, WebP, BMP, TIFF or HEIC (HEIF) file, whatever its suffix
    max_side : longest side of the result in pixels, at least `MIN_SIDE`; larger images are reduced
        (large JPEGs already while decoding), smaller ones are left alone. None keeps every pixel.

    Returns
    -------
    (H, W, 3) uint8, RGB

    Raises
    ------
    MezoroiError
        If the file is missing, empty, not an image, truncated, above `MAX_PIXELS` or shorter than
        `MIN_SIDE` on a side.
    """
    if max_side is not None and max_side < MIN_SIDE:
        raise MezoroiError(f"max_side is {max_side}: give at least {MIN_SIDE} pixels")
    with _open(path) as image:
        orientation = _orientation(image)
        reduced = fitted(image.size, max_side)
        if reduced is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
            image.draft(None, reduced)
        rgb = _to_rgb(image, path)
        if reduced is not None and rgb.size != reduced:
            rgb = rgb.resize(reduced, Image.Resampling.LANCZOS)
        if orientation in _UPRIGHT:
            rgb = rgb.transpose(_UPRIGHT[orientation])
        return np.array(rgb, dtype=np.uint8)


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width in pixels of the upright image, from the header alone.

    Raises
    ------
    MezoroiError
        As `read_image`, except that pixels are not decoded, so a truncated file may pass.
    """
    with _open(path) as image:
        return _upright_size(image)


def check_image(path: str | Path) -> tuple[int, int]:
    """Height and width as `read_size`, raising also for truncated files.

    Cheap for the usual formats: a JPEG or PNG is decoded only where its end mark is missing from
    the file's tail, and the reader of WebP wants the whole file; all others are decoded.
    """
    with _open(path) as image:
        size = _upright_size(image)
        mark = _END_MARKS.get(image.format or "")
        is_whole = image.format in _READ_WHOLE if mark is None else mark in _tail(image.fp)
        if not is_whole:
            image.load()
        return size


def is_panorama(height: int, width: int) -> bool:
    """Whether an image of this size is twice as wide as high, as a surface image is."""
    return 100 * abs(width - 2 * height) <= _PANORAMA_TOLERANCE_PERCENT * 2 * height


def as_image(array: Any) -> np.ndarray:
    """Check that `array` is an image in memory: (H, W, 3) uint8 RGB, as `read_image` returns.

    Returns
    -------
    (H, W, 3) uint8, C-contiguous; the same array where it already is

    Raises
    ------
    MezoroiError
        Saying what was given and what was expected.
    """
    expected = "give an (H, W, 3) uint8 array in RGB order"
    if not isinstance(array, np.ndarray):
        raise MezoroiError(f"an image is a NumPy array, not {type(array).__name__}: {expected}")
    if array.ndim != 3 or array.shape[2] != 3:
        raise MezoroiError(f"the image has shape {array.shape}: {expected}")
    if array.dtype != np.uint8:
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise MezoroiError(f"the image holds NaN or infinite values: {expected}")
        raise MezoroiError(f"the image has dtype {array.dtype}: {expected}, 0 to 255")
    height, width = array.shape[:2]
    check_size("the image", height, width)
    return np.ascontiguousarray(array)


def read_outline(path: str | Path) -> dict[str, float]:
    """Read the outline statistics that a capture wrote: a JSON object of finite numbers.

    Raises
    ------
    MezoroiError
        If the file is missing, is not such an object, is empty or holds NaN.
    """
    remedy = "capture the fruit again"
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MezoroiError(f"{path} is missing: {remedy} or remove the reference to it") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise MezoroiError(f"{path} cannot be read as JSON ({reason}): {remedy}") from error
    if not isinstance(content, dict) or not content:
        raise MezoroiError(f"{path} does not map names to numbers: {remedy}")
    for name, value in content.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise MezoroiError(f"{path}: `{name}` is not a number: {remedy}")
        if not math.isfinite(value):
            raise MezoroiError(f"{path}: `{name}` is {value}, not a finite number: {remedy}")
    return {name: float(value) for name, value in content.items()}


@contextmanager
def _open(path: str | Path) -> Iterator[ImageFile.ImageFile]:
    """An image whose size is acceptable; every failure, also inside the block, is one line."""
    path = Path(path)
    try:
        with path.open("rb") as stream:
            image = _reader_for(stream, path)(stream)
            width, height = image.size
            check_size(str(path), height, width)
            yield image
    except MezoroiError:
        raise
    except FileNotFoundError as error:
        raise MezoroiError(f"{path} does not exist: check the path") from error
    except IsADirectoryError as error:
        raise MezoroiError(f"{path} is a folder: give an image file") from error
    except PermissionError as error:
        raise MezoroiError(f"{path} may not be read: change its permissions") from error
    except MemoryError as error:
        raise MezoroiError(f"{path} does not fit in memory: make the image smaller") from error
    except _DECODING_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MezoroiError(
            f"{path} is a damaged or truncated image ({reason}): copy it again from the camera"
        ) from error


def is_photo(path: str | Path) -> bool:
    """Whether a file begins as a photo does, damaged or not; False where it cannot be opened."""
    try:
        with Path(path).open("rb") as stream:
            return _reader(stream.read(_HEAD_BYTES)) is not None
    except OSError:
        return False


def _reader(head: bytes) -> Callable[..., ImageFile.ImageFile] | None:
    return next((reader for mark, at, reader in _READERS if head.startswith(mark, at)), None)


def _reader_for(stream: BinaryIO, path: Path) -> Callable[..., ImageFile.ImageFile]:
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    if not head:
        raise MezoroiError(f"{path} is an empty file: copy it again from the camera")
    reader = _reader(head)
    if reader is not None:
        return reader
    raise MezoroiError(
        f"{path} is not a JPEG, PNG, WebP, BMP, TIFF or HEIC image: save the photo as JPEG or PNG"
    )


def check_size(name: str, height: int, width: int) -> None:
    """Raise where a picture has more than `MAX_PIXELS` or a side shorter than `MIN_SIDE`."""
    if height * width > MAX_PIXELS:
        raise MezoroiError(
            f"{name} has {width} x {height} pixels, more than {MAX_PIXELS // 10**6} million: "
            "make it smaller"
        )
    if min(height, width) < MIN_SIDE:
        raise MezoroiError(
            f"{name} has only {width} x {height} pixels: "
            f"give a photo of at least {MIN_SIDE} x {MIN_SIDE}"
        )


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation 1 to 8, from the header; 1 where there is none or it is unreadable."""
    if image.format in ("TIFF", "HEIF"):  # turned upright by their readers
        return 1
    try:
        # The base class's method: the one of PNG decodes the image to look for a late EXIF chunk.
        value = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    except _DECODING_ERRORS:
        return 1
    return value if isinstance(value, int) else 1


def _upright_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    width, height = image.size
    return (width, height) if _orientation(image) >= 5 else (height, width)


def fitted(size: tuple[int, int], max_side: int | None) -> tuple[int, int] | None:
    """The reduced (width, height), or None where the image already fits."""
    longest = max(size)
    if max_side is None or longest <= max_side:
        return None
    width, height = (max(1, round(side * max_side / longest)) for side in size)
    return width, height


def _to_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise MezoroiError(f"{path} has more than 16 bits per pixel: save it with 8 or 16 bits")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise MezoroiError(f"{path} holds fractional pixel values: save it with 8 or 16 bits")
    if image.has_transparency_data:
        pixels = image.convert("RGBA")
        white = Image.new("RGBA", pixels.size, "white")
        return Image.alpha_composite(white, pixels).convert("RGB")
    return image.convert("RGB")


def _tail(stream: Any) -> bytes:
    position = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(max(0, end - _TAIL_BYTES))
    tail: bytes = stream.read()
    stream.seek(position)
    return tail
