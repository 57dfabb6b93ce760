"""Histograms of columns, exact and counted by DuckDB: no row comes into Python."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from curation.recipe.thresholds import Threshold
from curation.selection.stage import Selection
from curation.workspace.sql import quoted

BINS = 60
TAIL = 0.005
"""Share of the values on either side that the bins at the ends gather."""
FARTHEST = 2.0
"""How many times the width of the range a threshold may lie outside of it and still be shown."""
ALL = "all"

_FAR = 1e300
"""Beyond this the distance of two numbers is none any more."""
_HAIR = 1e-9
"""Share of a bin by which a value may seem to lie below an edge that it lies on."""
PASSES, FAILS, OTHERS = "passes", "does not pass", "decided elsewhere"
"""What a predicate makes of a row; `decided elsewhere` is by one before it, or not yet."""


@dataclass
class Histogram:
    """How often a column's values occur, by what becomes of the rows."""

    column: str
    known: int
    """Rows whose value is known; those that could not be indexed are left out."""
    least: float = 0.0
    median: float = 0.0
    most: float = 0.0
    start: float = 0.0
    """Lower edge of the first inner bin."""
    width: float = 1.0
    bins: int = 0
    """Inner bins; one more on either side gathers what lies beyond."""
    counts: dict[str, dict[int, int]] = field(default_factory=dict)
    """By class: rows in each bin, from -1 (below the first) to `bins` (above the last)."""
    whole: bool = False
    """Whether the values are integers, so that the first bin's lower edge is a half below one."""

    def centre(self, bin: int) -> float:
        """Middle of a bin."""
        return self.start + (bin + 0.5) * self.width

    def total(self, name: str) -> int:
        """Rows of one class."""
        return sum(self.counts.get(name, {}).values())

    def says(self, bin: int) -> str:
        """The values that a bin holds."""
        low, high = self.start + bin * self.width, self.start + (bin + 1) * self.width
        if bin < 0:
            return f"below {number(high + 0.5 if self.whole else high)}"
        if bin >= self.bins:
            return f"{number(low - 0.5)} < value" if self.whole else f"{number(low)} and above"
        if self.whole:
            first, last = math.ceil(low), math.ceil(high) - 1
            return number(first) if first == last else f"{number(first)} to {number(last)}"
        return f"{number(low)} to {number(high)}"

    def shows(self, threshold: Threshold) -> bool:
        """Whether the threshold lies within what is drawn."""
        return self.start - self.width <= threshold.value <= self.start + (self.bins + 1) * self.width


def histogram(
    selection: Selection, column: str, thresholds: Sequence[Threshold] = (), classes: str = f"'{ALL}'"
) -> Histogram:
    """Counts one numeric column.

    Args:
        thresholds: numbers that the range has to show, where they are not far outside.
        classes: SQL for the class of a row.
    """
    x, files = quoted(column), selection.wide
    known = f"FROM {files} WHERE is_ok AND isfinite({x}::DOUBLE)"
    shares = f"[{TAIL}, 0.5, {1 - TAIL}]"
    row = selection.fetch(f"SELECT count(*), min({x}), max({x}), quantile_disc({x}, {shares}) {known}")[0]
    if not row[0]:
        return Histogram(column, 0)
    made = Histogram(column, row[0], float(row[1]), float(row[3][1]), float(row[2]))
    made.whole = selection.cascade.columns[column].endswith(("INT", "INTEGER"))
    _lay_out(made, float(row[3][0]), float(row[3][2]), [_edge(t, made.whole) for t in thresholds])
    place = f"floor(({x}::DOUBLE - {made.start!r}) / {made.width!r} + {_HAIR})"
    bins = f"least(greatest({place}, -1), {made.bins})::INTEGER"
    for name, bin, count in selection.fetch(
        f"SELECT {classes} AS class, {bins} AS bin, count(*) {known} GROUP BY ALL ORDER BY ALL"
    ):
        made.counts.setdefault(name, {})[bin] = count
    assert made.known == sum(made.total(name) for name in made.counts)
    return made


def classes_of(selection: Selection, position: int) -> str:
    """SQL for what the predicate at this position makes of a row, as the funnel counts it."""
    fate = selection.cascade.fate_sql
    return (
        f"CASE WHEN ({fate}) >= {2 * position + 2} THEN '{PASSES}' "
        f"WHEN ({fate}) = {2 * position} THEN '{FAILS}' ELSE '{OTHERS}' END"
    )


def number(value: float) -> str:
    """A number for people: four significant digits, thousands apart."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return (
        f"{value:,.4g}" if 1e-3 <= abs(value) < 1e4 else f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.3g}"
    )


def _edge(threshold: Threshold, whole: bool) -> float:
    """Where what passes and what does not are parted: for whole numbers, half-way between the two."""
    if not whole or threshold.value != int(threshold.value):
        return threshold.value
    return threshold.value - 0.5 if threshold.operator in (">=", "<") else threshold.value + 0.5


def _lay_out(made: Histogram, low: float, high: float, marks: list[float]) -> None:
    """Bins from the 0.5th to the 99.5th percentile, stretched to marks nearby; an edge lies on the first mark."""
    low, high = max(low, -_FAR), min(high, _FAR)
    span = high - low or abs(high) / 2 or 1.0
    near = [m for m in marks if low - FARTHEST * span <= m <= high + FARTHEST * span]
    low, high = min([low, *near]), max([high, *near])
    if made.whole:
        made.width = float(max(1, math.ceil((high - low + 1) / BINS)))
        made.start = math.floor(low + 0.5) - 0.5
    else:
        made.width = (high - low or span) / BINS
        made.start = low - made.width / 2 if low == high else low
    if near:
        made.start = near[0] - math.ceil((near[0] - made.start) / made.width - _HAIR) * made.width
    made.bins = math.floor((high - made.start) / made.width + _HAIR) + 1  # a bin has its lower edge, not its upper one
