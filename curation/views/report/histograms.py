"""Exact histograms of columns, counted by DuckDB, so that no row is loaded into Python."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from curation.recipe.thresholds import Threshold
from curation.selection.stage import Selection
from curation.workspace.sql import quoted

BINS = 60
"""Approximate number of inner bins."""
TAIL = 0.005
"""Share of the values at either end that falls into the two outermost bins."""
FARTHEST = 2.0
"""A threshold is shown if it lies outside the range of the values by at most this many times the range's width."""
ALL = "all"
"""Class of all rows of a histogram that is not split by the outcome of a predicate."""

_FAR = 1e300
"""Values are clipped to this magnitude, since the difference of two greater ones may overflow."""
_HAIR = 1e-9
"""Tolerance, as a share of a bin's width, for a value that rounding puts just below the edge on which it lies."""
PASSES, FAILS, OTHERS = "passes", "does not pass", "decided elsewhere"
"""Outcomes of a predicate for a row; `decided elsewhere` means by an earlier predicate, or not yet by this one."""


@dataclass
class PredicateHistogram:
    """The distribution of a column's values, by what becomes of the rows."""

    column: str
    known: int
    """Number of indexed rows whose value is known."""
    least: float = 0.0
    median: float = 0.0
    most: float = 0.0
    start: float = 0.0
    """Lower edge of the first inner bin."""
    width: float = 1.0
    bins: int = 0
    """Number of inner bins; one further bin on either side holds what lies beyond them."""
    counts: dict[str, dict[int, int]] = field(default_factory=dict)
    """Number of rows by class and bin; bins count from -1 (below the first inner bin) to `bins` (above the last)."""
    whole: bool = False
    """Whether the values are integers; the lower edges of bins then lie half-way between two integers."""

    def centre(self, bin: int) -> float:
        """Returns the middle of a bin."""
        return self.start + (bin + 0.5) * self.width

    def total(self, name: str) -> int:
        """Returns the number of rows of one class."""
        return sum(self.counts.get(name, {}).values())

    def says(self, bin: int) -> str:
        """Describes the range of values of a bin in words."""
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
        """Returns whether the threshold lies within the range that is drawn."""
        return self.start - self.width <= threshold.value <= self.start + (self.bins + 1) * self.width


def histogram(
    selection: Selection, column: str, thresholds: Sequence[Threshold] = (), classes: str = f"'{ALL}'"
) -> PredicateHistogram:
    """Counts the values of one numeric column.

    Args:
        selection: the selection whose rows are counted.
        column: name of the column.
        thresholds: numbers that the range must include, unless they are far outside it.
        classes: an SQL expression that gives the class of a row.
    """
    x, files = quoted(column), selection.wide
    known = f"FROM {files} WHERE is_ok AND isfinite({x}::DOUBLE)"
    shares = f"[{TAIL}, 0.5, {1 - TAIL}]"
    row = selection.fetch(f"SELECT count(*), min({x}), max({x}), quantile_disc({x}, {shares}) {known}")[0]
    if not row[0]:
        return PredicateHistogram(column, 0)
    made = PredicateHistogram(column, row[0], float(row[1]), float(row[3][1]), float(row[2]))
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
    """Returns an SQL expression for the outcome of the predicate at this position, as the funnel counts it."""
    fate = selection.cascade.fate_sql
    return (
        f"CASE WHEN ({fate}) >= {2 * position + 2} THEN '{PASSES}' "
        f"WHEN ({fate}) = {2 * position} THEN '{FAILS}' ELSE '{OTHERS}' END"
    )


def number(value: float) -> str:
    """Formats a number for people: four significant digits, with thousands separators."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return (
        f"{value:,.4g}" if 1e-3 <= abs(value) < 1e4 else f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.3g}"
    )


def _edge(threshold: Threshold, whole: bool) -> float:
    """Returns the edge between passing and failing values; for integers it lies half-way between the two."""
    if not whole or threshold.value != int(threshold.value):
        return threshold.value
    return threshold.value - 0.5 if threshold.operator in (">=", "<") else threshold.value + 0.5


def _lay_out(made: PredicateHistogram, low: float, high: float, marks: list[float]) -> None:
    """Lays out bins from the 0.5th to the 99.5th percentile, extended to nearby marks; the first mark is an edge."""
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
    made.bins = math.floor((high - made.start) / made.width + _HAIR) + 1  # bins lack their upper edge
