"""Training end to end on a few melons: what changes, what stays, and resuming."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from safetensors.torch import load_file

import mezoroi as mz
from mezoroi.bundle import build_network
from mezoroi.capture.images import read_image
from mezoroi.config import Config
from mezoroi.losses.heads import head_logits, head_loss, make_head, shared_losses
from mezoroi.models.preprocess import fit_image
from mezoroi.training import GradingModule, finished_epochs
from mezoroi.training.fit import EpochLog, MovableCheckpoint

Make = Callable[..., Config]
STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
FROZEN = ("network.encoder.stages.0.", "network.encoder.stages.1.", "network.encoder.stages.2.")


@pytest.fixture(scope="module")
def untrained(grader: mz.Grader) -> dict[str, torch.Tensor]:
    """The tensors that the training of `run_dir` started from."""
    bundle = grader.bundle
    weights, outlines = bundle.config.model.weights, len(bundle.outline_names)
    network, head = build_network(
        bundle.standard, bundle.config, outlines, bundle.size.wraps, weights
    )
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    return tensors | {f"head.{name}": value for name, value in head.state_dict().items()}


@pytest.fixture(scope="module")
def fresh_views_run(
    dataset: mz.Dataset, tiny: Make, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """As `run_dir`, without a cache."""
    folder = tmp_path_factory.mktemp("runs") / "fresh"
    mz.train(dataset, tiny("train.cached_views=0", "train.epochs=1"), folder)
    return folder


@pytest.fixture(params=["cached", "fresh"])
def trained(
    request: pytest.FixtureRequest, run_dir: Path, fresh_views_run: Path
) -> dict[str, torch.Tensor]:
    folder = run_dir if request.param == "cached" else fresh_views_run
    return load_file(folder / "grader.safetensors")


def test_the_heads_own_weights_are_trained_and_saved(
    trained: dict[str, torch.Tensor], untrained: dict[str, torch.Tensor]
) -> None:
    moved = (trained["head.W"] - untrained["head.W"]).abs()
    assert moved.min(dim=0).values.max() > 0  # every grade's weights moved
    assert (moved > 0).float().mean() > 0.9


def test_frozen_stages_keep_their_weights_and_the_backbone_its_batch_statistics(
    trained: dict[str, torch.Tensor], untrained: dict[str, torch.Tensor]
) -> None:
    statistics = [n for n in trained if n.startswith("network.encoder.") and n.endswith(STATISTICS)]
    names = [name for name in trained if name.startswith(FROZEN)] + statistics
    assert len(statistics) > 30 and any(not name.startswith(FROZEN) for name in statistics)
    changed = [name for name in names if not torch.equal(trained[name], untrained[name])]
    assert changed == []


def test_all_else_is_trained_with_the_batch_statistics_of_the_new_layers(
    trained: dict[str, torch.Tensor], untrained: dict[str, torch.Tensor]
) -> None:
    encoder = [n for n in trained if n.startswith("network.encoder.") and not n.startswith(FROZEN)]
    weights = [name for name in encoder if name.endswith((".weight", ".bias"))]
    fixed = ("network.encoder.", "network.alike.")
    new = [name for name in trained if not name.startswith(fixed)]
    measured = ("network.outline_encoder.mean", "network.outline_encoder.deviation")
    assert len(weights) > 10 and sum(name.endswith(STATISTICS) for name in new) == 9
    assert set(measured) <= set(new)
    same = [n for n in [*weights, *new] if torch.equal(trained[n], untrained[n])]
    assert same == []


def test_prototypes_are_the_means_of_the_training_embeddings(
    grader: mz.Grader, run_dir: Path, dataset: mz.Dataset
) -> None:
    splits = grader.bundle.data["splits"]
    network, names = grader.network, grader.bundle.outline_names
    sums: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for item in dataset:
        if splits[item.id] != "train":
            continue
        pixels = fit_image(read_image(item.image), 64, 128).pixels
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
        assert item.outline is not None
        outline = torch.tensor([[item.outline[name] for name in names]])
        with torch.inference_mode():
            output = network(network.prepare(image), outline)
        pooled = output.feature_map[0].double().mean(dim=(1, 2)).numpy()
        sums.setdefault(item.grade, []).append((output.embedding[0].double().numpy(), pooled))
    stored = load_file(run_dir / "prototypes.safetensors")
    for index, grade in enumerate(dataset.standard.grades):
        embedding, pooled = (np.mean(values, axis=0) for values in zip(*sums[grade], strict=True))
        np.testing.assert_allclose(stored["embeddings"][index], embedding, atol=2e-4)
        np.testing.assert_allclose(stored["features"][index], pooled, atol=2e-4)


def test_thresholds_are_the_fifth_percentile_over_held_out_fruits(
    grader: mz.Grader, dataset: mz.Dataset
) -> None:
    splits = grader.bundle.data["splits"]
    similarity: dict[str, list[float]] = {grade: [] for grade in dataset.standard.grades}
    for item in dataset:
        if splits[item.id] == "val":
            grading = grader.grade(item.image)
            similarity[item.grade].append(grading.similarity[item.grade])
    for grade, value in grading.thresholds.items():
        assert value == pytest.approx(np.percentile(similarity[grade], 5), abs=1e-5)


def test_a_loaded_grader_gives_the_gradings_of_the_trained_one(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path
) -> None:
    trained = mz.train(dataset, tiny("train.epochs=1"), tmp_path / "run")
    loaded = mz.Grader.load(tmp_path / "run")
    for item in dataset.observations[:4]:
        one, other = trained.grade(item.image), loaded.grade(item.image)
        assert one.to_dict() == other.to_dict()
        for grade, values in one.activation_maps.items():
            np.testing.assert_array_equal(values, other.activation_maps[grade])


def test_training_is_deterministic_and_leaves_the_global_generators_alone(
    dataset: mz.Dataset,
    tiny: Make,
    fresh_views_run: Path,
    tmp_path: Path,
    rng_state: Callable[[], object],
) -> None:
    torch.manual_seed(987)
    before = rng_state()
    grader = mz.train(dataset, tiny("train.cached_views=0", "train.epochs=1"), tmp_path / "run")
    grader.grade(dataset.observations[0].image)
    assert rng_state() == before
    assert_same_weights(fresh_views_run, tmp_path / "run")


def test_the_run_folder_tells_its_epochs_and_settings(run_dir: Path, tiny: Make) -> None:
    rows = list(csv.DictReader((run_dir / "epochs.csv").open(encoding="utf-8")))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(np.isfinite(float(row["train_loss"])) for row in rows)
    learned = json.loads((run_dir / "grader.json").read_text(encoding="utf-8"))["data"]["splits"]
    assert {row["images"] for row in rows} == {str(list(learned.values()).count("train"))}
    assert finished_epochs(run_dir) == 2
    assert mz.make_config(file=run_dir / "config.yaml") == tiny()
    leftovers = [path.name for path in run_dir.rglob(".*")]
    assert leftovers == []


def assert_same_weights(one: Path, other: Path) -> None:
    for name in ("grader.safetensors", "prototypes.safetensors"):
        first, second = load_file(one / name), load_file(other / name)
        assert first.keys() == second.keys()
        for key, values in first.items():  # limits that no fruit gives are NaN in both
            torch.testing.assert_close(values, second[key], rtol=0, atol=0, equal_nan=True, msg=key)


@pytest.fixture(scope="module")
def straight(
    dataset: mz.Dataset, tiny: Make, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Path]:
    """The run folder of 3 epochs in one go, by the number of cached views."""

    @cache
    def run(views: int) -> Path:
        folder = tmp_path_factory.mktemp("straight") / "run"
        mz.train(dataset, tiny("train.epochs=3", f"train.cached_views={views}"), folder)
        return folder

    return run


@pytest.mark.parametrize(("views", "moment"), [(0, "step"), (2, "step"), (2, "epoch end")])
def test_an_interrupted_training_resumes_to_the_same_weights(
    dataset: mz.Dataset,
    tiny: Make,
    straight: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    views: int,
    moment: str,
) -> None:
    config = tiny("train.epochs=3", f"train.cached_views={views}")
    step, ended = GradingModule.training_step, EpochLog.on_train_epoch_end

    def step_until(self, batch, index):  # type: ignore[no-untyped-def]
        if self.current_epoch == 1 and index == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    def end_until(self, trainer, module):  # type: ignore[no-untyped-def]
        ended(self, trainer, module)
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        if moment == "step":
            patch.setattr(GradingModule, "training_step", step_until)
        else:  # after the epoch's line in the table, before its checkpoint
            patch.setattr(EpochLog, "on_train_epoch_end", end_until)
        with pytest.raises(KeyboardInterrupt):
            mz.train(dataset, config, tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (tmp_path / "run/grader.json").exists()
    assert finished_epochs(tmp_path / "run") == 1
    mz.train(dataset, config, tmp_path / "run", resume=True)
    assert_same_weights(straight(views), tmp_path / "run")
    logs = [(run / "epochs.csv").read_text() for run in (straight(views), tmp_path / "run")]
    assert logs[0] == logs[1]


def test_a_killed_training_resumes_to_the_same_weights(
    melons: Path,
    dataset: mz.Dataset,
    tiny: Make,
    small_backbone: tuple[str, str],
    straight: Callable[[int], Path],
    tmp_path: Path,
) -> None:
    settings = ["train.epochs=3", "train.cached_views=0"]
    script = textwrap.dedent(
        f"""
        import os, signal, torch, mezoroi as mz
        from mezoroi.training.fit import AtomicCheckpointIO
        torch.set_num_threads(1)
        save, saved = AtomicCheckpointIO.save_checkpoint, []
        def killing(self, *arguments, **options):
            save(self, *arguments, **options)
            saved.append(1)
            if len(saved) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        AtomicCheckpointIO.save_checkpoint = killing
        config = mz.make_config("tiny", overrides={[*small_backbone, *settings]!r})
        mz.train(mz.load_dataset({str(melons)!r}), config, {str(tmp_path / "run")!r})
        """
    )
    killed = subprocess.run([sys.executable, "-c", script], env=dict(os.environ), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert finished_epochs(tmp_path / "run") == 2
    mz.train(dataset, tiny(*settings), tmp_path / "run", resume=True)
    assert_same_weights(straight(0), tmp_path / "run")


def test_an_interrupted_training_in_a_folder_that_was_moved_keeps_its_best_epoch(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GradingModule, "validation_step", rising_loss)
    same = ("train.schedule=constant", "train.keep=best")
    ended = EpochLog.on_train_epoch_end

    def end_until(self, trainer, module):  # type: ignore[no-untyped-def]
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt
        ended(self, trainer, module)

    config = tiny("train.epochs=2", *same)
    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_train_epoch_end", end_until)
        with pytest.raises(KeyboardInterrupt):
            mz.train(dataset, config, tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    mz.train(dataset, config, tmp_path / "moved", resume=True)
    assert finished_epochs(tmp_path / "moved") == 2
    mz.train(dataset, tiny("train.epochs=1", *same), tmp_path / "first")
    assert_same_weights(tmp_path / "moved", tmp_path / "first")


def test_a_checkpoint_of_an_earlier_version_is_known() -> None:
    options = {"monitor": "val_loss", "mode": "min"}
    assert MovableCheckpoint(**options).state_key == ModelCheckpoint(**options).state_key


def rising_loss(self, batch, index):  # type: ignore[no-untyped-def]
    self.log("val_loss", float(self.current_epoch), batch_size=1)
    self.log("val_acc", 0.0, batch_size=1)


def test_training_stops_early_and_keeps_the_best_epoch(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GradingModule, "validation_step", rising_loss)
    same = ("train.schedule=constant", "train.keep=best", "train.patience=2")
    mz.train(dataset, tiny("train.epochs=9", *same), tmp_path / "long")
    assert finished_epochs(tmp_path / "long") == 3  # the best one and two without improvement
    mz.train(dataset, tiny("train.epochs=1", *same), tmp_path / "one")
    assert_same_weights(tmp_path / "long", tmp_path / "one")


def test_a_diverged_training_is_told(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = GradingModule.training_step

    def diverging(self, batch, index):  # type: ignore[no-untyped-def]
        return step(self, batch, index) * (float("nan") if self.current_epoch == 1 else 1)

    monkeypatch.setattr(GradingModule, "training_step", diverging)
    folder = tmp_path / "run"
    for resume in (False, True):
        with pytest.raises(mz.MezoroiError, match=r"diverged \(loss nan from epoch 1\): lower"):
            mz.train(dataset, tiny("train.epochs=3"), folder, resume=resume)
    assert not (folder / "grader.json").exists()


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_training_that_had_stopped_early_is_not_trained_on(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    monkeypatch.setattr(GradingModule, "validation_step", rising_loss)
    config = tiny("train.epochs=9", f"train.keep={keep}", "train.patience=1")
    mz.train(dataset, config, tmp_path / "run")
    assert finished_epochs(tmp_path / "run") == 2
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    (tmp_path / "killed" / "grader.json").unlink()  # ended between training and bundle
    mz.train(dataset, config, tmp_path / "killed", resume=True)
    assert finished_epochs(tmp_path / "killed") == 2
    assert_same_weights(tmp_path / "run", tmp_path / "killed")
    logs = [(tmp_path / name / "epochs.csv").read_text() for name in ("run", "killed")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("head", ["arcface", "softmax"])
def test_losses_of_the_embedding_are_float32_under_autocast(head: str, tiny: Make) -> None:
    generator = torch.Generator().manual_seed(3)
    module = make_head(tiny(f"loss.head={head}").loss, 4, 16)
    embeddings = torch.randn(8, 16, generator=generator)
    labels = torch.arange(8) % 4
    shown, shares = torch.stack([labels, labels.flip(0)], dim=1), torch.full((8, 2), 0.5)

    def losses(values: torch.Tensor) -> list[torch.Tensor]:
        return [
            head_loss(module, values, labels),
            head_logits(module, values),
            shared_losses(module, values, shown, shares),
        ]

    expected = losses(embeddings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (embeddings @ embeddings.T).dtype == torch.bfloat16
        found = losses(embeddings)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_it_learns(dataset: mz.Dataset, pretrained: Make, tmp_path: Path) -> None:
    config = pretrained("train.epochs=12", "train.cached_views=2")
    grader = mz.train(dataset, config, tmp_path / "run")
    learned = [item for item in dataset if grader.bundle.data["splits"][item.id] == "train"]
    found = [grading.grade for grading in grader.grade_many([item.image for item in learned])]
    right = sum(grade == item.grade for grade, item in zip(found, learned, strict=True))
    assert right / len(learned) > 0.7  # of four grades
