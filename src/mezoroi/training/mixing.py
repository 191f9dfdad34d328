"""Batches of mixed images, and their losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezoroi.augment import (
    CELLS,
    NO_PART,
    PIXELS,
    Sets,
    Source,
    draw_sets,
    mix_batch,
    negative_classes,
    replace_parts,
)
from mezoroi.config import Config
from mezoroi.losses import AdaptivePairwiseMarginLoss
from mezoroi.losses.heads import shared_losses
from mezoroi.losses.pairwise import Margins, conventional_negative
from mezoroi.models.grading_model import GradingModel
from mezoroi.training.data import GradingData

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class MixedBatch:
    """Whole images and mixed ones, as one batch of N.

    Attributes
    ----------
    batch : what `GradingModule.run` takes, and ``labels`` (N,)
    labels, shares : (N, S) grades an image shows, and their shares in it
    whole : (N,) bool: not mixed
    taught : (N,) bool: counts in the classification loss
    sets : of part-cutmix: the rows are B references, then with one part of others for each of the
        M sets, with two parts, and the complete negatives of the negative sets
    """

    batch: Batch
    labels: Tensor
    shares: Tensor
    whole: Tensor
    taught: Tensor
    sets: Sets | None = None


@dataclass(frozen=True)
class Parts:
    """What part-cutmix needs beside a batch.

    Attributes
    ----------
    data : where other training images come from
    boxes : (V, N, 1 + P, 4) of every view of every training image: the object's, and its parts'
    margins : of the pairwise loss; None where it is off
    """

    data: GradingData
    boxes: Tensor
    margins: Margins | None


def mixed_with_batch(
    batch: Batch, surface: Tensor, margin: int, config: Config, generator: torch.Generator
) -> MixedBatch:
    """CutMix or Mixup within a batch; fruits judged on their outline stay as they are.

    Parameters
    ----------
    batch : ``hidden`` or ``images``, and ``labels`` (N,)
    surface : (N,) bool: judged on the surface
    margin : cells on either side that repeat a panorama's other side
    """
    labels = batch["labels"]
    rows = surface.nonzero()[:, 0]
    shares = torch.tensor([1.0, 0.0], device=labels.device).repeat(len(labels), 1)
    other = labels.clone()
    name = "hidden" if "hidden" in batch else "images"
    values = batch[name]
    if len(rows) > 1:
        assert config.augment in ("cutmix", "mixup")
        inner = without_margin(values[rows], margin)
        mixture, partner = mix_batch(inner, config.augment, generator, config.parts.mix_alpha)
        values = values.clone()
        values[rows] = with_margin(mixture.values, margin)
        shares[rows] = mixture.shares
        other[rows] = labels[rows[partner.to(rows.device)]]
    mixed = {**batch, name: values}
    return MixedBatch(
        mixed,
        torch.stack([labels, other], dim=1),
        shares,
        whole=shares[:, 0] == 1,
        taught=torch.ones_like(surface),
    )


def draw_part_sets(
    parts: Parts,
    refs: Tensor,
    surface_of: Tensor,
    config: Config,
    generator: torch.Generator,
    positive_share: float | None = None,
) -> Sets:
    """Sets of observations (B,), each of which is the reference of one at most.

    Parameters
    ----------
    surface_of : (G,) number of each grade among those judged on the surface; -1 for the others,
        whose parts are neither lent nor replaced
    """
    labels = parts.data.train_images.labels
    taking = torch.where(surface_of.cpu()[labels] >= 0, labels, NO_PART)
    negatives = negative_classes(len(surface_of), config.parts.skip_neighbours)
    share = config.parts.positive_share if positive_share is None else positive_share
    return draw_sets(
        taking,
        refs,
        generator,
        positive_share=share,
        negatives=negatives,
        num_parts=config.parts.number,
    )


def mixed_with_parts(
    batch: Batch,
    sets: Sets,
    parts: Parts,
    margin: int,
    wraps: bool,
    compares: bool,
    generator: torch.Generator,
) -> MixedBatch:
    """References, and for each of their sets the two images made of its parts.

    Mixed images have the reference's outline. With `compares` the complete negatives of the
    pairwise loss come along.
    """
    name = "hidden" if "hidden" in batch else "images"
    values, labels = batch[name], batch["labels"]
    device = values.device
    all_labels = parts.data.train_images.labels

    def drawn(indices: Tensor) -> tuple[Batch, Tensor]:
        views = torch.randint(len(parts.boxes), indices.shape, generator=generator)
        found = parts.data.train_batch(torch.stack([indices, views], dim=1))
        return found, parts.boxes[views, indices].to(device)

    rows = sets.rows.to(device)
    items = batch["items"].cpu()[sets.rows]
    boxes = parts.boxes[items[:, 1], items[:, 0]].to(device)
    refs = without_margin(values[rows], margin)
    offset = CELLS if name == "hidden" else PIXELS

    def source(indices: Tensor, part: Tensor) -> Source:
        found, box = drawn(indices)
        return Source(without_margin(found[name].to(device), margin), box, part.to(device))

    one = [source(sets.first, sets.first_part)]
    two = [source(sets.second[:, n], sets.second_parts[:, n]) for n in range(2)]
    mixtures = [
        replace_parts(refs, boxes, sources, wraps=wraps, offset=offset) for sources in (one, two)
    ]
    added = [with_margin(mixture.values, margin) for mixture in mixtures]
    own = labels[rows]
    shown = [
        torch.stack([labels] * 3, dim=1),
        torch.stack([own, all_labels[sets.first].to(device), own], dim=1),
        torch.cat([own[:, None], all_labels[sets.second].to(device)], dim=1),
    ]
    only = torch.tensor([1.0, 0.0, 0.0], device=device)
    shares = [
        only.repeat(len(labels), 1),
        F.pad(mixtures[0].shares, (0, 1)),
        mixtures[1].shares,
    ]
    outlines = batch.get("outlines")
    outline_rows = [] if outlines is None else [outlines, outlines[rows], outlines[rows]]
    if compares and not bool(sets.positive.all()):
        complete, _ = drawn(sets.complete[~sets.positive])
        added.append(complete[name].to(device))
        shown.append(torch.stack([complete["labels"].to(device)] * 3, dim=1))
        shares.append(only.repeat(len(complete["labels"]), 1))
        if outlines is not None:
            outline_rows.append(complete["outlines"].to(device))
    mixed = {name: torch.cat([values, *added]), "labels": torch.cat(shown)[:, 0]}
    if outline_rows:
        mixed["outlines"] = torch.cat(outline_rows)
    total, refs_and_mixed = len(mixed["labels"]), len(labels) + 2 * len(sets)
    row = torch.arange(total, device=device)
    return MixedBatch(
        mixed,
        torch.cat(shown),
        torch.cat(shares),
        whole=row < len(labels),
        taught=row < refs_and_mixed,
        sets=sets,
    )


def classification_loss(head: nn.Module, embedding: Tensor, mixed: MixedBatch) -> Tensor:
    """Mean loss of the images that are taught, by the shares of their grades."""
    taught = mixed.taught
    found = shared_losses(
        head, embedding[taught], mixed.labels[taught], mixed.shares[taught].to(embedding)
    )
    return found.mean()


def set_embeddings(embedding: Tensor, mixed: MixedBatch) -> tuple[Tensor, ...]:
    """Embeddings of references, with one part, with two, and of the complete negatives.

    The first three (M, D) follow the sets; the last has a row for each negative set.
    """
    assert mixed.sets is not None
    batch, count = int(mixed.whole.sum()), len(mixed.sets)
    one, two, complete = embedding[batch:].tensor_split([count, 2 * count])
    return embedding[mixed.sets.rows.to(embedding.device)], one, two, complete


def pairwise_loss(embedding: Tensor, mixed: MixedBatch, margins: Margins, config: Config) -> Tensor:
    """L_pair, equations 15 and 16: the mean over the sets of the batch.

    Parameters
    ----------
    embedding : (N, D) from `GradingModule.comparable`
    """
    assert mixed.sets is not None
    ref, one, two, complete = set_embeddings(embedding, mixed)
    positive = mixed.sets.positive.to(embedding.device)
    negative = ~positive
    loss = AdaptivePairwiseMarginLoss(config.loss.pairwise_alpha)
    total = embedding.sum() * 0.0
    if bool(positive.any()):
        total = total + positive.sum() * loss.positive(ref[positive], one[positive], two[positive])
    if bool(negative.any()):
        members = (ref[negative], one[negative], two[negative], complete)
        if config.loss.pairwise == "conventional":
            found = conventional_negative(*members, margins.m1)
        else:
            found = loss.negative(*members, margins.m1, margins.m2)
        total = total + negative.sum() * found
    return total / max(1, len(mixed.sets))


def hidden_margin(values: Tensor, model: GradingModel, width: int) -> int:
    """Cells on either side of hidden values (N, C, H, W) that repeat a panorama's other side.

    Parameters
    ----------
    width : of the images in pixels, before they are prepared
    """
    return round(values.shape[3] * model.wrap_margin / (width + 2 * model.wrap_margin))


def without_margin(values: Tensor, margin: int) -> Tensor:
    """Values (N, C, H, W) of panoramas without what repeats the other side."""
    return values[..., margin:-margin] if margin else values


def with_margin(values: Tensor, margin: int) -> Tensor:
    """The inverse of `without_margin`."""
    if not margin:
        return values
    return torch.cat([values[..., -margin:], values, values[..., :margin]], dim=3)
