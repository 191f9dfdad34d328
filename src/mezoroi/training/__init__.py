"""Training on pytorch-lightning."""

from mezoroi.training.data import FruitImages, GradingData, InputSize
from mezoroi.training.fit import finished_epochs, fit
from mezoroi.training.heads import SoftmaxHead, make_head
from mezoroi.training.masks import FruitMasks
from mezoroi.training.module import GradingModule

__all__ = [
    "FruitImages",
    "FruitMasks",
    "GradingData",
    "GradingModule",
    "InputSize",
    "SoftmaxHead",
    "finished_epochs",
    "fit",
    "make_head",
]
