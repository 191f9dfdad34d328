"""Networks: a timm encoder, class channels, outline encoder and their embedding."""

from mezoroi.models.encoder import Encoder
from mezoroi.models.feature_tuner import SCHEDULES, FeatureTuner
from mezoroi.models.grading_model import GradingModel, ModelOutput, OutlineEncoder
from mezoroi.models.multi_layer import MultiLayerFeatures
from mezoroi.models.second_reader import SecondReader

__all__ = [
    "SCHEDULES",
    "Encoder",
    "FeatureTuner",
    "GradingModel",
    "ModelOutput",
    "MultiLayerFeatures",
    "OutlineEncoder",
    "SecondReader",
]
