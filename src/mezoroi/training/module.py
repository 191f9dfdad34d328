"""The Lightning module: losses, optimiser and learning rate schedule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezoroi.augment import ChannelGrouping, grouping_loss
from mezoroi.config import Config
from mezoroi.losses import MutualChannelLoss, mask_loss, precedence_loss
from mezoroi.losses.heads import head_logits, head_loss
from mezoroi.maps import grade_evidence
from mezoroi.models import InputSize
from mezoroi.models.fruit_masks import in_cells
from mezoroi.models.grading_model import GradingModel, ModelOutput
from mezoroi.standard import GradingStandard
from mezoroi.training.data import frozen_stages, seeded_generator
from mezoroi.training.jitter import jitter, move_masks
from mezoroi.training.mixing import (
    MixedBatch,
    Parts,
    classification_loss,
    draw_part_sets,
    hidden_margin,
    mixed_with_batch,
    mixed_with_parts,
    pairwise_loss,
)
from mezoroi.training.optimizing import make_optimizer, one_cycle
from mezoroi.training.rankings import Rankings, ranking_loss
from mezoroi.training.tiles import checkerboard, swap_tiles, with_margin


class GradingModule(pl.LightningModule):
    """Trains a `GradingModel` with the losses of `LossConfig`.

    Parameters
    ----------
    model : the network; its encoder keeps its batch statistics, unless its weights are random, and
        its frozen stages keep their weights
    head : from `make_head`

    Attributes
    ----------
    ordered : whether the grades have an order
    frozen : number of leading backbone stages that stay as they are, see `frozen_stages`
    parts : of the training images, where parts are exchanged; set by `PartLocalization`
    grouping : layers that weigh channels into parts and learn with the network; None where parts
        are groups of k-means, or none are exchanged
    images_seen : images that passed the network in training steps, mixed ones included
    images_in_epoch : of these, in the present epoch or the one that has just ended
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
        self.parts: Parts | None = None
        refines = config.augment == "part-cutmix" and config.parts.grouping == "refined"
        self.grouping = (
            ChannelGrouping(config.parts.number, model.encoder.channels) if refines else None
        )
        self.images_seen = self.images_in_epoch = 0
        self.ordered = standard.ordered
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
                sharpness=loss.pooling_sharpness,
            )
            if model.channels_per_grade and model.surface_grades > 1
            else None
        )
        judges_both = model.outline_encoder is not None and bool(standard.outline_grades)
        asks = standard.ordered and self.mutual_channel is not None and loss.runner_up_weight > 0
        self.rankings = Rankings.of(standard) if judges_both and asks else None
        self.frozen = frozen_stages(model.encoder, config)
        for stage in [*model.encoder.stages, *model.encoder.deep_stages][: self.frozen]:
            stage.requires_grad_(False)

    def on_train_epoch_start(self) -> None:
        self.images_in_epoch = 0
        # Lightning keeps the modes it finds, and preparing cached views left the model evaluating.
        self.train()
        # A few hundred fruits, some with swapped tiles, are no better statistics than ImageNet's;
        # random weights bring none.
        if self.config.model.weights != "none":
            self.model.encoder.eval()
        if self.mutual_channel is not None:
            self.mutual_channel.generator = seeded_generator(
                self.config.train.seed, 2_000_000, self.current_epoch
            )

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        seeds = seeded_generator(self.config.train.seed, self.current_epoch, batch_index)
        draws = seeded_generator(self.config.train.seed, 4_000_000, self.current_epoch, batch_index)
        # Parts are known on images as they are, so that these are exchanged before the jitter.
        mixed = self.mix_parts(batch, draws) if self.parts is not None else None
        if mixed is not None:
            mixed = replace(mixed, batch=self.jittered(mixed.batch, seeds))
        else:
            batch = self.jittered(batch, seeds)
            mixed = self._mix_batch(batch, draws)
        if mixed is not None:
            loss, passed = self.mixed_losses(mixed, batch_index), len(mixed.labels)
        else:
            loss, passed = self.losses(batch, batch_index), len(batch["labels"])
        self.images_seen += passed
        self.images_in_epoch += passed
        count = len(batch["labels"])
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=count)
        return loss

    def jittered(self, batch: dict[str, Tensor], seeds: torch.Generator) -> dict[str, Tensor]:
        """A batch with its images augmented, and masks in cells; hidden views are already."""
        if "images" not in batch:
            return batch
        settings, wraps = self.config.jitter, self.size.wraps
        changed = {}
        if "masks" in batch:
            same = torch.Generator()
            same.set_state(seeds.get_state())
            moved = move_masks(batch["masks"], settings, same, wraps)
            changed["masks"] = in_cells(moved, self.model.encoder.grid, wraps)
        return {**batch, "images": jitter(batch["images"], settings, seeds, wraps), **changed}

    def losses(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """All losses, weighted, of a batch that is already augmented, as a scalar."""
        output = self.run(batch, self._draw_board(batch_index))
        labels = batch["labels"]
        loss = head_loss(self.head, output.embedding, labels)
        if self.rankings is not None:
            dim = self.model.surface_dim
            cost = ranking_loss(self.head, output.embedding, labels, self.rankings, dim)
            loss = loss + self.config.loss.runner_up_weight * cost
        if self.mutual_channel is not None:
            loss = loss + self._mutual_channel_loss(output, labels, batch.get("known"))
            if "masks" in batch:
                weight = self.config.loss.mask_weight
                loss = loss + weight * self._mask_loss(output, batch["masks"], batch["known"])
        return loss

    def mixed_losses(self, mixed: MixedBatch, batch_index: int) -> Tensor:
        """All losses, weighted, of whole and mixed images, as a scalar.

        What class channels cost is that of whole images: a mixed one shows several grades.
        """
        margins = None if mixed.sets is None or self.parts is None else self.parts.margins
        # Swapped tiles would come between the images that the pairwise loss compares.
        output = self.run(mixed.batch, None if margins else self._draw_board(batch_index))
        loss = classification_loss(self.head, output.embedding.float(), mixed)
        if margins is not None:
            share = self.config.loss.classification_share
            compared = self.comparable(output.embedding.float())
            pairs = pairwise_loss(compared, mixed, margins, self.config)
            loss = share * loss + (1 - share) * pairs
        if self.grouping is not None and mixed.sets is not None:
            loss = loss + self._grouping_loss(output.feature_map[mixed.whole])
        if self.mutual_channel is not None:
            whole = replace(output, class_channels=output.class_channels[mixed.whole])
            loss = loss + self._mutual_channel_loss(whole, mixed.batch["labels"][mixed.whole])
        return loss

    def _grouping_loss(self, feature_map: Tensor) -> Tensor:
        """What parts of whole images cost that are not compact, or in one place."""
        assert self.grouping is not None
        wraps = self.size.wraps
        # Counted in deviations, evidence may be beyond what half precision holds.
        with torch.autocast(feature_map.device.type, enabled=False):
            attention = self.grouping.finder(wraps).attention(feature_map.float())
            return grouping_loss(attention, wraps)

    def mix_parts(
        self,
        batch: dict[str, Tensor],
        generator: torch.Generator,
        positive_share: float | None = None,
    ) -> MixedBatch | None:
        """Sets of images with exchanged parts; None where no observation can have one."""
        assert self.parts is not None
        sets = draw_part_sets(
            self.parts,
            batch["items"][:, 0].cpu(),
            self.surface_index,
            self.config,
            generator,
            positive_share,
        )
        if not len(sets):
            return None
        return mixed_with_parts(
            batch,
            sets,
            self.parts,
            self._hidden_margin(batch),
            self.size.wraps,
            self.config.loss.pairwise != "none",
            generator,
        )

    def comparable(self, embedding: Tensor) -> Tensor:
        """(N, D) surface embeddings, as distances are taken of them.

        Without the outline's part, which mixed images share with their reference.
        """
        surface = embedding[:, : self.model.surface_dim]
        return surface if self.config.loss.pairwise_distance == "raw" else F.normalize(surface)

    def _mix_batch(self, batch: dict[str, Tensor], generator: torch.Generator) -> MixedBatch | None:
        if self.config.augment not in ("cutmix", "mixup"):
            return None
        if float(torch.rand(1, generator=generator)) >= self.config.parts.mix_share:
            return None
        surface = self.surface_index[batch["labels"]] >= 0
        return mixed_with_batch(batch, surface, self._hidden_margin(batch), self.config, generator)

    def _hidden_margin(self, batch: dict[str, Tensor]) -> int:
        if "hidden" not in batch:
            return 0
        return hidden_margin(batch["hidden"], self.model, self.size.width)

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        logits = head_logits(self.head, self.run(batch).embedding)
        labels = batch["labels"]
        correct = (logits.argmax(dim=1) == labels).float().mean()
        for name, value in (("val_loss", F.cross_entropy(logits, labels)), ("val_acc", correct)):
            self.log(name, value, on_epoch=True, batch_size=len(labels), prog_bar=True)

    def run(self, batch: dict[str, Tensor], board: Tensor | None = None) -> ModelOutput:
        """The network's output for a batch of images or of hidden views.

        With a `board` the fruits swap tiles before the trainable stages and back behind them.
        """
        frozen = self.frozen
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
        board = checkerboard(self.size.height // stride, self.size.width // stride, tile, generator)
        return with_margin(board, self.model.wrap_margin // stride)

    def configure_optimizers(self) -> Any:
        encoder, channels = self.model.encoder, self.model.class_channels
        slow = list(encoder.parameters())
        fast = [] if channels is None else list(channels.parameters())
        apart = {id(p) for p in (*slow, *fast)}
        others = [p for p in self.parameters() if id(p) not in apart]
        optimizer = make_optimizer(others, slow, fast, self.config.train)
        if self.config.train.schedule == "constant":
            return optimizer
        schedule = one_cycle(optimizer, max(1, int(self.trainer.estimated_stepping_batches)))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _mask_loss(self, output: ModelOutput, masks: Tensor, known: Tensor) -> Tensor:
        """What the class channels cost where an expert's mask (N, S, h, w) says what they show."""
        chosen = known.any(dim=1)
        if not bool(chosen.any()):
            return output.class_channels.sum() * 0.0
        channels = output.class_channels[chosen].float()
        evidence = grade_evidence(channels, self.model.channels_per_grade)
        return mask_loss(evidence, masks[chosen], known[chosen])

    def _mutual_channel_loss(
        self, output: ModelOutput, labels: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """What the class channels cost, on fruits whose grade is judged on the surface.

        Precedence is asked only of fruits without a known mask (N, S): beside what an expert marked
        a fruit shows no grade, not one that is possible.
        """
        assert self.mutual_channel is not None
        surface = self.surface_index[labels]
        chosen = surface >= 0
        if not bool(chosen.any()):
            return output.class_channels.sum() * 0.0
        channels = output.class_channels[chosen].float()
        weights = self.config.loss
        loss: Tensor = self.mutual_channel(channels, surface[chosen])
        unmarked = slice(None) if known is None else ~known[chosen].any(dim=1)
        ranked = channels[unmarked]
        if weights.precedence_weight and len(ranked):
            evidence = grade_evidence(ranked, self.model.channels_per_grade)
            possible = self.possible[surface[chosen][unmarked]]
            loss = loss + weights.precedence_weight * precedence_loss(evidence, possible)
        return loss + weights.sparsity_weight * channels.mean()


def _possible_grades(standard: GradingStandard) -> Tensor:
    """(S, S) bool: on a fruit of surface grade i, may grade j show? Not if it takes precedence."""
    rank = [standard.precedence.index(grade) for grade in standard.surface_grades]
    strength = torch.tensor(rank)
    if not standard.ordered:
        return torch.ones(len(rank), len(rank), dtype=torch.bool)
    return strength[None, :] >= strength[:, None]
