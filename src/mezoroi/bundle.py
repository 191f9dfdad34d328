"""The trained bundle on disk: one folder, readable without this package."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import mezoroi
from mezoroi.capture.sources import InputKind
from mezoroi.config import Config
from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path, read_json, write_json
from mezoroi.losses import make_head
from mezoroi.models import Encoder, GradingModel, InputSize, SecondReader
from mezoroi.models.alike import AlikeCells
from mezoroi.models.encoder import first_line
from mezoroi.models.plain import PlainSurface
from mezoroi.standard import GradingStandard

FORMAT = 2
GRADER_JSON = "grader.json"
WEIGHTS = "grader.safetensors"
PROTOTYPES = "prototypes.safetensors"
SECOND_READER = "second-reader.safetensors"
_REMEDY = "train again, or copy the whole run folder"


@dataclass(frozen=True)
class Prototypes:
    """What a grade looks like on average, over the training observations.

    Attributes
    ----------
    embeddings : (G, D) REF_g, mean embedding of grade g
    features : (G, K) mean pooled feature map, for Dist-CAM
    thresholds : (G,) a fruit resembles grade g when its similarity is at least this
    sign_limits : (G, 2) from which strength on a grade's sign in the activation maps is missing or
        showing, see `mezoroi.signs.sign_limits`; NaN where that is not known
    exemplars : (E, D) embeddings of training observations, which similarity compares with where
        ``model.exemplars`` says so; else E = 0
    exemplar_grades : (E,) int64, index of each one's grade
    """

    embeddings: Tensor
    features: Tensor
    thresholds: Tensor
    sign_limits: Tensor
    exemplars: Tensor
    exemplar_grades: Tensor


@dataclass(frozen=True)
class Bundle:
    """Everything that grading needs.

    Attributes
    ----------
    network : the `GradingModel`, in evaluation mode
    head : the trained loss of the embedding, whose logits are the classifier's scores
    input_kind : ``surface`` or ``photo``
    outline_names : names of the shape statistics in the order the network takes them
    data : fingerprint and size of the training dataset; its splits, contents and specimens by
        observation id
    added_grades : grades that were added from a few examples, which the network was not trained
        on: they have a prototype, but no class channels; the last ones of the standard
    reader : guesses the trained grades from early features; None in runs of earlier versions
    """

    network: GradingModel
    head: nn.Module
    standard: GradingStandard
    config: Config
    size: InputSize
    input_kind: InputKind
    outline_names: tuple[str, ...]
    prototypes: Prototypes
    data: Mapping[str, Any]
    added_grades: tuple[str, ...] = ()
    reader: SecondReader | None = None

    @property
    def trained_standard(self) -> GradingStandard:
        """The standard without the grades added since; these have class channels and a head."""
        return _without(self.standard, self.added_grades)

    @property
    def fingerprint(self) -> str:
        """Hash of everything an embedding depends on, so that only like ones are compared."""
        digest = hashlib.sha256(repr((vars(self.size), self.outline_names)).encode())
        for name, value in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:32]


def build_network(
    standard: GradingStandard, config: Config, num_outlines: int, wraps: bool, weights: str
) -> tuple[GradingModel, nn.Module]:
    """An untrained network and its head, drawn from ``config.train.seed`` alone."""
    settings = config.model
    with torch.random.fork_rng(devices=[]):
        # That of the CPU alone: torch.manual_seed would seed those of GPUs, too.
        torch.default_generator.manual_seed(config.train.seed)
        network = GradingModel(
            Encoder(settings.backbone, settings.stride, weights),
            surface_grades=len(standard.surface_grades),
            channels_per_grade=settings.channels_per_grade,
            embedding_dim=settings.embedding_dim,
            outline_features=num_outlines,
            outline_dim=settings.outline_dim,
            wraps=wraps,
        )
        head = make_head(config.loss, len(standard.grades), network.embedding_dim)
    return network.to(memory_format=torch.channels_last), head


def no_limits(grades: int) -> Tensor:
    """`Prototypes.sign_limits` of grades of which nothing is known."""
    return torch.full((grades, 2), float("nan"))


def no_exemplars(dim: int) -> tuple[Tensor, Tensor]:
    """`Prototypes.exemplars` of embeddings of `dim` numbers, and their grades: none."""
    return torch.zeros(0, dim), torch.zeros(0, dtype=torch.int64)


def write_bundle(bundle: Bundle, run_dir: Path) -> None:
    """Write the bundle; ``grader.json`` comes last, so that a bundle without it is unfinished."""
    tensors = {f"network.{name}": value for name, value in bundle.network.state_dict().items()}
    tensors |= {f"head.{name}": value for name, value in bundle.head.state_dict().items()}
    _write_tensors(run_dir / WEIGHTS, tensors)
    _write_tensors(run_dir / PROTOTYPES, vars(bundle.prototypes))
    if bundle.reader is not None:
        arrays = {name: torch.as_tensor(value) for name, value in vars(bundle.reader).items()}
        _write_tensors(run_dir / SECOND_READER, arrays)
    write_json(
        run_dir / GRADER_JSON,
        {
            "format": FORMAT,
            "versions": {
                "mezoroi": mezoroi.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "input_kind": bundle.input_kind,
            "size": vars(bundle.size),
            "outline_names": list(bundle.outline_names),
            "standard": bundle.standard.to_dict(),
            "config": bundle.config.model_dump(),
            "data": dict(bundle.data),
            "added_grades": list(bundle.added_grades),
        },
    )


def read_bundle(run_dir: str | Path) -> Bundle:
    """Read what `write_bundle` wrote.

    Raises
    ------
    MezoroiError
        If the folder is no run folder, a file is missing or damaged, or another version wrote it.
    """
    folder = Path(run_dir)
    if not folder.is_dir():
        raise MezoroiError(f"{folder} is no run folder: give the folder that `train -o` wrote")
    content = read_json(
        folder / GRADER_JSON, "finish the training with --resume, or give another run folder"
    )
    version = content.get("format") if isinstance(content, dict) else None
    if version is None and isinstance(content, dict) and "export_format" in content:
        raise MezoroiError(f"{folder} is an export of a run: give the folder that `train -o` wrote")
    if version != FORMAT:
        raise MezoroiError(
            f"{folder / GRADER_JSON} has format {version}, this version reads {FORMAT}: "
            "train again with this version"
        )
    try:
        standard = GradingStandard.from_dict(content["standard"])
        config = Config.model_validate(content["config"])
        outline_names = tuple(content["outline_names"])
        size = InputSize(**content["size"])
        input_kind: InputKind = "surface" if content["input_kind"] == "surface" else "photo"
        data = content["data"]
        added_grades = tuple(content.get("added_grades", ()))
        trained = _without(standard, added_grades)
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MezoroiError(f"{folder / GRADER_JSON} is damaged ({reason}): {_REMEDY}") from error
    network, head = build_network(trained, config, len(outline_names), size.wraps, weights="none")
    tensors = _read_tensors(folder / WEIGHTS)
    try:
        weights = _part(tensors, "network.")
        if any(name.startswith("alike.") for name in weights):
            network.alike = AlikeCells()
        if any(name.startswith("plain.") for name in weights):
            network.plain = PlainSurface.blank(network.encoder.grid)
        network.load_state_dict(weights)
        head.load_state_dict(_part(tensors, "head."))
        prototypes = _read_prototypes(_read_tensors(folder / PROTOTYPES), len(standard.grades))
        _check_shapes(prototypes, len(standard.grades), network)
        reader = _read_reader(folder / SECOND_READER, len(trained.grades), network)
        if reader is None and config.model.similarity == "reading":
            raise MezoroiError(f"{folder / SECOND_READER} is missing: {_REMEDY}")
    except MezoroiError:
        raise
    except (RuntimeError, TypeError, ValueError, LookupError) as error:
        raise MezoroiError(
            f"{folder} holds files that do not fit ({first_line(error)}): {_REMEDY}"
        ) from error
    network.eval().requires_grad_(False)
    head.eval().requires_grad_(False)
    return Bundle(
        network,
        head,
        standard,
        config,
        size,
        input_kind,
        outline_names,
        prototypes,
        data,
        added_grades,
        reader,
    )


def _without(standard: GradingStandard, grades: tuple[str, ...]) -> GradingStandard:
    if not grades:
        return standard
    return replace(
        standard,
        grades=tuple(name for name in standard.grades if name not in grades),
        precedence=tuple(name for name in standard.precedence if name not in grades),
        descriptions={
            name: entry for name, entry in standard.descriptions.items() if name not in grades
        },
    )


def _read_prototypes(tensors: dict[str, Tensor], grades: int) -> Prototypes:
    """Prototypes of the first `grades`: an interrupted `add_grade` leaves a row more than these."""
    rows = {name: value[:grades] for name, value in tensors.items() if "exemplar" not in name}
    rows.setdefault("sign_limits", no_limits(grades))  # runs of earlier versions have none
    dim = tensors["embeddings"].shape[1]
    exemplars, members = (
        tensors.get(name, empty)
        for name, empty in zip(("exemplars", "exemplar_grades"), no_exemplars(dim), strict=True)
    )
    known = members < grades
    return Prototypes(**rows, exemplars=exemplars[known], exemplar_grades=members[known])


def _read_reader(path: Path, grades: int, network: GradingModel) -> SecondReader | None:
    """The second reader of a run; None for runs of earlier versions, which have none like it."""
    if not path.exists():
        return None
    tensors = _read_tensors(path)
    if "width" in tensors:  # of a Gaussian kernel
        return None
    length = float(tensors.pop("length", torch.tensor(torch.nan)))
    reader = SecondReader(**{name: one.numpy() for name, one in tensors.items()}, length=length)
    reader.check(sum(network.early_blocks), grades)
    return reader


def _check_shapes(prototypes: Prototypes, grades: int, network: GradingModel) -> None:
    expected = {
        "embeddings": (grades, network.embedding_dim),
        "features": (grades, network.encoder.channels),
        "thresholds": (grades,),
        "sign_limits": (grades, 2),
        "exemplars": (len(prototypes.exemplar_grades), network.embedding_dim),
    }
    for name, shape in expected.items():
        found = tuple(getattr(prototypes, name).shape)
        if found != shape:
            raise RuntimeError(f"{name} of the prototypes have shape {found}, not {shape}")


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    ready = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(ready, temporary)
        except safetensors.SafetensorError as error:
            raise OSError(str(error)) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise MezoroiError(f"{path} is missing: {_REMEDY}") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise MezoroiError(f"{path} is damaged: {_REMEDY}") from error


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
