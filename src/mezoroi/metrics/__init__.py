"""Scores as pure functions of arrays. What is undefined is NaN, never a silent hit or miss."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mezoroi.metrics.agreement import (
        agreement_matrix,
        alpha_interval,
        disagreement,
        fleiss_interval,
        fleiss_kappa,
        grade_counts,
        kappa_interval,
        kappa_matrix,
        krippendorff_alpha,
        ratings_table,
        strictness,
        weighted_kappa,
    )
    from mezoroi.metrics.boxes import best_share, map_boxes, mask_boxes
    from mezoroi.metrics.calibration import (
        accuracy_at_coverage,
        aurc,
        error_aupr,
        error_auroc,
        expected_calibration_error,
        mean_set_size,
        risk_coverage_curve,
        set_coverage,
        wilson_interval,
    )
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
    from mezoroi.metrics.validity import acceptance, chart_validity, misgrading

_HOMES = {
    "Interval": "intervals",
    "acceptance": "validity",
    "accuracy_at_coverage": "calibration",
    "agreement_matrix": "agreement",
    "alpha_interval": "agreement",
    "ap_per_query": "retrieval",
    "aurc": "calibration",
    "best_share": "boxes",
    "best_threshold": "explanation",
    "bootstrap_interval": "intervals",
    "chart_validity": "validity",
    "cosine_similarity": "retrieval",
    "deletion_auc": "explanation",
    "disagreement": "agreement",
    "error_aupr": "calibration",
    "error_auroc": "calibration",
    "expected_calibration_error": "calibration",
    "expert_ceiling": "experts",
    "fleiss_interval": "agreement",
    "fleiss_kappa": "agreement",
    "grade_counts": "agreement",
    "grading_metrics": "grading",
    "grading_report": "grading",
    "insertion_auc": "explanation",
    "iou_per_map": "maps",
    "kappa_interval": "agreement",
    "kappa_matrix": "agreement",
    "krippendorff_alpha": "agreement",
    "localization_error": "maps",
    "map_at_r": "retrieval",
    "map_at_r_per_query": "retrieval",
    "map_boxes": "boxes",
    "map_correlation": "explanation",
    "mask_boxes": "boxes",
    "mass_per_map": "maps",
    "mean_average_precision": "retrieval",
    "mean_iou": "maps",
    "mean_set_size": "calibration",
    "misgrading": "validity",
    "ns_per_query": "retrieval",
    "ns_score": "retrieval",
    "paired_difference": "intervals",
    "pointing_game": "maps",
    "pointing_per_map": "maps",
    "ratings_table": "agreement",
    "recall_at_k": "retrieval",
    "recall_per_query": "retrieval",
    "relevance_mass": "maps",
    "risk_coverage_curve": "calibration",
    "set_coverage": "calibration",
    "strictness": "agreement",
    "trivial_maps": "trivial",
    "weighted_kappa": "agreement",
    "wilson_interval": "calibration",
}

__all__ = [
    "Interval",
    "acceptance",
    "accuracy_at_coverage",
    "agreement_matrix",
    "alpha_interval",
    "ap_per_query",
    "aurc",
    "best_share",
    "best_threshold",
    "bootstrap_interval",
    "chart_validity",
    "cosine_similarity",
    "deletion_auc",
    "disagreement",
    "error_aupr",
    "error_auroc",
    "expected_calibration_error",
    "expert_ceiling",
    "fleiss_interval",
    "fleiss_kappa",
    "grade_counts",
    "grading_metrics",
    "grading_report",
    "insertion_auc",
    "iou_per_map",
    "kappa_interval",
    "kappa_matrix",
    "krippendorff_alpha",
    "localization_error",
    "map_at_r",
    "map_at_r_per_query",
    "map_boxes",
    "map_correlation",
    "mask_boxes",
    "mass_per_map",
    "mean_average_precision",
    "mean_iou",
    "mean_set_size",
    "misgrading",
    "ns_per_query",
    "ns_score",
    "paired_difference",
    "pointing_game",
    "pointing_per_map",
    "ratings_table",
    "recall_at_k",
    "recall_per_query",
    "relevance_mass",
    "risk_coverage_curve",
    "set_coverage",
    "strictness",
    "trivial_maps",
    "weighted_kappa",
    "wilson_interval",
]


def __getattr__(name: str) -> Any:
    """Import a score when it is first used: most need SciPy or scikit-learn, which take seconds."""
    if name in _HOMES:
        return getattr(import_module(f"mezoroi.metrics.{_HOMES[name]}"), name)
    raise AttributeError(f"module `mezoroi.metrics` has no attribute `{name}`")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
