"""Whether a network makes a feature map of images of a size, tried before it is trained."""

from __future__ import annotations

import torch

from mezoroi.errors import MezoroiError
from mezoroi.models.encoder import first_line
from mezoroi.models.grading_model import GradingModel


def check_feature_map(network: GradingModel, backbone: str, height: int, width: int) -> None:
    """Run a network on an empty image.

    timm's feature networks include some that take images of one size only, or put channels last.

    Parameters
    ----------
    network : left as it was
    backbone : what to call its encoder
    height, width : of the images in pixels

    Raises
    ------
    MezoroiError
        If it fails, or its feature map has other channels than it says.
    """
    was_training, outline = network.training, network.outline_encoder
    outlines = None if outline is None else outline.mean[None]
    image = torch.zeros(1, 3, height, width)
    reason = None
    try:
        with torch.inference_mode():
            network.eval()
            found = network.forward_with_early(network.prepare(image), outlines)
        if found.feature_map.shape[1] != network.encoder.channels:
            reason = f"{found.feature_map.shape[1]} channels, not {network.encoder.channels}"
    except Exception as error:  # timm's networks raise many kinds
        reason = first_line(error)
    finally:
        network.train(was_training)
    if reason is not None:
        raise MezoroiError(
            f"backbone `{backbone}` makes no feature map of {width} x {height} pixels ({reason}): "
            "choose a convolutional one, or another input.height and input.width"
        )
