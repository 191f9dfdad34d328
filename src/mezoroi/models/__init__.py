"""Networks: a timm encoder, class channels, outline encoder and their embedding."""

from mezoroi.models.encoder import Encoder
from mezoroi.models.feature_tuner import PRESETS, SCHEDULES, FeatureTuner
from mezoroi.models.fruit_images import FruitImages, InputSize
from mezoroi.models.fruit_masks import FruitMasks
from mezoroi.models.grading_model import GradingModel, ModelOutput, OutlineEncoder
from mezoroi.models.multi_layer import MultiLayerFeatures, normalized_addition, one_layer
from mezoroi.models.second_reader import SecondReader

__all__ = [
    "PRESETS",
    "SCHEDULES",
    "Encoder",
    "FeatureTuner",
    "FruitImages",
    "FruitMasks",
    "GradingModel",
    "InputSize",
    "ModelOutput",
    "MultiLayerFeatures",
    "OutlineEncoder",
    "SecondReader",
    "normalized_addition",
    "one_layer",
]
