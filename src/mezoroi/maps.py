"""Maps from class channels, as pure tensor functions."""

from __future__ import annotations

from torch import Tensor

from mezoroi.errors import MezoroiError


def grade_evidence(class_channels: Tensor, channels_per_grade: int) -> Tensor:
    """Evidence for each grade at each position: the largest channel of the grade's block.

    Parameters
    ----------
    class_channels : (N, G * channels_per_grade, H, W), non-negative
        Feature map after batch norm and ReLU; block g belongs to grade g.
    channels_per_grade : xi >= 1

    Returns
    -------
    (N, G, H, W), non-negative

    Raises
    ------
    MezoroiError
        If the channels do not divide into blocks of `channels_per_grade`.
    """
    count, channels, height, width = class_channels.shape
    if channels_per_grade < 1 or channels % channels_per_grade:
        raise MezoroiError(
            f"{channels} channels do not divide into blocks of {channels_per_grade}: "
            "give the number of channels per grade the model was trained with"
        )
    blocks = class_channels.reshape(count, -1, channels_per_grade, height, width)
    return blocks.amax(dim=2)


def activation_map(class_channels: Tensor, channels_per_grade: int) -> Tensor:
    """Probability of each grade at each position (melon paper, section 3.4).

    Parameters
    ----------
    class_channels : (N, G * channels_per_grade, H, W), non-negative
    channels_per_grade : xi >= 1

    Returns
    -------
    (N, G, H, W) in [0, 1], summing to 1 over G at every position.

    Raises
    ------
    MezoroiError
        If the channels do not divide into blocks of `channels_per_grade`.
    """
    return grade_evidence(class_channels, channels_per_grade).softmax(dim=1)
