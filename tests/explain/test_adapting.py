from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from mezoroi.errors import MezoroiError
from mezoroi.explain import Bank, create
from tests.explain.nets import Pooled, images

LABELS = torch.tensor([0, 1, 0, 1, 2, 2, 0])


def test_the_bank_is_the_mean_gradient_over_all_triplets() -> None:
    model, pixels = Pooled(), images(7)
    bank = create("adapting-grad-cam", model).fit(pixels, LABELS)
    features = model.conv(pixels).detach().requires_grad_()
    embeddings = F.normalize(model.fc(features.mean(dim=(2, 3))), dim=1)
    fixed = embeddings.detach()
    for anchor in range(7):
        same = [n for n in range(7) if LABELS[n] == LABELS[anchor] and n != anchor]
        other = [n for n in range(7) if LABELS[n] != LABELS[anchor]]
        values = [
            (embeddings[anchor] - fixed[no]).square().sum()
            - (embeddings[anchor] - fixed[yes]).square().sum()
            for yes, no in product(same, other)
        ]
        (gradient,) = torch.autograd.grad(torch.stack(values).mean(), features, retain_graph=True)
        expected = gradient[anchor].mean(dim=(1, 2))
        torch.testing.assert_close(bank.weights[anchor], expected, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(bank.features, features.detach().mean(dim=(2, 3)))


def test_an_image_takes_the_weights_of_the_nearest_one_without_a_gradient() -> None:
    model, pixels = Pooled(), images(7)
    bank = create("adapting-grad-cam", model).fit(pixels, LABELS)
    explainer = create("adapting-grad-cam", model, bank=bank)
    assert not explainer.needs_gradient
    near = pixels[[3, 5]] + 1e-4
    maps = explainer(near, [0, 0])
    expected = torch.einsum("nk,nkhw->nhw", bank.weights[[3, 5]], model.conv(near).detach())
    torch.testing.assert_close(maps, expected)


def test_fit_serves_the_explainer_itself() -> None:
    explainer = create("adapting-grad-cam", Pooled())
    bank = explainer.fit(images(7), LABELS)
    assert explainer.bank is bank
    assert explainer(images(1), [0]).shape == (1, 12, 12)


def test_a_bank_without_one_of_its_images() -> None:
    bank = replace(
        create("adapting-grad-cam", Pooled()).fit(images(7), LABELS), contents=(*"abcadef",)
    )
    fewer = bank.without("a")
    assert fewer.contents == (*"bcdef",) and torch.equal(
        fewer.features, bank.features[[1, 2, 4, 5, 6]]
    )
    assert torch.equal(fewer.weights, bank.weights[[1, 2, 4, 5, 6]])
    assert bank.without("z") is bank


def test_bad_banks() -> None:
    explainer = create("adapting-grad-cam", Pooled())
    with pytest.raises(MezoroiError, match="one each"):
        explainer.fit(images(7), LABELS[:3])
    with pytest.raises(MezoroiError, match="two classes with two images"):
        explainer.fit(images(3), torch.tensor([0, 0, 1]))
    with pytest.raises(MezoroiError, match="does not fit together"):
        Bank(torch.rand(3, 2), torch.rand(3, 4))
    other = Bank(torch.rand(3, 5), torch.rand(3, 5))
    with pytest.raises(MezoroiError, match="the bank has 5 channels"):
        create("adapting-grad-cam", Pooled(), bank=other)(images(1), [0])
