"""Medians, percentiles and ratios of what was measured in turns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import median
from typing import Any


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value below or at which this part of the values lies; of few, the greatest."""
    ordered = sorted(values)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


def ratios(ours: Sequence[float], floor: Sequence[float]) -> list[float]:
    """Return ours / floor, round by round: what disturbs a round disturbs both."""
    return [a / b for a, b in zip(ours, floor, strict=True)]


def middle(values: Sequence[float]) -> float:
    return rounded(median(values))


def rounded(value: float) -> float:
    """Return a figure with four digits that mean something."""
    return float(f"{value:.4g}")


def measure(value: float | None, *, rounds: int, **raw: Any) -> dict[str, Any]:
    """Return one measure: its value, over how many rounds, and the medians behind it."""
    found = {"value": None if value is None else rounded(value), "rounds": rounds, **raw}
    return found


def say(line: str) -> None:
    """Tell how far we are, beside the figures."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
