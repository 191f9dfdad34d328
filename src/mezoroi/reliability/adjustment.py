"""Whether adjusting by clusters helps on fruits that the clusters have not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest
from sklearn.base import clone
from sklearn.model_selection import GroupKFold

from mezoroi.reliability.clusters import SaliencyClusters

THRESHOLD = 0.75
"""The paper's error rate above which a cluster's predictions are adjusted."""
FOLDS = 5
LEVEL = 0.05


@dataclass(frozen=True)
class AdjustmentTrial:
    """What adjusting did to calibration fruits of clusters fitted without them.

    Attributes
    ----------
    corrected : specimens of which more predictions became right than wrong
    spoiled : specimens of which more became wrong than right
    """

    corrected: int
    spoiled: int

    @property
    def helps(self) -> bool:
        """True where so many more are corrected than spoiled that chance hardly explains it.

        One-sided sign test at 5 %.
        """
        changed = self.corrected + self.spoiled
        if changed == 0:
            return False
        test = binomtest(self.corrected, changed, alternative="greater")
        return float(test.pvalue) < LEVEL


def try_adjustment(
    clusters: SaliencyClusters,
    maps: NDArray[Any],
    labels: ArrayLike,
    predictions: ArrayLike,
    groups: ArrayLike,
    threshold: float = THRESHOLD,
) -> AdjustmentTrial:
    """Fit copies of `clusters` on four fifths of the fruits and adjust the others, five times.

    Parameters
    ----------
    clusters : their parameters are used; they stay as they are
    maps : (N, H, W)
    labels, predictions : (N,)
    groups : (N,) specimen of each; one is never on both sides
    """
    truth, given = np.asarray(labels), np.asarray(predictions)
    folds = min(FOLDS, len(np.unique(np.asarray(groups))))
    if folds < 2:
        return AdjustmentTrial(0, 0)
    _, specimens = np.unique(np.asarray(groups), return_inverse=True)
    gained = np.zeros(specimens.max() + 1, dtype=np.int64)
    for rest, held_out in GroupKFold(folds).split(maps, groups=groups):
        asked = clusters.n_clusters
        if asked != "eigengap" and len(rest) < asked:
            return AdjustmentTrial(0, 0)
        fitted = clone(clusters).fit(maps[rest], truth[rest], given[rest])
        adjusted = fitted.adjust(maps[held_out], given[held_out], threshold)
        before, after = given[held_out] == truth[held_out], adjusted == truth[held_out]
        np.add.at(gained, specimens[held_out], after.astype(np.int64) - before)
    # Photos of one specimen err together: it has one vote.
    return AdjustmentTrial(int((gained > 0).sum()), int((gained < 0).sum()))
