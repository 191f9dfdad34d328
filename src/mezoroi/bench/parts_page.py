"""docs/results/parts.md, rendered from the ledgers."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import torch

from mezoroi.bench import parts_boxes as boxes
from mezoroi.bench import parts_cells as cells
from mezoroi.bench import parts_speed as speed
from mezoroi.bench.cells import Arm
from mezoroi.bench.ledger import Ledger, code_version
from mezoroi.bench.tables import MISSING, table
from mezoroi.metrics.intervals import paired_difference

Cell = Mapping[str, Any]
Ledgers = Mapping[str, Ledger]
_PAPER_5 = {
    cells.CONVENTIONAL.name: "86.75",
    cells.CONVENTIONAL_ADAPTIVE.name: "87.89",
    cells.PROPOSED.name: "88.92",
    cells.ADAPTIVE.name: "89.23",
}
_PAPER_6: tuple[str, ...] = ("88.54", "89.12", "89.23", "89.10", "89.16")
_PAPER_7: tuple[str, ...] = ("88.12", "88.79", "89.23", "88.92", "88.60", "86.73", "86.05")


def parts_page(ledgers: Ledgers) -> str:
    """The whole page; cells that are not in the ledgers are marked so."""
    parts = [
        "# Parts\n",
        "Written by `mezoroi bench parts` from its ledgers; do not edit by hand.\n",
        f"Date {date.today().isoformat()}, code {code_version()}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}. Accuracy in percent. Means "
        f"over {len(cells.SEEDS)} seeds, each seed in brackets; differences are paired, with a "
        "95 % bootstrap interval by specimen.\n",
        _loss_section(ledgers),
        _remedy_section(ledgers),
        _tomato_section(ledgers),
        _shape_section(ledgers, "negatives"),
        _shape_section(ledgers, "ratio"),
        _object_section(ledgers),
        _box_section(ledgers["boxes"]),
        _speed_section(ledgers["throughput"]),
    ]
    return "\n".join(parts)


def _loss_section(ledgers: Ledgers) -> str:
    text = (
        "## Losses (the paper's table 5)\n\n"
        "`grocery_produce20`, 20 kinds of produce in shops, official split. All arms: "
        "`efficientnet_lite0`, 128 px, three frozen stages whose outputs are cached, "
        f"{cells.arm_config(cells.PLAIN, 0).train.epochs} epochs; half of the steps of CutMix "
        "and Mixup are mixed, and after two epochs all of those with parts. All mix the output of "
        "the frozen stages. The object is what all images have in common, but for the last row. "
        f"*As many images*: plain training for {cells.arm_config(cells.LONGER, 0).train.epochs} "
        "epochs, about what the images with parts cost. The losses without an adaptive margin have "
        f"{cells.MARGIN} for every pair: about the distances that were measured of generated "
        "negatives with parts exchanged (0.28 to 0.47), and not searched on validation images.\n\n"
    )
    rows = [
        [arm.name, *_figures(ledgers, "produce", arm), _PAPER_5.get(arm.name, "")]
        for arm in cells.ARMS
    ]
    head = ["loss", "accuracy", "images per observation", "minutes", "paper (CUB)"]
    against = (cells.CONVENTIONAL, cells.CUTMIX, cells.PLAIN, cells.LONGER)
    gains = [
        f"{cells.ADAPTIVE.name} minus {other.name}: "
        f"{_gain(ledgers, 'produce', cells.ADAPTIVE, other)}.\n"
        for other in against
    ]
    gains += [
        f"{cells.PART_CUTMIX.name} minus {other.name}: "
        f"{_gain(ledgers, 'produce', cells.PART_CUTMIX, other)}.\n"
        for other in (cells.PLAIN, cells.LONGER, cells.CUTMIX)
    ]
    aim = "Aim: at least 1.5 points over the conventional loss, and above CutMix.\n"
    return "\n".join([text + table(head, rows), *gains, aim])


def _remedy_section(ledgers: Ledgers) -> str:
    names = cells.fold_names()
    rows = []
    for arm in cells.REMEDIES:
        found = [_cell(ledgers, name, arm, 0) for name in names]
        ready = [cell for cell in found if cell is not None]
        others = [_cell(ledgers, name, cells.CONVENTIONAL, 0) for name in names]
        base = [cell for cell in others if cell is not None]
        if len(ready) < len(names) or len(base) < len(names):
            rows.append([arm.name, MISSING, ""])
            continue
        right = np.mean(np.concatenate([_right(cell) for cell in ready]))
        gain = "" if arm is cells.CONVENTIONAL else _difference(ready, base)
        rows.append([arm.name, f"{100 * right:.2f}", gain])
    intro = (
        "## Remedies\n\nWhat might bring the adaptive loss before the conventional one, without a "
        f"look at the test split: {cells.FOLDS} folds of its training and validation images, one "
        "seed, each image graded once by a network that never saw it. Kinds are cut in the order "
        "of their numbers, so that pictures of one shelf, which follow one another, are on one "
        "side, as in the official split. Also other margins by hand for the conventional loss.\n\n"
    )
    return intro + table(["loss", "accuracy", "minus conventional pairwise loss"], rows)


def _tomato_section(ledgers: Ledgers) -> str:
    rows = [[arm.name, *_figures(ledgers, "tomatoes", arm)] for arm in cells.TOMATO_ARMS]
    gains = [
        f"{cells.ADAPTIVE.name} minus {other.name}: "
        f"{_gain(ledgers, 'tomatoes', cells.ADAPTIVE, other)}.\n"
        for other in cells.TOMATO_ARMS[:-1]
    ]
    intro = "## Real tomatoes\n\n`fgrade4`, four ordered grades, split by tomato; same budget.\n\n"
    head = ["loss", "accuracy", "images per observation", "minutes"]
    return "\n".join([intro + table(head, rows), *gains])


def _shape_section(ledgers: Ledgers, part: str) -> str:
    title, head, arms, paper = {
        "negatives": (
            "Generated negatives (table 6)",
            "pairs that the margins are measured on",
            cells.NEGATIVE_ARMS,
            _PAPER_6,
        ),
        "ratio": ("Positive to negative sets (table 7)", "ratio", cells.RATIO_ARMS, _PAPER_7),
    }[part]
    rows = [
        [arm.name, _accuracies(ledgers, "produce", arm, (0,)), published]
        for arm, published in zip(arms, paper, strict=True)
    ]
    note = (
        "Proposed loss with adaptive margin, as in the paper, whichever arm is ahead above; one "
        "seed.\n\n"
    )
    return f"## {title}\n\n{note}{table([head, 'accuracy', 'paper (CUB)'], rows)}"


def _object_section(ledgers: Ledgers) -> str:
    ways = (
        ("what all images have in common", cells.ADAPTIVE, False),
        ("CAM of the grade (the paper)", cells.BY_CAM, False),
        ("known: what is not white", cells.ADAPTIVE, True),
    )
    rows = []
    for name, arm, known in ways:
        cell = _cell(ledgers, "tomatoes", arm, 0, known)
        lost = MISSING if cell is None else f"{cell['whole_images']:.1%}"
        rows.append([name, MISSING if cell is None else f"{_accuracy(cell):.2f}", lost])
    return (
        "## The object's box (the paper's table 1)\n\n"
        "`fgrade4`, whose fruits lie on white, so that their true boxes are known; those of "
        "`grocery_produce20` are not. One seed. The paper gains 0.12 points by true boxes.\n\n"
        + table(["object found by", "accuracy", "no object found"], rows)
    )


def _box_section(ledger: Ledger) -> str:
    rows = []
    for way in (*boxes.WAYS, boxes.KNOWN):
        cell = ledger.find(boxes.box_settings(way))
        keys = ("inside", "mostly_inside", "overlap", "object", "covered")
        figures = [MISSING] * 5 if cell is None else [f"{cell[key]:.2f}" for key in keys]
        rows.append([way, *figures])
    head = ["way", "inside", "boxes mostly inside", "overlap of two", "object's box", "covered"]
    return (
        "## Boxes of parts\n\n"
        f"{boxes.COUNT} made-up melons photographed on dark, light and textured backgrounds; the "
        "network learned their grades first, with refined grouping also from exchanged parts. "
        "*Inside*: share of the boxes' area within the fruit's silhouette; *mostly inside*: boxes "
        "of which more than half is; *overlap*: intersection over union of two parts; *object's "
        "box*: intersection over union with the silhouette's; *covered*: share of the silhouette "
        "in some part. Aims: inside at least 0.9, overlap below 0.3.\n\n" + table(head, rows)
    )


def _speed_section(ledger: Ledger) -> str:
    rows = []
    plain = ledger.find(speed.speed_settings(cells.PLAIN))
    for arm in speed.SPEED_ARMS:
        cell = ledger.find(speed.speed_settings(arm))
        if cell is None or plain is None:
            rows.append([arm.name, *[MISSING] * 6])
            continue
        ratio = cell["observations_per_s"] / plain["observations_per_s"]
        rows.append(
            [
                arm.name,
                f"{cell['images_per_observation']:.2f}",
                f"{cell['observations_per_s']:.0f}",
                f"{ratio:.2f} x",
                f"{cell['images_per_s'] / plain['images_per_s']:.2f} x",
                f"{cell['search_s'] / cell['epoch_s']:.2f}",
                f"{cell['margins_s'] / cell['epoch_s']:.2f}",
            ]
        )
    head = [
        "training",
        "images per observation",
        "observations/s",
        "to plain",
        "images/s to plain",
        "search for parts, in epochs",
        "before other epochs",
    ]
    return (
        "## Throughput\n\nEpochs in which every step is mixed, behind cached frozen stages, with "
        f"{torch.get_num_threads()} threads. The search for parts comes before one "
        f"of {cells.arm_config(cells.ADAPTIVE, 0).parts.refresh} epochs, the measuring of margins "
        "before each; neither is in the other columns.\n\n" + table(head, rows)
    )


def _figures(ledgers: Ledgers, data: str, arm: Arm) -> list[str]:
    found = [_cell(ledgers, data, arm, seed) for seed in cells.SEEDS]
    ready = [cell for cell in found if cell is not None]
    if not ready:
        return [MISSING] * 3
    images = np.mean([cell["images_per_observation"] for cell in ready])
    minutes = np.mean([cell["seconds"] for cell in ready]) / 60
    return [_accuracies(ledgers, data, arm, cells.SEEDS), f"{images:.2f}", f"{minutes:.1f}"]


def _accuracies(ledgers: Ledgers, data: str, arm: Arm, seeds: Sequence[int]) -> str:
    found = [_cell(ledgers, data, arm, seed) for seed in seeds]
    values = [_accuracy(cell) for cell in found if cell is not None]
    if not values:
        return MISSING
    mean = f"{np.mean(values):.2f}"
    if len(seeds) == 1:
        return mean
    return f"{mean} [{', '.join(f'{value:.2f}' for value in values)}]"


def _accuracy(cell: Cell) -> float:
    return 100 * float(np.mean(_right(cell)))


def _right(cell: Cell) -> np.ndarray:
    """(N,) bool: graded as the experts did."""
    return np.array(cell["truth"]) == np.array(cell["given"])


def _cell(ledgers: Ledgers, data: str, arm: Arm, seed: int, known: bool = False) -> Cell | None:
    return cells.find_cell(ledgers.values(), cells.cell_settings(data, arm, seed, known))


def _gain(ledgers: Ledgers, data: str, one: Arm, other: Arm) -> str:
    """Paired difference of accuracy over all seeds."""
    pairs = [
        (_cell(ledgers, data, one, seed), _cell(ledgers, data, other, seed)) for seed in cells.SEEDS
    ]
    ready = [(a, b) for a, b in pairs if a is not None and b is not None]
    if len(ready) < len(cells.SEEDS):
        return MISSING
    return _difference([a for a, _ in ready], [b for _, b in ready])


def _difference(ours: Sequence[Cell], theirs: Sequence[Cell]) -> str:
    """Paired difference of accuracy of the same images, in words."""
    truth, one = (np.concatenate([cell[key] for cell in ours]) for key in ("truth", "given"))
    other = np.concatenate([cell["given"] for cell in theirs])
    names = np.concatenate([cell["specimens"] for cell in ours])
    found = paired_difference(_accuracy_of, names, truth, one, other)
    verdict = "" if found.excludes_zero else ", so no difference is shown"
    return f"{found.value:+.2f} points ({found.low:+.2f} to {found.high:+.2f}{verdict})"


def _accuracy_of(truth: np.ndarray, given: np.ndarray) -> float:
    return 100 * float(np.mean(truth == given))
