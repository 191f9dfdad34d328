"""The Feature Tuning paper's tables 2 and 3 for the page, of a backbone trained and as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mezoroi.bench import retrieval_tables as tables
from mezoroi.bench import retrieval_trained as trained
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.retrieval_data import Backbone
from mezoroi.bench.tables import MISSING, table
from mezoroi.metrics.intervals import paired_difference

Cell = Mapping[str, Any]
Settings = Callable[[str, str, str, int, Backbone], dict[str, Any]]
Find = Callable[[str, str, str], list[Cell]]
"""The seeds' cells of a feature kind, under a protocol, with a loss."""
_FIGURES = (("ns", 2), ("map", 3), ("recall_at_1", 3), ("map_at_r", 3))
_HEAD = ("features", "loss", "NS-score", "mAP", "recall@1", "MAP@R")
_NOTES = {
    tables.PUBLISHED: "All pictures are learned from, and searched among themselves.",
    tables.OTHER_VIEWS: "Every other view is learned from; the rest are searched.",
    tables.OTHER_FRUIT: "Two thirds of the fruits are learned from; the others are searched, "
    "each third once.",
}
_SEEDS = "Means over {} seeds, each seed in brackets."
_PAPER = (
    "The paper's NS-scores, on UKBench: with softmax GAP 3.73, addition 3.78, normalized addition "
    "3.84, Feature Tuning 3.84 (3 layers) and 3.91 (6); with CosFace 3.93, 3.94, 3.93, 4.00 and "
    "4.00.\n"
)


def trained_section(ledger: Ledger, backbone: Backbone) -> str:
    """Tables 2 and 3 as published, and table 1 of the trained backbone."""
    find = _finder(ledger, _trained_or_colour, backbone)
    budget = trained.BUDGET
    text = [
        "## Feature kinds, backbone trained (the paper's tables 1 to 3)\n",
        "As in the paper, first the backbone learns to tell the fruits apart, with softmax or "
        f"CosFace, then Feature Tuning learns from its layers: `{backbone.name}`, {budget.epochs} "
        f"epochs (the paper: 120 of many more pictures) of {budget.batch_size} pictures a step, "
        "without augmentation; the stages up to stride 8 stay as they are. Feature Tuning learns "
        f"for 120 epochs. *{trained.COLOUR.capitalize()}*: red, green and blue of the picture, "
        f"without any network. {_SEEDS.format(len(tables.SEEDS))}\n",
        _PAPER,
    ]
    arms = [(trained.COLOUR, "-")]
    arms += [(kind, loss) for loss in tables.LOSSES for kind in trained.KINDS]
    for protocol in tables.PROTOCOLS:
        text += _protocol(find, protocol, arms, also=(tables.ADDITION, tables.NORMALIZED))
    layers = [(layer, loss) for loss in tables.LOSSES for layer in (*trained.LAYERS, tables.GAP)]
    text += [
        "### Single layers, as published\n",
        table(_HEAD, [_row(find, tables.PUBLISHED, *arm) for arm in layers]),
    ]
    return "\n".join(text)


def _trained_or_colour(
    kind: str, protocol: str, loss: str, seed: int, backbone: Backbone
) -> dict[str, Any]:
    if kind == trained.COLOUR:
        return trained.colour_settings(protocol, seed)
    return trained.trained_settings(kind, protocol, loss, seed, backbone)


def short_section(ledger: Ledger, backbone: Backbone) -> str:
    """Tables 2 and 3 as published where the backbone has not learned all there is to learn."""

    def settings(kind: str, protocol: str, loss: str, seed: int, one: Backbone) -> dict[str, Any]:
        return trained.trained_settings(kind, protocol, loss, seed, one, trained.SHORT)

    find = _finder(ledger, settings, backbone)
    epochs = trained.SHORT.epochs
    arms = [(kind, loss) for loss in tables.LOSSES for kind in trained.KINDS]
    text = [
        "## Feature kinds, backbone briefly trained\n",
        f"As the section before, with {epochs} epochs for the backbone instead of "
        f"{trained.BUDGET.epochs}: the losses are compared as published where neither leaves all "
        "kinds of features without an error.\n",
        *_protocol(find, tables.PUBLISHED, arms),
    ]
    return "\n".join(text)


def kind_section(ledger: Ledger, backbone: Backbone) -> str:
    """The same kinds of features on a backbone that has not seen the fruits."""
    find = _finder(ledger, tables.table_settings, backbone)
    text = [
        "## Feature kinds (the paper's tables 2 and 3)\n",
        "The backbone stays as it is, so GAP and the two additions are the same for both losses; "
        "the networks of Feature Tuning learn for 120 epochs as in section 4.1. *GAP tuned "
        "alone*, which the paper does not have, is the 3-layer network on GAP only: what it "
        f"gains is the network's, not the layers'. {_SEEDS.format(len(tables.SEEDS))}\n",
    ]
    for protocol in tables.PROTOCOLS:
        text += _protocol(find, protocol, list(tables.arms()), against="-")
    return "\n".join(text)


def _protocol(
    find: Find,
    protocol: str,
    arms: Iterable[tuple[str, str]],
    against: str | None = None,
    also: Sequence[str] = (),
) -> list[str]:
    """A protocol's table, and what kinds gain over GAP of the same loss, or of that `against`."""
    kinds = (*also, tables.TUNED3, tables.TUNED6)
    return [
        f"### {protocol.capitalize()}\n\n{_NOTES[protocol]}\n",
        table(_HEAD, [_row(find, protocol, kind, loss) for kind, loss in arms]),
        *(
            f"{kind}, {loss}, minus GAP, mAP: "
            f"{_gain(find(protocol, kind, loss), find(protocol, tables.GAP, against or loss))}.\n"
            for loss in tables.LOSSES
            for kind in kinds
        ),
    ]


def _row(find: Find, protocol: str, kind: str, loss: str) -> list[str]:
    cells = find(protocol, kind, loss)
    return [kind, loss, *(mean_by_seed(cells, name, digits) for name, digits in _FIGURES)]


def cells_by_seed(ledger: Ledger, settings: Callable[[int], Mapping[str, Any]]) -> list[Cell]:
    """The cells, of those that differ by seed alone, that a ledger has."""
    found = (ledger.find(settings(seed)) for seed in tables.SEEDS)
    return [cell for cell in found if cell is not None]


def _finder(ledger: Ledger, settings: Settings, backbone: Backbone) -> Find:
    def find(protocol: str, kind: str, loss: str) -> list[Cell]:
        return cells_by_seed(ledger, lambda seed: settings(kind, protocol, loss, seed, backbone))

    return find


def _gain(ours: Sequence[Cell], plain: Sequence[Cell]) -> str:
    if len(ours) != len(tables.SEEDS) or len(plain) != len(ours):
        return MISSING
    one, two, names = (
        np.concatenate([cell[key] for cell in cells])
        for cells, key in (
            (ours, "ap_by_instance"),
            (plain, "ap_by_instance"),
            (ours, "instances"),
        )
    )
    interval = paired_difference(_mean_of, names, np.zeros(len(one)), one, two)
    verdict = "" if interval.excludes_zero else ", so no difference is shown"
    return f"{interval.value:+.3f} ({interval.low:+.3f} to {interval.high:+.3f}{verdict})"


def _mean_of(_truth: np.ndarray, values: np.ndarray) -> float:
    return float(np.mean(values))


def mean_by_seed(cells: Sequence[Cell], name: str, digits: int) -> str:
    """A score's mean over the seeds, and where they differ each seed's."""
    if not cells:
        return MISSING
    values = [cell[name] for cell in cells]
    mean = f"{np.mean(values):.{digits}f}"
    if len(set(values)) == 1:
        return mean
    return f"{mean} [{', '.join(f'{value:.{digits}f}' for value in values)}]"
