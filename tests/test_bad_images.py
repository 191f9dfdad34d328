"""Datasets and photos that are wrong or unusual give one clear line, or work."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mezoroi as mz
from tests.commands import TINY, Run, assert_refused


def pixels(seed: int = 0, height: int = 48, width: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_photos(folder: Path, counts: dict[str, int]) -> Path:
    for grade, count in counts.items():
        (folder / grade).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(pixels(number)).save(folder / grade / f"{number}.png")
    return folder


def test_an_empty_folder(run: Run, run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(run("train", tmp_path / "empty", "-o", tmp_path / "run"), "holds no photos")
    outcome = run("grade", run_dir, tmp_path / "empty", "-o", tmp_path / "out")
    assert_refused(outcome, "holds no photo")
    assert not (tmp_path / "run").exists() and not (tmp_path / "out").exists()


def test_one_grade_only(run: Run, tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data", {"A": 5})
    assert_refused(run("train", data, "-o", tmp_path / "run"), "only one grade (`A`)")


def test_fewer_than_two_specimens(run: Run, tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data", {"A": 5, "B": 1, "C": 0})
    outcome = run("train", data, "-o", tmp_path / "run")
    assert_refused(outcome, "grade `B` has 1 specimen:", "grade `C` has 0 specimens:")


def test_two_specimens_are_too_few_for_three_splits_and_said_so(run: Run, tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data", {"A": 5, "B": 2})
    outcome = run("train", data, "-o", tmp_path / "run")
    assert_refused(outcome, "too few specimens (grade `B` has 2): at least 4 of every grade")


def test_all_bad_images_are_listed_at_once(run: Run, tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data", {"A": 5, "B": 5})
    (data / "A/text.jpg").write_text("no photo")
    whole = data / "B/0.png"
    (data / "B/half.png").write_bytes(whole.read_bytes()[:500])
    Image.fromarray(pixels()[:1, :1]).save(data / "B/dot.png")
    (data / "A/none.jpg").touch()
    status, out, err = run("train", data, "-o", tmp_path / "run")
    assert (status, out) == (2, "") and "has 4 problems" in err.splitlines()[-1]
    listed = err.splitlines()[:-1]
    for name in ("A/text.jpg", "B/half.png", "B/dot.png", "A/none.jpg"):
        assert sum(name in line for line in listed) == 1
    assert not (tmp_path / "run").exists()


def test_a_manifest_that_is_no_table(run: Run, tmp_path: Path) -> None:
    for name, content, message in [
        ("a.csv", b"", "is empty"),
        ("b.csv", b"image,grade\n", "has no rows"),
        ("c.csv", b"photo,quality\nx.png,A\n", "lacks the columns `image` and `grade`"),
        ("d.parquet", b"no parquet", "is not a Parquet table"),
        ("e.csv", b"\x00\x01\x02\xff", "is neither UTF-8 nor Shift_JIS"),
    ]:
        (tmp_path / name).write_bytes(content)
        assert_refused(run("train", tmp_path / name, "-o", tmp_path / "run"), name, message)
    assert_refused(run("train", tmp_path / "a.txt", "-o", tmp_path / "run"), "does not exist")


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def large_png(path: Path) -> None:
    """20,000 x 20,000 one-bit pixels in a few kilobytes."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(20_000 * 2_501))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def truncated_jpeg(path: Path) -> None:
    Image.fromarray(pixels()).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:1500])


BAD = {
    "text.jpg": (lambda path: path.write_text("no photo"), "is not a JPEG, PNG"),
    "empty.png": (lambda path: path.touch(), "is an empty file"),
    "half.jpg": (truncated_jpeg, "damaged or truncated"),
    "dot.png": (lambda path: Image.fromarray(pixels()[:1, :1]).save(path), "only 1 x 1 pixels"),
    "large.png": (large_png, "20000 x 20000 pixels, more than"),
    "folder.png": (lambda path: path.mkdir(), "holds no photo"),
    "missing.png": (lambda path: None, "does not exist"),
}


def test_bad_photos_fail_alone_and_are_reported(run: Run, run_dir: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    Image.fromarray(pixels()).save(good)
    names = [name for name in BAD if name != "folder.png"]
    for name in names:
        BAD[name][0](tmp_path / name)
    sources = [good, *(tmp_path / name for name in names)]
    status, out, _ = run("grade", run_dir, *sources, "-o", tmp_path / "out", "--json")
    assert status == 1
    results = json.loads(out)["results"]
    assert "grade" in results[0]
    for name, result in zip(names, results[1:], strict=True):
        assert BAD[name][1] in result["error"] and name in result["error"]
        assert "\n" not in result["error"]


@pytest.mark.parametrize("name", ["text.jpg", "half.jpg", "dot.png", "large.png"])
def test_a_bad_photo_to_train_on_is_one_line(run: Run, tmp_path: Path, name: str) -> None:
    data = make_photos(tmp_path / "data", {"A": 4, "B": 4})
    BAD[name][0](data / "A" / name)
    outcome = run("train", data, "-o", tmp_path / "run", *TINY)
    assert_refused(outcome, f"A/{name}", BAD[name][1].split(" is ")[-1])
    assert len(outcome[2].splitlines()) <= 2


def unusual(folder: Path) -> dict[str, Path]:
    """Photos of one scene in forms that must all be read, with the reference as `plain`."""
    smooth = np.asarray(Image.fromarray(pixels(3, 6, 8)).resize((96, 72), Image.Resampling.BICUBIC))
    rgb = Image.fromarray(smooth)
    grey = np.asarray(rgb.convert("L"))
    rotated = Image.Exif()
    rotated[0x0112] = 6  # to be shown turned clockwise by a quarter
    paths = {
        name: folder / f"{name}.{suffix}"
        for name, suffix in {
            "plain": "png",
            "rgba": "png",
            "cmyk": "jpg",
            "rotated": "jpg",
            "straight": "jpg",
            "grey": "png",
            "grey16": "png",
            "greyrgb": "png",
            "palette": "png",
            "メロン 一号 🍈": "png",
        }.items()
    }
    rgb.save(paths["plain"])
    shutil.copy(paths["plain"], paths["メロン 一号 🍈"])
    rgb.convert("RGBA").save(paths["rgba"])
    rgb.convert("CMYK").save(paths["cmyk"], quality=95)
    rgb.save(paths["straight"], quality=95)
    rgb.rotate(90, expand=True).save(paths["rotated"], quality=95, exif=rotated)
    Image.fromarray(grey).save(paths["grey"])
    Image.fromarray(grey.astype(np.uint16) * 257).save(paths["grey16"])
    Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(paths["greyrgb"])
    rgb.quantize(256).save(paths["palette"])
    return paths


def test_unusual_photos_are_graded_as_the_plain_one(
    run: Run, run_dir: Path, tmp_path: Path
) -> None:
    paths = unusual(tmp_path)
    status, out, _ = run("grade", run_dir, *paths.values(), "-o", tmp_path / "out", "--json")
    assert status == 0
    found = dict(zip(paths, json.loads(out)["results"], strict=True))

    def gap(one: str, other: str) -> float:
        pairs = zip(
            found[one]["similarity"].values(), found[other]["similarity"].values(), strict=True
        )
        return max(abs(a - b) for a, b in pairs if a is not None)

    for one, other, tolerance in [
        ("rgba", "plain", 1e-5),
        ("メロン 一号 🍈", "plain", 1e-5),
        ("grey16", "grey", 1e-5),
        ("grey", "greyrgb", 1e-5),
        ("straight", "plain", 0.1),
        ("rotated", "straight", 0.1),
    ]:
        assert gap(one, other) <= tolerance, (one, other)
    assert (tmp_path / "out" / "メロン 一号 🍈" / "grading.json").is_file()


def test_unusual_photos_can_be_learned(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "データ"
    paths = unusual(tmp_path)
    for grade in ("良", "悪"):
        (data / grade).mkdir(parents=True)
        for path in paths.values():
            shutil.copy(path, data / grade)
    status, out, _ = run("train", data, "-o", tmp_path / "実行", *TINY, "--json")
    assert status == 0 and json.loads(out)["grades"] == ["悪", "良"]
    assert mz.Grader.load(tmp_path / "実行").grade(paths["cmyk"]).grade in ("良", "悪")


def test_a_name_that_is_no_unicode_is_graded(run: Run, run_dir: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/p\xff.png"
    Image.fromarray(pixels()).save(tmp_path / "p.png")
    try:
        Path(os.fsdecode(path)).write_bytes((tmp_path / "p.png").read_bytes())
    except OSError:
        pytest.skip("this file system refuses such names")
    (tmp_path / "p.png").unlink()
    assert run("grade", run_dir, tmp_path, "-o", tmp_path / "out")[0] == 0
    status, out, _ = run("grade", run_dir, tmp_path, "-o", tmp_path / "out", "--json")
    assert status == 0
    (written,) = (tmp_path / "out").rglob("grading.json")
    for text in (out, written.read_text(encoding="utf-8")):
        content = json.loads(text)
        content = content.get("results", [content])[0]
        assert os.fsencode(content["source"]) == path
