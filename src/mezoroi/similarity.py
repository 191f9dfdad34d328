"""How similar embeddings are to grades: to prototypes, or to the training fruits most like them."""

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
