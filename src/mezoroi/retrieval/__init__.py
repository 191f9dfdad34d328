"""Fruits like this one: an index of reference fruits, and how good a retrieval is."""

from mezoroi.metrics.retrieval import map_at_r, mean_average_precision, ns_score, recall_at_k
from mezoroi.retrieval.gallery import Gallery
from mezoroi.retrieval.index import ReferenceIndex
from mezoroi.retrieval.reference import Neighbour, Reference

__all__ = [
    "Gallery",
    "Neighbour",
    "Reference",
    "ReferenceIndex",
    "map_at_r",
    "mean_average_precision",
    "ns_score",
    "recall_at_k",
]
