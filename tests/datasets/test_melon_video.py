"""Rotation videos of made-up melons: what the truth says is what the frames show."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import av
import numpy as np
import pytest

from mezoroi.datasets import load_dataset
from mezoroi.datasets.melons import (
    Body,
    Conditions,
    Texture,
    Turn,
    collection,
    draw_turn,
    make_melon,
    render_views,
    silhouettes,
    write_melons,
    write_video,
)
from mezoroi.datasets.melons.render import render_surface
from mezoroi.datasets.melons.sphere import Waves, direction, directions
from mezoroi.errors import MezoroiError

SMALL = Turn(frames=6, size=(96, 128), hand_jitter=1.0, unevenness=0.2, tilt=8)
PLAIN = Conditions(
    elevation=30.0,
    side=20.0,
    ambient=0.5,
    exposure=1.0,
    contrast=1.0,
    white_balance=(1.0, 1.0, 1.0),
    flicker=0.0,
    vignette=0.2,
    blur=0.0,
    noise=0.0,
)


@pytest.fixture(scope="module")
def melon():
    return make_melon("D", np.random.default_rng(3), height=64)


def make_body(height=1.0, asymmetry=0.0, bumps=()):
    towards = [direction(latitude, longitude) for latitude, longitude, *_ in bumps]
    return Body(
        height=height,
        asymmetry=Waves.draw(np.random.default_rng(0), 1.6),
        asymmetry_size=asymmetry,
        bump_directions=np.array(towards, dtype=np.float32).reshape(-1, 3),
        bump_heights=np.array([bump[2] for bump in bumps], dtype=np.float32),
        bump_widths=np.array([bump[3] for bump in bumps], dtype=np.float32),
    )


def even_texture(albedo=0.4, height=128):
    shape = (height, 2 * height)
    return Texture(
        np.full((*shape, 3), albedo, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    )


def shoot(body, texture, turn, conditions=PLAIN, seed=0):
    frames, truth = render_views(body, texture, conditions, turn, np.random.default_rng(seed))
    return np.array(list(frames)), truth


def shoot_melon(melon, turn, seed=0):
    return shoot(melon.body, melon.texture, turn, replace(PLAIN, noise=2.0, flicker=0.05), seed)


def test_frames_depend_on_the_generator_alone(melon):
    turn = replace(SMALL, occluded=0.5, exposure_drift=0.1, background="textured")
    (first, truth), (second, again) = shoot_melon(melon, turn), shoot_melon(melon, turn)
    assert first.shape == (6, 96, 128, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(truth.poses, again.poses)
    assert (first != shoot_melon(melon, turn, seed=1)[0]).any()
    assert draw_turn(np.random.default_rng(1)) == draw_turn(np.random.default_rng(1))
    assert draw_turn(np.random.default_rng(1)) != draw_turn(np.random.default_rng(2))


@pytest.mark.parametrize("direction_", [1, -1])
def test_the_turn(melon, direction_):
    turn = Turn(degrees=400, direction=direction_, start=30, frames=41, size=(32, 32))
    truth = shoot_melon(melon, turn)[1]
    np.testing.assert_allclose(truth.angles, direction_ * np.arange(41) * 10, atol=1e-9)
    np.testing.assert_allclose(
        truth.poses @ truth.poses.transpose(0, 2, 1) - np.eye(3), 0, atol=1e-12
    )
    np.testing.assert_allclose(truth.poses[0] @ direction(0, 30), (0, 0, 1), atol=1e-6)
    np.testing.assert_allclose(truth.poses[:, :, 2] - (0, 1, 0), 0, atol=1e-12)
    # Counterclockwise from above, what faces the viewer moves to the right.
    assert np.sign((truth.poses[1] @ direction(0, 30))[0]) == direction_
    uneven = shoot_melon(melon, replace(turn, unevenness=0.5))[1]
    speed = np.abs(np.diff(uneven.angles))
    assert abs(uneven.angles[-1]) == pytest.approx(400)
    assert 1.2 < speed.max() / speed.min() < 3.01
    leaning = shoot_melon(melon, replace(turn, tilt=20, roll=10))[1]
    axis = leaning.poses[7][:, 2]
    assert axis[2] == pytest.approx(np.sin(np.deg2rad(20)))
    assert np.rad2deg(np.arctan2(-axis[0], axis[1])) == pytest.approx(10)


@pytest.mark.parametrize("nearness", [0.0, 0.25])
def test_a_mark_is_where_the_pose_says(nearness):
    body = make_body(height=0.85, asymmetry=0.01, bumps=[(10, 60, 0.1, 0.3)])
    towards = direction(20, 40)
    texture = even_texture()
    spot = np.exp((directions(128) @ towards - 1) / np.deg2rad(2) ** 2)
    texture.albedo[...] -= 0.39 * spot[..., None]
    turn = Turn(
        frames=12, start=10, tilt=12, roll=-6, hand_jitter=3, nearness=nearness, size=(240, 320)
    )
    light = replace(PLAIN, ambient=1.0, vignette=0.0)
    marked, truth = shoot(body, texture, turn, light)
    clean, _ = shoot(body, even_texture(), turn, light)
    seen = 0
    for frame, darker in enumerate(clean[..., 1].astype(float) - marked[..., 1]):
        place = truth.poses[frame] @ towards
        if place[2] < -0.3:
            assert darker.max() < 8
        elif place[2] > 0.5:
            rows, columns = np.mgrid[:240, :320]
            found = np.array([(darker * columns).sum(), (darker * rows).sum()]) / darker.sum()
            where = truth.project(frame, towards * body(towards))
            np.testing.assert_allclose(found, where, atol=0.4)
            seen += 1
    assert seen >= 3


@pytest.mark.parametrize(
    "body",
    [
        make_body(),
        make_body(0.75, 0.012),
        make_body(1.3, 0.012),
        make_body(1.0, 0.01, [(20, 30, 0.14, 0.25), (-30, 150, 0.12, 0.3)]),
    ],
    ids=["sphere", "flattened", "elongated", "bumped"],
)
def test_silhouettes_agree(body):
    views = 8
    # The views of `silhouettes` go around the fruit counterclockwise, so it turns clockwise.
    turn = Turn(degrees=360 - 360 / views, direction=-1, frames=views, nearness=0, size=(240, 240))
    bright = replace(PLAIN, ambient=1.0, exposure=9.0, vignette=0.0)
    frames, truth = shoot(body, even_texture(0.9), turn, bright)
    black, _ = shoot(body, even_texture(0.0), turn, bright)
    for frame, polygon in enumerate(silhouettes(body, views=views, points=720)):
        cover = (frames[frame, ..., 1].astype(float) - black[frame, ..., 1]) / 255
        size = np.array([cover.max(axis=axis).sum() for axis in (0, 1)]) / truth.scales[frame]
        np.testing.assert_allclose(size, np.ptp(polygon, axis=0), rtol=0.004)
        x, y = polygon.T
        area = abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2
        assert cover.sum() / truth.scales[frame] ** 2 == pytest.approx(area, rel=0.001)


def test_the_facing_column_is_lit_as_in_the_panorama():
    grid = directions(64)
    relief = 0.02 * Waves.draw(np.random.default_rng(0), 6.0)(grid)[..., 0]
    albedo = 0.3 + 0.1 * Waves.draw(np.random.default_rng(1), 4.0, 3)(grid)
    texture = Texture(np.clip(albedo, 0.05, 0.6), relief)
    panorama = render_surface(np.random.default_rng(0), texture, PLAIN).astype(float)
    facing = (panorama[:, 63] + panorama[:, 64]) / 2
    turn = Turn(frames=2, nearness=0, size=(256, 256))
    frames, truth = shoot(make_body(), texture, turn)
    rows = np.arange(60, 196)
    latitude = np.arcsin((truth.centres[0, 1] - rows) / truth.scales[0])
    row = (np.pi / 2 - latitude) * 64 / np.pi - 0.5
    for channel in range(3):
        expected = np.interp(row, np.arange(64), facing[:, channel])
        seen = frames[0, rows, 127:129, channel].mean(axis=1)
        np.testing.assert_allclose(seen, expected, atol=3)


TRUTH = ("poses", "centres", "scales", "angles", "occluded")


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({"motion_blur": 0.3}, ()),
        ({"exposure_drift": 0.3}, ()),
        ({"glare": 0.8}, ()),
        ({"background": "light"}, ()),
        ({"background": "textured"}, ()),
        ({"support": "stem"}, ()),
        ({"support": "plate"}, ()),
        ({"occluded": 0.5}, ("occluded",)),
        ({"unevenness": 0.5}, ("poses", "angles")),
        ({"tilt": 20.0}, ("poses",)),
        ({"roll": 20.0}, ("poses",)),
        ({"hand_jitter": 3.0}, ("centres", "scales")),
        ({"nearness": 0.3}, ("scales",)),
    ],
    ids=lambda value: "-".join(map(str, value.items())) if isinstance(value, dict) else "",
)
def test_a_nuisance_changes_pictures_and_nothing_else(melon, change, moved):
    before, truth = shoot_melon(melon, SMALL)
    after, other = shoot_melon(melon, replace(SMALL, **change))
    assert np.abs(before.astype(int) - after).max() > 10
    for name in TRUTH:
        same = np.array_equal(getattr(truth, name), getattr(other, name))
        assert same == (name not in moved), name


def test_things_around_the_fruit_do_not_touch_it(melon):
    plain, truth = shoot_melon(melon, SMALL)
    rows, columns = np.mgrid[:96, :128]
    for change in ({"support": "stem"}, {"support": "plate"}, {"background": "light"}):
        for frame, image in enumerate(shoot_melon(melon, replace(SMALL, **change))[0]):
            offset = np.hypot(*(np.stack([columns, rows], axis=-1) - truth.centres[frame]).T).T
            inside = offset < 0.8 * truth.scales[frame]
            np.testing.assert_array_equal(image[inside], plain[frame][inside])
    shiny, _ = shoot_melon(melon, replace(SMALL, glare=1.0))
    assert shiny.reshape(6, -1).max(axis=1).min() >= 250
    np.testing.assert_array_equal(shiny[:, :5], plain[:, :5])


def test_the_hand_is_where_the_truth_says(melon):
    turn = replace(SMALL, frames=10, occluded=0.3)
    plain, _ = shoot_melon(melon, replace(turn, occluded=0.0))
    frames, truth = shoot_melon(melon, turn)
    changed = np.array([(a != b).any() for a, b in zip(plain, frames, strict=True)])
    np.testing.assert_array_equal(changed, truth.occluded)
    assert truth.occluded.sum() == 3
    assert np.abs(np.diff(truth.occluded.astype(int))).sum() <= 2


@pytest.mark.parametrize(
    "change", [{"unevenness": 1.0}, {"background": "pink"}, {"size": (95, 128)}, {"frames": 1}]
)
def test_unusable_turns(change):
    with pytest.raises(MezoroiError, match=f"filmed with {next(iter(change))}"):
        replace(SMALL, **change)


def read_video(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.array(frames), stream.average_rate


def test_a_video_reads_back(melon, tmp_path):
    frames, _ = shoot(melon.body, melon.texture, SMALL)
    write_video(tmp_path / "one.mp4", iter(frames), 15)
    write_video(tmp_path / "two.mp4", frames, 15)
    found, rate = read_video(tmp_path / "one.mp4")
    assert rate == 15
    assert found.shape == frames.shape
    assert np.abs(found.astype(int) - frames).mean() < 3
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_unusable_videos_leave_no_file(tmp_path):
    with pytest.raises(MezoroiError, match="no frame"):
        write_video(tmp_path / "none.mp4", [], 15)
    with pytest.raises(MezoroiError, match="even numbers"):
        write_video(tmp_path / "odd.mp4", [np.zeros((33, 32, 3), dtype=np.uint8)], 15)
    assert not list(tmp_path.iterdir())


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_set_with_videos(tmp_path, monkeypatch):
    monkeypatch.setattr(
        collection, "draw_turn", lambda rng: draw_turn(rng, frames=8, size=(64, 96))
    )
    write_melons(tmp_path / "plain", 1, seed=4, height=64)
    write_melons(tmp_path / "filmed", 1, seed=4, height=64, video=True)
    plain, filmed = content(tmp_path / "plain"), content(tmp_path / "filmed")
    captures = [name for name in plain if name.startswith("captures/")]
    assert all(filmed[name] == plain[name] for name in captures)
    added = {name.rsplit("/")[-1] for name in set(filmed) - set(plain)}
    assert added == {"video.mp4", "pose.json"}
    assert "video" not in json.loads(plain["melons.json"])
    assert json.loads(filmed["melons.json"])["video"] is True
    with (tmp_path / "filmed" / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        video = tmp_path / "filmed" / row["video"]
        pose = json.loads(video.with_name("pose.json").read_text(encoding="utf-8"))
        assert read_video(video)[0].shape == (8, 64, 96, 3)
        assert np.shape(pose["poses"]) == (8, 3, 3)
        assert np.shape(pose["centres"]) == (8, 2)
        assert len(pose["scales"]) == len(pose["angles"]) == len(pose["occluded"]) == 8
        assert Turn(**pose["turn"] | {"size": tuple(pose["turn"]["size"])}).fps == 15
    assert len({row["video"] for row in rows}) == 4
    assert len(load_dataset(tmp_path / "filmed", trainable=False).observations) == 4
    with pytest.raises(MezoroiError, match="made otherwise"):
        write_melons(tmp_path / "plain", 1, seed=4, height=64, video=True)
    (tmp_path / "filmed" / "manifest.csv").unlink()
    write_melons(tmp_path / "filmed", 1, seed=4, height=64, video=True)
    assert content(tmp_path / "filmed") == filmed
