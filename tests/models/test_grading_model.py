"""Fitting images, outlines, and the shapes of the network's answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezoroi.models import Encoder, GradingModel, OutlineEncoder
from mezoroi.models.grading_model import OUTLINE_RESOLUTION
from mezoroi.models.preprocess import fit_image, fit_mask, to_tensor


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([(64, 64), (64, 128), (48, 96)]))
@settings(max_examples=60, deadline=None)
def test_the_box_holds_the_whole_image_in_its_proportions(
    rows: int, columns: int, size: tuple[int, int]
) -> None:
    height, width = size
    image = np.full((rows, columns, 3), 90, np.uint8)
    fitted = fit_image(image, height, width)
    assert fitted.pixels.shape == (height, width, 3)
    assert (fitted.pixels == 90).all()
    assert fitted.height == height or fitted.width == width
    assert 0 <= fitted.top <= height - fitted.height
    assert 0 <= fitted.left <= width - fitted.width
    stretched = (fitted.height, fitted.width) == size
    scale = min(height / rows, width / columns)
    tolerance = max(0.03 * max(size), 1.0) if stretched else 1.0
    assert abs(fitted.height - rows * scale) <= tolerance
    assert abs(fitted.width - columns * scale) <= tolerance
    plane = np.zeros((2, height, width))
    assert fitted.crop(plane).shape == (2, fitted.height, fitted.width)


def test_padding_repeats_the_border_and_the_crop_takes_it_off() -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[:10], image[10:] = 50, 200
    fitted = fit_image(image, 64, 64)
    assert (fitted.top, fitted.left, fitted.height, fitted.width) == (16, 0, 32, 64)
    assert (fitted.pixels[:16] == 50).all() and (fitted.pixels[48:] == 200).all()
    inside = fitted.crop(fitted.pixels.transpose(2, 0, 1))
    assert inside.shape == (3, 32, 64)
    assert (inside[:, 0] == 50).all() and (inside[:, -1] == 200).all()


def test_an_image_of_the_right_size_is_not_touched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fit_image(image, 64, 128).pixels, image)
    tensor = to_tensor([image, image])
    assert tensor.shape == (2, 3, 64, 128) and tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor[1, 2, 5, 7].item(), image[5, 7, 2] / 255, rtol=1e-6)


def test_shrinking_averages_areas() -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    image[::2] = 200  # a fine pattern must not alias to black or white
    assert np.abs(fit_image(image, 64, 64).pixels.astype(int) - 100).max() <= 1


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (64, 128), (300, 301), (20, 10)])
def test_a_mask_lies_where_its_image_does(shape: tuple[int, int]) -> None:
    rows, columns = np.indices(shape)
    mask = (rows > shape[0] / 4) & (columns < shape[1] / 2)
    fitted = fit_image(np.repeat(255 * mask.astype(np.uint8)[..., None], 3, axis=2), 64, 128)
    found = fit_mask(mask, 64, 128)
    np.testing.assert_array_equal(fitted.fit_mask(mask), found)
    inside = fitted.crop(found)
    assert inside.sum() == found.sum() > 0
    bright = fitted.crop(fitted.pixels[..., 0])
    sure = np.abs(bright.astype(int) - 128) > 8
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(inside[sure], bright[sure] > 128)


def test_a_scratch_finer_than_a_pixel_stays_in_its_mask() -> None:
    mask = np.zeros((512, 512), bool)
    mask[100] = True  # a quarter of what a pixel shows
    found = fit_mask(mask, 128, 128)
    assert found[25].all() and found.sum() == 128
    assert not fit_mask(np.zeros((512, 512), bool), 128, 128).any()


def test_outlines_are_standardised_by_the_training_ones() -> None:
    rng = np.random.default_rng(0)
    outlines = torch.from_numpy(rng.normal([5, -2, 3], [0.1, 40, 0], (50, 3)).astype(np.float32))
    encoder = OutlineEncoder(3, 4).eval()
    encoder.fit_scale(outlines)
    np.testing.assert_allclose(encoder.mean, outlines.numpy().mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(
        encoder.deviation[:2], outlines.numpy().astype(np.float64).std(axis=0)[:2], rtol=1e-4
    )
    # What hardly differs is not blown up.
    assert float(encoder.deviation[2]) == pytest.approx(OUTLINE_RESOLUTION)
    captured = {}
    encoder.layers[0].register_forward_hook(
        lambda module, inputs, output: captured.update(x=inputs[0])
    )
    encoder(outlines)
    np.testing.assert_allclose(captured["x"][:, :2].mean(dim=0), 0, atol=1e-3)
    np.testing.assert_allclose(captured["x"][:, :2].std(dim=0, correction=0), 1, atol=1e-3)
    far = outlines[:1].clone()
    far[0, 0] = 1e9
    assert torch.isfinite(encoder(far)).all()
    assert captured["x"].abs().max() <= 5


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder("resnet18", 16, "none")


def test_an_answer_has_the_documented_shapes(encoder: Encoder) -> None:
    model = GradingModel(encoder, 3, 5, 16, outline_features=4, outline_dim=8).eval()
    output = model(torch.rand(2, 3, 64, 128), torch.rand(2, 4))
    assert output.feature_map.shape == (2, encoder.channels, 4, 8)
    assert output.class_channels.shape == (2, 15, 4, 8)
    assert (output.class_channels >= 0).all()
    assert output.embedding.shape == (2, 24) and model.embedding_dim == 24
    with pytest.raises(ValueError, match="pass `outlines`"):
        model(torch.rand(2, 3, 64, 128))


def test_without_outlines_the_embedding_is_the_surfaces(encoder: Encoder) -> None:
    both = GradingModel(encoder, 3, 2, 16, outline_features=4, outline_dim=8).eval()
    images = torch.rand(2, 3, 64, 64)
    one = both(images, torch.rand(2, 4)).embedding
    other = both(images, torch.rand(2, 4)).embedding
    torch.testing.assert_close(one[:, :16], other[:, :16])
    assert not torch.allclose(one[:, 16:], other[:, 16:])


def test_a_model_without_class_channels_has_none(encoder: Encoder) -> None:
    model = GradingModel(encoder, 3, 0, 16).eval()
    output = model(torch.rand(2, 3, 64, 64))
    assert output.class_channels.shape[:2] == (2, 0)
    assert output.embedding.shape == (2, 16)


def test_the_embedding_sees_the_deep_map_and_the_channels_the_feature_map(encoder: Encoder) -> None:
    model = GradingModel(encoder, 3, 2, 16).eval()
    images = torch.rand(2, 3, 64, 128)
    feature_map = encoder(images)
    output = model.interpret(feature_map)
    channels = model.class_channels(feature_map)  # type: ignore[misc]
    deep = encoder.deepen(feature_map)
    assert deep.shape == (2, encoder.deep_channels, 2, 4)
    pooled = [deep.mean(dim=(2, 3)), channels.mean(dim=(2, 3)), channels.amax(dim=(2, 3))]
    torch.testing.assert_close(output.class_channels, channels)
    torch.testing.assert_close(output.embedding, model.surface_embedding(torch.cat(pooled, dim=1)))


def test_the_embeddings_loss_shapes_no_class_channels_but_explains_by_them(
    encoder: Encoder,
) -> None:
    """Grad-CAM of a similarity follows all that the embedding is made of; training does not."""
    model = GradingModel(encoder, 3, 2, 16).eval()
    channels = model.class_channels
    assert channels is not None
    feature_map = encoder(torch.rand(4, 3, 64, 128)).detach()

    def gradients(training: bool) -> list[torch.Tensor | None]:
        model.train(training)
        model.zero_grad()
        output = model.interpret(feature_map)
        (output.embedding * torch.arange(16.0)).square().sum().backward()
        assert output.class_channels.requires_grad, "their own losses do"
        return [value.grad for value in channels.parameters()]

    assert all(value is None for value in gradients(training=True))
    assert all(value is not None and value.abs().sum() > 0 for value in gradients(training=False))


@pytest.mark.parametrize("wraps", [False, True])
def test_early_features_are_the_means_of_every_stage_within_the_fruit(wraps: bool) -> None:
    torch.manual_seed(0)
    backbone = Encoder("resnet18", 16, "none")
    model = GradingModel(backbone, 3, 2, 16, outline_features=4, wraps=wraps).eval()
    outlines = torch.rand(2, 4)
    model.outline_encoder.fit_scale(torch.rand(9, 4))  # type: ignore[union-attr]
    with torch.inference_mode():
        prepared = model.prepare(torch.rand(2, 3, 64, 128))
        output = model.forward_with_early(prepared, outlines)
        plain = model(prepared, outlines)
        values, expected = prepared, []
        for stage, stride in zip(backbone.stages, (2, 4, 8, 16), strict=True):
            values = stage(values)
            left = model.wrap_margin // stride
            expected.append(values[..., left : left + 128 // stride].mean(dim=(2, 3)))
        scaled = (outlines - model.outline_encoder.mean) / model.outline_encoder.deviation
    assert plain.early is None and output.early is not None
    torch.testing.assert_close(output.embedding, plain.embedding)
    torch.testing.assert_close(output.early, torch.cat([*expected, scaled.clamp(-5, 5)], dim=1))
    assert model.early_blocks == (64 + 64 + 128 + 256, 4)
    assert output.early.shape == (2, sum(model.early_blocks))


def test_a_backbone_that_is_no_chain_has_one_stage() -> None:
    model = GradingModel(Encoder("hrnet_w18_small", 16, "none"), 3, 0, 16).eval()
    with torch.inference_mode():
        output = model.forward_with_early(torch.rand(1, 3, 64, 64))
    assert len(model.encoder.stages) == 1 and output.early is not None
    assert output.early.shape == (1, *model.early_blocks)
    torch.testing.assert_close(output.early, output.feature_map.mean(dim=(2, 3)))


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_wrapped_margin_is_cut_from_both_maps(stride: int) -> None:
    torch.manual_seed(0)
    model = GradingModel(Encoder("resnet18", stride, "none"), 3, 2, 16, wraps=True).eval()
    images = torch.rand(1, 3, 64, 128)
    with torch.inference_mode():
        prepared = model.prepare(images)
        output = model(prepared)
        margin = model.wrap_margin
        assert prepared.shape[3] == 128 + 2 * margin
        assert margin % stride == 0 and margin % 32 == 0
        assert output.feature_map.shape[2:] == (64 // stride, 128 // stride)
        torch.testing.assert_close(
            output.feature_map,
            model.encoder(prepared)[..., margin // stride : -(margin // stride)],
        )
