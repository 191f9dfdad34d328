"""Every setting, with its meaning, range and default; the source of the example YAML."""

from __future__ import annotations

from typing import Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from typing_extensions import Self

GroupBy = Literal["specimen", "session"]
MAX_SEED = 2**63 - 1


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_true_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `true` where a number is wanted: in Python, and so for pydantic, it is 1."""
        wanted = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {wanted, *get_args(wanted)}:
            raise PydanticCustomError("number", "give a number, not true or false")
        return value


class InputConfig(_Section):
    """Size in pixels at which the network sees a fruit."""

    height: int = Field(192, ge=32, le=2048, description="height of the network's input")
    width: int | None = Field(
        None,
        ge=32,
        le=4096,
        description="width; null: twice the height for panoramas, the height itself for photos",
    )


class ModelConfig(_Section):
    """The network."""

    backbone: str = Field("efficientnet_lite0", description="any timm model with feature maps")
    weights: str = Field(
        "package",
        description="package (ImageNet, with efficientnet_lite0), none, or a timm checkpoint file",
    )
    stride: Literal[8, 16, 32] = Field(16, description="pixels per cell of the feature map")
    channels_per_grade: int = Field(
        5, ge=0, le=64, description="class channels per grade (xi); 0: a plain network without maps"
    )
    embedding_dim: int = Field(128, ge=2, le=4096, description="length of the surface embedding")
    outline_dim: int = Field(64, ge=2, le=512, description="length of the outline embedding")
    similarity: Literal["embedding", "reading"] = Field(
        "embedding",
        description="what similarity with a grade is told from: the embedding; or the second "
        "reader, which learns from the early stages, for few photos of grades that pass into one "
        "another",
    )
    exemplars: int = Field(
        0,
        ge=0,
        le=1000,
        description="similarity with a grade is the mean cosine with this many training fruits of "
        "it, those most alike; 0: the cosine with its prototype, as published",
    )
    average_alike: bool = Field(
        True,
        description="activation maps of unrolled surface average nearby cells that look alike",
    )
    silence_plain: bool = Field(
        True,
        description="activation maps say nothing where unrolled surface shows next to nothing, if "
        "such surface is found and does not tell the grades",
    )


class LossConfig(_Section):
    """L_head, L_dis and L_div of the MC-Loss, precedence and silence, weighted."""

    head: Literal["arcface", "softmax"] = Field("arcface", description="loss of the embedding")
    margin_degrees: float = Field(5.0, ge=0, lt=90, description="ArcFace margin in degrees")
    scale: float = Field(16.0, gt=0, le=256, description="ArcFace scale")
    discriminality_weight: float = Field(1.0, ge=0, description="weight of L_dis of the MC-Loss")
    pooling_sharpness: float = Field(
        0.0,
        ge=0,
        le=100,
        description="how much the strongest places decide in L_dis; 0: all alike, as published; 3 "
        "where signs are small",
    )
    diversity_weight: float = Field(
        0.0,
        ge=0,
        description="weight of L_div of the MC-Loss; above about 0.1 channels mark image borders",
    )
    precedence_weight: float = Field(
        1.0,
        ge=0,
        description="weight of: no position shows a grade that takes precedence over the fruit's "
        "own; for ordered grades",
    )
    runner_up_weight: float = Field(
        0.5,
        ge=0,
        description="weight of: the grade in second place is one that may show beside the first; "
        "for ordered grades, some of them judged on the outline, beside class channels",
    )
    mask_weight: float = Field(
        0.0,
        ge=0,
        description="weight of: class channels show a grade where an expert's mask does, and "
        "nowhere else; for fruits with a mask, in steps without mixed images; 0: masks only score",
    )
    sparsity_weight: float = Field(
        0.05, ge=0, description="weight of the class channels' mean: silence where there is no sign"
    )
    kept_channels: int | None = Field(
        None, ge=1, description="channels per grade kept in a step; null: ceil(xi / 2)"
    )
    swap_tile: int = Field(
        4, ge=0, le=64, description="side of the tiles fruits swap, in cells; 0: none are swapped"
    )
    swap_share: float = Field(0.85, ge=0, le=1, description="share of the steps with swapped tiles")
    pairwise: Literal["none", "conventional", "adaptive"] = Field(
        "none",
        description="loss of the distances in the sets of part-cutmix: a margin that negatives "
        "keep, or two margins that they stay between",
    )
    pairwise_alpha: float = Field(
        1.0, ge=0, description="standard deviations between the two margins of adaptive"
    )
    pairwise_distance: Literal["unit", "raw"] = Field(
        "unit",
        # What is left out of a run's settings keeps their cells in earlier ledgers.
        exclude_if=lambda value: value == "unit",
        description="distances between embeddings of length 1, or as they are (the paper's)",
    )
    pairwise_margin: float | None = Field(
        None,
        gt=0,
        description="the margin, at most 2 for unit distances; null: measured each epoch as the "
        "mean distance of generated negatives",
    )
    classification_share: float = Field(
        0.75,
        ge=0,
        le=1,
        description="share of the classification loss beside the pairwise loss (lambda)",
    )


class JitterConfig(_Section):
    """Augmentation of the training images; 0 turns a part off."""

    light: float = Field(0.3, ge=0, le=1, description="brightness and contrast, relative")
    colour: float = Field(0.15, ge=0, le=1, description="white balance and saturation, relative")
    blur: float = Field(0.8, ge=0, le=5, description="largest Gaussian blur, sigma in pixels")
    noise: float = Field(0.02, ge=0, le=0.5, description="largest sensor noise, sigma in [0, 1]")
    shift: float = Field(
        0.1, ge=0, le=0.5, description="zoom, and shift of what does not wrap, relative to the size"
    )
    flip: bool = Field(True, description="mirror left and right")


class PartsConfig(_Section):
    """Mixed images: parts of fruits, and what is exchanged, where `augment` is not none."""

    number: int = Field(3, ge=2, le=8, description="parts per fruit")
    start: int = Field(
        2, ge=1, description="epochs of plain training before parts are looked for, and exchanged"
    )
    refresh: int = Field(5, ge=1, description="epochs after which parts are looked for anew")
    object: Literal["common", "cam"] = Field(
        "common",
        description="what the fruit is found by in photos: what all images have in common, where "
        "every grade is one kind of fruit, or the grade's own CAM, as published",
    )
    object_threshold: float = Field(
        0.4, gt=0, lt=1, description="the fruit's box holds what exceeds this share of the map"
    )
    grouping: Literal["k-means", "refined"] = Field(
        "k-means",
        description="channels grouped by k-means, or from there by MA-CNN's layers, end to end",
    )
    positive_share: float = Field(
        0.5, ge=0, le=1, description="share of positive sets among all; 0.5 is 1 : 1"
    )
    negatives: int = Field(
        250, ge=2, description="generated negatives per kind of pair that margins are measured on"
    )
    skip_neighbours: bool = Field(
        False, description="no negative sets of grades that are next to each other"
    )
    mix_share: float = Field(
        0.5, ge=0, le=1, description="share of the steps in which cutmix or mixup mixes"
    )
    mix_alpha: float = Field(
        1.0, gt=0, description="cutmix, mixup: Beta(alpha, alpha) is the distribution of the share"
    )


class TrainConfig(_Section):
    """How the network is trained."""

    epochs: int = Field(30, ge=1, description="passes over the training observations")
    batch_size: int = Field(32, ge=2, description="observations per step")
    optimizer: Literal["sgd", "adamw"] = Field("adamw", description="SGD has momentum 0.9")
    lr: float = Field(1e-3, gt=0, description="learning rate of the new layers")
    backbone_lr_factor: float = Field(
        0.3, ge=0, le=1, description="learning rate of the backbone, relative to lr"
    )
    channel_lr_factor: float = Field(
        3.0,
        gt=0,
        le=100,
        description="learning rate of the class channels, which only their own losses teach, "
        "relative to lr",
    )
    weight_decay: float = Field(1e-2, ge=0, description="weight decay")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine",
        description="learning rate: cosine rises to it over the first 15 % of the steps, then "
        "falls to nearly 0; constant stays",
    )
    frozen_stages: int = Field(
        3,
        ge=0,
        le=8,
        description="leading backbone stages that stay as they are; none with model.weights=none, "
        "or where the backbone cannot be cut into stages",
    )
    cached_views: int = Field(
        6,
        ge=0,
        le=256,
        description="augmented views per image kept behind the frozen stages, so that these run "
        "once; 0: no cache, fresh augmentation each epoch",
    )
    cache_megabytes: int = Field(
        3000, ge=1, description="largest cache of decoded images, and of views, in memory"
    )
    balance: bool = Field(True, description="draw rare grades more often")
    patience: int = Field(
        0, ge=0, description="epochs without a better validation loss before stopping; 0: never"
    )
    keep: Literal["best", "last"] = Field(
        "last", description="weights kept: of the best validation loss, or of the last epoch"
    )
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "auto"] = Field(
        "auto", description="auto: 16-mixed on a GPU, 32-true elsewhere"
    )
    workers: int = Field(0, ge=0, description="processes that decode images")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of everything random in training")


class SplitConfig(_Section):
    """How observations are split where the dataset does not say."""

    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of the split")
    group: GroupBy = Field("specimen", description="what a split never separates")


class Config(_Section):
    """All settings of a training run."""

    augment: Literal["none", "cutmix", "mixup", "part-cutmix"] = Field(
        "none",
        description="images mixed with others during training: boxes, whole images, or parts of "
        "the fruit",
    )
    input: InputConfig = Field(default_factory=InputConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    jitter: JitterConfig = Field(default_factory=JitterConfig)
    parts: PartsConfig = Field(default_factory=PartsConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    split: SplitConfig = Field(default_factory=SplitConfig)

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if self.loss.pairwise != "none" and self.augment != "part-cutmix":
            raise ValueError(
                f"loss.pairwise={self.loss.pairwise} compares images that part-cutmix makes: "
                "set augment=part-cutmix too"
            )
        margin = self.loss.pairwise_margin
        if margin is not None and margin > 2 and self.loss.pairwise_distance == "unit":
            raise ValueError(
                f"loss.pairwise_margin is {margin}, but embeddings of length 1 are at most 2 "
                "apart: set a smaller one, or loss.pairwise_distance=raw"
            )
        if self.model.exemplars and self.model.similarity == "reading":
            raise ValueError(
                f"model.exemplars={self.model.exemplars} compares embeddings: set "
                "model.similarity=embedding, or no exemplars"
            )
        kept, channels = self.loss.kept_channels, self.model.channels_per_grade
        if kept is not None and channels and kept > channels:
            raise ValueError(
                f"loss.kept_channels is {kept}, but there are model.channels_per_grade={channels}: "
                "keep fewer, or set more channels"
            )
        if self.augment == "part-cutmix" and self.parts.start >= self.train.epochs:
            raise ValueError(
                f"part-cutmix starts after parts.start={self.parts.start} epochs of "
                f"train.epochs={self.train.epochs}: set more epochs or an earlier start"
            )
        return self


def settings_by_name() -> dict[str, FieldInfo]:
    """Every setting by its whole name, such as ``train.epochs``, in the order of the sections."""
    found: dict[str, FieldInfo] = {}
    for name, field in Config.model_fields.items():
        section = section_of(field)
        if section is None:
            found[name] = field
        else:
            found |= {f"{name}.{key}": inner for key, inner in section.model_fields.items()}
    return found


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a field of `Config` holds; None for a setting of its own."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def example_yaml() -> str:
    """The default settings as YAML with their meanings, each still a comment.

    As settings they would take back what a preset sets.
    """
    lines = ["# All settings of Mezoroi with their defaults; take the # off the lines you change."]
    for name, field in Config.model_fields.items():
        section = section_of(field)
        if section is None:
            lines += ["", _example_line(name, field)]
            continue
        doc = " ".join((section.__doc__ or "").split())
        lines += ["", f"{name}:  # {doc}"]
        lines += [f"  {_example_line(key, inner)}" for key, inner in section.model_fields.items()]
    return "\n".join(lines) + "\n"


def _example_line(name: str, setting: FieldInfo) -> str:
    value = yaml.safe_dump(setting.default).splitlines()[0]
    return f"# {name}: {value}  # {setting.description}"
