"""Every kind of photo is read upright as RGB; every bad file is one line."""

from __future__ import annotations

import json
import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageFile

from mezoroi.capture.images import (
    MAX_PIXELS,
    as_image,
    check_image,
    is_photo,
    read_image,
    read_outline,
    read_size,
)
from mezoroi.errors import MezoroiError


@pytest.fixture
def rgb() -> np.ndarray:
    """(20, 30, 3) uint8 with no symmetry, so that every orientation differs."""
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def header_only_png(path: Path, width: int, height: int) -> Path:
    """A PNG that declares a size and holds almost no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def assert_one_line(error: pytest.ExceptionInfo[MezoroiError], path: Path, *words: str) -> None:
    message = str(error.value)
    assert "\n" not in message and ": " in message
    assert str(path) in message
    for word in words:
        assert word in message


def test_png_is_read_exactly_whatever_its_name(tmp_path: Path, rgb: np.ndarray) -> None:
    path = tmp_path / "メロン 写真.jpg"
    Image.fromarray(rgb).save(path, format="PNG")
    image = read_image(path)
    assert image.dtype == np.uint8 and image.flags.writeable
    np.testing.assert_array_equal(image, rgb)
    assert read_size(path) == check_image(str(path)) == (20, 30)


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tiff"])
def test_other_lossless_formats(tmp_path: Path, rgb: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(rgb).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(read_image(path), rgb)


def test_grey_becomes_three_equal_channels(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "grey.png"), np.repeat(rgb[..., :1], 3, axis=2)
    )


def test_palette(tmp_path: Path) -> None:
    indices = np.arange(100, dtype=np.uint8).reshape(10, 10) % 3
    image = Image.fromarray(indices).convert("P")
    colours = np.array([[255, 0, 0], [0, 200, 0], [1, 2, 3]], dtype=np.uint8)
    image.putpalette(colours.tobytes())
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), colours[indices])


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((10, 10, 4), dtype=np.uint8)
    rgba[:, 5:] = (100, 0, 0, 255)
    rgba[0, 0] = (0, 0, 0, 51)  # one fifth black on white
    Image.fromarray(rgba).save(tmp_path / "transparent.png")
    image = read_image(tmp_path / "transparent.png")
    assert (image[5, :5] == 255).all()
    assert (image[:, 5:] == (100, 0, 0)).all()
    np.testing.assert_array_equal(image[0, 0], [204, 204, 204])


def test_sixteen_bit_is_scaled_by_its_range(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 100).astype(np.uint16).reshape(10, 10)
    Image.fromarray(values).save(tmp_path / "deep.png")
    expected = np.round(values / 65535 * 255).astype(np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[..., 1], expected)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=95)
    colour = read_image(tmp_path / "red.jpg").reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(colour, [255, 0, 0], atol=6)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, 1)),
        (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, -1)),
    ],
)
def test_exif_orientation(tmp_path: Path, rgb: np.ndarray, suffix, orientation, stored) -> None:
    path = tmp_path / f"turned{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored(rgb))).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), rgb)
    assert read_size(path) == (20, 30)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_unreadable_exif_is_no_reason_to_refuse(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(tmp_path / "photo.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image(tmp_path / "photo.jpg").shape == rgb.shape


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_max_side(tmp_path: Path, suffix: str) -> None:
    row = np.linspace(0, 255, 1600)
    smooth = np.repeat(np.tile(row, (800, 1))[..., None], 3, axis=2).astype(np.uint8)
    path = tmp_path / f"large{suffix}"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth).save(path, exif=exif)
    reduced = read_image(path, max_side=200)
    assert reduced.shape == (200, 100, 3)
    expected = np.linspace(0, 255, 200)
    assert np.abs(reduced[:, 50, 0] - expected).max() < 4
    assert read_image(path, max_side=5000).shape == (1600, 800, 3)
    with pytest.raises(MezoroiError, match="max_side"):
        read_image(path, max_side=0)


@pytest.mark.filterwarnings("ignore:(Corrupt EXIF|Truncated File)")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_truncated_files_never_come_back_half_grey(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, format=kind)
    content = stream.getvalue()
    path = tmp_path / "photo.bin"
    path.write_bytes(content)
    whole = read_image(path)
    refused = 0
    for length in range(1, len(content), 37):
        path.write_bytes(content[:length])
        try:
            image = read_image(path)
        except MezoroiError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
            with pytest.raises(MezoroiError):
                check_image(path)
        else:
            np.testing.assert_array_equal(image, whole)
    assert refused >= len(range(1, len(content), 37)) - 1


def test_missing_text_and_empty(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError) as error:
        read_image(tmp_path / "none.jpg")
    assert_one_line(error, tmp_path / "none.jpg", "does not exist")
    (tmp_path / "text.jpg").write_text("not a photo")
    with pytest.raises(MezoroiError) as error:
        read_image(tmp_path / "text.jpg")
    assert_one_line(error, tmp_path / "text.jpg", "not a JPEG")
    (tmp_path / "empty.png").touch()
    with pytest.raises(MezoroiError) as error:
        read_image(tmp_path / "empty.png")
    assert_one_line(error, tmp_path / "empty.png", "empty")
    with pytest.raises(MezoroiError) as error:
        read_image(tmp_path)
    assert_one_line(error, tmp_path, "folder")


@pytest.mark.parametrize("read", [read_image, read_size, check_image])
def test_too_large_is_refused_from_the_header(tmp_path: Path, read, monkeypatch) -> None:
    path = header_only_png(tmp_path / "bomb.png", 20_000, 20_000)

    def no_decoding(self) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", no_decoding)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MezoroiError) as error:
            read(path)
    assert_one_line(error, path, "20000 x 20000", f"{MAX_PIXELS // 10**6} million")


def test_allowed_sizes_warn_of_nothing_and_globals_stay(tmp_path: Path) -> None:
    path = header_only_png(tmp_path / "large.png", 10_000, 10_000)  # above Pillow's own limit
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_size(path) == (10_000, 10_000)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_too_small_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    with pytest.raises(MezoroiError) as error:
        read_image(tmp_path / "dot.png")
    assert_one_line(error, tmp_path / "dot.png", "1 x 1", "8 x 8")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        ([[1, 2]], "list"),
        (np.zeros((10, 10), np.uint8), r"shape \(10, 10\)"),
        (np.zeros((10, 10, 4), np.uint8), r"shape \(10, 10, 4\)"),
        (np.zeros((10, 10, 3), np.float32), "dtype float32"),
        (np.full((10, 10, 3), np.nan), "NaN"),
        (np.zeros((0, 10, 3), np.uint8), "10 x 0"),
    ],
)
def test_as_image_says_what_was_expected(array, words: str) -> None:
    with pytest.raises(MezoroiError, match=words):
        as_image(array)


def test_as_image_keeps_pixels(rgb: np.ndarray) -> None:
    assert as_image(rgb) is rgb
    turned = as_image(np.rot90(rgb))
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, np.rot90(rgb))


def test_outline(tmp_path: Path) -> None:
    path = tmp_path / "outline.json"
    path.write_text(json.dumps({"roundness": 0.98, "views": 72}))
    assert read_outline(path) == {"roundness": 0.98, "views": 72.0}
    for bad in ("[1, 2]", "{}", '{"a": NaN}', '{"a": "x"}', '{"a": true}', "{", '{"a": 1e999}'):
        path.write_text(bad)
        with pytest.raises(MezoroiError) as error:
            read_outline(path)
        assert_one_line(error, path)
    with pytest.raises(MezoroiError, match="missing"):
        read_outline(tmp_path / "none.json")


def write_heic(path: Path, image: np.ndarray, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation  # the encoder writes it as the file's own rotation, too
    height, width = image.shape[:2]
    pixels = np.ascontiguousarray(image).tobytes()
    pillow_heif.encode("RGB", (width, height), pixels, path, quality=95, exif=exif.tobytes())
    return path


@pytest.fixture
def quarters() -> np.ndarray:
    """(48, 64, 3): red, green / blue, white, which lossy compression keeps apart."""
    colours = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]]
    return np.array(colours, dtype=np.uint8).repeat(24, axis=0).repeat(32, axis=1)


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, 1)),
        (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, -1)),
    ],
)
def test_heic_is_read_upright(tmp_path: Path, quarters: np.ndarray, orientation, stored) -> None:
    path = write_heic(tmp_path / "photo.jpg", stored(quarters), orientation)
    assert is_photo(path)
    assert read_size(path) == check_image(path) == (48, 64)
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape == (48, 64, 3)
    middles = np.ix_([12, 36], [16, 48])
    np.testing.assert_array_equal(image[middles] > 127, quarters[middles] > 127)
    assert read_image(path, max_side=16).shape == (12, 16, 3)


def test_deep_heic_becomes_eight_bit(tmp_path: Path) -> None:
    values = np.full((48, 64, 3), 30_000, dtype=np.uint16)
    pillow_heif.encode("RGB;16", (64, 48), values.tobytes(), tmp_path / "deep.heic", quality=95)
    image = read_image(tmp_path / "deep.heic")
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image, 30_000 / 65_535 * 255, atol=1.5)


def test_bad_heic_is_one_line(tmp_path: Path, quarters: np.ndarray) -> None:
    path = write_heic(tmp_path / "photo.heic", quarters)
    content = path.read_bytes()
    for length in range(12, len(content), 50):
        path.write_bytes(content[:length])
        for read in (read_image, read_size, check_image):
            with pytest.raises(MezoroiError) as error:
                read(path)
            assert_one_line(error, path, "damaged or truncated")


def test_heic_size_is_checked_from_the_header(
    tmp_path: Path, quarters: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_heic(tmp_path / "photo.heic", quarters)
    monkeypatch.setattr("mezoroi.capture.images.MAX_PIXELS", 48 * 64 - 1)
    monkeypatch.setattr(pillow_heif.HeifImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(MezoroiError) as error:
        read_image(path)
    assert_one_line(error, path, "64 x 48")


def test_reading_heic_registers_nothing(tmp_path: Path, quarters: np.ndarray) -> None:
    path = write_heic(tmp_path / "photo.heic", quarters)
    before = dict(Image.OPEN), dict(Image.EXTENSION)  # other libraries may have registered theirs
    read_image(path)
    assert (dict(Image.OPEN), dict(Image.EXTENSION)) == before
