"""The network that turns a fruit into class channels and an embedding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mezoroi.maps import grade_evidence
from mezoroi.models.alike import AlikeCells
from mezoroi.models.encoder import Encoder, denormalise, normalise
from mezoroi.models.plain import PlainSurface

# Cells of the other side that are shown beyond each edge of a panorama, at least.
_WRAP_CELLS = 2
OUTLINE_RESOLUTION = 0.005
"""Difference in a shape statistic below which silhouettes from a video say nothing."""


@dataclass(frozen=True)
class ModelOutput:
    """What the network sees in a batch of N fruits.

    Attributes
    ----------
    feature_map : (N, K, H, W) the encoder's feature map
    class_channels : (N, S * channels_per_grade, H, W), non-negative; S surface grades, in the
        order of the standard, averaged over cells that look alike and silent on plain surface,
        where the model has such; no channels for a model without them
    embedding : (N, D) surface embedding followed by the outline embedding
    early : (N, M) means of what each stage up to the feature map sees, then the standardised
        outline if the model has outlines; None where it was not asked for
    """

    feature_map: Tensor
    class_channels: Tensor
    embedding: Tensor
    early: Tensor | None = None


class OutlineEncoder(nn.Module):
    """Shape statistics (N, F), standardised with the training mean and deviation -> (N, D)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, num_features: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("deviation", torch.ones(num_features))
        self.layers = nn.Sequential(
            nn.Linear(num_features, 2 * dim),
            nn.ReLU(),
            nn.Linear(2 * dim, dim, bias=False),
            nn.BatchNorm1d(dim, affine=False),
        )

    def fit_scale(self, outlines: Tensor) -> None:
        """Take mean and deviation from the training outlines (N, F).

        Deviations count as at least `OUTLINE_RESOLUTION`: exact outlines of smooth fruit hardly
        differ in some statistics, and what a video adds to these is no shape.
        """
        self.mean.copy_(outlines.mean(dim=0))
        self.deviation.copy_(outlines.std(dim=0, correction=0).clamp(min=OUTLINE_RESOLUTION))

    def standardise(self, outlines: Tensor) -> Tensor:
        """Shape statistics (N, F) in training deviations from the training mean, in [-5, 5]."""
        # A statistic far outside the training range says no more than one at its edge.
        return ((outlines - self.mean) / self.deviation).clamp(-5.0, 5.0)

    def forward(self, outlines: Tensor) -> Tensor:
        return self.layers(self.standardise(outlines))


class GradingModel(nn.Module):
    """Encoder, class channels and embedding of the melon paper, section 3.3.

    Parameters
    ----------
    encoder : image to feature map
    surface_grades : S, number of grades judged on the surface
    channels_per_grade : xi; 0 for a plain network without class channels
    embedding_dim : length of the surface embedding
    outline_features : F, number of shape statistics; 0 for photos without outlines
    outline_dim : length of the outline embedding
    wraps : True for panoramas: left and right meet, so the encoder sees each edge's other side

    Attributes
    ----------
    alike : over which cells class channels are averaged; None while training, and for photos
    plain : where surface shows too little for any grade; None while training, and unless such
        surface was found behind it
    """

    def __init__(
        self,
        encoder: Encoder,
        surface_grades: int,
        channels_per_grade: int,
        embedding_dim: int,
        outline_features: int = 0,
        outline_dim: int = 64,
        wraps: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.surface_grades = surface_grades
        self.channels_per_grade = channels_per_grade
        self.surface_dim = embedding_dim
        # In whole cells of both maps.
        self.wrap_margin = max(_WRAP_CELLS * encoder.stride, encoder.deep_stride) if wraps else 0
        self.embedding_dim = embedding_dim + (outline_dim if outline_features else 0)
        channels = surface_grades * channels_per_grade
        self.class_channels = (
            nn.Sequential(
                nn.Conv2d(encoder.channels, channels, kernel_size=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            )
            if channels
            else None
        )
        self.surface_embedding = nn.Sequential(
            nn.Linear(encoder.deep_channels + 2 * channels, embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim, affine=False),
        )
        self.outline_encoder = (
            OutlineEncoder(outline_features, outline_dim) if outline_features else None
        )
        self.alike: AlikeCells | None = None
        self.plain: PlainSurface | None = None

    def forward(self, images: Tensor, outlines: Tensor | None = None) -> ModelOutput:
        """Images (N, 3, H, W) from `prepare`, and outlines (N, F) if the model has outlines."""
        return self.interpret(self.encoder(images), outlines, self.plain_share(images))

    def forward_with_early(self, images: Tensor, outlines: Tensor | None = None) -> ModelOutput:
        """`forward`, with `ModelOutput.early` for the cost of a few means."""
        values, early = images, []
        for stage in self.encoder.stages:
            values = stage(values)
            cells = self.wrap_margin * values.shape[3] // images.shape[3]
            early.append(_without_cells(values, cells).mean(dim=(2, 3)))
        output = self.interpret(values, outlines, self.plain_share(images))
        if self.outline_encoder is not None and outlines is not None:
            early.append(self.outline_encoder.standardise(outlines))
        return replace(output, early=torch.cat(early, dim=1))

    @property
    def early_blocks(self) -> tuple[int, ...]:
        """Numbers of columns of `ModelOutput.early`: of the surface, and of the outline if any."""
        surface = sum(self.encoder.stage_channels)
        if self.outline_encoder is None:
            return (surface,)
        return (surface, len(self.outline_encoder.mean))

    def prepare(self, images: Tensor) -> Tensor:
        """RGB in [0, 1] (N, 3, H, W) -> normalised, and wider by the wrapped margins."""
        images = normalise(images, self.encoder.mean, self.encoder.std)
        if self.wrap_margin:
            margin = self.wrap_margin
            images = torch.cat([images[..., -margin:], images, images[..., :margin]], dim=3)
        return images.contiguous(memory_format=torch.channels_last)

    def plain_share(self, images: Tensor) -> Tensor | None:
        """(N, h, w) in [0, 1], how surely cells of prepared images are plain; None if unknown."""
        if self.plain is None:
            return None
        own = images[..., self.wrap_margin : -self.wrap_margin].float()
        return self.plain(denormalise(own, self.encoder.mean, self.encoder.std))

    def interpret(
        self, feature_map: Tensor, outlines: Tensor | None = None, plain: Tensor | None = None
    ) -> ModelOutput:
        """Class channels and embedding of the encoder's feature map of prepared images.

        Parameters
        ----------
        plain : (N, h, w) from `plain_share`
        """
        deep_map = self.deep_map(feature_map)
        feature_map = self.without_margin(feature_map)
        pooled = [deep_map.mean(dim=(2, 3))]
        channels = feature_map[:, :0]
        if self.class_channels is not None:
            channels = self.class_channels(feature_map)
            # The mean weighs areas (a net), the maximum finds single spots (a scar). In training
            # they are read only: shaped by the embedding's loss, channels fire beside their signs.
            read = channels.detach() if self.training else channels
            pooled += [read.mean(dim=(2, 3)), read.amax(dim=(2, 3))]
        embedding = self.surface_embedding(torch.cat(pooled, dim=1))
        if self.outline_encoder is not None:
            if outlines is None:
                raise ValueError("this model was trained with outlines: pass `outlines` (N, F)")
            embedding = torch.cat([embedding, self.outline_encoder(outlines)], dim=1)
        return ModelOutput(
            feature_map, self._silenced(self._averaged(channels, feature_map), plain), embedding
        )

    def scale_channels(self, factor: float) -> None:
        """Multiply the class channels; embeddings stay as they are, up to rounding."""
        assert self.class_channels is not None
        norm, reader = self.class_channels[1], self.surface_embedding[0]
        assert isinstance(norm, nn.BatchNorm2d) and isinstance(reader, nn.Linear)
        with torch.no_grad():
            norm.weight.mul_(factor)
            norm.bias.mul_(factor)
            reader.weight[:, self.encoder.deep_channels :].div_(factor)

    def channels_of(self, feature_map: Tensor, plain: Tensor | None) -> Tensor:
        """Class channels of a feature map without margins, as in `ModelOutput`."""
        return self._silenced(self.averaged_channels(feature_map), plain)

    def averaged_channels(self, feature_map: Tensor) -> Tensor:
        """Class channels of a feature map without margins, whatever surface is plain."""
        assert self.class_channels is not None
        return self._averaged(self.class_channels(feature_map), feature_map)

    def _averaged(self, channels: Tensor, feature_map: Tensor) -> Tensor:
        if self.alike is None or not channels.shape[1]:
            return channels
        return self.alike(channels, feature_map)

    def _silenced(self, channels: Tensor, plain: Tensor | None) -> Tensor:
        if self.plain is None or plain is None:
            return channels
        evidence = grade_evidence(channels, self.channels_per_grade)
        return self.plain.silenced(channels, evidence, plain.to(channels))

    def deep_map(self, feature_map: Tensor) -> Tensor:
        """The map behind the encoder's feature map, without a panorama's margins."""
        deep_map = self.encoder.deepen(feature_map)
        return _without_cells(deep_map, self.wrap_margin // self.encoder.deep_stride)

    def without_margin(self, feature_map: Tensor) -> Tensor:
        """The encoder's feature map without what repeats a panorama's other side."""
        return _without_cells(feature_map, self.wrap_margin // self.encoder.stride)


def _without_cells(values: Tensor, cells: int) -> Tensor:
    return values[..., cells:-cells] if cells else values
