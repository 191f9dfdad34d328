"""Calibration sessions: which fruits to grade together, what came of it, who drifts since."""

FEW_IN_COMMON = 5
"""With fewer fruits in common kappa and strictness of graders mislead: they are not told."""
