"""How well a confidence tells right from wrong answers, and sets of answers that keep a promise."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezoroi.errors import MezoroiError
from mezoroi.metrics.arrays import as_array

Floats = NDArray[np.float64]


def error_auroc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Chance that a wrong answer has less confidence than a right one; ties count one half.

    Parameters
    ----------
    confidence : (N,) finite, on any scale; more is surer
    correct : (N,) bool

    Returns
    -------
    float in [0, 1], higher is better, 0.5 for a confidence that knows nothing; NaN unless there
    are both right and wrong answers
    """
    from scipy.stats import rankdata

    values, right = _checked(confidence, correct)
    n_right = int(right.sum())
    n_wrong = len(right) - n_right
    if not n_right or not n_wrong:
        return math.nan
    ranks = rankdata(values)
    above = float(ranks[right].sum()) - n_right * (n_right + 1) / 2
    return above / (n_right * n_wrong)


def error_aupr(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Average precision of finding the errors, least confident first; errors are the positives.

    Returns
    -------
    float in [0, 1], higher is better, the share of errors for a confidence that knows nothing;
    NaN without an error
    """
    from sklearn.metrics import average_precision_score

    values, right = _checked(confidence, correct)
    if right.all():
        return math.nan
    return float(average_precision_score(~right, -values))


def risk_coverage_curve(confidence: ArrayLike, correct: ArrayLike) -> Floats:
    """(N,) error rate among the k most confident answers, for k = 1 … N.

    Answers of equal confidence are not told apart: each counts as their mean.
    """
    values, right = _checked(confidence, correct)
    _, tied = np.unique(-values, return_inverse=True)
    sizes = np.bincount(tied)
    shares = np.bincount(tied, weights=~right) / sizes
    errors = np.cumsum(np.repeat(shares, sizes))
    return np.asarray(errors / np.arange(1, len(right) + 1))


def aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Area under the risk-coverage curve (Geifman and El-Yaniv 2017): its mean over coverages.

    Returns
    -------
    float in [0, 1], lower is better; the overall error rate for a confidence that knows nothing
    """
    return float(risk_coverage_curve(confidence, correct).mean())


def accuracy_at_coverage(confidence: ArrayLike, correct: ArrayLike, coverage: float = 0.8) -> float:
    """Accuracy on the most confident share of the answers, the rest left to an expert.

    Parameters
    ----------
    coverage : in (0, 1]; ceil(coverage * N) answers are kept

    Returns
    -------
    float in [0, 1], higher is better
    """
    if not 0 < coverage <= 1:
        raise MezoroiError(f"coverage is {coverage}: use a share above 0 and up to 1, such as 0.8")
    curve = risk_coverage_curve(confidence, correct)
    kept = math.ceil(coverage * len(curve) - 1e-9)
    return float(1 - curve[kept - 1])


def expected_calibration_error(probability: ArrayLike, correct: ArrayLike, bins: int = 10) -> float:
    """ECE (Guo et al. 2017): mean gap of stated and found accuracy, bins of equal width.

    Parameters
    ----------
    probability : (N,) in [0, 1], the stated chance of being right
    bins : number of bins; bin b holds (b / bins, (b + 1) / bins], the first also 0

    Returns
    -------
    float in [0, 1], lower is better
    """
    values, right = _checked(probability, correct)
    if bins < 1:
        raise MezoroiError(f"bins is {bins}: use at least 1")
    if values.min() < 0 or values.max() > 1:
        raise MezoroiError("probabilities lie outside 0 to 1: the ECE needs stated chances")
    number = np.clip(np.ceil(values * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(number, weights=values - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(values))


def wilson_interval(
    successes: ArrayLike, trials: ArrayLike, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Wilson score interval of a share (Wilson 1927), elementwise.

    Parameters
    ----------
    successes, trials : counts of one shape, 0 <= successes <= trials
    level : in (0, 1)

    Returns
    -------
    low, high in [0, 1]; 0 and 1 where there were no trials
    """
    if not 0 < level < 1:
        raise MezoroiError(f"level is {level}: use a share between 0 and 1, such as 0.95")
    found, n = np.broadcast_arrays(
        np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    )
    if (found < 0).any() or (found > n).any():
        raise MezoroiError("successes lie outside 0 to trials: give counts")
    z2 = NormalDist().inv_cdf(0.5 - level / 2) ** 2
    share = np.divide(found, n, out=np.full(n.shape, 0.5), where=n > 0)
    centre = (n * share + z2 / 2) / (n + z2)
    half = np.sqrt(z2 * (n * share * (1 - share) + z2 / 4)) / (n + z2)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def set_coverage(sets: ArrayLike, labels: ArrayLike) -> float:
    """Share of items whose label is in their set.

    Parameters
    ----------
    sets : (N, C) bool
    labels : (N,) int in 0 … C - 1
    """
    members = np.asarray(sets, dtype=bool)
    return float(members[np.arange(len(members)), np.asarray(labels)].mean())


def mean_set_size(sets: ArrayLike) -> float:
    """Mean number of classes in the sets (N, C) bool; lower is more informative."""
    return float(np.asarray(sets, dtype=bool).sum(axis=1).mean())


def _checked(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    values = as_array(confidence).astype(np.float64)
    right = as_array(correct).astype(bool)
    if values.ndim != 1 or values.shape != right.shape or len(values) == 0:
        raise MezoroiError(
            f"confidences of shape {values.shape} do not match answers of shape {right.shape}: "
            "give one of each per item"
        )
    if not np.isfinite(values).all():
        raise MezoroiError("a confidence is NaN or infinite: leave such items out, and count them")
    return values, right
