"""docs/results/explain.md, rendered from the ledgers."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import torch

from mezoroi.bench import explain_melons, explain_real
from mezoroi.bench.explain_backbones_page import backbones_section
from mezoroi.bench.explain_ceiling import ceiling_settings
from mezoroi.bench.explain_lift_page import lift_section
from mezoroi.bench.explain_masks import masks_section
from mezoroi.bench.explain_speed import EXACT_IMAGES, exact_settings, speed_settings
from mezoroi.bench.ledger import Ledger, code_version
from mezoroi.bench.melons import PER_GRADE, REPEATS, TEST_PER_GRADE
from mezoroi.bench.tables import MISSING, mean_text, table, values_of
from mezoroi.config import Config
from mezoroi.explain import EXPLAINERS
from mezoroi.metrics.intervals import bootstrap_interval

Cell = Mapping[str, Any]
_OURS, _BASE = "activation-map", "adapting-grad-cam"
_HEAD = ["map", "mIoU at 0.5", "best threshold", "mIoU there", "pointing", "mass"]


def explain_page(ledgers: Mapping[str, Ledger]) -> str:
    """The whole page; cells that are not in the ledgers are marked so."""
    return "\n".join(
        [
            "# Explanations\n",
            "Written by `mezoroi bench explain` from its ledger; do not edit by hand. What the "
            "methods and scores are: [explanations](../explain.md).\n",
            f"Date {date.today().isoformat()}, code {code_version()}, torch {torch.__version__}, "
            f"Python {platform.python_version()}, {platform.machine()}, "
            f"{'GPU' if torch.cuda.is_available() else 'CPU only'}. "
            "Intervals are 95 % bootstrap intervals by specimen.\n",
            _melon_section(ledgers["melons"]),
            masks_section(ledgers["masks"]),
            backbones_section(ledgers["backbones"]),
            _real_section(ledgers["real"]),
            lift_section(ledgers["lift"]),
            _ceiling_section(ledgers["ceiling"]),
            _speed_section(ledgers["speed"]),
            _exact_section(ledgers["exact"]),
        ]
    )


def _melon_section(ledger: Ledger) -> str:
    config = Config()

    def cells(row: str) -> list[Cell]:
        settings = [
            explain_melons.melon_settings(row, number, config, PER_GRADE) for number in REPEATS
        ]
        return [cell for cell in map(ledger.find, settings) if cell]

    trivial = cells(explain_melons.TRIVIAL)
    names = list(trivial[0]) if trivial else []
    found = {name: cells(name) for name in EXPLAINERS}
    rows = [_row(name, found[name]) for name in EXPLAINERS]
    rows += [_row(name, [cell[name] for cell in trivial], trivial=True) for name in names]
    more = [
        [
            name,
            explain_melons.LAYERS.get(name, ""),
            mean_text(found[name], "localization_error"),
            _checks(found[name]),
            _ms(found[name]),
        ]
        for name in EXPLAINERS
    ]
    return "\n".join(
        [
            "## Made-up melons\n",
            f"{TEST_PER_GRADE} melons of each grade judged on the surface test, graders of "
            f"{len(trivial)} of {len(REPEATS)} seeds{_of_fewer(found, len(trivial))}; "
            "maps of the true grade against its mask. A surface image is all fruit, so that "
            "*whole fruit* is *whole image*. CAM explains a "
            "grader trained with softmax, the others one trained with MC-Loss and ArcFace; "
            "occlusion has windows of 32 pixels, 16 apart; LIME sees every "
            f"{explain_melons.SLOW['lime']}th melon. Best threshold: chosen on the validation "
            "melons. The paper, on its own melons: LIME 0.30, Adapting Grad-CAM 0.36, "
            "activation map 0.62.\n",
            table(_HEAD, rows),
            _grade_table({**found, **{name: [one[name] for one in trivial] for name in names}}),
            _margin(found, [cell[name] for name in names for cell in trivial], len(trivial)),
            "*Localization error*: wrong grade, or a box with IoU below 0.5 (Dist-CAM's table 1: "
            "CAM 56.2 %, Dist-CAM 54.7 %). *Shuffled*: rank correlation with the map after all "
            "weights were shuffled, near 0 is good. *Noisy*: the same with 2 % noise on the "
            "image, near 1 is good. *Deletion*, *insertion*: areas, low and high are good. "
            f"*Reads*: the feature map has cells of {config.model.stride} pixels, and the class "
            "channels lie on it; the last stage behind it has coarser cells, and is what the "
            "published CAM, Grad-CAM and Dist-CAM read.\n",
            table(
                [
                    "map",
                    "reads",
                    "localization error",
                    "shuffled, noisy, deletion, insertion",
                    "ms per map",
                ],
                more,
            ),
        ]
    )


def _of_fewer(found: Mapping[str, list[Cell]], seeds: int) -> str:
    """In brackets, the methods that were run for fewer seeds, if any."""
    fewer = [f"{name} of {len(cells)}" for name, cells in found.items() if 0 < len(cells) < seeds]
    return f" ({', '.join(fewer)})" if fewer else ""


def _real_section(ledger: Ledger) -> str:
    text = [
        "## Real defects\n",
        "Photos of steel (`sd_saliency_900`) and of magnetic tiles (`magnetic_tile`, split by "
        f"tile) with an expert's mask of the defect; settings {', '.join(explain_real.BUDGET)}. "
        "*False alarm*: share of a defect-free tile marked for its likeliest defect, at the best "
        "threshold on the raw values of the validation defects. The methods read the layers named "
        "above.\n",
    ]
    config = explain_real.real_config()
    for name in explain_real.SETS:
        trivial = ledger.find(explain_real.real_settings(name, explain_real.TRIVIAL, config))
        rows = []
        found: dict[str, list[Cell]] = {}
        for method in EXPLAINERS:
            cell = ledger.find(explain_real.real_settings(name, method, config))
            cells = [cell] if cell else []
            alarm = mean_text(cells, "false_alarms") if cell and "false_alarms" in cell else ""
            accuracy = f"{cell['accuracy']:.1%}" if cell else ""
            rows.append([*_row(method, cells), alarm, accuracy])
            found[method] = cells
        if trivial:
            rows += [[*_row(one, [trivial[one]], trivial=True), "", ""] for one in trivial]
            found |= {one: [trivial[one]] for one in trivial}
        text += [f"### {name}\n", table([*_HEAD, "false alarm", "accuracy"], rows)]
        text.append(_grade_table(found))
    slow = ", ".join(f"{name} on every {step}." for name, step in explain_real.SLOW.items())
    text.append(f"Slow methods see a part of the pictures: {slow}\n")
    return "\n".join(text)


def _ceiling_section(ledger: Ledger) -> str:
    cell = ledger.find(ceiling_settings())
    title = "## What experts reach\n"
    if cell is None:
        return f"{title}\n{MISSING}\n"
    rows = [
        [
            label,
            f"{cell[name]['mean']:.3f} ({cell[name]['low']:.3f} to {cell[name]['high']:.3f})",
            ", ".join(f"{value:.2f}" for value in cell[name]["quartiles"]),
        ]
        for name, label in (("both", "both others"), ("either", "either of the others"))
    ]
    return "\n".join(
        [
            title,
            f"`soybean_rust`: {cell['leaves']} leaves with the votes of three pathologists (median "
            f"area {cell['area']:.1%} of the image). IoU of each with the majority of the other "
            "two, from the votes alone; two are a majority together, and at the widest reading "
            "each of them.\n",
            table(["majority", "mean IoU", "quartiles of the leaves"], rows),
        ]
    )


def _speed_section(ledger: Ledger) -> str:
    cell = ledger.find(speed_settings())
    title = "## Speed\n"
    if cell is None:
        return f"{title}\n{MISSING}\n"

    def ratio(slow: str, fast: str) -> str:
        return f"{cell[f'{slow} ms'] / cell[f'{fast} ms']:.2f} x"

    rows = [
        ["activation map faster than grad-cam's GradCAM", ratio("peer grad-cam", _OURS), "3 x"],
        ["activation map faster than the lime package", ratio("peer lime", _OURS), "150 x"],
        ["LIME faster than the lime package", ratio("peer lime", "lime"), "3 x"],
        [
            "occlusion of four grades faster than four calls of captum",
            ratio("peer occlusion", "occlusion"),
            "4 x",
        ],
        ["occlusion slower than its bare passes", ratio("occlusion", "bare passes"), "1.15 x"],
        ["four methods of one pass slower than the pass", ratio("four together", "forward"), "1 x"],
    ]
    times = [[name[:-3], f"{value:.1f}"] for name, value in cell.items() if name.endswith(" ms")]
    return "\n".join(
        [
            title,
            "One network (`efficientnet_lite0` at stride 16, 224 pixels), batch 1, measured in "
            "turns in one run; medians. The peers run the network as it comes from timm, channels "
            "first and with gradients for its parameters; ours is as a run folder holds it. "
            f" {torch.get_num_threads()} threads; LIME with 1,000 "
            f"samples, occlusion with {cell['occlusion passes']:.0f} passes in batches of "
            f"{cell['occlusion batch']:.0f}.\n",
            table(["what", "ratio", "aim"], rows),
            table(["what", "ms"], times),
        ]
    )


def _exact_section(ledger: Ledger) -> str:
    cells = [ledger.find(exact_settings(number)) for number in range(EXACT_IMAGES)]
    done = [cell for cell in cells if cell]
    title = "## Exact occlusion\n"
    if not done:
        return f"{title}\n{MISSING}\n"
    worst = max(cell["difference"] for cell in done)
    ours, theirs = (np.mean([cell[key] for cell in done]) for key in ("seconds", "peer_seconds"))
    return (
        f"{title}\nPatch 11, stride 2, {done[0]['passes']:,} passes an image, on {len(done)} of "
        f"{EXACT_IMAGES} images: largest difference to captum's {worst:.1e}; {ours:.0f} s an "
        f"image for all grades, captum {theirs:.0f} s for one.\n"
    )


def _row(name: str, cells: Sequence[Cell], trivial: bool = False) -> list[str]:
    if not cells:
        return [name, MISSING, *[""] * (len(_HEAD) - 1)]
    chosen = [cell["threshold"] for cell in cells]
    thresholds = ", ".join("undefined" if one is None else f"{one:.2f}" for one in chosen)
    return [
        f"*{name}*" if trivial else name,
        mean_text(cells, "iou"),
        thresholds,
        mean_text(cells, "iou_best"),
        mean_text(cells, "pointing"),
        mean_text(cells, "mass"),
    ]


def _grade_table(found: Mapping[str, Sequence[Cell]]) -> str:
    """mIoU at 0.5 of each grade, of all that was run; nothing before any cell names its grades."""
    cells = {
        name: [cell for cell in own if len(cell.get("grades", ())) == len(cell["iou"])]
        for name, own in found.items()
    }
    grades = sorted({grade for own in cells.values() for cell in own for grade in cell["grades"]})
    if not grades:
        return ""
    rows = [
        [name, *(_of_grade(own, grade) for grade in grades)] for name, own in cells.items() if own
    ]
    return table(["mIoU at 0.5", *grades], rows)


def _of_grade(cells: Sequence[Cell], grade: str) -> str:
    chosen = [
        {
            "iou": [
                value
                for value, one in zip(cell["iou"], cell["grades"], strict=True)
                if one == grade
            ]
        }
        for cell in cells
    ]
    return mean_text(chosen, "iou") if any(cell["iou"] for cell in chosen) else ""


def _checks(cells: Sequence[Cell]) -> str:
    keys = ("randomised", "noisy", "deletion", "insertion")
    return ", ".join(mean_text(cells, key) for key in keys) if cells else MISSING


def _ms(cells: Sequence[Cell]) -> str:
    return f"{np.mean([cell['milliseconds'] for cell in cells]):.0f}" if cells else MISSING


def _margin(found: Mapping[str, Sequence[Cell]], trivial: Sequence[Cell], repeats: int) -> str:
    """The activation map beside Adapting Grad-CAM and the best trivial row."""
    ours, base = found[_OURS], found[_BASE]
    if not ours or not base or not trivial:
        return f"Margins: {MISSING}.\n"
    groups = [name for cell in ours for name in cell["specimens"]]
    values = values_of(ours, "iou")
    best = max(
        (trivial[start : start + repeats] for start in range(0, len(trivial), repeats)),
        key=lambda cells: np.nanmean(values_of(cells, "iou")),
    )
    lines = []
    for label, other in ((_BASE, base), ("the best trivial row", best)):
        theirs = values_of(other, "iou")
        if len(theirs) != len(values):
            lines.append(f"activation map against {label}: {MISSING}")
            continue
        interval = bootstrap_interval(np.nanmean, groups, values - theirs)
        share = np.nanmean(values) / max(float(np.nanmean(theirs)), 1e-9)
        verdict = "" if interval.excludes_zero else ", so no difference is shown"
        lines.append(
            f"Activation map minus {label}: {interval.value:+.3f} ({interval.low:+.3f} to "
            f"{interval.high:+.3f}{verdict}), {share:.2f} times as high"
        )
    return ". ".join(lines) + ".\n"
