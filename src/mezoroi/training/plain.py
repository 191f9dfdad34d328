"""What plain surface looks like on the training fruits, if there is any.

Stem end, blossom end and faint patches look alike on fruits of every grade, and no grade says so:
on a fruit without any sign, all of it would count for the grade that no sign decides. What tells
them from the rest is that there is little to see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from mezoroi.maps import Grid
from mezoroi.models import FruitImages
from mezoroi.models.fruit_masks import FruitMasks, in_cells
from mezoroi.models.grading_model import GradingModel
from mezoroi.models.plain import PlainSurface, cell_means, log_contrast, relative_contrast
from mezoroi.progress import Progress, silent
from mezoroi.standard import GradingStandard

CLEAR_GAP = 2.0
"""Ashman's D, above which two normal distributions are apart (Ashman, Bird and Zepf 1994)."""
MIN_FRUITS = 40
"""Fewer specimens cannot show that plain surface tells nothing of the grade."""
_FOLDS = 5
_BATCH = 32


def find_plain(
    images: FruitImages,
    model: GradingModel,
    standard: GradingStandard,
    progress: Progress = silent,
) -> PlainSurface | None:
    """Plain surface as the training fruits have it; None where they have none that is known.

    It is looked for on panoramas (on a photo there is most to see at the fruit's edge), for ordered
    grades and a model with class channels. None, too, where experts' masks of the images, if they
    have some, mark it.
    """
    grid = model.encoder.grid
    if not (model.wrap_margin and model.channels_per_grade and standard.ordered):
        return None
    if len(set(grid.step)) > 1 or len(set(grid.offset)) > 1 or not float(grid.step[0]).is_integer():
        return None
    rows = []
    for start in range(0, len(images), _BATCH):
        stop = min(start + _BATCH, len(images))
        rows.append(cell_looks(images.images(list(range(start, stop))), grid))
        progress("looking for plain surface", stop, len(images))
    looks = torch.cat(rows)
    device = next(model.parameters()).device
    with torch.inference_mode():
        first = model.encoder(model.prepare(images.images([0]).to(device)))
    if model.without_margin(first).shape[2:] != looks.shape[2:]:
        return None
    by_precedence = [grade for grade in standard.precedence if grade in standard.surface_grades]
    strongest = standard.surface_grades.index(by_precedence[0])
    dataset = images.dataset
    plain = fit_plain(looks, dataset.labels, dataset.specimens, grid, strongest)
    if plain is None or images.masks is None:
        return plain
    chance = plain.chance(relative_contrast(looks[:, 0]))
    return None if _is_marked(chance, images.masks, grid, strongest) else plain


def cell_looks(images: Tensor, grid: Grid) -> Tensor:
    """Log contrast and mean colour of each cell: (N, 3, H, W) in [0, 1] -> (N, 4, h, w)."""
    return torch.cat([log_contrast(images, grid)[:, None], cell_means(images, grid)], dim=1)


def fit_plain(
    looks: Tensor,
    labels: Sequence[int] | NDArray,
    specimens: Sequence[str],
    grid: Grid,
    strongest: int,
) -> PlainSurface | None:
    """Two kinds of cells, of little and of much contrast, as a mixture of normal distributions.

    None where these are not clearly apart, where specimens are few, or where the kind with little
    contrast tells the grades: a smooth skin may, by its colour.

    Parameters
    ----------
    looks : (N, 4, h, w) from `cell_looks`
    labels, specimens : of the N images
    grid, strongest : as of `PlainSurface`
    """
    contrast = relative_contrast(looks[:, 0])
    values = contrast.reshape(-1, 1).double().numpy()
    # A few cells with nothing at all would make a kind of their own.
    values = values.clip(*np.percentile(values, [1, 99]))
    if len(set(specimens)) < MIN_FRUITS or np.ptp(values) == 0:
        return None
    mixture = GaussianMixture(2, random_state=0).fit(values)
    order = mixture.means_[:, 0].argsort()
    means, variances = mixture.means_[order, 0], mixture.covariances_[order, 0, 0]
    if math.sqrt(2) * (means[1] - means[0]) <= CLEAR_GAP * math.sqrt(variances.sum()):
        return None
    found = (means, np.sqrt(variances), mixture.weights_[order])
    plain = PlainSurface(grid, strongest, *(torch.from_numpy(each) for each in found))
    return None if _tells_grades(looks, plain.chance(contrast), labels, specimens) else plain


def _is_marked(chance: Tensor, masks: FruitMasks, grid: Grid, strongest: int) -> bool:
    """Whether experts mark plain cells more than half as often as others.

    Parameters
    ----------
    chance : (N, h, w) that a cell is plain
    masks : of the same N fruits
    strongest : number of the surface grade whose signs may be smooth: its masks say nothing here
    """
    known = masks.known.clone()
    known[:, strongest] = False
    all_cells, marked = torch.zeros(2), torch.zeros(2)  # plain ones, and the rest
    for index in known.any(dim=1).nonzero()[:, 0].tolist():
        planes = masks.planes([index])[:, known[index]].amax(dim=1, keepdim=True)
        kinds = torch.stack([chance[index], 1 - chance[index]])
        all_cells += kinds.sum(dim=(1, 2))
        marked += (kinds * in_cells(planes, grid, wraps=True)[0]).sum(dim=(1, 2))
    return bool(marked[0] * all_cells[1] > marked[1] * all_cells[0] / 2)


def _tells_grades(
    looks: Tensor, chance: Tensor, labels: Sequence[int] | NDArray, specimens: Sequence[str]
) -> bool:
    """Whether grades are told by plain cells clearly more often than by chance."""
    grades = np.unique(labels)
    groups = np.unique(np.asarray(specimens), return_inverse=True)[1]
    weights = chance[:, None] / chance.sum(dim=(1, 2)).clamp_min(1e-3)[:, None, None, None]
    mean = (looks * weights).sum(dim=(2, 3))
    spread = ((looks - mean[..., None, None]).square() * weights).sum(dim=(2, 3)).sqrt()
    found = torch.cat([mean, spread], dim=1).numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    told = cross_val_predict(model, found, labels, groups=groups, cv=GroupKFold(_FOLDS))
    guessed = 1 / len(grades)
    doubt = math.sqrt(guessed * (1 - guessed) / len(labels))
    return bool(balanced_accuracy_score(labels, told) > guessed + 3 * doubt)
