"""How sharply activation maps tell grades apart, from fruits that the training did not learn from.

Sparsity holds class channels down while these are trained, so that maps are less sure of grades
than they could be. What grades rule out says how sure: on a fruit with a weaker grade no position
shows a stronger one.
"""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from mezoroi.losses import precedence_loss
from mezoroi.maps import grade_evidence
from mezoroi.models import FruitImages
from mezoroi.progress import Progress, silent
from mezoroi.training.module import GradingModule

MIN_FRUITS = 8
"""Fewer specimens of weaker grades say too little."""
SHARPEST, FLATTEST = 1 / 4, 4.0
_BATCH = 32


def fit_temperature(
    module: GradingModule, images: FruitImages, progress: Progress = silent
) -> float:
    """The temperature by which to divide evidence, that has the least precedence loss.

    Temperature scaling (Guo et al. 2017) of every position's grade, known as far as precedence
    rules grades out; plain surface does not count.

    Parameters
    ----------
    module : a trained one, in evaluation mode
    images : that it did not learn from

    Returns
    -------
    float from `SHARPEST` to `FLATTEST`; 1 where precedence was not asked in training, or where
    fruits of which it is asked, and whose grade rules others out, are of fewer than `MIN_FRUITS`
    specimens
    """
    surface = module.surface_index.cpu()[images.labels]
    possible = module.possible.cpu()[surface]
    tells = (surface >= 0) & ~possible.all(dim=1)
    if module.config.loss.mask_weight:
        tells &= torch.tensor([item.mask is None for item in images.dataset])
    chosen = tells.nonzero()[:, 0].tolist()
    specimens = {images.dataset.specimens[index] for index in chosen}
    if module.mutual_channel is None or not module.config.loss.precedence_weight:
        return 1.0
    if len(specimens) < MIN_FRUITS:
        return 1.0
    rows = []
    for start in range(0, len(chosen), _BATCH):
        batch = chosen[start : start + _BATCH]
        rows.append(_evidence(module, images.images(batch)))
        progress("fitting the maps' temperature", start + len(batch), len(chosen))
    evidence, weights = (torch.cat(parts) for parts in zip(*rows, strict=True))

    def cost(log_temperature: float) -> float:
        divided = evidence / math.exp(log_temperature)
        return float(precedence_loss(divided, possible[tells], weights))

    limits = (math.log(SHARPEST), math.log(FLATTEST))
    return math.exp(minimize_scalar(cost, bounds=limits, method="bounded").x)


def _evidence(module: GradingModule, images: Tensor) -> tuple[Tensor, Tensor]:
    """Evidence (N, S, h, w) of images, and how surely each position (N, h, w) is not plain."""
    model = module.model
    with torch.inference_mode():
        prepared = model.prepare(images.to(module.possible.device))
        feature_map = model.without_margin(model.encoder(prepared))
        evidence = grade_evidence(model.averaged_channels(feature_map), model.channels_per_grade)
        plain = model.plain_share(prepared)
        weights = torch.ones_like(evidence[:, 0]) if plain is None else 1 - plain
    return evidence.float().cpu(), weights.float().cpu()
