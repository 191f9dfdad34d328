"""From a rotation video or frames to the surface image and the outline."""

from mezoroi.capture.unrolling import Capture, unroll

__all__ = ["Capture", "unroll"]
