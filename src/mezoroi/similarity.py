"""How similar fruits are to grades.

To prototypes, to the training fruits most like them, or as the second reader reads them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mezoroi.bundle import Bundle, Prototypes
from mezoroi.explain import Similarity


class GradeSimilarity:
    """Similarity of embeddings with every grade.

    With a grade's prototype it is the cosine with the mean of the grade (the melon paper). With
    exemplars it is the mean cosine with the few training fruits of it that are most alike: a grade
    whose fruits come in several kinds, or that passes into the next one, has no single middle.

    Parameters
    ----------
    prototypes : of the grader
    nearest : exemplars of a grade that count, all of them where it has fewer; 0: the prototypes
    dim : leading numbers of an embedding that are compared
    device : where embeddings come from
    """

    def __init__(
        self, prototypes: Prototypes, nearest: int, dim: int, device: torch.device
    ) -> None:
        def unit(values: Tensor) -> Tensor:
            return F.normalize(values[:, :dim].to(device), dim=1)

        self._prototypes = unit(prototypes.embeddings)
        self._exemplars: list[Tensor] = []
        self._nearest = nearest
        if nearest:
            members = prototypes.exemplar_grades
            self._exemplars = [
                unit(prototypes.exemplars[members == grade])
                for grade in range(len(prototypes.embeddings))
            ]

    def __call__(self, embeddings: Tensor) -> Tensor:
        """(N, G) in [-1, 1] for embeddings (N, D), D at least `dim`."""
        own = F.normalize(embeddings[:, : self._prototypes.shape[1]], dim=1)
        if not self._exemplars:
            return own @ self._prototypes.T
        return torch.stack([self._mean_of_nearest(own, members) for members in self._exemplars], 1)

    def _mean_of_nearest(self, own: Tensor, members: Tensor) -> Tensor:
        cosines = own @ members.T
        return cosines.topk(min(self._nearest, len(members)), dim=1).values.mean(dim=1)


def similarity_of_reading(reading: Tensor, is_ordered: bool) -> Tensor:
    """Similarity (N, G) in [-1, 1] of fruits with grades, from their estimated chances.

    1 - 2 E(d): d is how far the fruit's grade is from the one compared with, 1 from one end of
    ordered grades to the other, or between any two grades without an order. Of ordered grades the
    most similar one is thus the median of the reading, of others its likeliest.

    Parameters
    ----------
    reading : (N, G) from `SecondReader.read`; NaN for grades that cannot be judged, which then have
        no similarity
    is_ordered : whether the grades are
    """
    known = reading.isnan().logical_not()
    chances = torch.where(known, reading, 0.0).clamp(min=0.0)
    total = chances.sum(dim=1, keepdim=True)
    even = known.to(chances) / known.sum(dim=1, keepdim=True).clamp(min=1)
    chances = torch.where(total > 0, chances / total.clamp(min=1e-12), even)
    places = torch.arange(reading.shape[1], dtype=reading.dtype, device=reading.device)
    apart = (places[:, None] - places).abs()
    apart = apart / (len(places) - 1) if is_ordered else (apart > 0).to(apart)
    similarity = 1 - 2 * chances @ apart
    return torch.where(known, similarity, torch.nan)


def surface_target(bundle: Bundle, grade: str) -> Similarity:
    """What `GradeSimilarity` says of a surface and a surface grade, as a target of explainers."""
    standard, prototypes = bundle.trained_standard, bundle.prototypes
    nearest = bundle.config.model.exemplars
    number = standard.grades.index(grade)
    reference = prototypes.embeddings[number]
    if nearest:
        reference = prototypes.exemplars[prototypes.exemplar_grades == number]
    own = reference[..., : bundle.network.surface_dim]
    return Similarity(own, standard.surface_grades.index(grade), max(1, nearest))
