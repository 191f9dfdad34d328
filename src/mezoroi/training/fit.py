"""One training run: checkpoints, resume, early stopping and a CSV line per epoch."""

from __future__ import annotations

import csv
import io
import logging
import math
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from mezoroi.config import TrainConfig
from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path, read_numbers, write_text
from mezoroi.training.data import GradingData
from mezoroi.training.module import GradingModule
from mezoroi.training.parts import PartLocalization

CHECKPOINTS = "checkpoints"
LAST, BEST = "last", "best"
EPOCHS_CSV = "epochs.csv"
_ANEW = "train again in another folder with -o"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are whole or absent, and hold tensors and plain data only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        # Through memory: writing a file itself, torch tells of a full disk by an internal error.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_path(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path), map_location)


class MovableCheckpoint(ModelCheckpoint):
    """A checkpoint in a folder that may be moved: Lightning's forgets which epoch was the best."""

    @property
    def state_key(self) -> str:
        # Lightning's own, by which a training of an earlier version is resumed, too.
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else ""

        moved = {name: here(path) for name, path in state_dict.items() if name.endswith("_path")}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(
            {**state_dict, **moved, "best_k_models": best, "dirpath": self.dirpath}
        )


class EpochLog(Callback):
    """One line per epoch in ``epochs.csv``; lines of epochs that are run again are replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch > 0:
            rows = read_numbers(self.path, "epoch")
            self.rows = [row for row in rows if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, GradingModule)
        values: dict[str, str] = {
            name: f"{float(trainer.callback_metrics[name]):.6g}"
            for name in ("train_loss", "val_loss", "val_acc")
            if name in trainer.callback_metrics
        }
        rate = f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}"
        epoch, images = str(trainer.current_epoch), str(pl_module.images_in_epoch)
        self.rows.append({"epoch": epoch, **values, "lr": rate, "images": images})
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[-1]), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def fit(
    module: GradingModule,
    data: GradingData,
    config: TrainConfig,
    run_dir: Path,
    resume: bool = False,
) -> None:
    """Train `module` in place and leave it with the weights that `config.keep` asks for.

    Parameters
    ----------
    resume : continue after the last whole epoch; where there is none, begin

    Raises
    ------
    MezoroiError
        If a checkpoint or the table of epochs is damaged, the disk is full, or the training
        diverged.
    """
    folder = run_dir / CHECKPOINTS
    resumes = resume and (folder / f"{LAST}.ckpt").exists()
    keeper = MovableCheckpoint(
        dirpath=folder,
        filename=BEST,
        monitor="val_loss",
        mode="min",
        save_top_k=1 if config.keep == "best" else 0,
        enable_version_counter=False,
    )
    latest = MovableCheckpoint(
        dirpath=folder, filename=LAST, save_top_k=1, enable_version_counter=False
    )
    callbacks: list[Callback] = [EpochLog(run_dir / EPOCHS_CSV), keeper, latest]
    if module.config.augment == "part-cutmix":
        callbacks.append(PartLocalization(run_dir))
    if config.patience:
        callbacks.append(EarlyStopping("val_loss", patience=config.patience, mode="min"))
    final = _weights_to_resume(module, folder / f"{LAST}.ckpt") if resumes else None
    if final is not None:
        module.load_state_dict(final)
    else:
        _run(module, data, config, run_dir, callbacks, resumes)
    if config.keep == "best":
        best = read_checkpoint(folder / f"{BEST}.ckpt", module.device)
        module.load_state_dict(best["state_dict"])
    _require_finite(module, run_dir / EPOCHS_CSV)
    module.eval()


def _run(
    module: GradingModule,
    data: GradingData,
    config: TrainConfig,
    run_dir: Path,
    callbacks: list[Callback],
    resumes: bool,
) -> None:
    last = run_dir / CHECKPOINTS / f"{LAST}.ckpt"
    watched = sys.stderr.isatty()
    with _quiet_lightning():
        trainer = pl.Trainer(
            max_epochs=config.epochs,
            accelerator="auto",
            devices=1,  # with several, Lightning would start the command once for each
            precision=_precision(config),
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            logger=False,
            default_root_dir=run_dir,
            enable_progress_bar=watched,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            gradient_clip_val=5.0,
        )
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, datamodule=data, ckpt_path=str(last) if resumes else None)
        except SystemExit:  # how Lightning answers Ctrl-C, which it ignores from then on
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None


def _require_finite(module: GradingModule, log: Path) -> None:
    if all(value.isfinite().all() for value in module.state_dict().values()):
        return
    lost = [
        f" (loss {row['train_loss']} from epoch {row['epoch']})"
        for row in read_numbers(log, "epoch")
        if not math.isfinite(float(row["train_loss"]))
    ]
    raise MezoroiError(
        f"the training diverged{lost[0] if lost else ''}: lower train.lr, in another folder with -o"
    )


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A Lightning checkpoint, read without running anything it contains."""
    try:
        loaded: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise MezoroiError(f"{path} is missing: {_ANEW}") from error
    except Exception as error:  # torch raises many kinds for damaged files
        raise MezoroiError(f"{path} is damaged: {_ANEW}") from error
    return loaded


def finished_epochs(run_dir: Path) -> int:
    """Epochs that a resumed run would not repeat."""
    path = run_dir / CHECKPOINTS / f"{LAST}.ckpt"
    return int(read_checkpoint(path)["epoch"]) + 1 if path.exists() else 0


def _weights_to_resume(module: GradingModule, last: Path) -> dict[str, Any] | None:
    """The weights of a training that early stopping had ended; None of one that goes on.

    Lightning itself would train on: it brings back what its callback had counted, but not that this
    had stopped the trainer.

    Raises
    ------
    MezoroiError
        If the checkpoint is damaged, or holds another module's weights.
    """
    checkpoint = read_checkpoint(last)
    if checkpoint["state_dict"].keys() != module.state_dict().keys():
        raise MezoroiError(f"{last} is of another version: {_ANEW}")
    for name, state in checkpoint.get("callbacks", {}).items():
        if name.startswith(EarlyStopping.__name__) and (
            # A loss that is not finite stops at once, whatever was counted.
            state.get("stopping_reason") or state["wait_count"] >= state["patience"]
        ):
            weights: dict[str, Any] = checkpoint["state_dict"]
            return weights
    return None


def _precision(config: TrainConfig) -> Any:
    if config.precision != "auto":
        return config.precision
    return "16-mixed" if torch.cuda.is_available() else "32-true"


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's remarks on devices and workers tell a grower nothing; restored afterwards."""
    loggers = [
        logging.getLogger(name)
        for name in (
            "pytorch_lightning",
            "pytorch_lightning.utilities.rank_zero",
            "lightning.fabric",
        )
    ]
    levels: Mapping[str, int] = {logger.name: logger.level for logger in loggers}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", module="torch.optim.lr_scheduler")
            yield
    finally:
        for logger in loggers:
            logger.setLevel(levels[logger.name])
