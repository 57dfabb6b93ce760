"""The axis under a threshold's histogram and slider: round numbers, a few dozen bins, one bin beyond each end."""

import math
from dataclasses import dataclass

from curation.recipe.thresholds import Threshold, number_text
from curation.workspace.sql import quoted

BINS = 60
"""At most so many bins, about."""
FARTHEST = 2.0
"""How many times the width of the values' range a threshold may lie outside of it and still be on the axis."""
MARGIN = 0.1
"""Share of the range that is added on either side where values go on, so that a slider can be moved beyond it."""
LARGEST = 1e300
"""The axis ends here: twice as much is still a number."""
FINEST = 1e-9
"""Bins are at least so wide, as a share of the numbers on them: the page counts in 12 digits."""


@dataclass(frozen=True)
class Axis:
    """Bins of equal width from `low` to `high`; what lies outside falls into one bin below or above."""

    column: str
    low: float
    high: float
    bins: int
    step: float
    """By how much one key press moves the slider."""
    whole: bool
    """Whether the column holds whole numbers; then each bin starts at one."""

    @property
    def width(self) -> float:
        """Of one bin."""
        return (self.high - self.low) / self.bins

    @property
    def bin_sql(self) -> str:
        """SQL for a value's bin: 0 below the axis, 1 to `bins` on it, `bins` + 1 above; NULL without a value."""
        value = quoted(self.column)
        place = f"floor(({value} - {number_text(self.low)}::DOUBLE) / {number_text(self.width)}::DOUBLE)"
        # least and greatest pass over NULL.
        within = f"greatest(0, least({self.bins + 1}, {place} + 1))::UTINYINT"
        return f"CASE WHEN {value} IS NOT NULL THEN {within} END"


def axis_of(threshold: Threshold, values: list[float], whole: bool) -> Axis:
    """An axis for a column's values in steps of 1, 2 or 5 times 10^n, on which the threshold is unless it is far away.

    Args:
        values: the least value, the ends of the range that holds nearly all, and the greatest.
    """
    least, low, high, greatest = (max(-LARGEST, min(value, LARGEST)) for value in values)
    span = high - low or abs(high) / 2 or 1.0
    low, high = max(least, low - MARGIN * span), min(greatest, high + MARGIN * span)
    if low - FARTHEST * span <= threshold.value <= high + FARTHEST * span:
        low, high = min(low, threshold.value), max(high, threshold.value)
    if high == low:
        high = low + max(abs(low), 1)
    width = _round_up(max((high - low) / BINS, FINEST * max(abs(low), abs(high)), 1 / LARGEST))
    if whole:
        width = max(1.0, width)
    first, last = math.floor(low / width + 1e-9), math.floor(high / width + 1e-9) + 1
    step = max(1.0, width / 5) if whole else width / 5
    return Axis(threshold.column, _tidy(first * width), _tidy(last * width), last - first, _tidy(step), whole)


def _round_up(width: float) -> float:
    """The next of 1, 2, 5, 10, 20 … and 0.5, 0.2, 0.1 …"""
    power = 10.0 ** math.floor(math.log10(width))
    return next(_tidy(m * power) for m in (1, 2, 5, 10) if m * power >= width * (1 - 1e-9))


def _tidy(value: float) -> float:
    """Without what binary arithmetic adds to a short decimal number."""
    return float(f"{value:.12g}")
