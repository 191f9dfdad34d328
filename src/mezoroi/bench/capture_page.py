"""docs/results/capture.md, rendered from the ledgers."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import cv2
import numpy as np

from mezoroi.bench import capture_grading, capture_maps, capture_marks, capture_melons
from mezoroi.bench.capture_melons import Shot, melon_plan
from mezoroi.bench.capture_noise import floor_angles, typical_noise
from mezoroi.bench.capture_score import RATIOS
from mezoroi.bench.capture_speed import LARGE, SECONDS, speed_settings
from mezoroi.bench.ledger import Ledger, code_version
from mezoroi.bench.tables import MISSING, table
from mezoroi.metrics.intervals import bootstrap_interval, paired_difference

Cell = Mapping[str, Any]


def capture_page(ledgers: Mapping[str, Ledger]) -> str:
    """The whole page; cells that are not in the ledgers are marked so."""
    parts = [
        "# Capture\n",
        "Written by `mezoroi bench capture` from its ledger; do not edit by hand.\n",
        f"Date {date.today().isoformat()}, code {code_version()}, OpenCV {cv2.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}. Pairs of figures are the "
        "median and the 95th percentile.\n",
        _fruit_section(ledgers["fruit"]),
        _map_section(ledgers["maps"]),
        _melon_section(ledgers["melons"]),
        _grading_section(ledgers["grading"]),
        _speed_section(ledgers["speed"]),
    ]
    return "\n".join(parts)


def _fruit_section(ledger: Ledger) -> str:
    rows, failures = [], []
    every: list[Cell] = []
    for kind, names in capture_marks.FRUITS.items():
        found = {name: ledger.find(capture_marks.fruit_settings(name)) for name in names}
        cells = [cell for cell in found.values() if cell]
        failures += _errors(found)
        rows.append(_fruit_row(kind, cells, len(names)))
        every += cells
    rows.append(_fruit_row("all", every, sum(map(len, capture_marks.FRUITS.values()))))
    head = ["kind", "unrolled", "marks", "**unrolled**", "constant step", "strip mosaic"]
    return (
        "## Real fruit\n\n`fruit_rotation`: 36 fruits turned by hand about a roughly horizontal "
        "axis; degrees between the two points of every hand-marked correspondence, mapped to the "
        "surface. Aims: every fruit unrolls, median at most 2.5, 95th percentile at most 8 "
        "degrees.\n\n"
        + table([*head, "marking noise", "noise alone"], rows)
        + "\n*Unrolled*: `Capture.locate` in both frames, then the angle between the two "
        "directions from the fruit's centre. *Constant step*: a sphere of the silhouette's centre "
        "and area that turns by 360 degrees over the number of frames about the image's x axis. "
        "*Strip mosaic*: the strips around the frames' centre lines wound around a cylinder of "
        "the silhouette's radius; a point's place along the mosaic is the constant step plus its "
        "row's distance from the centre line, its place across is its column, both as they are; "
        "the angle is that between the directions from the cylinder's centre. In brackets, marks "
        "with a point off the fruit, which are left out.\n\n"
        "*Marking noise*, standard deviation of a marked coordinate: points and one rotation per "
        "frame are fitted to the marks alone; marks chain (a point's pixel in one frame is the "
        "same in the mark to the frame before and in the one to the frame after), so more is "
        "marked than is unknown, and what is left over per degree of freedom is the noise. Given "
        "is the median over fruits with at least 4 degrees of freedom. It is an upper limit, "
        "since what a fruit differs from an ellipsoid adds to it. *Noise alone*: the angles that "
        "this noise would put between the points of the same marks under exact poses.\n"
        + _failures(failures)
    )


def _fruit_row(kind: str, cells: Sequence[Cell], count: int) -> list[str]:
    unrolled = [cell for cell in cells if cell["error"] is None]
    if not unrolled:
        return [kind, f"0 of {count}" if cells else MISSING, *[MISSING] * 6]
    angles = {
        method: _joined(cell["angles"][method] for cell in unrolled)
        for method in (capture_marks.UNROLLED, capture_marks.CONSTANT, capture_marks.STRIP)
    }
    off = int(np.isnan(angles[capture_marks.UNROLLED]).sum())
    noises = [cell["noise"] for cell in unrolled if cell["noise"]]
    pixels, degrees, fruits = typical_noise(noises)
    return [
        kind,
        f"{len(unrolled)} of {count}",
        f"{len(angles[capture_marks.UNROLLED])} ({off} off)",
        *(_spread(found) for found in angles.values()),
        f"{pixels:.1f} px, {degrees:.1f} degrees at the centre ({fruits} fruits)",
        _spread(floor_angles(noises, pixels)),
    ]


def _map_section(ledger: Ledger) -> str:
    rows, failures = [], []
    for kind, fruits in capture_maps.MAPS.items():
        names = [f"{kind}/{fruit}" for fruit in fruits]
        found = {name: ledger.find(capture_maps.map_settings(name)) for name in names}
        failures += _errors(found)
        cells = {name: cell for name, cell in found.items() if cell and cell["error"] is None}
        rows += [
            _map_row(name, [cell], f"{cell['degrees_turned']:.0f}", f"{cell['width']} px")
            for name, cell in cells.items()
        ]
        rows.append(_map_row(f"**{kind}**", list(cells.values()), "", ""))
    return (
        "## Published surface maps\n\n`fsmap_gt`: points of views that the authors placed on their "
        "own maps; degrees between our place and theirs, after one rotation per fruit fitted "
        "robustly (least squares with Geman-McClure weights). Aim: median at most 3 degrees for "
        "every set.\n\n"
        + table(
            ["fruit", "turned", "map's width", "points", "degrees", "width as 360", "authors' own"],
            rows,
        )
        + "\nThe maps are 180 pixels high but 305 to 432 wide, and are taken for 1 degree per "
        "pixel both ways; *width as 360* takes their width for one turn instead. *Authors' own*: "
        "between the two pairs of map places in the annotations, the second of which the source "
        "does not document. The 209 points show few places each: the rotation has 3 unknowns, so a "
        "fruit with 8 points is judged mildly. Pictures of our surface above theirs are written to "
        "the bench's work folder and not shown here: the authors' pictures are never copied into "
        "the project.\n" + _failures(failures)
    )


def _map_row(name: str, cells: Sequence[Cell], turned: str, width: str) -> list[str]:
    if not cells:
        return [name, turned, width, *[MISSING] * 4]
    columns = [
        _joined(cell[column] for cell in cells) for column in ("angles", "stretched", "authors")
    ]
    return [name, turned, width, str(len(columns[0])), *map(_spread, columns)]


def _melon_section(ledger: Ledger) -> str:
    rows, failures = [], []
    plan = melon_plan()
    groups: dict[str, list[tuple[Shot, int, str]]] = {}
    for entry in plan:
        name = entry[0].name if entry[2] == "standard" else "**held-out variant, all of the above**"
        groups.setdefault(name, []).append(entry)
    for name, entries in groups.items():
        found = [ledger.find(capture_melons.melon_settings(*entry)) for entry in entries]
        rows.append(_melon_row(name, found))
        failures += _errors({f"{name}, melon {n + 1}": cell for n, cell in enumerate(found)})
    return (
        "## Made-up melons\n\n"
        f"{capture_melons.PER_CONDITION} melons per condition (seed {capture_melons.SEED}), each "
        "filmed for one turn of 120 frames, 15 per second, 640 x 480 pixels, in the light of a "
        "harvest day of its own; and each condition once for the held-out variant. Mean, and the "
        "worst in brackets. Aims: pose error at most 1 degree, PSNR at least 25 dB, outline within "
        "2 %.\n\n"
        + table(
            [
                "condition",
                "unrolled",
                "pose, degrees rms",
                "PSNR, dB",
                "PSNR evened",
                "outline, relative",
                "outline, absolute",
                "turn, degrees",
                "direction right",
            ],
            rows,
        )
        + "\n*Pose*: after one rotation of the fruit's axes. *PSNR*: in the covered area, against "
        "the generator's own panorama under the same light and lens without noise and flicker, "
        "turned by that rotation; *evened*: after brightness and contrast of each channel are "
        "fitted. *Outline*: against exact silhouettes from the side, the largest error of "
        f"{', '.join(RATIOS)} relative, and of all other features, which are near "
        "0, absolute. *Turn*: error of the degrees turned.\n" + _failures(failures)
    )


def _melon_row(name: str, found: Sequence[Cell | None]) -> list[str]:
    cells = [cell for cell in found if cell]
    good = [cell for cell in cells if cell["error"] is None]
    counted = f"{len(good)} of {len(found)}"
    if len(cells) < len(found):
        counted += f", {len(found) - len(cells)} {MISSING}"
    if not good:
        return [name, counted, *[MISSING if not cells else "none"] * 7]

    def mean(key: str, digits: int, worst: Any = max) -> str:
        values = [cell[key] for cell in good]
        return f"{np.mean(values):.{digits}f} ({worst(values):.{digits}f})"

    def largest(key: str, scale: float, unit: str) -> str:
        each = [max((value, name) for name, value in cell[key].items()) for cell in good]
        value, feature = max(each)
        average = np.mean([value for value, _ in each])
        return f"{scale * average:.3g}{unit} ({scale * value:.3g}{unit}, {feature})"

    return [
        name,
        counted,
        mean("pose", 2),
        mean("psnr", 1, min),
        mean("psnr_evened", 1, min),
        largest("relative", 100, " %"),
        largest("absolute", 1, ""),
        mean("degrees", 1),
        f"{sum(cell['direction'] for cell in good)} of {len(good)}",
    ]


def _grading_section(ledger: Ledger) -> str:
    seeds = capture_grading.SEEDS
    found = {seed: ledger.find(capture_grading.grading_settings(seed)) for seed in seeds}
    cells = {seed: cell for seed, cell in found.items() if cell}
    title = "## Grading from video\n\n"
    if not cells:
        return f"{title}{MISSING}\n"
    truth, surface, video = (
        np.concatenate([cell[key] for cell in cells.values()])
        for key in ("truth", capture_grading.SURFACE, capture_grading.VIDEO)
    )
    specimens = [f"{seed}/{name}" for seed, cell in cells.items() for name in cell["specimens"]]
    rows = []
    for name, given in (("true surface and outline", surface), ("video", video)):
        score = bootstrap_interval(np.mean, specimens, (truth == given).astype(float))
        each = np.split(truth == given, np.cumsum([len(c["truth"]) for c in cells.values()])[:-1])
        alone = ", ".join(f"{part.mean():.1%}" for part in each)
        rows.append([name, f"{score.value:.1%} ({score.low:.1%} to {score.high:.1%}) [{alone}]"])
    lost = paired_difference(
        lambda right, answer: float(np.mean(right == answer)), specimens, truth, video, surface
    )
    verdict = "" if lost.excludes_zero else ", so no difference is shown"
    return (
        f"{title}{capture_grading.PER_GRADE} melons per grade, of which "
        f"{capture_grading.TEST_PER_GRADE} are drawn for testing; a grader learns from true "
        "surfaces with the default settings and grades the test melons from theirs and from videos "
        "with a moderate mix of disturbances (`make-melons --video`). Seeds "
        f"{' and '.join(map(str, seeds))}, each in brackets. Aim: at most 3 points lost.\n\n"
        + table(["graded from", "accuracy"], rows)
        + f"\nVideo minus surface: {100 * lost.value:+.1f} points ({100 * lost.low:+.1f} to "
        f"{100 * lost.high:+.1f}{verdict}), over {len(cells)} of {len(found)} runs; 95 % bootstrap "
        f"intervals by specimen. The same grade from both: {np.mean(surface == video):.1%}.\n"
        + _failures([line for cell in cells.values() for line in cell["failures"]])
    )


def _speed_section(ledger: Ledger) -> str:
    cell = ledger.find(speed_settings())
    if cell is None:
        return f"## Speed\n\n{MISSING}\n"
    settings = speed_settings()
    rows = [
        [name, f"{seconds:.2f} s", f"{seconds / cell['total']:.0%}"]
        for name, seconds in (*cell["stages"].items(), ("**all**", cell["total"]))
    ]
    return (
        f"## Speed\n\nAn {SECONDS} s made-up video, 30 frames per second, 1280 x 720 pixels, "
        f"{settings['cores']} cores, OpenCV on {settings['threads']} threads; median of "
        f"{settings['rounds']}. `unroll` takes {cell['total'] / SECONDS:.2f} of the video's "
        "duration (aim: at most 0.5), decoding included.\n\n"
        + table(["stage, run by itself", "time", "share"], rows)
        + "\nMemory, the most that a process held that unrolls the same video enlarged to "
        f"{LARGE[1]} x {LARGE[0]} pixels: {cell['memory']['peak']:.0f} MB, of which "
        f"{cell['memory']['imported']:.0f} MB before it began (aim: under 1000 MB).\n"
    )


def _errors(found: Mapping[str, Cell | None]) -> list[str]:
    return [f"{name}: {cell['error']}" for name, cell in found.items() if cell and cell["error"]]


def _failures(lines: Sequence[str]) -> str:
    return "\nFailed:\n\n" + "".join(f"- {line}\n" for line in lines) if lines else ""


def _joined(parts: Any) -> np.ndarray:
    """One array of lists in which None stands for NaN."""
    return np.concatenate([np.array(part, dtype=np.float64) for part in parts])


def _spread(angles: np.ndarray) -> str:
    known = angles[np.isfinite(angles)]
    if not len(known):
        return "none"
    return f"{np.median(known):.2f} / {np.percentile(known, 95):.2f}"
