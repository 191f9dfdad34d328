"""The clusters of a fitted reliability, for a terminal and as one HTML file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezoroi.report.html import as_data_uri, embed_font
from mezoroi.report.overlay import map_picture
from mezoroi.report.radar import environment, texts_in

_PICTURE = 320


@dataclass(frozen=True)
class ClusterExample:
    """A calibration fruit of a cluster: its picture, the expert's grade and the one given."""

    picture: Path
    grade: str
    given: str


def reliability_text(clusters: Sequence[Mapping[str, Any]], grades: Sequence[str]) -> str:
    """A line per cluster: fruits, how many were right, interval, counts, adjustment."""
    lines = []
    for entry in clusters:
        line = (
            f"cluster {entry['cluster']}: {entry['cases']} fruits, {entry['right']} right, "
            f"reliability {entry['reliability']:.2f} ({entry['low']:.2f} to {entry['high']:.2f}); "
            f"{counts_text(entry['counts'], grades)}"
        )
        changes = [f"{old} -> {new}" for old, new in entry["adjusted"].items()]
        lines.append(line + (f"; adjusted {', '.join(changes)}" if changes else ""))
    return "\n".join(lines)


def counts_text(counts: Mapping[str, Mapping[str, int]], grades: Sequence[str]) -> str:
    """TP, TN, FP and FN of two grades, the first positive; of more, true grade > grade given."""
    if len(grades) == 2:
        first, second = grades

        def number(true: str, given: str) -> int:
            return counts.get(true, {}).get(given, 0)

        return (
            f"TP {number(first, first)}, TN {number(second, second)}, "
            f"FP {number(second, first)}, FN {number(first, second)}"
        )
    return ", ".join(
        f"{true}>{given} {number}" for true, row in counts.items() for given, number in row.items()
    )


def reliability_page(
    clusters: Sequence[Mapping[str, Any]],
    prototypes: NDArray[np.floating],
    examples: Mapping[int, Sequence[ClusterExample]],
    grades: Sequence[str],
    facts: Mapping[str, Any],
    language: str = "ja",
) -> str:
    """One self-contained page in Japanese and English.

    Parameters
    ----------
    clusters : as `mezoroi.reliability.model.summary_of` gives them
    prototypes : (Q, h, w) mean maps in [0, 1], in the shape of the images
    examples : by number of the cluster
    grades : of the standard
    facts : ``method``, ``split``, ``variance`` kept in [0, 1], ``adjusts``, ``corrected``,
        ``spoiled`` and ``coverage``
    language : shown first, ``ja`` or ``en``
    """
    texts_in(language)
    cards = [
        {
            **entry,
            "text": counts_text(entry["counts"], grades),
            "prototype": as_data_uri(map_picture(prototypes[number], _PICTURE), "PNG"),
            "examples": [
                {"source": _jpeg(one.picture), "grade": one.grade, "given": one.given}
                for one in examples.get(entry["cluster"], ())
                if one.picture.is_file()
            ],
        }
        for number, entry in enumerate(clusters)
    ]
    page = environment.get_template("reliability.html.j2").render(
        language=language,
        cards=cards,
        facts=facts,
        positive=grades[0] if len(grades) == 2 else None,
        grades=grades,
        variance=f"{100 * facts['variance']:.0f}",
    )
    return embed_font(page)


def _jpeg(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
