"""Captures on disk and videos handed to a grader: from the file to the grade."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import mezoroi as mz
from mezoroi import capture_folders, captures, cli
from mezoroi.app.reading import read_upload
from mezoroi.app.settings import Limits
from mezoroi.capture.images import read_image
from mezoroi.capture.sources import find_sources, read_fruit
from mezoroi.captures import capture_dataset, capture_sources, find_turns
from mezoroi.datasets import load_dataset
from mezoroi.datasets.melons import (
    Conditions,
    Turn,
    indexed_melon,
    make_melon,
    render_views,
    write_video,
)
from mezoroi.datasets.melons.styles import style_of
from mezoroi.errors import MezoroiError
from tests.capture.films import film

FILES = {
    "surface.png",
    "coverage.png",
    "outline.json",
    "capture.json",
    "preview.png",
    "source.json",
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """果/melon.mp4, a full turn; frames/, the same as pictures; photo.png, one of them."""
    root = tmp_path_factory.mktemp("films")
    melon, _ = indexed_melon(0, 21)
    rng = np.random.default_rng(0)
    light = Conditions.draw(rng, style_of("standard"))
    turn = Turn(frames=24, fps=12, size=(240, 320), degrees=360.0)
    frames, _ = render_views(melon.body, melon.texture, light, turn, rng)
    pictures = list(frames)
    write_video(root / "果" / "melon.mp4", pictures, 12)
    (root / "frames").mkdir()
    for number, picture in enumerate(pictures[::2]):
        cv2.imwrite(str(root / "frames" / f"im{number}.png"), picture[..., ::-1])
    cv2.imwrite(str(root / "photo.png"), pictures[0][..., ::-1])
    return root


def test_each_source_becomes_a_whole_folder_once(films: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    sources = [films / "果", broken, films / "frames"]
    results = capture_sources(sources, tmp_path / "out")
    assert [item.error is None for item in results] == [True, False, True]
    assert "broken.mp4" in str(results[1].error) and "\n" not in str(results[1].error)
    for name in ("melon", "frames"):
        assert {path.name for path in (tmp_path / "out" / name).iterdir()} == FILES
    assert results[0].covered is not None and results[0].covered > 0.9
    assert results[0].degrees_turned == pytest.approx(360, abs=3)

    surface = tmp_path / "out/melon/surface.png"
    written = surface.stat().st_mtime_ns
    again = capture_sources([films / "果"], tmp_path / "out")
    assert surface.stat().st_mtime_ns == written
    assert again[0].covered == results[0].covered
    # Another height is another capture, and so is one that lost a file.
    capture_sources([films / "果"], tmp_path / "out", height=64)
    assert read_image(surface).shape == (64, 128, 3)
    (tmp_path / "out/melon/outline.json").unlink()
    capture_sources([films / "果"], tmp_path / "out", height=64)
    assert (tmp_path / "out/melon/outline.json").is_file()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a/melon.mp4 and b/melon.mp4, of two melons; frames/ and photo.png of the second."""
    root = tmp_path_factory.mktemp("small")
    for name, seed in (("a", 5), ("b", 6)):
        melon = make_melon("A", np.random.default_rng(seed), height=64)
        turn = Turn(degrees=330, frames=12, size=(160, 200), nearness=0.0)
        frames = film(melon, turn)[0]
        write_video(root / name / "melon.mp4", frames, 12)
    (root / "frames").mkdir()
    for number, picture in enumerate(frames):
        cv2.imwrite(str(root / "frames" / f"im{number}.png"), picture[..., ::-1])
    cv2.imwrite(str(root / "photo.png"), frames[0][..., ::-1])
    return root


def test_no_capture_replaces_that_of_another_source(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    [first] = capture_sources([small / "a/melon.mp4"], out, height=32)
    before = (out / "melon/surface.png").read_bytes()
    [second] = capture_sources([small / "b/melon.mp4"], out, height=32)
    assert first.folder == str(out / "melon") and second.folder == str(out / "melon-2")
    assert (out / "melon/surface.png").read_bytes() == before
    # The same content is known under any name, and in any order.
    shutil.copy(small / "a/melon.mp4", tmp_path / "renamed.mp4")
    written = (out / "melon/surface.png").stat().st_mtime_ns
    again = capture_sources(
        [small / "b/melon.mp4", tmp_path / "renamed.mp4", small / "a/melon.mp4"], out, height=32
    )
    assert [item.folder for item in again] == [second.folder, first.folder, first.folder]
    assert (out / "melon/surface.png").stat().st_mtime_ns == written
    assert {path.name for path in out.iterdir()} == {"melon", "melon-2"}
    # One that broke off is taken up again; what is no capture is left alone.
    source = json.loads((out / "melon/source.json").read_text("utf-8"))
    del source["covered"]
    (out / "melon/source.json").write_text(json.dumps(source), "utf-8")
    (out / "photo").mkdir()
    mended = capture_sources([small / "a/melon.mp4", small / "photo.png"], out, height=32)
    assert [item.folder for item in mended] == [first.folder, str(out / "photo-2")]
    assert not list((out / "photo").iterdir())


def test_a_preview_in_another_language_is_made(small: Path, tmp_path: Path) -> None:
    for language in ("ja", "en"):
        capture_sources([small / "photo.png"], tmp_path, height=32, language=language)
        written = (tmp_path / "photo/preview.png").read_bytes()
        capture_sources([small / "photo.png"], tmp_path / language, height=32, language=language)
        assert (tmp_path / language / "photo/preview.png").read_bytes() == written


def test_a_manifest_of_videos_only_is_no_dataset_of_its_own(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "films")
    manifest = tmp_path / "films/manifest.csv"
    text = "video,grade\na/melon.mp4,A\nb/melon.mp4,B\n"
    manifest.write_text(text, encoding="utf-8")
    with pytest.raises(MezoroiError, match="give another with -o") as error:
        capture_dataset(manifest, tmp_path / "films/../films", height=32)
    assert "\n" not in str(error.value) and manifest.read_text(encoding="utf-8") == text
    results = capture_dataset(manifest, tmp_path / "out", height=32)
    assert [item.error for item in results] == [None, None]
    assert [item.grade for item in load_dataset(tmp_path / "out", trainable=False)] == ["A", "B"]
    assert "image" in (tmp_path / "out/manifest.csv").read_text(encoding="utf-8")


def test_a_saved_capture_is_read_as_its_source(small: Path, tmp_path: Path) -> None:
    for source in (small / "photo.png", small / "a/melon.mp4"):
        [result] = capture_sources([source], tmp_path)
        direct = read_fruit(source, "surface")
        assert result.folder is not None
        for path in (Path(result.folder), Path(result.folder) / "surface.png"):
            saved = read_fruit(path, "surface")
            np.testing.assert_array_equal(saved.image, direct.image)
            assert saved.coverage is not None and direct.coverage is not None
            np.testing.assert_array_equal(saved.coverage, direct.coverage)
            assert saved.notes == direct.notes
            assert (saved.outline is None) == (direct.outline is None)
    (tmp_path / "photo/capture.json").write_text("[]")
    with pytest.raises(MezoroiError, match="capture the fruit again"):
        read_fruit(tmp_path / "photo", "surface")


def test_an_outline_of_one_view_is_none_to_learn_from(small: Path, tmp_path: Path) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    shutil.copytree(small, films)
    rows = "a/melon.mp4,A\nb/melon.mp4,B\nphoto.png,B\n"
    (films / "manifest.csv").write_text(f"image,grade\n{rows}", "utf-8")
    capture_dataset(films / "manifest.csv", out, height=32)
    dataset = load_dataset(out, trainable=False)
    for item in dataset:  # as they are graded
        assert item.outline == read_fruit(item.image.parent, "surface").outline
    assert [item.outline is None for item in dataset] == [False, False, True]
    assert not dataset.has_outlines
    (out / "photo/capture.json").write_text("[]")
    with pytest.raises(MezoroiError, match="capture the fruit again"):
        load_dataset(out, trainable=False)


def test_an_uploaded_video_is_read_as_by_the_grader(small: Path) -> None:
    film = small / "a/melon.mp4"
    fruit, direct = read_upload(film, True, "surface", Limits()).fruit, read_fruit(film, "surface")
    assert fruit.coverage is not None and direct.coverage is not None
    np.testing.assert_array_equal(fruit.coverage, direct.coverage)
    assert fruit.outline == direct.outline and fruit.notes == direct.notes


def test_graded_videos_become_a_dataset(small: Path, tmp_path: Path) -> None:
    for name in "ab":
        shutil.copy(small / name / "melon.mp4", tmp_path / f"{name}.mp4")
    shutil.copytree(small / "frames", tmp_path / "c")
    (tmp_path / "d.mp4").write_bytes(b"no video")
    rows = ["image,grade,specimen,session,weight", "a.mp4,A,one,July,900", "b.mp4,A,two,July,950"]
    rows += ["c,B,three,,880", "c,B,four,,870", "d.mp4,B,five,,860"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    results = capture_dataset(tmp_path / "manifest.csv", tmp_path / "out", height=32)
    assert [item.error is None for item in results] == [True, True, True, True, False]
    dataset = mz.load_dataset(tmp_path / "out")
    assert [o.specimen for o in dataset] == ["one", "two", "three", "four"]
    assert dataset.is_panorama and dataset.has_outlines
    assert [o.extra["weight"] for o in dataset] == ["900", "950", "880", "870"]
    with (tmp_path / "out/manifest.csv").open(encoding="utf-8") as stream:
        assert next(csv.DictReader(stream))["session"] == "July"

    (tmp_path / "bad.csv").write_text("image,grade\nd.mp4,A\n", encoding="utf-8")
    with pytest.raises(MezoroiError, match=r"nothing in .*could be captured"):
        capture_dataset(tmp_path / "bad.csv", tmp_path / "none")


def test_a_grader_of_surfaces_takes_videos_frames_and_photos(
    grader: mz.Grader, films: Path
) -> None:
    video = grader.grade(films / "果/melon.mp4")
    frames = grader.grade(films / "frames")
    photo = grader.grade(films / "photo.png")
    assert video.surface.shape == frames.surface.shape == (256, 512, 3)
    assert video.outline is not None and not video.notes
    assert photo.outline is None and "one side" in photo.notes[0]
    assert photo.to_dict()["notes"] == list(photo.notes)
    assert set(video.similarity) == set(grader.standard.grades)


def test_a_photo_without_a_fruit_is_graded_as_it_is(tmp_path: Path) -> None:
    flat = tmp_path / "flat.png"
    cv2.imwrite(str(flat), np.full((80, 90, 3), 120, np.uint8))
    fruit = read_fruit(flat, "surface")
    assert fruit.image.shape == (80, 90, 3) and "graded as it is" in fruit.notes[0]
    assert read_fruit(flat, "photo").notes == ()


def test_what_lies_in_folders(films: Path, tmp_path: Path) -> None:
    assert find_turns([films / "frames"]).sources == [films / "frames"]
    assert find_turns([films / "果"]).sources == [films / "果/melon.mp4"]
    assert find_sources([films / "果"], "surface") == [films / "果/melon.mp4"]
    assert find_sources([films / "frames"], "surface") == [films / "frames"]
    assert len(find_sources([films / "frames"], "photo")) == 12
    with pytest.raises(MezoroiError, match="holds no video"):
        find_turns([tmp_path])
    with pytest.raises(MezoroiError, match="learned from photos"):
        read_fruit(films / "果/melon.mp4", "photo")


def test_a_stray_photo_hides_neither_videos_nor_folders(
    capsys: pytest.CaptureFixture[str], films: Path, small: Path, tmp_path: Path
) -> None:
    turns = find_turns([films])
    assert turns.sources == [films / "frames", films / "果/melon.mp4"]
    assert list(turns.left_out) == [films] and "holds one photo beside" in turns.left_out[films]
    shutil.copytree(small / "a", tmp_path / "dcim")
    shutil.copy(small / "photo.png", tmp_path / "dcim/thumb.png")
    assert find_turns([tmp_path / "dcim"]).sources == [tmp_path / "dcim/melon.mp4"]
    # Nothing failed, but the line is there.
    words = ["capture", str(tmp_path / "dcim"), "-o", str(tmp_path / "out"), "--json"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, "--height", "32"])
    assert not stop.value.code
    shown = capsys.readouterr()
    first, second = json.loads(shown.out)["results"]
    assert first["folder"] and second["folder"] is None and second["error"] is None
    assert f"note: {tmp_path / 'dcim'} holds one photo beside videos" in shown.err
    # A photo alone is one fruit.
    (tmp_path / "one").mkdir()
    shutil.copy(small / "photo.png", tmp_path / "one/photo.png")
    assert find_turns([tmp_path / "one"]).sources == [tmp_path / "one/photo.png"]


def test_a_folder_of_films_with_grades_says_how_to_keep_them(small: Path, tmp_path: Path) -> None:
    films = tmp_path / "films"
    shutil.copytree(small / "a", films / "a")
    (films / "manifest.csv").write_text("video,grade\na/melon.mp4,A\n", "utf-8")
    turns = find_turns([films])
    assert turns.sources == [films / "a/melon.mp4"]
    assert turns.left_out == {films: "holds manifest.csv: give that file to keep its grades"}


def test_captures_are_no_sources(films: Path, tmp_path: Path) -> None:
    for name in ("done", "film"):
        (tmp_path / name).mkdir()
        for picture in ("surface.png", "mask.png"):
            shutil.copy(films / "photo.png", tmp_path / name / picture)
    shutil.copy(films / "果/melon.mp4", tmp_path / "film/video.mp4")
    turns = find_turns([tmp_path])
    assert turns.sources == [tmp_path / "film/video.mp4"]
    assert turns.left_out == {tmp_path / "done": "is a capture already: give what it was made from"}
    with pytest.raises(MezoroiError, match="done is a capture already: give"):
        find_turns([tmp_path / "done"])


def test_a_folder_is_visited_once(films: Path, tmp_path: Path) -> None:
    shutil.copy(films / "果/melon.mp4", tmp_path / "a.mp4")
    (tmp_path / "self").symlink_to(tmp_path, target_is_directory=True)
    assert find_turns([tmp_path]).sources == [tmp_path / "a.mp4"]
    assert find_sources([tmp_path], "surface") == [tmp_path / "a.mp4"]


def test_what_may_not_be_read_fails_alone(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = tmp_path / "films"
    shutil.copytree(small / "a", films)
    shutil.copy(small / "b/melon.mp4", films / "locked.mp4")
    shutil.copytree(small / "b", films / "shut")
    hashed, listed = capture_folders.content_hash, Path.iterdir

    def refuse(path: Path) -> None:
        if path.name in ("locked.mp4", "shut"):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(capture_folders, "content_hash", lambda path: refuse(path) or hashed(path))
    monkeypatch.setattr(Path, "iterdir", lambda path: refuse(path) or listed(path))
    results = capture_sources([films], tmp_path / "out", height=32)
    assert [Path(item.source).name for item in results] == ["locked.mp4", "melon.mp4", "shut"]
    for item in (results[0], results[2]):
        assert item.error is not None and item.error.endswith(
            f"{item.source} cannot be read (Permission denied): check its permissions"
        )
    assert results[1].error is None
    table = "video,grade\nfilms/locked.mp4,A\nfilms/melon.mp4,B\n"
    (tmp_path / "manifest.csv").write_text(table, "utf-8")
    capture_dataset(tmp_path / "manifest.csv", tmp_path / "set", height=32)
    with (tmp_path / "set/manifest.csv").open(encoding="utf-8") as stream:
        assert [row["grade"] for row in csv.DictReader(stream)] == ["B"]


def test_a_file_in_the_way_of_the_captures_is_told_before_the_work(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "unroll", lambda *args, **options: pytest.fail("unrolled"))
    (tmp_path / "out").write_text("no folder")
    (tmp_path / "manifest.csv").write_text(f"video,grade\n{small}/a/melon.mp4,A\n", "utf-8")
    for out in (tmp_path / "out", tmp_path / "out/inner"):
        with pytest.raises(MezoroiError, match="out is a file: give a folder with -o"):
            capture_sources([small / "a/melon.mp4"], out, height=32)
        with pytest.raises(MezoroiError, match="out is a file: give a folder with -o"):
            capture_dataset(tmp_path / "manifest.csv", out, height=32)


def test_two_captures_at_once_take_folders_of_their_own(tmp_path: Path) -> None:
    first = capture_folders.CaptureFolders(tmp_path / "out", shared=True)
    second = capture_folders.CaptureFolders(tmp_path / "out", shared=True)
    assert first.claim("one", "melon") == tmp_path / "out/melon"
    assert second.claim("two", "melon") == tmp_path / "out/melon-2"
    assert first.known("one", "melon") == tmp_path / "out/melon"
    assert first.known("two", "melon") is None


def test_a_measured_share_counts_more_than_the_manifests(small: Path, tmp_path: Path) -> None:
    shutil.copy(small / "a/melon.mp4", tmp_path / "melon.mp4")
    (tmp_path / "manifest.csv").write_text("video,grade,covered\nmelon.mp4,A,0.11\n", "utf-8")
    [result] = capture_dataset(tmp_path / "manifest.csv", tmp_path / "out", height=32)
    with (tmp_path / "out/manifest.csv").open(encoding="utf-8") as stream:
        [row] = csv.DictReader(stream)
    assert float(row["covered"]) == pytest.approx(result.covered, abs=1e-3)
    assert float(row["covered"]) > 0.5


def test_notes_hold_whatever_the_source_is_called_later(small: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for name in ("im0.png", "im1.png"):
        shutil.copy(small / "photo.png", frames / name)
    (frames / "im1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    [made] = capture_sources([frames], tmp_path / "out", height=32)
    assert made.notes[0].startswith("a photo is left out: im1.png is ")
    assert not [note for note in made.notes if str(tmp_path) in note]
    frames.rename(tmp_path / "later")
    [known] = capture_sources([tmp_path / "later"], tmp_path / "out", height=32)
    assert known.folder == made.folder and known.notes == made.notes


def verb(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    return int(stop.value.code or 0), capsys.readouterr().out


def test_the_verbs(
    capsys: pytest.CaptureFixture[str], run_dir: Path, films: Path, tmp_path: Path
) -> None:
    status, out = verb(capsys, "capture", films / "果", "-o", tmp_path / "captures", "--json")
    assert status == 0
    [result] = json.loads(out)["results"]
    assert result["covered"] > 0.9 and Path(result["folder"]).is_dir()
    film = films / "果/melon.mp4"
    status, out = verb(capsys, "grade", run_dir, film, "-o", tmp_path / "graded", "--json")
    assert status == 0 and "grade" in json.loads(out)["results"][0]
    assert verb(capsys, "capture", tmp_path / "none.mp4", "-o", tmp_path / "x")[0] == 2


def test_notes_name_their_fruit(
    capsys: pytest.CaptureFixture[str], run_dir: Path, small: Path, tmp_path: Path
) -> None:
    photo = small / "photo.png"
    for words in (("capture", photo), ("grade", run_dir, photo)):
        with pytest.raises(SystemExit) as stop:
            cli.main([*map(str, words), "-o", str(tmp_path / str(words[0]))])
        assert not stop.value.code
        assert f"note: {photo}: a single photo shows one side" in capsys.readouterr().err


def test_a_dataset_of_captures_replaces_no_other(small: Path, tmp_path: Path) -> None:
    films, other = tmp_path / "films", tmp_path / "other"
    shutil.copytree(small, films)
    manifest = films / "manifest.csv"
    manifest.write_text("video,grade\na/melon.mp4,A\nb/melon.mp4,B\n", "utf-8")
    shutil.copy(small / "photo.png", films / "standard.yaml")  # not read before it is refused
    other.mkdir()
    shutil.copy(small / "photo.png", other / "photo.png")
    for name, text in (
        ("manifest.csv", "image,grade\nphoto.png,A\n"),
        ("graders.csv", "image,grader,grade\nphoto.png,sato,A\n"),
        ("standard.yaml", "grades: []\n"),
    ):
        (other / name).write_text(text, "utf-8")
        with pytest.raises(MezoroiError, match="give another folder with -o") as error:
            capture_dataset(manifest, other, height=32)
        assert str(other / name) in str(error.value) and "\n" not in str(error.value)
        assert (other / name).read_text("utf-8") == text
        (other / name).unlink()
    assert {path.name for path in other.iterdir()} == {"photo.png"}


def test_what_a_dataset_of_captures_lost_is_said(small: Path, tmp_path: Path) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    shutil.copytree(small, films)
    manifest, graders = films / "manifest.csv", films / "graders.csv"
    manifest.write_text("video,grade\na/melon.mp4,A\nb/melon.mp4,B\n", "utf-8")
    graders.write_text("image,grader,grade\na/melon.mp4,sato,B\n", "utf-8")
    assert len(capture_dataset(manifest, out, height=32)) == 2
    assert len(capture_dataset(manifest, out, height=32)) == 2
    # A capture that was deleted is made anew, and labels that were withdrawn are told of.
    shutil.rmtree(out / "melon")
    graders.unlink()
    *results, last = capture_dataset(manifest, out, height=32)
    assert [item.error for item in results] == [None, None] and last.error is None
    [note] = last.notes
    assert note.startswith(f"{out / 'graders.csv'} is from before and still counts")
    (out / "graders.csv").unlink()
    manifest.write_text("video,grade\nb/melon.mp4,B\n", "utf-8")
    result, last = capture_dataset(manifest, out, height=32)
    assert result.folder == str(out / "melon-2")
    [note] = last.notes
    assert "manifest.csv no longer lists 1 capture that it listed before, the first melon/" in note


def test_folders_are_called_as_the_specimens_are(small: Path, tmp_path: Path) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    shutil.copytree(small, films)
    rows = ["video,grade,specimen", "a/melon.mp4,A,No. 7", "b/melon.mp4,B,No. 3"]
    (films / "manifest.csv").write_text("\n".join(rows), "utf-8")
    results = capture_dataset(films / "manifest.csv", out, height=32)
    assert [item.folder for item in results] == [str(out / "No. 7"), str(out / "No. 3")]
    assert load_dataset(out, trainable=False).specimens == ("No. 7", "No. 3")


def test_what_is_listed_twice_is_one_specimen(small: Path, tmp_path: Path) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    shutil.copytree(small, films)
    shutil.copy(films / "a/melon.mp4", films / "copy.mp4")
    rows = ["video,grade,specimen", "a/melon.mp4,A,", "copy.mp4,A,", "b/melon.mp4,B,"]
    rows += ["b/melon.mp4,B,other"]
    (films / "manifest.csv").write_text("\n".join(rows), "utf-8")
    capture_dataset(films / "manifest.csv", out, height=32)
    first, second, *named = load_dataset(out, trainable=False).specimens
    assert first == second == "melon" and named == ["melon-2", "other"]


def test_a_surface_is_not_unrolled_again(small: Path, tmp_path: Path) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    shutil.copytree(small, films)
    capture_sources([films / "a/melon.mp4"], films, height=32)
    shutil.copy(films / "photo.png", films / "melon/surface.png")  # a fruit would be found in it
    rows = ["image,grade", "melon,A", "melon/surface.png,A", "b/melon.mp4,B"]
    (films / "manifest.csv").write_text("\n".join(rows), "utf-8")
    *taken, film = capture_dataset(films / "manifest.csv", out, height=32)
    for item in (*taken, *capture_sources([films / "melon/surface.png"], out, height=32)):
        assert str(item.error).endswith("is a capture already: give what it was made from")
    assert film.error is None
