"""Scores as pure functions of arrays. What is undefined is NaN, never a silent hit or miss."""

from mezoroi.metrics.grading import grading_metrics, grading_report
from mezoroi.metrics.intervals import Interval, bootstrap_interval, paired_difference
from mezoroi.metrics.maps import (
    iou_per_map,
    localization_error,
    mass_per_map,
    mean_iou,
    pointing_game,
    pointing_per_map,
    relevance_mass,
)
from mezoroi.metrics.trivial import trivial_maps

__all__ = [
    "Interval",
    "bootstrap_interval",
    "grading_metrics",
    "grading_report",
    "iou_per_map",
    "localization_error",
    "mass_per_map",
    "mean_iou",
    "paired_difference",
    "pointing_game",
    "pointing_per_map",
    "relevance_mass",
    "trivial_maps",
]
