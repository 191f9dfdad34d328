"""The Lightning module: losses, optimiser and learning rate schedule."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import Tensor, nn

from mezoroi.config import Config, LossConfig
from mezoroi.losses import MutualChannelLoss, precedence_loss
from mezoroi.maps import grade_evidence
from mezoroi.models.grading_model import GradingModel, ModelOutput
from mezoroi.standard import GradingStandard
from mezoroi.training.data import InputSize, seeded_generator
from mezoroi.training.jitter import jitter
from mezoroi.training.tiles import checkerboard, swap_tiles


class SoftmaxHead(nn.Module):
    """A linear classifier with the two methods of a pytorch-metric-learning loss used here."""

    def __init__(self, num_classes: int, embedding_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_size, num_classes)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.get_logits(embeddings), labels)

    def get_logits(self, embeddings: Tensor) -> Tensor:
        return self.linear(embeddings)


def make_head(config: LossConfig, num_grades: int, embedding_dim: int) -> nn.Module:
    """The loss of the embedding, with its own weights; ``get_logits`` scores without a margin."""
    if config.head == "softmax":
        return SoftmaxHead(num_grades, embedding_dim)
    return ArcFaceLoss(num_grades, embedding_dim, margin=config.margin_degrees, scale=config.scale)


class GradingModule(pl.LightningModule):
    """Trains a `GradingModel` with the losses of `LossConfig`.

    Parameters
    ----------
    model : the network; its encoder keeps its batch statistics, its frozen stages their weights
    head : from `make_head`
    """

    surface_index: Tensor
    possible: Tensor

    def __init__(
        self,
        model: GradingModel,
        head: nn.Module,
        standard: GradingStandard,
        config: Config,
        size: InputSize,
    ) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self.config = config
        self.size = size
        surface = {grade: i for i, grade in enumerate(standard.surface_grades)}
        self.register_buffer(
            "surface_index", torch.tensor([surface.get(grade, -1) for grade in standard.grades])
        )
        self.register_buffer("possible", _possible_grades(standard))
        loss = config.loss
        self.mutual_channel = (
            MutualChannelLoss(
                model.surface_grades,
                model.channels_per_grade,
                kept_channels=loss.kept_channels,
                dis_weight=loss.discriminality_weight,
                div_weight=loss.diversity_weight,
            )
            if model.channels_per_grade and model.surface_grades > 1
            else None
        )
        for stage in self._frozen_stages():
            stage.requires_grad_(False)

    def on_train_epoch_start(self) -> None:
        # Lightning keeps the modes it finds, and preparing cached views left the model evaluating.
        self.train()
        # A few hundred fruits, some with swapped tiles, are no better statistics than ImageNet's.
        self.model.encoder.eval()
        if self.mutual_channel is not None:
            self.mutual_channel.generator = seeded_generator(
                self.config.train.seed, 2_000_000, self.current_epoch
            )

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        if "images" in batch:
            seeds = seeded_generator(self.config.train.seed, self.current_epoch, batch_index)
            images = jitter(batch["images"], self.config.jitter, seeds, self.size.wraps)
            batch = {**batch, "images": images}
        loss = self.losses(batch, batch_index)
        count = len(batch["labels"])
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=count)
        return loss

    def losses(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """All losses, weighted, of a batch that is already augmented, as a scalar."""
        output = self.run(batch, self._draw_board(batch_index))
        labels = batch["labels"]
        loss: Tensor = self.head(output.embedding.float(), labels)
        if self.mutual_channel is not None:
            loss = loss + self._mutual_channel_loss(output, labels)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        logits = self.head.get_logits(self.run(batch).embedding.float())  # type: ignore[operator]
        labels = batch["labels"]
        correct = (logits.argmax(dim=1) == labels).float().mean()
        for name, value in (("val_loss", F.cross_entropy(logits, labels)), ("val_acc", correct)):
            self.log(name, value, on_epoch=True, batch_size=len(labels), prog_bar=True)

    def run(self, batch: dict[str, Tensor], board: Tensor | None = None) -> ModelOutput:
        """The network's output for a batch of images or of hidden views.

        With a `board` the fruits swap tiles before the trainable stages and back behind them.
        """
        frozen = self.config.train.frozen_stages
        if "hidden" in batch:
            hidden = batch["hidden"].contiguous(memory_format=torch.channels_last)
        else:
            hidden = self.model.encoder.run_stages(self.model.prepare(batch["images"]), 0, frozen)
        if board is None:
            feature_map = self.model.encoder.run_stages(hidden, frozen)
        else:
            mixed = self.model.encoder.run_stages(swap_tiles(hidden, board), frozen)
            feature_map = swap_tiles(mixed, board)
        outlines = batch.get("outlines") if self.model.outline_encoder is not None else None
        return self.model.interpret(feature_map, outlines)

    def _draw_board(self, batch_index: int) -> Tensor | None:
        """The checkerboard of a step, in cells of the feature map; None for a step without one."""
        tile = self.config.loss.swap_tile
        if not tile or self.mutual_channel is None:
            return None
        generator = seeded_generator(
            self.config.train.seed, 3_000_000, self.current_epoch, batch_index
        )
        if float(torch.rand(1, generator=generator)) >= self.config.loss.swap_share:
            return None
        stride = self.model.encoder.stride
        return checkerboard(self.size.height // stride, self.size.width // stride, tile, generator)

    def configure_optimizers(self) -> Any:
        settings = self.config.train
        backbone = [p for p in self.model.encoder.parameters() if p.requires_grad]
        inner = {id(p) for p in self.model.encoder.parameters()}
        new = [p for p in self.parameters() if p.requires_grad and id(p) not in inner]
        groups: list[dict[str, Any]] = [
            {"params": new, "lr": settings.lr},
            {"params": backbone, "lr": settings.lr * settings.backbone_lr_factor},
        ]
        groups = [group for group in groups if group["params"]]
        optimizer: torch.optim.Optimizer
        if settings.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=settings.weight_decay)
        else:
            optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        if settings.schedule == "constant":
            return optimizer
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        peaks = [group["lr"] for group in groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=peaks, total_steps=steps, pct_start=0.15, cycle_momentum=False
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _mutual_channel_loss(self, output: ModelOutput, labels: Tensor) -> Tensor:
        """What the class channels cost, on fruits whose grade is judged on the surface."""
        assert self.mutual_channel is not None
        surface = self.surface_index[labels]
        chosen = surface >= 0
        if not bool(chosen.any()):
            return output.class_channels.sum() * 0.0
        channels = output.class_channels[chosen].float()
        weights = self.config.loss
        loss: Tensor = self.mutual_channel(channels, surface[chosen])
        if weights.precedence_weight:
            evidence = grade_evidence(channels, self.model.channels_per_grade)
            possible = self.possible[surface[chosen]]
            loss = loss + weights.precedence_weight * precedence_loss(evidence, possible)
        return loss + weights.sparsity_weight * channels.mean()

    def _frozen_stages(self) -> list[nn.Module]:
        encoder = self.model.encoder
        return [*encoder.stages, *encoder.deep_stages][: self.config.train.frozen_stages]


def _possible_grades(standard: GradingStandard) -> Tensor:
    """(S, S) bool: on a fruit of surface grade i, may grade j show? Not if it takes precedence."""
    rank = [standard.precedence.index(grade) for grade in standard.surface_grades]
    strength = torch.tensor(rank)
    if not standard.ordered:
        return torch.ones(len(rank), len(rank), dtype=torch.bool)
    return strength[None, :] >= strength[:, None]
