"""The pieces of `mezoroi bench capture` that need no hours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mezoroi.bench import capture_grading, capture_maps, capture_marks, capture_melons
from mezoroi.bench import capture_speed as speed
from mezoroi.bench.capture import PARTS, run_capture_bench
from mezoroi.bench.capture_angles import align, angles_between, directions_of
from mezoroi.bench.capture_noise import (
    chain_marks,
    floor_angles,
    measure_noise,
    typical_noise,
)
from mezoroi.bench.capture_page import capture_page
from mezoroi.bench.capture_score import (
    evened,
    outline_errors,
    pose_errors,
    psnr,
    sample_panorama,
)
from mezoroi.bench.ledger import open_ledgers
from mezoroi.bench.tables import MISSING
from mezoroi.capture.geometry import Ellipse, sphere_to_disk
from mezoroi.capture.surface import panorama_directions
from mezoroi.config import Config
from mezoroi.datasets.melons import Turn, write_melons
from mezoroi.errors import MezoroiError
from mezoroi.grading import GradingFailure
from mezoroi.standard import GradingStandard

STEP, RADIUS = 22.5, 110.0


@dataclass(frozen=True)
class Marked:
    """A made-up sphere that turns, its features moving down, and marks on it."""

    marks: np.ndarray
    silhouettes: dict[int, Ellipse]
    poses: dict[int, np.ndarray]


def marked_sphere(seed: int, noise: float, features: int = 14, frames: int = 9) -> Marked:
    rng = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(
        np.radians(STEP) * np.arange(frames)[:, None] * (1.0, 0.0, 0.0)
    ).as_matrix()
    ellipse = Ellipse(np.array([130.0, 120.0]), RADIUS * np.eye(2))
    marks = []
    for feature in range(features):
        first = feature % (frames - 2)
        towards = rng.normal(size=3) * 0.4 + (0.0, 0.0, 1.0)
        spot = turns[first + 1].T @ (towards / np.linalg.norm(towards))
        pixels = []
        for frame in range(first, first + 3):
            exact = ellipse.to_pixels(sphere_to_disk(turns[frame] @ spot))
            pixels.append((frame, exact + noise * rng.normal(size=2)))
        middle = pixels[1]
        marks += [[middle[0], n, *middle[1], *p] for n, p in (pixels[0], pixels[2])]
    # Starting poses are a little off, each in its own way.
    off = Rotation.from_rotvec(0.03 * rng.normal(size=(frames, 3))).as_matrix()
    return Marked(
        np.array(marks), dict.fromkeys(range(frames), ellipse), dict(enumerate(off @ turns))
    )


def test_chains_join_the_marks_of_one_point() -> None:
    marks = np.array(
        [
            [1, 2, 10, 10, 10, 20],  # a chain that grows both ways from frame 1
            [1, 0, 10, 10, 10, 5],
            [2, 3, 10, 20, 10, 30],
            [1, 2, 50, 10, 50, 20],  # another point
            [2, 1, 50, 20, 50, 10],  # marked back
        ],
        dtype=float,
    )
    chains = chain_marks(marks)
    assert len(chains.frames) == 6
    sizes = np.bincount(chains.points)
    assert sorted(sizes.tolist()) == [2, 4]
    starts, ends = chains.points[chains.pairs.T]
    np.testing.assert_array_equal(starts, ends)


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_marking_noise_is_found_from_marks_alone(noise: float) -> None:
    found = [
        measure_noise(m.marks, m.silhouettes, m.poses, 0.0)
        for m in (marked_sphere(seed, noise) for seed in range(3))
    ]
    squares = sum(item["squares"] for item in found if item)
    free = sum(item["free"] for item in found if item)
    # Per fruit 14 points in 3 frames, less 2 each, less 3 per frame but for the fruit's own axes.
    assert free == 3 * (14 * 3 * 2 - 14 * 2 - 3 * (9 - 1))
    assert np.sqrt(squares / free) == pytest.approx(noise, rel=0.12)


def test_noise_alone_puts_the_angle_between_points_that_it_should() -> None:
    marked = marked_sphere(3, 0.0)
    found = measure_noise(marked.marks, marked.silhouettes, marked.poses, 0.0)
    assert found is not None
    assert found["squares"] == pytest.approx(0, abs=1e-3)
    # Seen frontally, each end strays by 1 / RADIUS rad per axis: a Rayleigh law; obliquely by more.
    frontal = np.degrees(np.sqrt(2) / RADIUS) * np.sqrt(2 * np.log(2))
    assert frontal < np.median(floor_angles([found], 1.0)) < 1.6 * frontal
    np.testing.assert_allclose(floor_angles([found], 3.0), 3 * floor_angles([found], 1.0))


def test_one_fruit_with_a_mistaken_mark_does_not_set_the_noise() -> None:
    usual = {"squares": 10 * 4.0, "free": 10, "radius": 100.0, "angles": [1.0]}
    spoilt = usual | {"squares": 10 * 900.0}
    silent = usual | {"squares": 0.0, "free": 0}
    pixels, degrees, fruits = typical_noise([usual, usual, spoilt, silent])
    assert (pixels, fruits) == (2.0, 3)
    assert degrees == pytest.approx(np.degrees(0.02))
    assert np.isnan(typical_noise([silent])[0])


def test_the_constant_step_is_exact_for_a_sphere_that_turns_so() -> None:
    marked = marked_sphere(1, 0.0)
    found = capture_marks.baseline_angles(
        capture_marks.place_by_constant_step, marked.silhouettes, STEP, marked.marks
    )
    np.testing.assert_allclose(found, 0, atol=0.01)
    wrong = capture_marks.baseline_angles(
        capture_marks.place_by_constant_step, marked.silhouettes, STEP + 5, marked.marks
    )
    # About the image's x axis, a point moves the less the nearer it is to an end of that axis.
    assert 3.0 < np.median(wrong) <= 5.0


def test_the_mosaic_is_right_near_the_centre_line_only() -> None:
    ellipse = Ellipse(np.array([130.0, 120.0]), RADIUS * np.eye(2))

    def angle(degrees: float) -> float:
        """Between the places of one point, seen on the centre line and `degrees` further down."""
        down = 120 + RADIUS * np.sin(np.radians(degrees))
        marks = np.array([[0, 1, 130, 120, 130, down]])
        return float(
            capture_marks.baseline_angles(
                capture_marks.place_on_strips, {0: ellipse, 1: ellipse}, degrees, marks
            )[0]
        )

    assert angle(5) < 0.01
    # At the edge the mosaic is out by the difference of arc and sine.
    assert angle(60) == pytest.approx(60 - np.degrees(np.sin(np.radians(60))))


def test_marks_in_a_frame_without_a_silhouette_are_left_out() -> None:
    marked = marked_sphere(1, 0.0)
    fewer = {frame: e for frame, e in marked.silhouettes.items() if frame != 4}
    found = capture_marks.baseline_angles(
        capture_marks.place_by_constant_step, fewer, STEP, marked.marks
    )
    missing = (marked.marks[:, :2] == 4).any(axis=1)
    np.testing.assert_array_equal(np.isnan(found), missing)
    noise = measure_noise(marked.marks, fewer, marked.poses, 0.0)
    assert noise is not None
    assert len(noise["angles"]) == 8 * (~missing).sum()
    assert measure_noise(marked.marks[:0], fewer, marked.poses, 0.0) is None


def test_alignment_finds_a_rotation_among_outliers() -> None:
    rng = np.random.default_rng(0)
    rotation = Rotation.from_rotvec([1.0, -2.0, 0.5]).as_matrix()
    ours = rng.normal(size=(40, 3))
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    theirs = ours @ rotation.T
    theirs[:8] = -theirs[8:16]
    ours[20] = np.nan
    np.testing.assert_allclose(align(ours, theirs), rotation, atol=2e-3)
    assert np.isnan(angles_between(ours, theirs)[20])


def test_places_on_a_map_run_east_and_south() -> None:
    north, east = capture_maps.map_directions(np.array([[0.0, 0.0], [89.5, 89.5]]))
    np.testing.assert_allclose(north, directions_of(0.5, 89.5))
    np.testing.assert_allclose(east, [0, 1, 0], atol=1e-9)
    stretched = capture_maps.map_directions(np.array([179.5, 89.5]), 360 / 720)
    np.testing.assert_allclose(stretched, [0, 1, 0], atol=1e-9)


def test_pose_errors_do_not_count_the_axes_of_the_fruit() -> None:
    rng = np.random.default_rng(0)
    truth = Rotation.random(12, random_state=rng).as_matrix()
    axes = Rotation.from_rotvec([0.4, 1.0, -0.3]).as_matrix()
    errors, alignment = pose_errors(truth @ axes, truth)
    np.testing.assert_allclose(errors, 0, atol=1e-4)
    np.testing.assert_allclose(alignment, axes, atol=1e-9)
    wobble = np.radians(2.0) * np.array([(-1) ** n for n in range(12)])
    off = Rotation.from_rotvec(wobble[:, None] * [0, 0, 1]).as_matrix()
    np.testing.assert_allclose(pose_errors(truth @ off @ axes, truth)[0], 2.0, atol=1e-3)


def test_a_panorama_is_sampled_where_it_says() -> None:
    towards = panorama_directions(32)
    panorama = np.clip(127 + 127 * towards, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(sample_panorama(panorama, towards), panorama)
    rotation = Rotation.from_rotvec([0.3, 0.2, 1.0]).as_matrix()
    turned = sample_panorama(panorama, towards @ rotation.T)
    expected = 127 + 127 * (towards @ rotation.T)
    assert np.abs(turned - expected).max() < 14  # a pixel is 5.6 degrees
    assert np.abs(turned - expected).mean() < 1.5


def test_psnr_is_that_of_the_error_in_the_area_shown() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(60, 180, (16, 32, 3), dtype=np.uint8)
    shown = np.zeros((16, 32), dtype=bool)
    shown[4:12] = True
    found = truth.copy()
    found[shown] += 10
    found[~shown] = 0
    assert psnr(found, truth, shown) == pytest.approx(20 * np.log10(255 / 10))
    assert psnr(evened(found, truth, shown), truth, shown) > 60


def test_outline_errors_are_relative_where_the_feature_is_no_small_one() -> None:
    truth = {"height_width": 0.8, "roundness": 0.9, "solidity": 1.0, "bumpiness": 0.01}
    found = truth | {"height_width": 0.84, "bumpiness": 0.013}
    relative, absolute = outline_errors(found, truth)
    assert relative == pytest.approx({"height_width": 0.05, "roundness": 0, "solidity": 0})
    assert absolute == pytest.approx({"bumpiness": 0.003})


def test_every_condition_can_be_filmed_and_has_melons_of_its_own() -> None:
    plan = capture_melons.melon_plan()
    settings = [str(capture_melons.melon_settings(*entry)) for entry in plan]
    assert len(set(settings)) == len(plan)
    for shot in capture_melons.SHOTS:
        Turn(**shot.turn)
    together = Turn(**capture_melons.SHOTS[-1].turn)
    assert (together.tilt, together.direction, together.occluded) == (10, -1, 0.1)


def test_a_melon_is_measured_against_the_truth(tmp_path: Path) -> None:
    turn = Turn(frames=18, fps=6, size=(192, 256))
    video = tmp_path / "melon.mp4"
    found = capture_melons.measure_melon(1, "standard", turn, video)
    assert found["error"] is None
    assert not video.exists()
    assert found["pose"] < 3
    assert found["psnr"] > 15
    assert found["psnr_evened"] >= found["psnr"]
    assert found["direction"]
    assert max(found["relative"].values()) < 0.05


def test_a_melon_that_does_not_unroll_is_told(tmp_path: Path) -> None:
    turn = Turn(fill=0.1, frames=4, fps=8, size=(240, 320))
    found = capture_melons.measure_melon(1, "standard", turn, tmp_path / "melon.mp4")
    assert found["error"]
    assert str(tmp_path) not in found["error"]


def test_an_unknown_part_and_missing_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="unknown part `x`"):
        run_capture_bench("x", tmp_path, tmp_path, tmp_path / "page.md")
    for part in ("fruit", "maps"):
        with pytest.raises(MezoroiError, match="does not exist: give the folder of data sets"):
            run_capture_bench(part, tmp_path, tmp_path, tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()


def test_the_page_says_what_was_not_run(tmp_path: Path) -> None:
    page = tmp_path / "capture.md"
    assert run_capture_bench("page", tmp_path, tmp_path, page) == 0
    assert page.read_text(encoding="utf-8").count(MISSING) > 20


def test_the_page_shows_the_cells_there_are(tmp_path: Path) -> None:
    ledgers = open_ledgers(tmp_path / "capture.md", PARTS)
    fruit = {
        "error": None,
        "degrees_turned": 350.0,
        "covered": 0.97,
        "angles": {
            "unrolled": [1.0, 2.0, 3.0, None],
            "constant step": [7.0] * 4,
            "strip mosaic": [9.0] * 4,
        },
        "noise": {"squares": 40.0, "free": 10, "radius": 100.0, "angles": [0.5] * 32},
    }
    fail = {"error": "the fruit does not turn: turn it"}
    for name, cell in (("oranges/obj0001", fruit), ("oranges/obj0002", fail)):
        ledgers["fruit"].compute(capture_marks.fruit_settings(name), lambda cell=cell: cell)
    turned = {"error": None, "degrees_turned": 292.0, "width": 337}
    angles = {"angles": [1.5, 2.5], "stretched": [4.0, 4.0], "authors": [1.0, 1.0]}
    ledgers["maps"].compute(capture_maps.map_settings("orange/obj0001"), lambda: turned | angles)
    melon = {
        "error": None,
        "pose": 0.4,
        "degrees": 1.0,
        "direction": True,
        "covered": 0.97,
        "psnr": 27.0,
        "psnr_evened": 28.0,
        "relative": {"height_width": 0.01, "roundness": 0.002},
        "absolute": {"bumpiness": 0.001},
    }
    shot = capture_melons.SHOTS[0]
    ledgers["melons"].compute(capture_melons.melon_settings(shot, 0), lambda: melon)
    graded = {"truth": [0, 1, 2, 3], "surface": [0, 1, 2, 3], "video": [0, 1, 2, -1]}
    ledgers["grading"].compute(
        capture_grading.grading_settings(capture_grading.SEEDS[0]),
        lambda: graded | {"specimens": list("abcd"), "failures": ["d: no fruit"]},
    )
    stages = {"turn": 1.5, "rest": 0.5}
    fast = {"total": 2.0, "stages": stages, "memory": {"imported": 100.2, "peak": 640.0}}
    ledgers["speed"].compute(speed.speed_settings(), lambda: fast)
    page = capture_page(ledgers)
    assert "| oranges | 1 of 10 | 4 (1 off) | 2.00 / 2.90 | 7.00 / 7.00 |" in page
    assert "2.0 px, 1.1 degrees at the centre (1 fruits) | 1.00 / 1.00 |" in page
    assert "- oranges/obj0002: the fruit does not turn" in page
    assert "| orange/obj0001 | 292 | 337 px | 2 | 2.00 / 2.45 | 4.00 / 4.00 |" in page
    assert f"| plain | 1 of 4, 3 {MISSING} | 0.40 (0.40) | 27.0 (27.0) |" in page
    assert "1 % (1 %, height_width)" in page
    assert "Video minus surface: -25.0 points" in page
    assert "- d: no fruit" in page
    assert "takes 0.25 of the video's duration" in page
    assert "| turn | 1.50 s | 75% |" in page
    assert "3840 x 2160 pixels: 640 MB, of which 100 MB before it began" in page


def test_a_video_that_cannot_be_graded_counts_as_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standard = GradingStandard.melon()

    class AlwaysB:
        """Grades surfaces as B and fails on one video."""

        def __init__(self) -> None:
            self.standard = standard

        def grade_many(self, paths, batch_size):
            for number, path in enumerate(paths):
                if path.name == "video.mp4" and number == 1:
                    yield GradingFailure(str(path), "no fruit stands out")
                else:
                    yield SimpleNamespace(grade="B")

    def train(learning, config, run, **_):
        assert {item.split for item in learning} >= {"train", "test"}
        assert config.train.seed == capture_grading.DRAW
        run.mkdir()
        return AlwaysB()

    monkeypatch.setattr(capture_grading, "train", train)
    monkeypatch.setattr(capture_grading, "write_melons", partial(write_melons, height=64))
    monkeypatch.setattr(
        capture_grading, "_film", lambda test, out, *_: [out / name for name in test.specimens]
    )
    run = tmp_path / "run"
    found = capture_grading.grade_both_ways(Config(), 7, (4, 1), tmp_path, run)
    assert sorted(found["truth"]) == [0, 1, 2, 3]
    assert found["surface"] == [1, 1, 1, 1]
    assert found["video"] == [1, -1, 1, 1]
    assert found["failures"] == [f"{found['specimens'][1]}: no fruit stands out"]
    assert not run.exists()
