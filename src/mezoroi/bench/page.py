"""docs/results/grading.md, rendered from the ledgers."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import torch

from mezoroi.bench import melons, tomatoes
from mezoroi.bench.baselines import COLOUR_HISTOGRAM, TEXTURE
from mezoroi.bench.cells import MUTUAL_CHANNEL, SOFTMAX, Arm
from mezoroi.bench.ledger import Ledger, code_version
from mezoroi.bench.speed import speed_settings
from mezoroi.bench.tables import MISSING, table
from mezoroi.config import Config
from mezoroi.metrics.grading import grading_metrics
from mezoroi.metrics.intervals import bootstrap_interval, paired_difference

Cell = Mapping[str, Any]


def grading_page(ledgers: Mapping[str, Ledger]) -> str:
    """The whole page; cells that are not in the ledgers are marked so."""
    parts = [
        "# Grading\n",
        "Written by `mezoroi bench grading` from its ledger; do not edit by hand.\n",
        f"Date {date.today().isoformat()}, code {code_version()}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}, "
        f"{'GPU' if torch.cuda.is_available() else 'CPU only'}. "
        "Intervals are 95 % bootstrap intervals by specimen.\n",
        _melon_section(ledgers["melons"]),
        _curve_section(ledgers["melons"]),
        _tomato_section(ledgers["tomatoes"]),
        _remedy_section(ledgers["remedies"]),
        _reading_section(ledgers["reading"]),
        _speed_section(ledgers["speed"]),
        "## Settings\n\nThe defaults at the time of the run:\n\n```json\n"
        + Config().model_dump_json(indent=1)
        + "\n```\n",
    ]
    return "\n".join(parts)


def _melon_section(ledger: Ledger) -> str:
    def cells(task: str, arm: str) -> list[Cell | None]:
        return [ledger.find(melons.melon_settings(task, arm, n)) for n in melons.REPEATS]

    rows = []
    for task in (melons.FOUR, melons.SURFACE):
        arms = (
            (MUTUAL_CHANNEL.name, COLOUR_HISTOGRAM, TEXTURE)
            if task == melons.FOUR
            else (MUTUAL_CHANNEL.name, SOFTMAX.name)
        )
        for arm in arms:
            found = cells(task, arm)
            scores = [
                _accuracy(found, test)
                for test in (melons.PAPER_TEST, melons.LARGE_TEST, melons.HELD_OUT)
            ]
            rows.append([task, arm, *scores])
    text = [
        "## Made-up melons\n",
        f"{melons.PER_GRADE} melons per grade (seed {melons.TRAIN_SEED}); "
        f"{melons.TEST_PER_GRADE} per grade are drawn for testing, {len(melons.REPEATS)} times "
        f"(seeds {', '.join(map(str, melons.REPEATS))}), the rest trains (12 % of it validates). "
        "The same graders also grade 1,000 other melons (seed "
        f"{melons.TEST_SEED}) and 1,000 of the held-out variant of the generator; how "
        "often these sets were looked at: [notes](notes.md). The paper, on its own 488 "
        "real melons: 82.1 % with four grades, 75.8 % with "
        "MC-Loss and 67.9 % without on the surface grades.\n",
        table(["task", "arm", "accuracy, 30 per grade", "1,000 melons", "held-out variant"], rows),
        "Accuracy over all repeats together, with its interval; in brackets each repeat.\n",
    ]
    for test in (melons.PAPER_TEST, melons.LARGE_TEST):
        difference = _difference(
            cells(melons.SURFACE, MUTUAL_CHANNEL.name), cells(melons.SURFACE, SOFTMAX.name), test
        )
        text.append(f"MC-Loss minus {SOFTMAX.name}, surface grades, {test}: {difference}.\n")
    text.append(_map_table(cells(melons.FOUR, MUTUAL_CHANNEL.name)))
    text.append(_likeness_table(cells(melons.FOUR, MUTUAL_CHANNEL.name)))
    return "\n".join(text)


def _map_table(found: Sequence[Cell | None]) -> str:
    cells = [cell for cell in found if cell]
    if not cells:
        return f"### Activation maps against masks\n\n{MISSING}\n"
    rows = []
    for test in (melons.PAPER_TEST, melons.LARGE_TEST, melons.HELD_OUT):
        tables = [cell[test]["maps"] for cell in cells]
        for name in tables[0]["overall"]:
            grades = tables[0]["per_grade"][name]
            rows.append(
                [
                    test,
                    name,
                    f"{np.mean([t['overall'][name] for t in tables]):.3f}",
                    *(
                        f"{np.mean([t['per_grade'][name][grade] for t in tables]):.3f}"
                        for grade in grades
                    ),
                ]
            )
    spread = ", ".join(
        f"{cell[melons.LARGE_TEST]['maps']['mean_iou']['value']:.3f}" for cell in cells
    )
    return (
        "### Activation maps against masks\n\n"
        "mIoU at threshold 0.5 of the map of the true grade with the mask of that grade (the "
        "paper, with an expert's masks: 0.62), beside the trivial answers.\n\n"
        + table(["test", "map", "mIoU", *grades], rows)
        + f"\nActivation map on the 1,000 melons, each repeat: {spread}.\n"
    )


def _likeness_table(found: Sequence[Cell | None]) -> str:
    cells = [cell for cell in found if cell]
    if not cells:
        return f"### Fruits with several features\n\n{MISSING}\n"
    tables = [cell[melons.LARGE_TEST]["likeness"] for cell in cells]
    rows = []
    totals = [0, 0]
    for grade in tables[0]["per_grade"]:
        fruits, several, unlike = (
            sum(table["per_grade"][grade][key] for table in tables)
            for key in ("fruits", "resemble_several", "unlike_all")
        )
        second = [table["second_grade"]["per_grade"][grade] for table in tables]
        mixed, agree = (sum(entry[key] for entry in second) for key in ("fruits", "agree"))
        totals = [totals[0] + mixed, totals[1] + agree]
        share = f"{agree / mixed:.1%} of {mixed}" if mixed else "none mixed"
        rows.append([grade, f"{several / fruits:.1%}", f"{unlike / fruits:.1%}", share])
    overall = f"{totals[1] / totals[0]:.1%} of {totals[0]}" if totals[0] else "none mixed"
    return (
        "### Fruits with several features\n\n"
        "On the 1,000 melons, all repeats together. *Second grade right*: the second most similar "
        "grade is the true secondary feature, for mixed fruits whose own grade was found.\n\n"
        + table(["grade", "resemble several", "resemble none", "second grade right"], rows)
        + f"\nSecond grade right over all grades: {overall}.\n"
    )


def _curve_section(ledger: Ledger) -> str:
    rows = []
    for share in melons.SHARES:
        for arm in (MUTUAL_CHANNEL, SOFTMAX):
            found = [
                ledger.find(melons.melon_settings(melons.SURFACE, arm.name, n, share))
                for n in melons.REPEATS
            ]
            maps = [c[melons.LARGE_TEST]["maps"] for c in found if c]
            iou = [m["overall"]["activation map"] for m in maps if m]
            rows.append(
                [
                    f"{share:.0%}",
                    arm.name,
                    _accuracy(found, melons.LARGE_TEST),
                    f"{np.mean(iou):.3f}" if iou else ("no maps" if any(found) else MISSING),
                ]
            )
    return (
        "## With fewer training fruits\n\nSurface grades, the 1,000 melons: the paper's hypothesis "
        "that MC-Loss helps most where data are few.\n\n"
        + table(["training fruits", "arm", "accuracy", "mIoU"], rows)
    )


def _tomato_section(ledger: Ledger) -> str:
    text = [
        "## Real tomatoes\n",
        f"`fgrade4`, split by tomato; the same budget for every arm ({', '.join(tomatoes.BUDGET)}"
        f"). The published split with seeds {', '.join(map(str, tomatoes.SEEDS))}, and "
        f"{len(tomatoes.RESPLITS)} resplits by tomato. Plain fine-tuning grades by its "
        "classifier, the others by their prototypes or, in the last row, by the 5 most similar "
        "training fruits of each grade (`model.exemplars`).\n",
    ]
    return "\n".join([*text, *_tomato_tables(ledger, tomatoes.ARMS)])


def _tomato_tables(ledger: Ledger, arms: Sequence[Arm]) -> list[str]:
    """The published split and the resplits, and what each arm is better by than the first."""

    def cells(arm: Arm, published: bool) -> list[Cell | None]:
        if published:
            keys = [(seed, tomatoes.PUBLISHED) for seed in tomatoes.SEEDS]
        else:
            keys = [(0, resplit) for resplit in tomatoes.RESPLITS]
        return [ledger.find(tomatoes.tomato_settings(arm.name, *key)) for key in keys]

    text = []
    for published, title in ((True, "Published split"), (False, "Resplits")):
        rows = []
        for arm in arms:
            found = cells(arm, published)
            rows.append(
                [
                    arm.name,
                    _accuracy(found, "test"),
                    _mean_metric(found, "test", "quadratic_weighted_kappa"),
                    _mean_metric(found, "test", "mean_absolute_grade_error"),
                ]
            )
        text.append(f"### {title}\n")
        text.append(table(["arm", "accuracy", "QWK", "mean absolute grade error"], rows))
        for arm in arms[1:]:
            difference = _difference(cells(arm, published), cells(arms[0], published), "test")
            text.append(f"{arm.name} minus {arms[0].name}: {difference}.\n")
    return text


def _reading_section(ledger: Ledger) -> str:
    text = [
        "## Real tomatoes, as the second reader reads\n",
        "The same photos and budget. The second reader (kernel ridge regression on what the early "
        "stages see) grades instead of the prototypes, by the median of its reading "
        "(`model.similarity=reading`). *Frozen*: the stages that it reads do not learn "
        "(`train.frozen_stages=4`), so that every training reads alike, whatever its seed and its "
        "losses.\n",
        *_tomato_tables(ledger, (*tomatoes.READ_ARMS, tomatoes.TRIVIAL)),
        "### Validation split (seed 0)\n",
        _validation_table(ledger, (*tomatoes.READ_ARMS, tomatoes.READING)),
    ]
    return "\n".join(text)


def _remedy_section(ledger: Ledger) -> str:
    arms = (*tomatoes.ARMS, *tomatoes.REMEDIES)
    title = "### Remedies tried, on the validation split (seed 0)\n\n"
    return title + _validation_table(ledger, arms)


def _validation_table(ledger: Ledger, arms: Sequence[Arm]) -> str:
    rows = []
    for arm in arms:
        found = [ledger.find(tomatoes.tomato_settings(arm.name, 0, tomatoes.PUBLISHED, "val"))]
        rows.append(
            [
                arm.name,
                _accuracy(found, "val"),
                _mean_metric(found, "val", "quadratic_weighted_kappa"),
            ]
        )
    return table(["arm", "accuracy", "QWK"], rows)


def _speed_section(ledger: Ledger) -> str:
    cell = ledger.find(speed_settings())
    if cell is None:
        return f"## Speed\n\n{MISSING}\n"
    rows = [
        [
            "`Grader.grade`, 224 px, batch 1, all maps",
            f"{cell['grade_ms']:.1f} ms",
            f"{cell['grade_ratio']:.2f} x timm's forward pass ({cell['timm_ms']:.1f} ms), "
            f"{cell['grade_ratio_channels_last']:.2f} x the same in channels-last "
            f"({cell['timm_channels_last_ms']:.1f} ms)",
        ],
        [
            "training, all stages",
            f"{cell['train_images_per_s']:.1f} images/s",
            f"{cell['throughput_ratio']:.2f} x a bare PyTorch loop "
            f"({cell['bare_images_per_s']:.1f} images/s)",
        ],
        [
            "cached frozen stages",
            "",
            f"epochs {cell['cache_speedup_over_whole']:.1f} x faster than training all stages, "
            f"{cell['cache_speedup_over_frozen']:.1f} x faster than frozen without a cache",
        ],
    ]
    return "## Speed\n\nMedians, measured in turns in one run.\n\n" + table(
        ["what", "figure", "ratio"], rows
    )


def _pooled(found: Sequence[Cell | None], test: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = [cell[test] for cell in found if cell]
    truth = np.concatenate([part["truth"] for part in parts])
    given = np.concatenate([part["given"] for part in parts])
    return truth, given, np.concatenate([part["specimens"] for part in parts])


def _accuracy(found: Sequence[Cell | None], test: str) -> str:
    cells = [cell for cell in found if cell and test in cell]
    if not cells:
        return "" if any(found) else MISSING
    truth, given, specimens = _pooled(cells, test)
    interval = bootstrap_interval(np.mean, specimens, (truth == given).astype(float))
    each = ", ".join(
        f"{np.mean(np.equal(cell[test]['truth'], cell[test]['given'])):.1%}" for cell in cells
    )
    return f"{interval.value:.1%} ({interval.low:.1%} to {interval.high:.1%}) [{each}]"


def _mean_metric(found: Sequence[Cell | None], test: str, name: str) -> str:
    values = [
        grading_metrics(cell[test]["truth"], cell[test]["given"], 4)[name] for cell in found if cell
    ]
    if not values:
        return MISSING
    each = ", ".join(f"{value:.3f}" for value in values)
    return f"{np.mean(values):.3f} [{each}]"


def _difference(found: Sequence[Cell | None], other: Sequence[Cell | None], test: str) -> str:
    pairs = [(one, two) for one, two in zip(found, other, strict=True) if one and two]
    if not pairs:
        return MISSING
    truth, given, specimens = _pooled([one for one, _ in pairs], test)
    _, given_other, _ = _pooled([two for _, two in pairs], test)
    interval = paired_difference(_share_right, specimens, truth, given, given_other)
    verdict = "" if interval.excludes_zero else ", so no difference is shown"
    return (
        f"{100 * interval.value:+.1f} points "
        f"({100 * interval.low:+.1f} to {100 * interval.high:+.1f}{verdict}), "
        f"over {len(pairs)} of {len(found)} runs"
    )


def _share_right(truth: np.ndarray, given: np.ndarray) -> float:
    return float(np.mean(truth == given))
