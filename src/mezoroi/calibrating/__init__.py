"""Calibration sessions: which fruits to grade together, what came of it, who drifts since."""
