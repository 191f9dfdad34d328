"""Parts of objects, and images made by exchanging them."""

from mezoroi.augment.boxes import CELLS, PIXELS, box_iou
from mezoroi.augment.grouping import ChannelGrouping, refine_parts
from mezoroi.augment.mixing import Mixture, Source, mix_batch, replace_parts
from mezoroi.augment.parts import (
    CommonObject,
    PartFinder,
    find_common_object,
    fit_parts,
    object_boxes,
    part_boxes,
)
from mezoroi.augment.sets import NO_PART, Sets, draw_sets, negative_classes

__all__ = [
    "CELLS",
    "NO_PART",
    "PIXELS",
    "ChannelGrouping",
    "CommonObject",
    "Mixture",
    "PartFinder",
    "Sets",
    "Source",
    "box_iou",
    "draw_sets",
    "find_common_object",
    "fit_parts",
    "mix_batch",
    "negative_classes",
    "object_boxes",
    "part_boxes",
    "refine_parts",
    "replace_parts",
]
