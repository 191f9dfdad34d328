"""Where the parts of the training fruits are, found anew every few epochs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from mezoroi.augment import (
    CommonObject,
    PartFinder,
    channel_scale,
    find_common_object,
    fit_parts,
    negative_classes,
    object_boxes,
    refine_parts,
)
from mezoroi.augment.boxes import WHOLE
from mezoroi.augment.picture import draw_parts
from mezoroi.augment.sets import NO_PART, require_sets
from mezoroi.errors import MezoroiError
from mezoroi.files import write_bytes, write_json
from mezoroi.losses.pairwise import Margins, chosen_margins, measured_margins, negative_distances
from mezoroi.maps import weighted_map
from mezoroi.models.grading_model import GradingModel
from mezoroi.training.data import GradingData, seeded_generator
from mezoroi.training.mixing import Batch, Parts, set_embeddings
from mezoroi.training.module import GradingModule

PARTS_FOLDER = "parts"
FITTED = 512
"""Training images that channels are grouped on, at most."""
_SHOWN = 12


@dataclass(frozen=True)
class Locator:
    """Finds object and parts in batches of one network.

    Attributes
    ----------
    finder : of the parts
    common : finds the object; None where it is the label's CAM, or the whole of a panorama
    """

    module: GradingModule
    data: GradingData
    finder: PartFinder
    common: CommonObject | None

    @torch.no_grad()
    def boxes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(N, 1 + P, 4) boxes, and (N,) bool: no object was found and the whole image counts."""
        features = feature_maps(self.module, batch)
        objects, lost = _objects(self.module, self.data, features, batch, self.common)
        inner = self.module.model.without_margin(features)
        return self.finder.boxes(inner, objects), lost


class PartLocalization(Callback):
    """Gives a `GradingModule` the parts of its training fruits, and the margins, epoch by epoch.

    Pictures of the parts, and what was found in numbers, go to ``parts/`` in the run folder.

    Attributes
    ----------
    boxes : (V, N, 1 + P, 4) of every view of every training image; None before they are looked for
    record : what was found, by epoch
    """

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir / PARTS_FOLDER
        self.boxes: Tensor | None = None
        self.record: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"boxes": self.boxes, "record": self.record}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.boxes, self.record = state_dict["boxes"], state_dict["record"]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, GradingModule)
        settings, epoch = pl_module.config.parts, trainer.current_epoch
        if epoch < settings.start:
            return
        data: GradingData = trainer.datamodule  # type: ignore[attr-defined]
        found: dict[str, Any] = {"epoch": epoch}
        pl_module.eval()  # the module's own hook, which comes next, sets it to training
        if self.boxes is None or (epoch - settings.start) % settings.refresh == 0:
            locator = fit_locator(pl_module, data)
            self.boxes, lost = locate(locator)
            found |= {"views": lost.numel(), "whole_images": int(lost.sum())}
            write_bytes(self.folder / f"epoch-{epoch:03d}.png", picture(locator))
        pl_module.parts = Parts(data, self.boxes, None)
        if pl_module.config.loss.pairwise != "none":
            margins = find_margins(pl_module, epoch)
            pl_module.parts = Parts(data, self.boxes, margins)
            if settings.positive_share < 1:  # else they are of nothing, and not used
                found |= {"m1": margins.m1.tolist(), "m2": margins.m2.tolist()}
        self.record.append(found)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, GradingModule)
        if self.record and self.record[-1]["epoch"] == trainer.current_epoch:
            self.record[-1]["images"] = pl_module.images_in_epoch
            write_json(self.folder / "parts.json", {"epochs": self.record})


def require_parts(module: GradingModule, data: GradingData) -> None:
    """Raise a MezoroiError, with a remedy, where training could not make sets of parts.

    Before training, as preparing views takes minutes.
    """
    settings = module.config.parts
    if settings.skip_neighbours and not module.ordered:
        raise MezoroiError(
            "parts.skip_neighbours leaves out neighbouring grades, but these have no order: "
            "set it to false"
        )
    negatives = negative_classes(len(module.surface_index), settings.skip_neighbours)
    require_sets(_exchanging(module, data), negatives, settings.positive_share)


def fit_locator(module: GradingModule, data: GradingData) -> Locator:
    """Learn from the training images where objects and parts lie.

    The network is not changed; its channel-grouping layers start the first time, and later follow
    what its channels have become.
    """
    config, wraps = module.config, module.size.wraps
    epoch = module.current_epoch
    generator = seeded_generator(config.train.seed, 5_000_000, epoch)
    chosen = torch.randperm(len(data.train_images), generator=generator)[:FITTED]
    views = torch.randint(data.train_views, chosen.shape, generator=generator)
    batches = list(_batches(module, data, torch.stack([chosen, views], dim=1)))
    maps = [feature_maps(module, batch) for batch in batches]
    inner = module.model.without_margin(torch.cat(maps))
    common = None
    if config.parts.object == "common" and data.objects is None and not wraps:
        hint = torch.cat([class_maps(module, features).std(dim=1) for features in maps])
        common = find_common_object(inner, hint)
    pairs = zip(maps, batches, strict=True)
    found = [_objects(module, data, features, batch, common) for features, batch in pairs]
    objects = torch.cat([boxes for boxes, _ in found])
    layers = module.grouping
    if layers is not None and layers.has_started:
        layers.scale_to(*channel_scale(inner))
        return Locator(module, data, layers.finder(wraps), common)
    finder = fit_parts(inner, objects, config.parts.number, config.train.seed % 2**32, wraps)
    if layers is not None:
        layers.start(finder)
        refine_parts(layers, inner, generator, wraps=wraps)
        finder = layers.finder(wraps)
    return Locator(module, data, finder, common)


def locate(locator: Locator) -> tuple[Tensor, Tensor]:
    """(V, N, 1 + P, 4) boxes of all views of the training images, and (N * V,): whole image."""
    data = locator.data
    count, views = len(data.train_images), data.train_views
    items = torch.cartesian_prod(torch.arange(count), torch.arange(views))
    found, lost = zip(
        *(locator.boxes(batch) for batch in _batches(locator.module, data, items)), strict=True
    )
    boxes = torch.cat(found).cpu().reshape(count, views, -1, 4).transpose(0, 1)
    return boxes.contiguous(), torch.cat(lost).cpu()


def picture(locator: Locator, boxes: Tensor | None = None) -> bytes:
    """Parts of a few training fruits, as PNG; `boxes` (N, 1 + P, 4) of all, or they are found."""
    images = locator.data.train_images
    order = images.labels.argsort(stable=True)
    places = torch.linspace(0, len(order) - 1, min(_SHOWN, len(order))).round().long()
    shown = order[places].tolist()
    batch = {"images": images.images(shown), **images.targets(shown)}
    found = locator.boxes(_moved(locator.module, batch))[0] if boxes is None else boxes[shown]
    return draw_parts([images.pixels(index) for index in shown], found.cpu().numpy())


@torch.no_grad()
def find_margins(module: GradingModule, epoch: int) -> Margins:
    """The margins of an epoch: chosen by hand, or from distances of generated negatives."""
    loss, settings = module.config.loss, module.config.parts
    if loss.pairwise_margin is not None:
        return chosen_margins(loss.pairwise_margin, loss.pairwise_alpha)
    if settings.positive_share == 1:  # there may be no negatives to measure, and none is used
        return chosen_margins(1.0, loss.pairwise_alpha)
    assert module.parts is not None
    generator = seeded_generator(module.config.train.seed, 6_000_000, epoch)
    able = (_exchanging(module, module.parts.data) != NO_PART).nonzero()[:, 0]
    found: list[Tensor] = []
    while sum(len(part) for part in found) < settings.negatives:
        wanted = min(module.config.train.batch_size, settings.negatives)
        refs = able[torch.randint(len(able), (wanted,), generator=generator)]
        views = torch.randint(module.parts.data.train_views, refs.shape, generator=generator)
        items = torch.stack([refs, views], dim=1)
        batch = _moved(module, module.parts.data.train_batch(items))
        mixed = module.mix_parts(batch, generator, positive_share=0.0)
        if mixed is None:
            continue
        embedding = module.run(module.jittered(mixed.batch, generator)).embedding.float()
        found.append(negative_distances(*set_embeddings(module.comparable(embedding), mixed)))
    return measured_margins(torch.cat(found)[: settings.negatives], loss.pairwise_alpha)


@torch.no_grad()
def feature_maps(module: GradingModule, batch: Batch) -> Tensor:
    """(N, K, h, w) of a batch of images or hidden views, with a panorama's margins."""
    encoder, frozen = module.model.encoder, module.frozen
    if "hidden" in batch:
        return encoder.run_stages(batch["hidden"], frozen)
    return encoder.run_stages(module.model.prepare(batch["images"]), 0)


def class_maps(module: GradingModule, features: Tensor) -> Tensor:
    """(N, G, h', w') class activation maps of all grades (Zhou et al. 2016), on the deep map.

    The weights of a grade are the gradient of its score with respect to the mean of the deep map:
    with a softmax head these are CAM's. What class channels add to the score is left out.

    Parameters
    ----------
    features : (N, K, h, w) with a panorama's margins; in evaluation mode
    """
    model = module.model
    with torch.no_grad():
        embedding = model.interpret(features, _mean_outlines(model, len(features))).embedding
        deep = model.deep_map(features)
    with torch.enable_grad():
        embedding = embedding.detach().float().requires_grad_()
        scores: Tensor = module.head.get_logits(embedding)  # type: ignore[operator]
        gradients = [
            torch.autograd.grad(one.sum(), embedding, retain_graph=True)[0]
            for one in scores.unbind(dim=1)
        ]
    linear, norm = model.surface_embedding
    assert isinstance(linear, nn.Linear) and isinstance(norm, nn.BatchNorm1d)
    assert norm.running_var is not None
    into = linear.weight[:, : deep.shape[1]] * (norm.running_var + norm.eps).rsqrt()[:, None]
    weights = torch.stack(gradients, dim=1)[..., : model.surface_dim] @ into.detach().float()
    return weighted_map(deep.float(), weights)


def _objects(
    module: GradingModule,
    data: GradingData,
    features: Tensor,
    batch: Batch,
    common: CommonObject | None,
) -> tuple[Tensor, Tensor]:
    """(N, 4) boxes of objects, and (N,) bool: none was found."""
    threshold, labels = module.config.parts.object_threshold, batch["labels"]
    if data.objects is not None and "items" in batch:
        index, view = batch["items"].cpu().unbind(dim=1)
        boxes = data.objects[view, index].to(features)
        return boxes, torch.zeros_like(labels, dtype=torch.bool)
    if module.size.wraps:  # a surface image shows nothing but the fruit
        boxes = torch.tensor(WHOLE, device=features.device).repeat(len(features), 1)
        return boxes, torch.zeros_like(labels, dtype=torch.bool)
    if common is not None:
        return object_boxes(common(features), threshold)
    maps = class_maps(module, features)
    own = maps[torch.arange(len(maps), device=maps.device), labels]
    # A map may be negative all over and still show where.
    return object_boxes(own, threshold, from_lowest=True)


def _exchanging(module: GradingModule, data: GradingData) -> Tensor:
    """(N,) label of each training image whose parts are exchanged; `NO_PART` for the others."""
    labels = data.train_images.labels
    return torch.where(module.surface_index.cpu()[labels] >= 0, labels, NO_PART)


def _mean_outlines(model: GradingModel, count: int) -> Tensor | None:
    encoder = model.outline_encoder
    return None if encoder is None else encoder.mean.expand(count, -1)


def _batches(module: GradingModule, data: GradingData, items: Tensor) -> Iterator[Batch]:
    for chunk in torch.split(items, max(32, module.config.train.batch_size)):
        yield _moved(module, data.train_batch(chunk))


def _moved(module: GradingModule, batch: Batch) -> Batch:
    return {name: values.to(module.device) for name, values in batch.items()}
