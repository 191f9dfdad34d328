"""What a verb does across rooms: train -> prototypes -> references -> reliability -> bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mezoroi.bundle import (
    Bundle,
    Prototypes,
    build_network,
    no_exemplars,
    no_limits,
    write_bundle,
)
from mezoroi.config import Config
from mezoroi.datasets import Dataset, Observation, complete_splits
from mezoroi.datasets.dataset import SPLITS
from mezoroi.datasets.enough import require_enough, require_every_grade
from mezoroi.datasets.held_out import held_out_fruits
from mezoroi.errors import MezoroiError
from mezoroi.files import content_hash
from mezoroi.grader import Grader, Predictions
from mezoroi.models import FruitMasks, GradingModel, InputSize, SecondReader
from mezoroi.models.alike import MOST_CELLS, AlikeCells
from mezoroi.models.probing import check_feature_map
from mezoroi.progress import Progress, silent
from mezoroi.references import fill_references
from mezoroi.run_folder import claim, is_finished
from mezoroi.signs import sign_limits
from mezoroi.standard import GradingStandard
from mezoroi.training import GradingData, GradingModule, fit
from mezoroi.training.parts import require_parts
from mezoroi.training.plain import find_plain
from mezoroi.training.temperature import fit_temperature
from mezoroi.trusting import fit_in_training

LIKENESS_PERCENTILE = 5


def train(
    dataset: Dataset,
    config: Config | None = None,
    run_dir: str | Path = "runs/latest",
    *,
    resume: bool = False,
    progress: Progress = silent,
) -> Grader:
    """Learn the grading standard of a dataset and write the bundle to `run_dir`.

    Splits that the dataset does not bring are made (``config.split``); train and val are used,
    and calibration, else val, for the likeness thresholds (grade by grade) and, of a grader with
    activation maps, for the reliability.

    Parameters
    ----------
    dataset : graded observations
    config : settings; defaults as in `Config`
    run_dir : the run folder, empty or of the same training if `resume`
    resume : continue after the last whole epoch of an interrupted training, or begin where there
        is none; a finished one is loaded, with what was added to it since
    progress : called with what is done and how far

    Raises
    ------
    MezoroiError
        If the folder holds another run, the dataset cannot be split, the training diverges, or the
        disk is full.
    """
    config = effective_config(dataset, config or Config())
    run_dir = Path(run_dir)
    dataset = ready_to_learn(dataset, config)
    standard = dataset.standard
    if is_finished(run_dir, dataset, config, resume):
        return Grader.load(run_dir)
    learning, watching = dataset.select("train"), dataset.select("val")

    size = input_size(dataset, config)
    outline_names = dataset.outline_names if dataset.has_outlines else ()
    network, head = build_network(
        standard, config, len(outline_names), size.wraps, config.model.weights
    )
    if network.outline_encoder is not None:
        network.outline_encoder.fit_scale(torch.from_numpy(learning.outline_matrix()))
    check_feature_map(network, config.model.backbone, size.height, size.width)
    module = GradingModule(network, head, standard, config, size)
    masks = _teaching_masks(learning, standard, size, config)
    data = GradingData(learning, watching, network, size, config, progress, masks)
    if config.augment == "part-cutmix":
        require_parts(module, data)
    # Not before all is checked: a start that was refused leaves nothing in the way of the next.
    claim(run_dir, dataset, config)
    fit(module, data, config.train, run_dir, resume)

    network.eval().requires_grad_(False)
    head.eval().requires_grad_(False)
    network.alike = _alike_cells(network, size, config)
    if config.model.silence_plain:
        network.plain = find_plain(data.train_images, network, standard, progress)
    if network.channels_per_grade:
        network.scale_channels(1 / fit_temperature(module, data.val_images, progress))
    untested = torch.full((len(standard.grades),), float("nan"))
    empty = Prototypes(
        torch.zeros(len(standard.grades), network.embedding_dim),
        torch.zeros(len(standard.grades), network.encoder.channels),
        untested,
        no_limits(len(standard.grades)),
        *no_exemplars(network.embedding_dim),
    )
    bundle = Bundle(
        network,
        head,
        standard,
        config,
        size,
        "surface" if size.wraps else "photo",
        outline_names,
        empty,
        {
            "fingerprint": dataset.fingerprint,
            "observations": len(dataset),
            "splits": {item.id: item.split for item in dataset},
            "content": {item.id: content_hash(item.image) for item in dataset},
            "specimens": {item.id: item.specimen for item in dataset},
        },
    )
    untried = Grader(bundle)
    seen = untried.predict(learning, progress=progress)
    reader = _fit_reader(untried, learning, seen.early, progress)
    bundle = replace(bundle, reader=reader)
    bundle = replace(bundle, prototypes=_fit_prototypes(bundle, dataset, seen))
    gallery = fill_references(bundle, learning, seen.embeddings, run_dir, progress)
    grader = Grader(bundle, gallery=gallery)
    reliability = fit_in_training(grader, dataset, run_dir, progress)
    write_bundle(bundle, run_dir)
    return Grader(bundle, gallery=gallery, reliability=reliability)


def ready_to_learn(dataset: Dataset, config: Config) -> Dataset:
    """The dataset with all its splits, and the standard that can be learned from it.

    Raises
    ------
    MezoroiError
        If it cannot be split, or leaves too little of a grade to learn from.
    """
    require_enough(dataset, config.split.group)
    dataset = replace(
        complete_splits(dataset, config.split.seed, config.split.group),
        standard=effective_standard(dataset),
    )
    require_every_grade(dataset.select("train"))
    return dataset


def _alike_cells(network: GradingModel, size: InputSize, config: Config) -> AlikeCells | None:
    """Over which cells class channels are averaged; None for photos and very fine maps."""
    cells = (size.height // network.encoder.stride) * (size.width // network.encoder.stride)
    if not (config.model.average_alike and network.wrap_margin and network.channels_per_grade):
        return None
    return AlikeCells() if cells <= MOST_CELLS else None


def _teaching_masks(
    learning: Dataset, standard: GradingStandard, size: InputSize, config: Config
) -> FruitMasks | None:
    """The masks that class channels learn from; None where none is to teach."""
    if not config.loss.mask_weight or not config.model.channels_per_grade:
        return None
    masks = FruitMasks(learning, size.height, size.width, standard.surface_grades)
    return masks if len(masks) else None


def _fit_reader(
    grader: Grader, learning: Dataset, early: np.ndarray, progress: Progress
) -> SecondReader:
    """The second reader of the training fruits and their mirror images.

    Parameters
    ----------
    early : what the network of `grader` sees of the fruits themselves
    """
    bundle = grader.bundle
    mirrored = grader.predict(learning, progress=progress, mirrored=True).early
    return SecondReader.fit(
        np.concatenate([early, mirrored]),
        np.tile(learning.labels, 2),
        len(bundle.standard.grades),
        bundle.network.early_blocks,
        bundle.config.train.seed,
    )


def effective_standard(dataset: Dataset) -> GradingStandard:
    """The dataset's standard; all on the surface where there are no outlines to judge by."""
    if dataset.standard.outline_grades and not dataset.has_outlines:
        return dataset.standard.judged_on_surface()
    return dataset.standard


def effective_config(dataset: Dataset, config: Config) -> Config:
    """The settings, without class channels where a single grade is judged on the surface.

    An activation map tells surface grades apart; with one it would be 1 everywhere, whatever is
    there.
    """
    if len(effective_standard(dataset).surface_grades) > 1:
        return config
    model = config.model.model_copy(update={"channels_per_grade": 0})
    return config.model_copy(update={"model": model})


def notes_on_settings(dataset: Dataset, config: Config) -> tuple[str, ...]:
    """One line where a training will not use the settings as they are."""
    if effective_config(dataset, config) == config:
        return ()
    (only,) = effective_standard(dataset).surface_grades
    return (f"{only} alone is judged on the surface: there will be no activation maps",)


def input_size(dataset: Dataset, config: Config) -> InputSize:
    """The network's input size, and whether the images are panoramas."""
    wraps = dataset.is_panorama
    height = config.input.height
    width = config.input.width or (2 * height if wraps else height)
    return InputSize(height, width, wraps)


def with_splits_of(grader: Grader, dataset: Dataset) -> Dataset:
    """`dataset` with the splits of the grader's training.

    Images are recognised by their content, not by their names. Where some are the training's, other
    pictures of its fruits are known by the names of the specimens; among other fruits alone these
    names mean others, as a harvest is numbered from 1 again, which a note then says. A dataset that
    brings its own splits keeps them; what the training did not use counts as test.

    Raises
    ------
    MezoroiError
        If the dataset calls an image test that the grader was trained on, by whatever name.
    """
    data = grader.bundle.data
    trained: dict[str, str] = {}
    for name, split in data["splits"].items():
        # The same picture may be of two fruits, on two sides: what was learned from counts.
        content = data["content"][name]
        trained[content] = min(trained.get(content, split), split, key=SPLITS.index)
    known = {item.id: trained.get(content_hash(item.image)) for item in dataset}
    for item in dataset:
        # The training's own test fruit may share a picture with one learned from: loading tells.
        is_its_test = data["splits"].get(item.id) == "test"
        if item.split == "test" and known[item.id] in ("train", "val") and not is_its_test:
            raise MezoroiError(
                f"{item.id} is in the test split, but the grader was trained with this picture: "
                "take it out of test, or train again without it"
            )
    alike = _splits_by_specimen(data, [item for item in dataset if known[item.id] is None])
    notes = dataset.notes
    if any(known.values()):
        known |= alike
    elif alike and not dataset.splits:
        first = next(item for item in dataset if item.id in alike)
        notes += (
            f"{len(alike)} of {len(dataset)} images are of specimens named as in the training, the "
            f"first {first.id} of {first.specimen}, but no picture is the training's: "
            "taken as new fruits",
        )
    splits = {item.id: item.split or known[item.id] or "test" for item in dataset}
    return replace(dataset.with_splits(splits), notes=notes)


def _splits_by_specimen(data: Mapping[str, Any], items: Iterable[Observation]) -> dict[str, str]:
    """The splits by id of the images whose specimen has a name that the training knew.

    An image that is a fruit of its own says nothing about others; neither do bundles of earlier
    versions.
    """
    fruits: dict[str, str] = {}
    for name, specimen in data.get("specimens", {}).items():
        split = data["splits"][name]
        if specimen != name:
            # Splits by session may separate a specimen: what was learned from counts.
            fruits[specimen] = min(fruits.get(specimen, split), split, key=SPLITS.index)
    return {
        item.id: fruits[item.specimen]
        for item in items
        if item.specimen != item.id and item.specimen in fruits
    }


def _fit_prototypes(bundle: Bundle, dataset: Dataset, seen: Predictions) -> Prototypes:
    """Mean embeddings over the training observations; thresholds and limits from the others.

    A grade without held-out fruit takes the median of the other grades' thresholds.

    Parameters
    ----------
    seen : of the training observations
    """
    learning = dataset.select("train")
    grades = range(len(bundle.standard.grades))

    def means(values: np.ndarray) -> torch.Tensor:
        rows = [values[learning.labels == grade].mean(axis=0) for grade in grades]
        return torch.from_numpy(np.stack(rows))

    prototypes = replace(
        bundle.prototypes, embeddings=means(seen.embeddings), features=means(seen.features)
    )
    if bundle.config.model.exemplars:
        prototypes = replace(
            prototypes,
            exemplars=torch.from_numpy(seen.embeddings),
            exemplar_grades=torch.from_numpy(learning.labels),
        )
    held_out = held_out_fruits(dataset)
    predictions = Grader(replace(bundle, prototypes=prototypes)).predict(held_out)
    similarity = predictions.similarity
    found = []
    for grade in grades:
        own = similarity[held_out.labels == grade, grade]
        found.append(np.percentile(own, LIKENESS_PERCENTILE) if len(own) else np.nan)
    thresholds = torch.tensor(found, dtype=torch.float32)
    # Else its own fruits would be unlike all grades, or like another one.
    thresholds[thresholds.isnan()] = thresholds[~thresholds.isnan()].median()
    prototypes = replace(prototypes, thresholds=thresholds)
    if not predictions.maps.shape[1]:
        return prototypes
    limits = sign_limits(predictions.signs, held_out.labels, bundle.standard)
    return replace(prototypes, sign_limits=torch.from_numpy(limits))
