"""The web process stays light: torch is the worker's alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib import colormaps

import mezoroi.app

APP = Path(mezoroi.app.__file__).parent


def test_the_web_process_loads_nothing_heavy() -> None:
    heavy = ("torch", "cv2", "matplotlib", "scipy", "pandas", "sklearn", "faiss", "av")
    program = (
        "import sys, mezoroi.app.serving, mezoroi.metrics.validity; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_sql_stands_in_the_store_alone() -> None:
    tables = {"tables.py", "tables_house.py", "tables_learning.py"}
    allowed = {"store", "backup.py", "database.py", "migrations", *tables}
    for path in APP.rglob("*.py"):
        if path.relative_to(APP).parts[0] in allowed or path.name == "health.py":
            continue
        text = path.read_text(encoding="utf-8")
        assert "from sqlalchemy import" not in text, path.relative_to(APP)


def test_the_browsers_magma_is_the_one_of_the_charts() -> None:
    text = (APP / "static/js/magma.js").read_text(encoding="utf-8")
    numbers = [int(part) for part in text[text.index("[") + 1 : text.index("]")].split(",")[:-1]]
    expected = colormaps["magma"](np.arange(256), bytes=True)[:, :3]
    assert np.array_equal(np.reshape(numbers, (256, 3)), expected)
