"""Made-up melons: true to their grade, seamless, and not gradable by colour."""

from __future__ import annotations

import csv
import hashlib
import shutil

import numpy as np
import pytest
from scipy.spatial import cKDTree
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mezoroi.capture.outline import outline_features
from mezoroi.datasets import load_dataset, read_mask
from mezoroi.datasets.melons import (
    GRADES,
    Body,
    Conditions,
    indexed_melon,
    make_melon,
    silhouettes,
    write_melons,
)
from mezoroi.datasets.melons.net import _scatter, even_cells, grow_net
from mezoroi.datasets.melons.regions import Regions, paint
from mezoroi.datasets.melons.render import render_surface
from mezoroi.datasets.melons.sphere import Waves, blur, directions, noise, upsample
from mezoroi.datasets.melons.styles import style_of
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard


@pytest.fixture(scope="module")
def melons():
    """100 melons of each grade, small."""
    return [indexed_melon(index, seed=5, height=64)[0] for index in range(400)]


def of_grade(melons, grade):
    return [melon for melon in melons if melon.grade == grade]


def spheroid(height, bumps=()):
    towards = np.array([bump[0] for bump in bumps], dtype=np.float32).reshape(-1, 3)
    return Body(
        height=height,
        asymmetry=Waves.draw(np.random.default_rng(0), 1.6),
        asymmetry_size=0.0,
        bump_directions=towards,
        bump_heights=np.array([bump[1] for bump in bumps], dtype=np.float32),
        bump_widths=np.array([bump[2] for bump in bumps], dtype=np.float32),
    )


def test_grades_and_features_agree(melons):
    assert [melon.grade for melon in melons] == list(GRADES) * 100
    standard = GradingStandard.melon()
    for melon in melons:
        present = {"C"} if melon.features["C"] >= 0.5 else set()
        present |= {grade for grade in "BD" if melon.features[grade] > 0}
        assert standard.decide(present or {"A"}) == melon.grade
        weaker = present - {melon.grade}
        if weaker:
            assert melon.secondary == standard.decide(weaker)
        else:
            assert melon.secondary in (None, "A")
        if melon.grade == "A":
            assert melon.secondary is None


def test_masks(melons):
    areas = {}
    for melon in melons:
        shape = melon.surface.shape[:2]
        assert all(mask.shape == shape and mask.dtype == bool for mask in melon.masks.values())
        assert sum(mask.astype(int) for mask in melon.masks.values()).max() <= 1
        for grade in "ABD":
            assert melon.features[grade] == pytest.approx(melon.masks[grade].mean())
        if melon.grade in melon.masks:
            areas.setdefault(melon.grade, []).append(melon.masks[melon.grade].mean())
    assert min(areas["A"]) >= 0.54
    assert max(areas["A"]) <= 0.74
    assert min(areas["B"]) >= 0.10
    assert max(areas["B"]) <= 0.55
    assert min(areas["D"]) >= 0.015
    assert max(areas["D"]) <= 0.25
    # The IoU of a map that marks everything with a mask is the mask's share.
    assert np.mean([np.mean(values) for values in areas.values()]) <= 0.42


def test_colour_does_not_grade(melons):
    labels = np.array([melon.grade for melon in melons])
    train = np.arange(len(melons)) < 240
    for describe in (colour_histogram, mean_colour):
        features = np.array([describe(melon.surface) for melon in melons])
        accuracies = []
        for strength in (0.01, 1.0):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
            model.fit(features[train], labels[train])
            accuracies.append(model.score(features[~train], labels[~train]))
        assert max(accuracies) < 0.45  # chance is 0.25


def colour_histogram(surface):
    counts = [np.histogram(surface[..., c], 16, (0, 256))[0] for c in range(3)]
    return np.concatenate(counts) / surface[..., 0].size


def mean_colour(surface):
    return np.concatenate([surface.mean(axis=(0, 1)), surface.std(axis=(0, 1))])


def test_mean_look_is_the_same_for_every_grade(melons):
    """Grade means differ by less than half the spread within a grade."""
    look = np.array([mean_colour(melon.surface) for melon in melons])
    labels = np.array([melon.grade for melon in melons])
    means = np.array([look[labels == grade].mean(axis=0) for grade in GRADES])
    spread = np.mean([look[labels == grade].std(axis=0) for grade in GRADES], axis=0)
    assert (np.ptp(means, axis=0) < 0.5 * spread).all()


def test_distorted_bodies_show_in_the_outline(melons):
    distorted = np.array([melon.features["C"] >= 0.5 for melon in melons])
    outlines = np.array([list(melon.outline.values()) for melon in melons])
    train = np.arange(len(melons)) < 240
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    found = model.fit(outlines[train], distorted[train]).predict(outlines[~train])
    assert found[distorted[~train]].mean() > 0.9
    assert found[~distorted[~train]].mean() < 0.1


@pytest.mark.parametrize("height", [0.75, 1.0, 1.25])
def test_a_spheroid_is_seen_as_an_ellipse(height):
    seen = silhouettes(spheroid(height), views=6, points=360)
    found = outline_features(seen)
    assert found["height_width"] == pytest.approx(height, rel=2e-3)
    assert found["height_width_variation"] == pytest.approx(0, abs=1e-5)
    for polygon in seen:
        on_ellipse = polygon[:, 0] ** 2 + (polygon[:, 1] / height) ** 2
        np.testing.assert_allclose(on_ellipse, 1, atol=4e-3)


def test_a_bump_is_seen_from_the_side_alone():
    bumped = spheroid(1.0, [((1.0, 0.0, 0.0), 0.1, 0.3)])
    side, front = silhouettes(bumped, views=4)[1], silhouettes(bumped, views=4)[0]
    assert np.abs(side[:, 0]).max() == pytest.approx(1.1, abs=1e-3)
    assert np.abs(front[:, 0]).max() < 1.01
    assert bumped.deviation > 0.5


def test_noise_has_no_seam_and_no_pole():
    field = noise(np.random.default_rng(1), 6.0, 128)
    steps = np.abs(np.diff(field, axis=1)).max()
    assert np.abs(field[:, 0] - field[:, -1]).max() <= 1.1 * steps
    assert np.ptp(field[0]) < 0.4
    assert np.ptp(field[-1]) < 0.4
    coarse = np.ascontiguousarray(directions(32)[..., 0])
    np.testing.assert_allclose(upsample(coarse, 128), directions(128)[..., 0], atol=0.01)


def test_noise_is_standardised():
    points = np.random.default_rng(0).normal(size=(20000, 3)).astype(np.float32) * 50
    values = Waves.draw(np.random.default_rng(3), 5.0, channels=2)(points)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=0.03)


def test_blur_keeps_a_constant_and_crosses_the_seam():
    assert blur(np.ones((32, 64), dtype=np.float32), 2.0) == pytest.approx(1)
    spot = np.zeros((32, 64), dtype=np.float32)
    spot[16, 0] = 1
    smooth = blur(spot, 2.0)
    assert smooth[16, 63] == pytest.approx(smooth[16, 1])
    assert smooth.sum() == pytest.approx(1, abs=1e-3)


def nearest_variation(cells, chosen):
    distance = cKDTree(cells).query(cells[chosen], k=2)[0][:, 1]
    return distance.std() / distance.mean()


def test_order_follows_the_disorder_field():
    rng = np.random.default_rng(0)
    east = (directions(128)[..., 1] > 0).astype(np.float32)
    cells = _scatter(rng, 0.2, east, Waves.draw(rng, 10.0, channels=3))
    regular = nearest_variation(cells, cells[:, 1] < -0.1)
    assert regular < 0.22
    assert nearest_variation(cells, cells[:, 1] > 0.1) > 1.5 * regular
    plain = even_cells(rng, 300)
    assert nearest_variation(plain, slice(None)) < 0.2  # 0.52 for scattered points
    assert np.linalg.norm(plain, axis=1) == pytest.approx(1, abs=1e-5)


def test_disorder_does_not_change_the_cover():
    grid = directions(128)
    nothing = np.zeros(grid.shape[:2], dtype=np.float32)
    east = (grid[..., 1] > 0).astype(np.float32)
    judged = slice(25, -25)
    shares = []
    for seed in range(6):
        regions = Regions(np.array((0, 0, 1), dtype=np.float32), nothing, east, nothing)
        cover = grow_net(np.random.default_rng(seed), style_of("standard"), regions).cover[judged]
        irregular = east[judged] > 0.5
        shares.append((cover[irregular].mean(), cover[~irregular].mean()))
    irregular, regular = np.mean(shares, axis=0)
    assert irregular == pytest.approx(regular, rel=0.08)


def test_painting_is_coarse():
    field = np.zeros((128, 256), dtype=np.float32)
    field[40:80, 100:160] = 1
    field[60, 20] = 1  # a speck nobody would paint
    mask = paint(field)
    assert not mask[55:65, 15:25].any()
    assert mask[45:75, 105:155].all()
    assert paint(field, growth=10).sum() > mask.sum()


def test_light_is_apart_from_the_surface():
    melon = make_melon("D", np.random.default_rng(3), height=64)
    style = style_of("standard")
    days = [Conditions.draw(np.random.default_rng(seed), style) for seed in (1, 1, 2)]
    views = [render_surface(np.random.default_rng(0), melon.texture, day) for day in days]
    np.testing.assert_array_equal(views[0], views[1])
    assert np.abs(views[0].astype(int) - views[2]).mean() > 3
    assert melon.texture.albedo.shape == (64, 128, 3)
    assert melon.texture.albedo.min() >= 0
    assert melon.texture.albedo.max() <= 1
    assert melon.body(directions(16)).shape == (16, 32)


def test_chance_comes_from_the_generator_alone():
    first, second, other = (
        make_melon("B", np.random.default_rng(seed), height=64) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.surface, second.surface)
    assert first.outline == second.outline
    assert (first.surface != other.surface).any()
    held_out = make_melon("B", np.random.default_rng(1), height=64, variant="held-out")
    assert (first.surface != held_out.surface).any()


def test_default_panorama():
    melon = make_melon("A", np.random.default_rng(0))
    assert melon.surface.shape == (256, 512, 3)
    assert melon.surface.dtype == np.uint8


def test_unusable_arguments(tmp_path):
    rng = np.random.default_rng(0)
    with pytest.raises(MezoroiError, match="grade `E`"):
        make_melon("E", rng)
    with pytest.raises(MezoroiError, match="variant `other`"):
        make_melon("A", rng, variant="other")
    with pytest.raises(MezoroiError, match="100 high"):
        make_melon("A", rng, height=100)
    with pytest.raises(MezoroiError, match="start at 1"):
        write_melons(tmp_path / "none", 0, 1)
    assert not (tmp_path / "none").exists()


def content(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("melons") / "set"
    write_melons(out, 3, seed=9, height=64)
    return out


def test_a_set_loads_as_a_dataset(written):
    dataset = load_dataset(written)
    standard = GradingStandard.from_yaml(written / "standard.yaml")
    assert standard == GradingStandard.melon()
    assert [row.grade for row in dataset.observations] == list(GRADES) * 3
    assert len({row.specimen for row in dataset.observations}) == 12
    for index, row in enumerate(dataset.observations):
        melon, session = indexed_melon(index, 9, height=64)
        assert str(row.session) == str(session)
        assert 1 <= session <= 18
        assert row.outline == pytest.approx(melon.outline)
        for grade, mask in melon.masks.items():
            found = read_mask(row.mask, grade, standard, (64, 128))
            np.testing.assert_array_equal(found, mask)


def test_manifest(written):
    with (written / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = ["image", "grade", "specimen", "session", "mask", "outline", "secondary"]
    assert list(rows[0]) == columns + [f"features.{grade}" for grade in GRADES]
    assert [row["specimen"] for row in rows] == [f"melon-{i:04d}" for i in range(1, 13)]
    for row in rows:
        assert all((written / row[name]).is_file() for name in ("image", "mask", "outline"))


def test_an_interrupted_set_is_resumed(written, tmp_path):
    out = tmp_path / "set"
    shutil.copytree(written, out)
    shutil.rmtree(out / "captures" / "melon-0005")
    (out / "manifest.csv").unlink()
    steps = []
    write_melons(out, 3, seed=9, height=64, progress=steps.append)
    assert steps == [12]
    assert content(out) == content(written)


def test_melons_depend_on_seed_and_index_alone(written, tmp_path):
    write_melons(tmp_path / "two", 2, seed=9, height=64, workers=2)
    whole = content(written)
    part = content(tmp_path / "two")
    captures = [name for name in part if name.startswith("captures/")]
    assert len(captures) == 8 * 4
    assert all(part[name] == whole[name] for name in captures)


def test_a_folder_with_something_else_is_refused(written, tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(MezoroiError, match="not empty"):
        write_melons(tmp_path, 1, seed=0, height=64)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(MezoroiError, match="made otherwise"):
        write_melons(written, 3, seed=10, height=64)
