"""docs/results/reliability.md, rendered from the ledgers."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import torch

from mezoroi.bench import reliability_hans as hans
from mezoroi.bench import reliability_labels as labels
from mezoroi.bench import reliability_resplits as resplits
from mezoroi.bench.ledger import Ledger, code_version
from mezoroi.bench.melons import PER_GRADE
from mezoroi.bench.reliability_speed import reliability_speed_settings
from mezoroi.bench.tables import MISSING, table
from mezoroi.metrics.intervals import bootstrap_interval
from mezoroi.reliability.model import COVERAGE
from mezoroi.reliability.saliency import OPTIONS
from mezoroi.trust_scores import class_accuracies

Cell = Mapping[str, Any]
_SIGNAL_SCORES = ("auroc", "aupr", "aurc", "accuracy_at_80", "ece")


def reliability_page(ledgers: Mapping[str, Ledger]) -> str:
    """The whole page; cells that are not in the ledgers are marked so."""
    return "\n".join(
        [
            "# Reliability\n",
            "Written by `mezoroi bench reliability` from its ledger; do not edit by hand. What the "
            "methods are: [reliability](../reliability.md).\n",
            f"Date {date.today().isoformat()}, code {code_version()}, torch {torch.__version__}, "
            f"Python {platform.python_version()}, {platform.machine()}, "
            f"{'GPU' if torch.cuda.is_available() else 'CPU only'}.\n",
            _hans_section(ledgers["clever-hans"]),
            _resplit_section(
                "Ordinary made-up melons",
                ledgers["melons"].find(
                    resplits.resplit_settings(resplits.MELONS, resplits.melon_config())
                ),
            ),
            _resplit_section(
                "Real tomatoes (fgrade4)",
                ledgers["tomatoes"].find(
                    resplits.resplit_settings(resplits.TOMATOES, resplits.tomatoes_config())
                ),
            ),
            _label_section(ledgers["labels"]),
            _speed_section(ledgers["speed"]),
        ]
    )


def _hans_section(ledger: Ledger) -> str:
    lines = [
        "## Misleading backgrounds\n",
        f"Photos of made-up melons, {hans.PER_GRADE} of each grade. In the first season a tape "
        "beside most fruits has the colour of their grade; after it, on the days of the "
        "calibration and test photos, a third of the fruits lie beside a tape of another grade's "
        "colour. A network trained with a softmax head and without class channels, which grades by "
        "its prototypes; 8 clusters on the calibration photos; occlusion with windows of 32 "
        f"pixels, 16 apart (the paper: 11 and 2), LIME with {OPTIONS['lime']['num_samples']} "
        f"samples; {len(hans.SEEDS)} seeds. *Published*: what the calibration photos say is "
        "applied; *applied*: only where five-fold trials on the calibration photos also gained. "
        "Gain: mean over seeds with a 95 % interval by specimen. The paper, on cauliflower: 72.41 "
        "-> 88.14 % overall and 73.08 -> 88.52 % average class accuracy with Grad-CAM; occlusion "
        "and LIME not useful. Aim: a gain of at least 10 points.\n",
    ]
    for variant in hans.VARIANTS:
        rows = []
        for method in hans.METHODS:
            cells = [
                cell
                for seed in hans.SEEDS
                if (cell := ledger.find(hans.hans_settings(variant, seed, method, hans.PER_GRADE)))
            ]
            rows.append([method, *_hans_row(cells)])
        lines += [
            f"### {variant.capitalize()}\n",
            table(
                [
                    "maps",
                    "overall before",
                    "published",
                    "gain",
                    "average class before",
                    "published",
                    "applied, overall",
                    "error rate by cluster (fruits), first seed",
                ],
                rows,
            ),
        ]
    return "\n".join(lines)


def _hans_row(cells: Sequence[Cell]) -> list[str]:
    if not cells:
        return [MISSING] * 7
    scores: dict[str, list[dict[str, float]]] = {
        name: [class_accuracies(np.array(c["truth"]), np.array(c[name])) for c in cells]
        for name in ("given", "published", "adjusted")
    }
    before, after = (
        np.mean([np.equal(c[name], c["truth"]) for c in cells], axis=0)
        for name in ("given", "published")
    )
    gain = bootstrap_interval(np.mean, cells[0]["specimens"], after - before)

    def share(name: str, kind: str) -> str:
        values = [100 * one[kind] for one in scores[name]]
        return f"{np.mean(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})"

    return [
        share("given", "overall"),
        share("published", "overall"),
        f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})",
        share("given", "average_class"),
        share("published", "average_class"),
        share("adjusted", "overall"),
        ", ".join(f"{rate:.2f} ({count})" for count, rate in cells[0]["clusters"]),
    ]


def _resplit_section(title: str, cell: Cell | None) -> str:
    if cell is None:
        return f"## {title}\n\n{MISSING}\n"
    draws = cell["draws"]
    names = list(draws[0]["signals"])
    signal_rows = [[name, *(_mean(draws, name, key) for key in _SIGNAL_SCORES)] for name in names]
    set_rows = [
        [
            name,
            _range([one["sets"][name]["coverage"] for one in draws], 3),
            _range([one["sets"][name]["size"] for one in draws], 2),
            _range([one["sets"][name]["empty"] for one in draws], 3),
        ]
        for name in draws[0]["sets"]
    ]
    change = [100 * (one["after"] - one["before"]) for one in draws]
    published = [100 * (one["published"] - one["before"]) for one in draws]
    return "\n".join(
        [
            f"## {title}\n",
            f"One grader (MC-Loss and ArcFace) and {cell['fruits']} fruits that it did not learn "
            f"from, drawn {len(draws)} times by specimen into calibration and test "
            f"({draws[0]['calibration']} and {draws[0]['test']} in the first draw; test at least "
            f"{min(one['test'] for one in draws)}). Means over the draws, with the 2.5 and 97.5 % "
            "quantiles of the draws. ECE: ten bins of equal width, where a chance is stated.\n",
            table(
                ["adjustment", "accuracy before", "change, points", "draws with a change"],
                [
                    [
                        "as applied",
                        _range([one["before"] for one in draws], 3),
                        _range(change, 2),
                        f"{sum(one['applied'] for one in draws)} of {len(draws)}",
                    ],
                    [
                        "as published, without a trial",
                        _range([one["before"] for one in draws], 3),
                        _range(published, 2),
                        f"{sum(value != 0 for value in published)} of {len(draws)}",
                    ],
                ],
            ),
            table(
                ["signal", "AUROC", "AUPR", "AURC", "accuracy at 80 % coverage", "ECE"],
                signal_rows,
            ),
            table([f"sets, promise {COVERAGE:.0%}", "coverage", "grades", "empty"], set_rows),
        ]
    )


def _label_section(ledger: Ledger) -> str:
    config = resplits.melon_config()
    rows = []
    for seed in labels.SEEDS:
        cells = [
            ledger.find(labels.label_settings(seed, fold, config, PER_GRADE))
            for fold in range(labels.FOLDS)
        ]
        if not all(cells):
            rows.append([str(seed), *[MISSING] * 5])
            continue
        found = [cell for cell in cells if cell]
        wrong = np.concatenate([cell["wrong"] for cell in found])
        scores = [
            _found_at_count(wrong, np.concatenate([_numbers(cell[name]) for cell in found]))
            for name in ("score", "model", "neighbours", "cluster")
        ]
        rows.append(
            [str(seed), f"{wrong.sum()} of {len(wrong)}", *(f"{value:.2f}" for value in scores)]
        )
    return "\n".join(
        [
            "## Suspected labels\n",
            f"Made-up melons of which {labels.SHARE:.0%} were given another grade at random; each "
            f"third graded by a grader that learned from the other two. The share of wrong labels "
            "among as many suspects as there are wrong labels, which is precision and recall at "
            "once; chance would find 0.05.\n",
            table(["seed", "wrong labels", "all together", "model", "neighbours", "cluster"], rows),
        ]
    )


def _found_at_count(wrong: np.ndarray, score: np.ndarray) -> float:
    if np.isnan(score).all():
        return float("nan")
    first = np.argsort(-np.nan_to_num(score), kind="stable")[: wrong.sum()]
    return float(wrong[first].mean())


def _speed_section(ledger: Ledger) -> str:
    cell = ledger.find(reliability_speed_settings())
    rows = [
        ["200 maps of 256 x 256 clustered", _figure(cell, "cluster_s", "s", 2)],
        ["with all signals and the trial of the adjustment", _figure(cell, "fit_s", "s", 2)],
        ["grading a 224 x 224 photo, without", _figure(cell, "grade_ms", "ms", 1)],
        ["reliability adds", _figure(cell, "added_ms", "ms", 2)],
        ["of which finding the cluster", _figure(cell, "look_up_ms", "ms", 2)],
    ]
    return "## Speed\n\n" + table(["what", "time"], rows)


def _figure(cell: Cell | None, name: str, unit: str, digits: int) -> str:
    return MISSING if cell is None else f"{cell[name]:.{digits}f} {unit}"


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _mean(draws: Sequence[Cell], name: str, key: str) -> str:
    values = _numbers([one["signals"].get(name, {}).get(key) for one in draws])
    return "–" if np.isnan(values).all() else _range(values.tolist(), 3)


def _range(values: Sequence[float], digits: int) -> str:
    known = np.array([value for value in values if value is not None], dtype=float)
    known = known[~np.isnan(known)]
    low, high = np.quantile(known, [0.025, 0.975])
    return f"{known.mean():.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
