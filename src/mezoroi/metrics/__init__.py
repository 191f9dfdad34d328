"""Scores as pure functions of arrays. What is undefined is NaN, never a silent hit or miss."""

from mezoroi.metrics.boxes import best_share, map_boxes, mask_boxes
from mezoroi.metrics.experts import expert_ceiling
from mezoroi.metrics.explanation import (
    best_threshold,
    deletion_auc,
    insertion_auc,
    map_correlation,
)
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
from mezoroi.metrics.retrieval import (
    ap_per_query,
    cosine_similarity,
    map_at_r,
    map_at_r_per_query,
    mean_average_precision,
    ns_per_query,
    ns_score,
    recall_at_k,
    recall_per_query,
)
from mezoroi.metrics.trivial import trivial_maps

__all__ = [
    "Interval",
    "ap_per_query",
    "best_share",
    "best_threshold",
    "bootstrap_interval",
    "cosine_similarity",
    "deletion_auc",
    "expert_ceiling",
    "grading_metrics",
    "grading_report",
    "insertion_auc",
    "iou_per_map",
    "localization_error",
    "map_at_r",
    "map_at_r_per_query",
    "map_boxes",
    "map_correlation",
    "mask_boxes",
    "mass_per_map",
    "mean_average_precision",
    "mean_iou",
    "ns_per_query",
    "ns_score",
    "paired_difference",
    "pointing_game",
    "pointing_per_map",
    "recall_at_k",
    "recall_per_query",
    "relevance_mass",
    "trivial_maps",
]
