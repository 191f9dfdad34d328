"""How far a grading can be trusted: clusters of saliency maps, and what goes beyond them."""

from __future__ import annotations

from mezoroi.reliability.adjustment import AdjustmentTrial, try_adjustment
from mezoroi.reliability.clusters import SaliencyClusters
from mezoroi.reliability.combination import Combination
from mezoroi.reliability.confidence import Answers
from mezoroi.reliability.conformal import ConformalSets
from mezoroi.reliability.model import Judgement, ReliabilityModel, fit_reliability

__all__ = [
    "AdjustmentTrial",
    "Answers",
    "Combination",
    "ConformalSets",
    "Judgement",
    "ReliabilityModel",
    "SaliencyClusters",
    "fit_reliability",
    "try_adjustment",
]
