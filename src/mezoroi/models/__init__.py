"""Networks: a timm encoder, class channels, outline encoder and their embedding."""

from mezoroi.models.encoder import Encoder
from mezoroi.models.grading_model import GradingModel, ModelOutput, OutlineEncoder

__all__ = ["Encoder", "GradingModel", "ModelOutput", "OutlineEncoder"]
