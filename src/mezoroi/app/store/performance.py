"""How long results of people stay: which tables hold them."""

from __future__ import annotations

from typing import Any

from mezoroi.app.tables_learning import CalibrationGrade, Question

PERFORMANCE: tuple[tuple[Any, Any], ...] = (
    (Question, Question.shown_at),
    (CalibrationGrade, CalibrationGrade.given_at),
)
"""The class and the column of its date; a new table of people's answers is added here."""
