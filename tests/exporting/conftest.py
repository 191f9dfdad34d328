"""Graders of each kind with their exports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mezoroi as mz
from mezoroi import exporting
from mezoroi.capture.images import read_image
from mezoroi.config import Config
from mezoroi.datasets.melons import indexed_melon
from mezoroi.exporting import Exported, export_grader
from mezoroi.grading_graph import in_onnx
from mezoroi.models.plain import PlainSurface
from mezoroi.models.preprocess import fit_image
from mezoroi.new_grade import add_grade

SHORT = ("train.epochs=1", "train.cached_views=1", "input.height=32")
TOLERANCE = 1e-4
FRUITS = 7


@dataclass(frozen=True)
class Case:
    """A grader, fruits that it did or did not learn from, and its export."""

    grader: mz.Grader
    dataset: mz.Dataset
    exported: Exported
    program: torch.onnx.ONNXProgram

    @property
    def about(self) -> dict[str, Any]:
        return json.loads((self.exported.folder / "grader.json").read_text(encoding="utf-8"))

    def session(self) -> Any:
        return session_of(self.exported.folder / "grader.onnx")

    def inputs(self, chosen: slice) -> dict[str, np.ndarray]:
        about, observations = self.about, self.dataset.observations[chosen]
        size = (about["height"], about["width"])
        pixels = [fit_image(read_image(item.image), *size).pixels for item in observations]
        inputs = {"images": (np.stack(pixels).transpose(0, 3, 1, 2) / 255).astype(np.float32)}
        if about["outline_names"]:
            rows = [
                [(item.outline or {})[name] for name in about["outline_names"]]
                for item in observations
            ]
            inputs["outlines"] = np.array(rows, dtype=np.float32)
        return inputs


def session_of(path: Path) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> mz.Dataset:
    """Photos in a folder per grade, of three shapes, without outlines."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(24):
        melon, _ = indexed_melon(index, seed=1, height=64)
        path = folder / melon.grade / f"{index:04d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(melon.surface[:, : (64, 40, 100)[index % 3]]).save(path)
    return mz.load_dataset(folder)


@pytest.fixture(scope="session")
def case_of(
    run_dir: Path,
    dataset: mz.Dataset,
    photos: mz.Dataset,
    tiny: Callable[..., Config],
    pretrained: Callable[..., Config],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Case]:
    """Each case, made when it is first asked for."""
    made: dict[str, Case] = {}

    def make(name: str) -> Case:
        place = tmp_path_factory.mktemp(name)
        fruits = photos if name == "photos" else dataset
        if name == "melons":
            grader = mz.Grader.load(run_dir, device="cpu")
        elif name == "added grade":
            run = shutil.copytree(run_dir, place / "run")
            examples = [dataset.observations[number].image.parent for number in (0, 1)]
            grader = add_grade(mz.Grader.load(run, device="cpu"), run, "E", examples)
        elif name == "exemplars and plain surface":
            grader = with_plain_surface(mz.Grader.load(run_dir, device="cpu"))
            grader = with_exemplars(grader, dataset)
        elif name == "reading":
            grader = as_read(mz.Grader.load(run_dir, device="cpu"))
        elif name == "photos":
            grader = mz.train(fruits, pretrained(*SHORT), place / "run")
        else:
            settings = ("model.channels_per_grade=0",) if name == "no class channels" else ()
            grader = mz.train(fruits, tiny(*SHORT, *settings), place / "run")
        programs: list[torch.onnx.ONNXProgram] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporting, "in_onnx", lambda *given: noted(programs, in_onnx(*given)))
            exported = export_grader(grader, place / "exported")
        return Case(grader, fruits, exported, programs[0])

    def case(name: str) -> Case:
        if name not in made:
            made[name] = make(name)
        return made[name]

    return case


def noted(found: list[Any], item: Any) -> Any:
    found.append(item)
    return item


def with_exemplars(grader: mz.Grader, dataset: mz.Dataset) -> mz.Grader:
    """The grader as if it had been trained with ``model.exemplars=3``; of A it knows two fruits."""
    embeddings = torch.from_numpy(grader.predict(dataset).embeddings)
    grades = torch.from_numpy(dataset.labels)
    kept = torch.cat(
        [torch.nonzero(grades == grade)[: 2 + 3 * bool(grade), 0] for grade in range(4)]
    )
    bundle = grader.bundle
    prototypes = replace(
        bundle.prototypes, exemplars=embeddings[kept], exemplar_grades=grades[kept]
    )
    config = bundle.config.model_copy(
        update={"model": bundle.config.model.model_copy(update={"exemplars": 3})}
    )
    return mz.Grader(replace(bundle, prototypes=prototypes, config=config), device="cpu")


def as_read(grader: mz.Grader) -> mz.Grader:
    """The grader as if it had been trained with ``model.similarity=reading``."""
    model = grader.bundle.config.model.model_copy(update={"similarity": "reading"})
    config = grader.bundle.config.model_copy(update={"model": model})
    return mz.Grader(replace(grader.bundle, config=config), device="cpu")


def with_plain_surface(grader: mz.Grader) -> mz.Grader:
    """The grader as if its training fruits had surface of which maps say nothing."""
    kinds = torch.tensor([[-0.4, 0.2], [0.2, 0.2], [0.4, 0.6]])
    grader.network.plain = PlainSurface(grader.network.encoder.grid, 2, *kinds)
    return mz.Grader(grader.bundle, device="cpu")
