"""Observations as batches: images, or views kept behind the frozen stages."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from mezoroi.config import Config
from mezoroi.datasets import Dataset
from mezoroi.models.encoder import Encoder
from mezoroi.models.fruit_images import FruitImages, InputSize
from mezoroi.models.fruit_masks import FruitMasks, in_cells
from mezoroi.models.grading_model import GradingModel
from mezoroi.progress import Progress, silent
from mezoroi.training.jitter import jitter, move_masks


class CachedViews(TorchDataset):
    """Outputs of the frozen stages, (V, N, C, H, W) float16, instead of images.

    With `masks`, (V, N, S, h, w), batches also hold these, in cells of the feature map.
    """

    def __init__(self, images: FruitImages, views: Tensor, masks: Tensor | None = None) -> None:
        self.source = images
        self.views = views
        self.masks = masks

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, items: list[tuple[int, int]]) -> dict[str, Tensor]:
        indices = [index for index, _ in items]
        views = [view for _, view in items]
        batch = {"hidden": self.views[views, indices].float(), **self.source.targets(indices)}
        if self.masks is not None:
            batch["masks"] = self.masks[views, indices].float()
        return {**batch, "items": torch.tensor(items)}


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffled (index, view) pairs that depend on the seed and the epoch only.

    With `balance` every grade is drawn equally often on average; otherwise each observation is
    drawn once.
    """

    def __init__(self, labels: Tensor, views: int, seed: int, balance: bool) -> None:
        self.labels = labels
        self.views = max(1, views)
        self.seed = seed
        self.epoch = 0
        counts = labels.bincount()
        uneven = bool(counts[counts > 0].min() != counts.max())
        self.weights = 1.0 / counts[labels].double() if balance and uneven else None

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = seeded_generator(self.seed, self.epoch)
        count = len(self.labels)
        if self.weights is None:
            order = torch.randperm(count, generator=generator)
        else:
            order = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        views = torch.randint(self.views, (count,), generator=generator)
        return iter(zip(order.tolist(), views.tolist(), strict=True))


class InOrder(Sampler[tuple[int, int]]):
    """Every observation once, unchanged."""

    def __init__(self, source: Sized) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((index, 0) for index in range(len(self.source)))


class GradingData(pl.LightningDataModule):
    """Batches for training and validation.

    Batches hold ``labels``, ``outlines`` where there are some, ``items`` (N, 2), the observations'
    and views' numbers, and either ``images`` in [0, 1] or ``hidden``, the output of the frozen
    stages for an augmented view. Where training fruits have masks that are to teach, also ``masks``
    (N, S, H, W), in pixels with images and in cells of the feature map with hidden views, and which
    of them are ``known`` (N, S).

    Attributes
    ----------
    objects : (V, N, 4) boxes of the fruit in every view of every training image, where these are
        known and need not be found; see `mezoroi.augment.boxes`
    """

    def __init__(
        self,
        train: Dataset,
        val: Dataset,
        model: GradingModel,
        size: InputSize,
        config: Config,
        progress: Progress = silent,
        masks: FruitMasks | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.config = config
        megabytes = config.train.cache_megabytes
        self.train_images = FruitImages(train, size.height, size.width, megabytes, masks)
        self.val_images = FruitImages(val, size.height, size.width, megabytes)
        self.objects: Tensor | None = None
        self._model = model
        self._progress = progress
        self._train_set: TorchDataset = self.train_images
        self._val_set: TorchDataset = self.val_images

    def setup(self, stage: str) -> None:
        """Run the frozen stages once over all views, where the settings ask for a cache."""
        settings = self.config.train
        if not (settings.cached_views and frozen_stages(self._model.encoder, self.config)):
            return
        if isinstance(self._train_set, CachedViews):
            return
        views = self._hidden_views(self.train_images, settings.cached_views, jittered=True)
        if views is not None:
            self._train_set = CachedViews(self.train_images, views, self._masks_in_cells(views))
        plain = self._hidden_views(self.val_images, 1, jittered=False)
        if plain is not None:
            self._val_set = CachedViews(self.val_images, plain)

    def train_dataloader(self) -> DataLoader:
        settings = self.config.train
        cached = isinstance(self._train_set, CachedViews)
        sampler = EpochSampler(
            self.train_images.labels,
            settings.cached_views if cached else 1,
            settings.seed,
            settings.balance,
        )
        # A last batch of one observation has no batch statistics.
        drops = len(sampler) % settings.batch_size == 1
        return self._loader(self._train_set, sampler, drop_last=drops)

    @property
    def train_views(self) -> int:
        """Number of views that are kept of each training image; 1 without a cache."""
        kept = isinstance(self._train_set, CachedViews)
        return len(self._train_set.views) if kept else 1  # type: ignore[attr-defined]

    def train_batch(self, items: Tensor) -> dict[str, Tensor]:
        """The batch of the training observations and views (N, 2), without augmentation."""
        return self._train_set.__getitems__(  # type: ignore[attr-defined]
            [(index, view) for index, view in items.tolist()]
        )

    def val_dataloader(self) -> DataLoader:
        return self._loader(self._val_set, InOrder(self.val_images))

    def _loader(
        self, source: TorchDataset, sampler: Sampler, drop_last: bool = False
    ) -> DataLoader:
        settings = self.config.train
        workers = 0 if isinstance(source, CachedViews) else settings.workers
        return DataLoader(
            source,
            batch_size=settings.batch_size,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            drop_last=drop_last,
            collate_fn=_keep,
            generator=seeded_generator(settings.seed, 0),
        )

    def _hidden_views(self, images: FruitImages, count: int, jittered: bool) -> Tensor | None:
        """(V, N, C, H, W) float16, or None where it would not fit into the cache."""
        settings = self.config.train
        frozen, size = frozen_stages(self._model.encoder, self.config), settings.batch_size
        device = next(self._model.parameters()).device
        views: Tensor | None = None
        self._model.eval()
        with torch.inference_mode():
            for start in range(0, len(images), size):
                indices = list(range(start, min(start + size, len(images))))
                batch = images.images(indices).to(device)
                for view in range(count):
                    changed = batch
                    if jittered:
                        seeds = seeded_generator(settings.seed, 1_000_000 + view, start)
                        changed = jitter(batch, self.config.jitter, seeds, self.size.wraps)
                    hidden = self._model.encoder.run_stages(self._model.prepare(changed), 0, frozen)
                    if views is None:
                        shape = (count, len(images), *hidden.shape[1:])
                        if 2 * np.prod(shape) > settings.cache_megabytes << 20:
                            return None
                        views = torch.empty(shape, dtype=torch.float16)
                    views[view, start : start + len(indices)] = hidden.half().cpu()
                if jittered:
                    self._progress("preparing views", min(start + size, len(images)), len(images))
        return views

    def _masks_in_cells(self, views: Tensor) -> Tensor | None:
        """(V, N, S, h, w) float16 masks of the views, moved as these were; None without masks."""
        masks = self.train_images.masks
        if masks is None:
            return None
        settings, grid = self.config.train, self._model.encoder.grid
        kept = []
        for view in range(len(views)):
            rows = []
            for start in range(0, len(self.train_images), settings.batch_size):
                stop = min(start + settings.batch_size, len(self.train_images))
                planes = masks.planes(range(start, stop))
                seeds = seeded_generator(settings.seed, 1_000_000 + view, start)
                moved = move_masks(planes, self.config.jitter, seeds, self.size.wraps)
                rows.append(in_cells(moved, grid, self.size.wraps).half())
            kept.append(torch.cat(rows))
        return torch.stack(kept)


def frozen_stages(encoder: Encoder, config: Config) -> int:
    """How many leading stages of a backbone stay as they are.

    None where its weights are random, or where it cannot be cut, so that all of it would.
    """
    if config.model.weights == "none" or not encoder.is_chain:
        return 0
    return config.train.frozen_stages


def seeded_generator(*parts: int) -> torch.Generator:
    """A CPU generator that depends on all of `parts`."""
    # With their number in front, as trailing zeros change nothing.
    mixed = np.random.SeedSequence((len(parts), *parts))
    seed = int(mixed.generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator().manual_seed(seed)


def _keep(batch: Any) -> Any:
    return batch
