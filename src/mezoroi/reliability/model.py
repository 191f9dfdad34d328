"""ReliabilityModel: everything fitted on the calibration fruits, and what it says of new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezoroi.metrics.calibration import wilson_interval
from mezoroi.reliability.adjustment import THRESHOLD, AdjustmentTrial, try_adjustment
from mezoroi.reliability.clusters import SaliencyClusters
from mezoroi.reliability.combination import Combination
from mezoroi.reliability.confidence import (
    Answers,
    fit_temperature,
    neighbour_agreement,
    probabilities,
    prototype_margin,
    reader_support,
    softmax_confidence,
)
from mezoroi.reliability.conformal import ConformalSets
from mezoroi.reliability.reasons import FEW, Reason, background_share
from mezoroi.reliability.saliency import ACTIVATION

ASK_BELOW = 0.7
"""An expert is asked where the chance of being right is below this."""
BACKGROUND_ABOVE = 0.5
"""A map with more of its mass than this outside the fruit looked mostly at the background."""
COVERAGE = 0.9
"""What sets of grades promise."""


@dataclass(frozen=True)
class Judgement:
    """How far one grading can be trusted; grades as indices in the standard.

    Attributes
    ----------
    cluster : number of the saliency cluster, from 0
    grade, adjusted_from : the grade after adjustment, and the one before, or None if it is the same
    reliability : share of calibration fruits of this cluster whose grade, adjusted in the same way,
        was right
    low, high : its 95 % Wilson interval
    cases : number of these fruits
    chance : of the grade being right, all signals together
    grade_set : the grades that cannot be excluded, at `ReliabilityModel.conformal`'s coverage
    reasons : to ask an expert, the most telling first; none where there is no need
    """

    cluster: int
    grade: int
    adjusted_from: int | None
    reliability: float
    low: float
    high: float
    cases: int
    chance: float
    grade_set: tuple[int, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class ReliabilityModel:
    """What was learned from the calibration fruits.

    Attributes
    ----------
    method : of the saliency maps
    clusters : fitted on classes that are indices of grades
    temperature : of the head's softmax
    conformal : sets from the head's probabilities
    combination : chance of being right from all signals
    trial : what adjusting did to fruits held out from the clusters
    threshold : error rate above which a cluster is adjusted
    background : (Q,) mean share of the maps' mass beside the fruit, by cluster; NaN where it is not
        known where the fruit is
    """

    method: str
    clusters: SaliencyClusters
    temperature: float
    conformal: ConformalSets
    combination: Combination
    trial: AdjustmentTrial
    threshold: float = THRESHOLD
    background: tuple[float, ...] = ()

    @property
    def adjusts(self) -> bool:
        """True where adjusting helped on held-out calibration fruits."""
        return self.trial.helps

    def cluster_map(self, cluster: int, size: tuple[int, int]) -> NDArray[np.float32]:
        """(height, width) mean map of a cluster in [0, 1], on one scale for all clusters.

        Activation maps as they are; others over the largest value of all the mean maps, what speaks
        against the grade as 0.
        """
        prototypes = self.clusters.prototypes_
        top = 1.0 if self.method == ACTIVATION else max(float(prototypes.max()), 1e-12)
        plane = np.clip(prototypes[cluster] / top, 0, 1).astype(np.float32)
        return np.asarray(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR))

    def signals(self, answers: Answers) -> dict[str, NDArray[np.float64]]:
        """(N,) signals by name that speak for a grading being right, of new fruits."""
        numbers, novelty = self.clusters.look_up(answers.maps)
        plain = plain_signals(answers, self.temperature)
        return plain | _cluster_signals(self.clusters.reliability_[numbers], novelty)

    def right_after_adjusting(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(Q,) calibration fruits that are right as gradings show them, and all, by cluster."""
        counts = self.clusters.counts_
        table = self.replacements()
        rows = np.arange(len(counts))[:, None]
        right = counts[rows, table, np.arange(counts.shape[2])].sum(axis=1)
        return right, counts.sum(axis=(1, 2))

    def replacements(self) -> NDArray[np.intp]:
        """(Q, C) as `SaliencyClusters.replacements`; unchanged where that did not help."""
        if self.adjusts:
            return self.clusters.replacements(self.threshold)
        return np.tile(np.arange(len(self.clusters.classes_)), (self.clusters.n_clusters_, 1))

    def adjust(self, answers: Answers) -> NDArray[np.intp]:
        """(N,) grades after adjustment; as given where adjusting did not help."""
        if not self.adjusts:
            return answers.given.copy()
        return self.clusters.adjust(answers.maps, answers.given, self.threshold)

    def grade_sets(self, answers: Answers, adjusted: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(N, G) which grades cannot be excluded: never the one given, (N,) after adjustment."""
        sets = self.conformal.sets(probabilities(answers.logits, self.temperature))
        sets[np.arange(len(sets)), adjusted] = True
        return sets

    def judge(
        self,
        answers: Answers,
        grades: Sequence[str],
        fruits: Sequence[NDArray[np.bool_] | None],
    ) -> list[Judgement]:
        """Say of each of N answers how far to trust it.

        Parameters
        ----------
        grades : of the standard, for the reasons' texts
        fruits : N masks (H, W) of where the fruit is in the picture, None where that is not known
        """
        numbers, novelty = self.clusters.look_up(answers.maps)
        signals = plain_signals(answers, self.temperature)
        signals |= _cluster_signals(self.clusters.reliability_[numbers], novelty)
        chances = self.combination.chance(signals)
        adjusted = answers.given
        if self.adjusts:
            adjusted = self.clusters.adjust_in(numbers, answers.given, self.threshold)
        sets = self.grade_sets(answers, adjusted)
        right, total = self.right_after_adjusting()
        low, high = wilson_interval(right, total)
        judgements = []
        for row, (q, before, after) in enumerate(
            zip(numbers, answers.given, adjusted, strict=True)
        ):
            changed = before != after
            share = float(right[q] / total[q])
            # The signals speak of the grade before adjustment.
            chance = share if changed else float(chances[row])
            members = np.flatnonzero(sets[row]).tolist()
            reasons = _reasons(
                int(right[q]), int(total[q]), float(low[q]), float(novelty[row]), chance,
                [grades[index] for index in members],
            )  # fmt: skip
            if reasons:
                reasons = self._background(int(q), answers.maps[row], fruits[row]) + reasons
            judgements.append(
                Judgement(
                    cluster=int(q),
                    grade=int(after),
                    adjusted_from=int(before) if changed else None,
                    reliability=share,
                    low=float(low[q]),
                    high=float(high[q]),
                    cases=int(total[q]),
                    chance=chance,
                    grade_set=tuple(members),
                    reasons=tuple(reasons),
                )
            )
        return judgements

    def _background(
        self, cluster: int, saliency: NDArray[np.floating], fruit: NDArray[np.bool_] | None
    ) -> list[Reason]:
        """By the fruit itself where it is known, else by the calibration fruits of the cluster."""
        share = self.background[cluster] if self.background else float("nan")
        if fruit is not None:
            share = background_share(saliency, fruit)
        return [Reason.of("background")] if share > BACKGROUND_ABOVE else []


def fit_reliability(
    answers: Answers,
    labels: ArrayLike,
    groups: ArrayLike,
    method: str,
    clusters: SaliencyClusters,
    coverage: float = COVERAGE,
) -> ReliabilityModel:
    """Fit everything on calibration fruits, which the grader must not have learned from.

    Parameters
    ----------
    labels : (N,) index of the expert's grade
    groups : (N,) specimen of each; what others of its specimen tell is never used to judge one
    method : of the maps
    clusters : not fitted; their parameters are used
    coverage : that sets of grades promise
    """
    truth = np.asarray(labels)
    right = answers.given == truth
    clusters = clusters.fit(answers.maps, truth, answers.given, groups)
    temperature = fit_temperature(answers.logits, truth)
    own_share, novelty = clusters.held_out(right, groups)
    signals = plain_signals(answers, temperature) | _cluster_signals(own_share, novelty)
    return ReliabilityModel(
        method=method,
        clusters=clusters,
        temperature=temperature,
        conformal=ConformalSets.fit(probabilities(answers.logits, temperature), truth, coverage),
        # A fruit that was right leaves its cluster a lower share behind, one that was wrong a
        # higher one: where clusters tell nothing else, that would be learned.
        combination=Combination.fit(signals, right, never_against={"saliency cluster"}),
        trial=try_adjustment(clusters, answers.maps, truth, answers.given, groups),
    )


def plain_signals(answers: Answers, temperature: float) -> dict[str, NDArray[np.float64]]:
    """(N,) by name, what speaks for a grading being right without looking at maps."""
    return {
        "softmax": softmax_confidence(answers.logits, answers.given),
        "tempered softmax": softmax_confidence(answers.logits, answers.given, temperature),
        "prototype margin": prototype_margin(answers.similarity, answers.given),
        "neighbours": neighbour_agreement(answers.neighbours, answers.given),
        "second reader": reader_support(answers.reading, answers.given),
    }


def _cluster_signals(
    reliability: NDArray[np.float64], novelty: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    return {"saliency cluster": reliability, "familiarity": -np.log(novelty + 1e-3)}


def _reasons(
    right: int, cases: int, low: float, novelty: float, chance: float, grades: Sequence[str]
) -> list[Reason]:
    reasons = []
    if novelty > 1:
        reasons.append(Reason.of("novel"))
    if cases < FEW and low < 0.5:
        reasons.append(Reason.of("few examples", count=cases))
    elif right / cases < ASK_BELOW:
        reasons.append(Reason.of("often wrong", count=cases, right=right))
    if chance < ASK_BELOW and not reasons:
        reasons.append(Reason.of("undecided", grades=", ".join(grades)))
    return reasons


def summary_of(model: ReliabilityModel, grades: Sequence[str]) -> list[dict[str, object]]:
    """One entry per cluster, ready for JSON: counts, error rate and what is made of predictions."""
    clusters = model.clusters
    names = [grades[index] for index in clusters.classes_]
    table = model.replacements()
    entries = []
    for q, counts in enumerate(clusters.counts_):
        changed = {
            names[column]: names[row] for column, row in enumerate(table[q]) if row != column
        }
        entries.append(
            {
                "cluster": q + 1,
                "cases": int(counts.sum()),
                "right": int(np.trace(counts)),
                "error_rate": float(clusters.error_rate_[q]),
                "reliability": float(clusters.reliability_[q]),
                "low": float(clusters.reliability_low_[q]),
                "high": float(clusters.reliability_high_[q]),
                "counts": {
                    true: {
                        given: int(counts[i, j]) for j, given in enumerate(names) if counts[i, j]
                    }
                    for i, true in enumerate(names)
                    if counts[i].any()
                },
                "adjusted": changed,
            }
        )
    return entries
