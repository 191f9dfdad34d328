"""Parts of objects, and images made by exchanging them."""

from mezoroi.augment.boxes import CELLS, PIXELS, box_iou
from mezoroi.augment.grouping import ChannelGrouping, grouping_loss, refine_parts
from mezoroi.augment.mixing import Mixture, Source, mix_batch, replace_parts
from mezoroi.augment.parts import (
    CommonObject,
    PartFinder,
    channel_scale,
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
    "channel_scale",
    "draw_sets",
    "find_common_object",
    "fit_parts",
    "grouping_loss",
    "mix_batch",
    "negative_classes",
    "object_boxes",
    "part_boxes",
    "refine_parts",
    "replace_parts",
]
