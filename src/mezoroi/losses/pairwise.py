"""Adaptive pairwise margin loss (Kim, Kim and Byun, "Localization-Aware Adaptive Pairwise Margin
Loss for Fine-Grained Image Recognition", section III-B)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PAIR_KINDS = ("ref-dcdi1", "ref-dcdi2", "dcdi1-dcdi2", "ref-dcdi_c")
"""The pairs of a negative set, in the order of the margins."""
HAND_SPREAD = 0.25
"""sigma of a margin chosen by hand, as a share of it; the paper gives none."""


@dataclass(frozen=True)
class Margins:
    """Margins of the pairs of a negative set.

    Attributes
    ----------
    m1 : (4,) least distance of each pair, in the order of `PAIR_KINDS`
    m2 : (3,) greatest distance of the first three; two whole images may be as far as they like
    """

    m1: Tensor
    m2: Tensor


def dissimilarity(distance: Tensor, m1: Tensor | float, m2: Tensor | float) -> Tensor:
    """Equation 13, elementwise: max(0, m1 - d) + max(0, d - m2).

    Parameters
    ----------
    distance : >= 0, of any shape
    m1, m2 : m1 <= m2, that broadcast with it

    Returns
    -------
    >= 0, of the shape of `distance`: 0 between the margins, how far from the nearer one elsewhere
    """
    return (m1 - distance).clamp_min(0) + (distance - m2).clamp_min(0)


def distances(one: Tensor, other: Tensor) -> Tensor:
    """Euclidean distances (B,) between the rows of (B, D); the gradient at distance 0 is 0."""
    return torch.linalg.vector_norm(one - other, dim=1)


def negative_distances(ref: Tensor, dcdi1: Tensor, dcdi2: Tensor, dcdi_c: Tensor) -> Tensor:
    """(B, 4) distances of the pairs of negative sets, in the order of `PAIR_KINDS`.

    Parameters
    ----------
    ref, dcdi1, dcdi2, dcdi_c : (B, D) embeddings
    """
    pairs = ((ref, dcdi1), (ref, dcdi2), (dcdi1, dcdi2), (ref, dcdi_c))
    return torch.stack([distances(*pair) for pair in pairs], dim=1)


def measured_margins(found: Tensor, alpha: float = 1.0) -> Margins:
    """Equations 10 and 12: m1 is the mean distance, m2 = m1 + alpha * standard deviation.

    One pair of margins per pair kind for the whole training set, where the text of the paper can
    also be read as one per reference image.

    Parameters
    ----------
    found : (N, 4) distances of generated negatives, N >= 2; the paper takes 250
    alpha : >= 0

    Raises
    ------
    ValueError
        If the shape is another one.
    """
    if found.ndim != 2 or found.shape[1] != len(PAIR_KINDS) or len(found) < 2:
        raise ValueError(f"found must have shape (N >= 2, 4), not {tuple(found.shape)}")
    m1 = found.mean(dim=0)
    return Margins(m1, m1[:3] + alpha * found[:, :3].std(dim=0))


def chosen_margins(margin: float, alpha: float = 1.0) -> Margins:
    """A margin chosen by hand for every pair kind, with `HAND_SPREAD` of it as sigma."""
    return Margins(torch.full((4,), margin), torch.full((3,), margin * (1 + alpha * HAND_SPREAD)))


class AdaptivePairwiseMarginLoss:
    """Equations 8, 9, 13 and 14: a pure function of embeddings.

    Parameters
    ----------
    alpha : >= 0, of `margins`: how many standard deviations lie between m1 and m2
    """

    def __init__(self, alpha: float = 1.0) -> None:
        if not alpha >= 0:
            raise ValueError(f"alpha must be at least 0, not {alpha}")
        self.alpha = alpha

    def margins(self, found: Tensor) -> Margins:
        """`measured_margins` of (N, 4) distances of generated negatives, with this alpha."""
        return measured_margins(found, self.alpha)

    def positive(self, ref: Tensor, scdi1: Tensor, scdi2: Tensor) -> Tensor:
        """Equation 9: the sum of the three distances in a positive set, mean over the batch.

        Parameters
        ----------
        ref, scdi1, scdi2 : (B, D) embeddings of reference images, and of these with one part and
            with two parts of other images of their class; B >= 1

        Returns
        -------
        scalar
        """
        _check(ref=ref, scdi1=scdi1, scdi2=scdi2)
        total = distances(ref, scdi1) + distances(ref, scdi2) + distances(scdi1, scdi2)
        return total.mean()

    def negative(
        self, ref: Tensor, dcdi1: Tensor, dcdi2: Tensor, dcdi_c: Tensor, m1: Tensor, m2: Tensor
    ) -> Tensor:
        """Equation 14: three dissimilarities and one margin, mean over the batch.

        Parameters
        ----------
        ref, dcdi1, dcdi2 : (B, D) embeddings of reference images, and of these with one part and
            with two parts of images of other classes; B >= 1
        dcdi_c : (B, D) embeddings of whole images of other classes
        m1 : (4,) margins in the order of `PAIR_KINDS`
        m2 : (3,) upper margins of the first three pairs

        Returns
        -------
        scalar
        """
        _check(ref=ref, dcdi1=dcdi1, dcdi2=dcdi2, dcdi_c=dcdi_c)
        _check_margins(m1, m2)
        found = negative_distances(ref, dcdi1, dcdi2, dcdi_c)
        m1, m2 = m1.to(found), m2.to(found)
        between = dissimilarity(found[:, :3], m1[:3], m2).sum(dim=1)
        return (between + (m1[3] - found[:, 3]).clamp_min(0)).mean()


def conventional_negative(
    ref: Tensor, dcdi1: Tensor, dcdi2: Tensor, dcdi_c: Tensor, m1: Tensor
) -> Tensor:
    """Equation 7 for the pairs of negative sets: max(0, m1 - d) each, mean over the batch.

    The arguments are those of `AdaptivePairwiseMarginLoss.negative`. A positive set costs its
    distances in either loss.
    """
    _check(ref=ref, dcdi1=dcdi1, dcdi2=dcdi2, dcdi_c=dcdi_c)
    _check_margins(m1, m1[:3])
    found = negative_distances(ref, dcdi1, dcdi2, dcdi_c)
    return (m1.to(found) - found).clamp_min(0).sum(dim=1).mean()


def _check(**embeddings: Tensor) -> None:
    shape = embeddings["ref"].shape
    if len(shape) != 2 or shape[0] < 1:
        raise ValueError(f"ref must have shape (B >= 1, D), not {tuple(shape)}")
    for name, values in embeddings.items():
        if values.shape != shape:
            raise ValueError(
                f"{name} must have the shape of ref, {tuple(shape)}, not {tuple(values.shape)}"
            )


def _check_margins(m1: Tensor, m2: Tensor) -> None:
    if m1.shape != (4,) or m2.shape != (3,):
        raise ValueError(
            f"m1 and m2 must have shapes (4,) and (3,), not {tuple(m1.shape)} and {tuple(m2.shape)}"
        )
