"""Training on pytorch-lightning."""

from mezoroi.training.data import GradingData
from mezoroi.training.fit import finished_epochs, fit
from mezoroi.training.module import GradingModule

__all__ = [
    "GradingData",
    "GradingModule",
    "finished_epochs",
    "fit",
]
