"""What experts reach against each other: three pathologists on 63 leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mezoroi.bench.ledger import Ledger
from mezoroi.errors import MezoroiError
from mezoroi.metrics import bootstrap_interval, expert_ceiling

EXPERTS, STEP = 3, 85


def ceiling_settings() -> dict[str, Any]:
    """What identifies the cell in the ledger."""
    return {"bench": "explain ceiling", "data": "soybean_rust"}


def run_ceiling(shared: Path, ledger: Ledger) -> None:
    """Compute the ceiling if the ledger does not have it yet."""
    ledger.compute(ceiling_settings(), lambda: _ceiling(shared / "soybean_rust" / "votes"))


def _ceiling(folder: Path) -> dict[str, Any]:
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise MezoroiError(f"{folder} has no votes: give the folder of the data with --shared")
    both, either, area = [], [], []
    for path in paths:
        votes = np.asarray(Image.open(path)) // STEP
        both.append(expert_ceiling(votes[None], EXPERTS)[0])
        either.append(expert_ceiling(votes[None], EXPERTS, ties=True)[0])
        area.append(float((votes > EXPERTS // 2).mean()))
    result: dict[str, Any] = {"leaves": len(paths), "area": float(np.median(area))}
    for name, values in (("both", np.array(both)), ("either", np.array(either))):
        interval = bootstrap_interval(np.nanmean, np.arange(len(values)), values)
        result[name] = {
            "mean": interval.value,
            "low": interval.low,
            "high": interval.high,
            "undefined": int(np.isnan(values).sum()),
            "quartiles": np.nanquantile(values, [0.25, 0.5, 0.75]).tolist(),
        }
    return result
