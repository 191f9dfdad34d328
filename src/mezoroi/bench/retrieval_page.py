"""docs/results/retrieval.md, rendered from the ledgers."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import faiss
import torch

from mezoroi.bench import retrieval_million as million
from mezoroi.bench import retrieval_speed as speed
from mezoroi.bench import retrieval_tables as tables
from mezoroi.bench.ledger import Ledger, code_version
from mezoroi.bench.retrieval_data import PACKAGED, SIDE, Backbone
from mezoroi.bench.retrieval_kinds_page import (
    cells_by_seed,
    kind_section,
    mean_by_seed,
    short_section,
    trained_section,
)
from mezoroi.bench.tables import MISSING, table

Cell = Mapping[str, Any]
_LAYERS = ("conv2", "conv3", "conv4", "conv5", "GAP")
_PAPER_NS = {"conv2": "3.20", "conv3": "3.38", "conv4": "3.83", "conv5": "3.97", "GAP": "3.98"}
_PAPER_NORM = {"conv2": "4.44", "conv3": "2.25", "conv4": "2.47", "conv5": "32.3", "GAP": "47.9"}


def retrieval_page(ledgers: Mapping[str, Ledger], backbone: Backbone) -> str:
    """The whole page; cells that are not in the ledgers are marked so."""
    parts = [
        "# Retrieval\n",
        "Written by `mezoroi bench retrieval` from its ledger; do not edit by hand.\n",
        f"Date {date.today().isoformat()}, code {code_version()}, torch {torch.__version__}, "
        f"FAISS {faiss.__version__}, Python {platform.python_version()}, {platform.machine()}. "
        "Differences are paired, with a 95 % bootstrap interval by instance.\n",
        _layer_section(ledgers["tables"], backbone),
        trained_section(ledgers["trained"], backbone),
        short_section(ledgers["short"], backbone),
        kind_section(ledgers["tables"], backbone),
        _clutter_section(ledgers["tables"], backbone),
        _grocery_section(ledgers["grocery"], backbone),
        _speed_section(ledgers["speed"]),
        _million_section(ledgers["million"]),
    ]
    return "\n".join(parts)


def _layer_section(ledger: Ledger, backbone: Backbone) -> str:
    rows = []
    for layer in _LAYERS:
        cell = ledger.find(tables.layer_settings(layer, backbone))
        figures = (
            [MISSING] * 5
            if cell is None
            else [
                str(cell["dim"]),
                f"{cell['ns']:.2f}",
                f"{cell['map']:.3f}",
                f"{cell['recall_at_1']:.3f}",
                f"{cell['norm']:.1f}",
            ]
        )
        rows.append([layer, *figures, _PAPER_NS[layer], _PAPER_NORM[layer]])
    head = ["layer", "features", "NS-score", "mAP", "recall@1", "mean norm"]
    return (
        "## Single layers (the paper's tables 1 and 4)\n\n"
        "`fruit_rotation`: 36 mandarins, oranges and tomatoes, 12 to 19 views of one turn each, on "
        f"black, {SIDE} px. The backbone is `{backbone.name}` {_trained_on(backbone)}; "
        "the paper trains ResNet-18 on the pictures it searches. NS-score: four "
        "evenly spaced views of each; the other figures: all views.\n\n"
        + table([*head, "paper: NS-score", "paper: norm"], rows)
    )


def _trained_on(backbone: Backbone) -> str:
    if backbone == PACKAGED:
        return "with its ImageNet weights, not trained further"
    return f"with the weights `{Path(backbone.weights).name}`"


def _clutter_section(ledger: Ledger, backbone: Backbone) -> str:
    def row(name: str, loss: str, cells: Sequence[Cell]) -> list[str]:
        keys = ("map_clean", "map_clutter", "map_crop")
        return [name, loss, *(mean_by_seed(cells, key, 3) for key in keys)]

    def layer(name: str) -> list[str]:
        cell = ledger.find(tables.layer_settings(name, backbone))
        return row(name, "-", [] if cell is None else [cell])

    def kind(name: str, loss: str) -> list[str]:
        published = tables.PUBLISHED
        return row(
            name,
            loss,
            cells_by_seed(
                ledger, lambda seed: tables.table_settings(name, published, loss, seed, backbone)
            ),
        )

    layers = [layer(name) for name in _LAYERS]
    kinds = [kind(*arm) for arm in tables.arms() if arm[0] != tables.GAP]
    head = ["features", "loss", "clean", "on a shelf", "cut to the fruit's box"]
    return (
        "## Cluttered backgrounds (the paper's section 4.5)\n\n"
        "mAP of every picture as query against the clean ones; its own clean picture is junk. "
        "*On a shelf*: the fruit, at about half the side, on a photo of a shop shelf. *Cut to "
        "the fruit's box*: the same picture cropped to where the fruit is, corners of the shelf "
        "left in. The networks learned from clean pictures only.\n\n" + table(head, layers + kinds)
    )


def _grocery_section(ledger: Ledger, backbone: Backbone) -> str:
    def row(name: str, loss: str) -> list[str]:
        cells = cells_by_seed(
            ledger, lambda seed: tables.grocery_settings(name, loss, seed, backbone)
        )
        keys = ("recall_at_1", "recall_at_5", "map")
        return [name, loss, *(mean_by_seed(cells, key, 3) for key in keys)]

    arms = [arm for arm in tables.arms() if arm[0] != tables.GAP]
    rows = [row(*arm) for arm in [*((layer, "-") for layer in _LAYERS), *arms]]
    return (
        "## Shop photos against icons\n\n"
        "`grocery_produce20`: the 842 test photos of 20 kinds of produce against one shop picture "
        "of each; the networks learn from the 860 train photos. Chance: recall@1 0.05.\n\n"
        + table(["features", "loss", "recall@1", "recall@5", "mAP"], rows)
    )


def _speed_section(ledger: Ledger) -> str:
    def ratios(cell: Cell, job: str) -> list[str]:
        return [f"{cell[f'{job}_to_{peer}']:.2f} x" for peer in (speed.BARE, speed.SAME)]

    rows = []
    for size in speed.SIZES:
        cell = ledger.find(speed.index_settings(size))
        if cell is None:
            rows.append([f"{size:,}", *([MISSING] * 10)])
            continue
        row = [f"{size:,}", f"{cell['search_ms']:.2f} ms", *ratios(cell, "search")]
        row += [f"{cell['batch_ms']:.1f} ms", *ratios(cell, "batch")]
        row += [f"{cell['load_s']:.3f} s", *ratios(cell, "load"), f"{cell['one_add_ms']:.1f} ms"]
        rows.append(row)
    head = ["vectors", "one search", "to bare", "to same", "64 at once", "to bare", "to same"]
    head += ["bulk load", "to bare", "to same", "one durable add"]
    embedding = ledger.find(speed.embedding_settings())
    line = (
        MISSING
        if embedding is None
        else f"{embedding['add_per_s']:.1f} fruits/s, {embedding['ratio']:.2f} x the bare "
        f"backbone on ready tensors ({embedding['bare_per_s']:.1f} images/s)"
    )
    return (
        "## Speed\n\nExact index, 512 dimensions, medians taken in turns, and their ratios to two "
        "uses of FAISS (`IndexFlatIP`). *Bare*: the call alone, with numbers for ids; to load, "
        "vectors scaled to length 1 and one file, on disk. *Same*: what its user writes for the "
        "same answer: queries scaled to length 1 and ids looked up in an array; to load, the ids "
        "on disk in a second file, whole or absent after a power cut. Neither checks its input, "
        "looks for what others have added, or removes. Aim: at most 1.1.\n\n"
        + table(head, rows)
        + f"\n`references add`, decoding and thumbnails included: {line}. *Bare*: all stages of "
        "the timm model, the last of which makes the embedding; `references add` runs them with "
        "the batch norms folded into the convolutions. Aim: at least 0.9.\n"
    )


def _million_section(ledger: Ledger) -> str:
    rows = []
    for kind in million.KINDS:
        cell = ledger.find(million.million_settings(kind))
        if cell is None:
            rows.append([kind, *([MISSING] * 7)])
            continue
        files = sum(cell["file_bytes_per_vector"].values())
        rows.append(
            [
                kind,
                cell["kind"],
                f"{cell['add_s']:.0f} s + {cell['build_s']:.0f} s",
                f"{cell['load_s']:.1f} s",
                f"{cell['recall_at_10']:.3f}",
                f"{cell['p50_ms']:.2f} ms",
                f"{cell['p99_ms']:.2f} ms",
                f"{cell['memory_bytes_per_vector']:,.0f} B; {files:,.0f} B on disk",
            ]
        )
    head = ["vectors", "kind", "add + build", "open", "recall@10", "p50", "p99", "per vector"]
    return (
        f"## A million vectors\n\n{million.COUNT:,} vectors of 512 dimensions. Aims for the first "
        "row: recall@10 at least 0.95, p99 of one search at most 10 ms. The second row is the "
        "worst case of any approximate index: no vector is near another. Bytes per vector: growth "
        "of a process that only opens the index and answers once.\n\n" + table(head, rows)
    )
