"""Time per map against captum, grad-cam and lime: same network, same run, batch 1."""

from __future__ import annotations

import contextlib
import copy
import io
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import skimage.data
import torch
from torch import Tensor, nn

from mezoroi.bench.ledger import Ledger
from mezoroi.errors import MezoroiError
from mezoroi.explain import OCCLUSION_PRESETS, ClassScore, create, explain_together
from mezoroi.explain.adapting import Bank
from mezoroi.explain.occlusion import Occlusion
from mezoroi.maps import grade_evidence
from mezoroi.models import Encoder, GradingModel
from mezoroi.models.encoder import normalise
from mezoroi.progress import Progress, silent

SIZE, GRADES = 224, 4
SAMPLES = 1000
ROUNDS, SLOW_ROUNDS = 15, 2
EXACT_IMAGES = 10
_PICTURES = ("astronaut", "chelsea", "coffee", "rocket", "retina")


class Scores(nn.Module):
    """A network's class scores from normalised images, for the peers to take apart.

    The network is a copy as it would come from timm: channels first, parameters with gradients.
    """

    def __init__(self, network: GradingModel) -> None:
        super().__init__()
        plain = copy.deepcopy(network).requires_grad_(True)
        self.network = plain.to(memory_format=torch.contiguous_format)

    def normalised(self, images: Tensor) -> Tensor:
        """Images in [0, 1] on the network's scale."""
        encoder = self.network.encoder
        return normalise(images, encoder.mean, encoder.std).contiguous()

    def forward(self, prepared: Tensor) -> Tensor:
        channels = self.network(prepared).class_channels
        return grade_evidence(channels, self.network.channels_per_grade).mean(dim=(2, 3))


def speed_settings() -> dict[str, Any]:
    """What identifies the speed cell in the ledger."""
    return {
        "bench": "explain speed",
        "threads": torch.get_num_threads(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "samples": SAMPLES,
    }


def exact_settings(number: int) -> dict[str, Any]:
    """What identifies the cell of exact occlusion on one image."""
    return {"bench": "explain exact", "image": number, **OCCLUSION_PRESETS["exact"]}


def run_speed(ledger: Ledger) -> None:
    """Measure what the ledger does not have yet."""
    ledger.compute(speed_settings(), _speed)


def run_exact(ledger: Ledger, progress: Progress = silent) -> None:
    """Exact occlusion, 11,664 passes an image, against captum on `EXACT_IMAGES` images."""
    for number in range(EXACT_IMAGES):
        ledger.compute(exact_settings(number), partial(_exact, number))
        progress("exact occlusion", number + 1, EXACT_IMAGES)


def _network() -> GradingModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GradingModel(Encoder("efficientnet_lite0", 16), GRADES, 5, 128)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.eval().requires_grad_(False).to(device)
    return model.to(memory_format=torch.channels_last)


def _picture(number: int) -> np.ndarray:
    """(224, 224, 3) in [0, 1]; crops of photos that come with scikit-image."""
    photo = getattr(skimage.data, _PICTURES[number % len(_PICTURES)])()[..., :3]
    row = (number // len(_PICTURES)) * 60
    crop: np.ndarray = photo[row : row + SIZE, 60 : 60 + SIZE] / 255.0
    return crop


def _speed() -> dict[str, Any]:
    network = _network()
    device = next(network.parameters()).device
    picture = _picture(0)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float().to(device)
    return {
        **_cams(network, image),
        **_lime(network, picture, image),
        **_occlusion(network, image),
    }


def _cams(network: GradingModel, image: Tensor) -> dict[str, float]:
    """Maps of one pass against grad-cam's GradCAM, and against the bare forward pass."""
    pytorch_grad_cam = _peer("pytorch_grad_cam")
    targets = [ClassScore(0)]
    channels = network.encoder.channels
    bank = Bank(torch.rand(30, channels), torch.rand(30, channels))
    explainers = {
        "activation-map": create("activation-map", network),
        "grad-cam": create("grad-cam", network),
        "dist-cam": create("dist-cam", network, reference=torch.rand(GRADES, channels)),
        "adapting-grad-cam": create("adapting-grad-cam", network, bank=bank),
    }
    scores = Scores(network)
    normalised = scores.normalised(image)
    peer = pytorch_grad_cam.GradCAM(model=scores, target_layers=[scores.network.encoder])
    chosen = [pytorch_grad_cam.utils.model_targets.ClassifierOutputTarget(0)]

    def forward() -> None:
        with torch.inference_mode():
            network(network.prepare(image))

    work: dict[str, Callable[[], Any]] = {
        "forward": forward,
        "peer grad-cam": lambda: peer(input_tensor=normalised, targets=chosen),
        "four together": lambda: explain_together(
            explainers, image, dict.fromkeys(explainers, targets)
        ),
    }
    work |= {name: partial(explainer, image, targets) for name, explainer in explainers.items()}
    times = _interleaved(work, ROUNDS, image.device)
    peer.activations_and_grads.release()
    return {f"{name} ms": 1000 * seconds for name, seconds in times.items()}


def _lime(network: GradingModel, picture: np.ndarray, image: Tensor) -> dict[str, float]:
    """Our LIME against the lime package with the same network, samples and superpixels' method."""
    lime_image = _peer("lime.lime_image")
    scores = Scores(network)

    def classifier(batch: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.asarray(batch)).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            return scores(scores.normalised(pixels.to(image.device))).cpu().numpy()

    explainer = create("lime", network, num_samples=SAMPLES)
    peer = lime_image.LimeImageExplainer(random_state=0)
    work: dict[str, Callable[[], Any]] = {
        "lime": lambda: explainer(image, [0]),
        "peer lime": lambda: peer.explain_instance(
            picture, classifier, labels=(0,), top_labels=None, num_samples=SAMPLES
        ),
    }
    with contextlib.redirect_stderr(io.StringIO()):  # lime draws a progress bar
        times = _interleaved(work, SLOW_ROUNDS, image.device)
    return {f"{name} ms": 1000 * seconds for name, seconds in times.items()}


def _occlusion(network: GradingModel, image: Tensor) -> dict[str, float]:
    """All grades in one sweep against four calls of captum, and against the bare passes."""
    attr = _peer("captum.attr")
    preset = OCCLUSION_PRESETS["medium"]
    patch, stride = preset["patch"], preset["stride"]
    explainer = Occlusion(network, patch, stride)
    passes = explainer.all_targets(image, [0])[0, 0].numel()
    batch = explainer.subject.batch_within(explainer.budget, image[0])
    scores = Scores(network)
    normalised = scores.normalised(image)
    peer = attr.Occlusion(scores)

    subject = explainer.subject

    def bare() -> None:  # as much of the network as class scores need

        with torch.inference_mode():
            for start in range(0, passes, batch):
                count = min(batch, passes - start)
                subject.front(image.expand(count, -1, -1, -1))

    def theirs() -> None:
        with torch.inference_mode():
            for target in range(GRADES):
                peer.attribute(
                    normalised,
                    sliding_window_shapes=(3, patch, patch),
                    strides=(3, stride, stride),
                    baselines=0.0,
                    target=target,
                    perturbations_per_eval=batch,
                )

    work: dict[str, Callable[[], Any]] = {
        "occlusion": lambda: explainer.all_targets(image, range(GRADES)),
        "bare passes": bare,
        "peer occlusion": theirs,
    }
    times = _interleaved(work, SLOW_ROUNDS, image.device)
    return {
        "occlusion passes": passes,
        "occlusion batch": batch,
        **{f"{name} ms": 1000 * seconds for name, seconds in times.items()},
    }


def _exact(number: int) -> dict[str, float]:
    """Exact occlusion of one image: difference to captum's, and seconds of each."""
    attr = _peer("captum.attr")
    network, preset = _network(), OCCLUSION_PRESETS["exact"]
    patch, stride = preset["patch"], preset["stride"]
    device = next(network.parameters()).device
    image = torch.from_numpy(_picture(number)).permute(2, 0, 1)[None].float().to(device)
    explainer, scores = Occlusion(network, patch, stride), Scores(network)
    start = time.perf_counter()
    drops = explainer.all_targets(image, range(GRADES))[:, 0]
    ours = time.perf_counter() - start
    start = time.perf_counter()
    with torch.inference_mode():
        theirs = attr.Occlusion(scores).attribute(
            scores.normalised(image),
            sliding_window_shapes=(3, patch, patch),
            strides=(3, stride, stride),
            baselines=0.0,
            target=0,
            perturbations_per_eval=explainer.subject.batch_within(explainer.budget, image[0]),
        )
    return {
        "passes": drops.numel(),
        "difference": float((explainer.to_pixels(drops, SIZE, SIZE) - theirs[:, 0]).abs().max()),
        "seconds": ours,
        "peer_seconds": time.perf_counter() - start,
    }


def _peer(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise MezoroiError(
            f"{module.split('.')[0]} is not installed: pip install 'mezoroi[bench]'"
        ) from error


def _interleaved(
    work: dict[str, Callable[[], Any]], rounds: int, device: torch.device
) -> dict[str, float]:
    """Median seconds of each piece of work, run in turns so that drift hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for round_number in range(rounds + 1):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}
