"""The counts and rows that the page shows for moved thresholds."""

from dataclasses import dataclass, field

from curation.views.tune.axis import Axis


@dataclass
class FunnelCounts:
    """Number of rows by fate, before duplicates are searched for."""

    input: int = 0
    failed: int = 0
    """Rows that could not be indexed, those gone from their source included."""
    gone: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    undecided: dict[str, int] = field(default_factory=dict)
    passing: int = 0


@dataclass(frozen=True)
class Neighbour:
    """A row near a threshold."""

    row: int
    """The row's number in the table."""
    value: float
    fate: str
    dropped_by: str | None


@dataclass
class ColumnHistogram:
    """The rows that reach a predicate, by their value in the column of one of its thresholds."""

    passing: list[int]
    """Number of rows on the passing side of the threshold, by bin: below the axis, the axis's bins, above the axis."""
    failing: list[int]
    missing: int = 0
    """Rows without a value."""

    @classmethod
    def empty(cls, axis: Axis) -> "ColumnHistogram":
        """Makes a histogram of no rows."""
        return cls([0] * (axis.bins + 2), [0] * (axis.bins + 2))

    def add(self, place: int | None, passes: bool | None, count: int) -> None:
        """Adds rows to one bin, or to the rows without a value if `place` is None."""
        if place is None:
            self.missing += count
        else:
            (self.passing if passes else self.failing)[place] += count


@dataclass(frozen=True)
class TuneAnswer:
    """All that the page shows for a moved threshold."""

    funnel: FunnelCounts
    histogram: ColumnHistogram
    failing: list[Neighbour]
    """The rows nearest to the threshold that do not pass it, nearest first. Which of several rows with the same value
    are taken is always the same."""
    passing: list[Neighbour]
    """The rows nearest to the threshold that pass it, nearest first."""
