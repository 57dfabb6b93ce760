"""The axis below a threshold's histogram and slider: round numbers, a few dozen bins, and one bin beyond each end."""

import math
from dataclasses import dataclass

from curation.recipe.thresholds import Threshold, number_text
from curation.workspace.sql import quoted

BINS = 60
"""Approximate maximum number of bins."""
FARTHEST = 2.0
"""A threshold is on the axis if it lies outside the values' range by at most this many times the range's width."""
MARGIN = 0.1
"""Share of the range added on a side where further values lie, so that the slider can move beyond the range."""
LARGEST = 1e300
"""Limit of the axis, chosen so that twice this number is still finite."""
FINEST = 1e-9
"""Minimum width of a bin relative to the numbers on the axis, since the page calculates with 12 digits."""


@dataclass(frozen=True)
class Axis:
    """Bins of equal width from `low` to `high`, and one further bin on either side for values beyond them."""

    column: str
    low: float
    high: float
    bins: int
    step: float
    """Distance by which one key press moves the slider."""
    whole: bool
    """Whether the column holds integers; each bin then starts at an integer."""

    @property
    def width(self) -> float:
        """Width of one bin."""
        return (self.high - self.low) / self.bins

    @property
    def bin_sql(self) -> str:
        """SQL for a value's bin: 0 below the axis, 1 to `bins` on it, `bins` + 1 above it; NULL without a value."""
        value = quoted(self.column)
        place = f"floor(({value} - {number_text(self.low)}::DOUBLE) / {number_text(self.width)}::DOUBLE)"
        # SQL's least and greatest ignore NULL, hence the CASE.
        within = f"greatest(0, least({self.bins + 1}, {place} + 1))::UTINYINT"
        return f"CASE WHEN {value} IS NOT NULL THEN {within} END"


def axis_of(threshold: Threshold, values: list[float], whole: bool) -> Axis:
    """Makes an axis for a column's values, in steps of 1, 2 or 5 times a power of ten.

    The threshold lies on the axis unless it is far outside the values' range.

    Args:
        threshold: the threshold whose slider the axis carries.
        values: four numbers: the minimum, the ends of the range that holds nearly all values, and the maximum.
        whole: whether the column holds integers.
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
    """Rounds a width up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(_tidy(m * power) for m in (1, 2, 5, 10) if m * power >= width * (1 - 1e-9))


def _tidy(value: float) -> float:
    """Rounds to 12 digits, which removes the noise of binary arithmetic from a short decimal number."""
    return float(f"{value:.12g}")
