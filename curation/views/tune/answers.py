"""What a moved threshold comes to, as numbers."""

from dataclasses import dataclass, field

from curation.views.tune.axis import Axis


@dataclass
class Funnel:
    """How many rows go where before duplicates are looked for."""

    input: int = 0
    failed: int = 0
    """The images that are gone among them."""
    gone: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    undecided: dict[str, int] = field(default_factory=dict)
    passing: int = 0


@dataclass(frozen=True)
class Neighbour:
    """A row near a threshold."""

    row: int
    """Its place in the table."""
    value: float
    fate: str
    dropped_by: str | None


@dataclass
class Histogram:
    """The rows that reach a predicate, by their value in the column of one of its thresholds."""

    passing: list[int]
    """Rows on the passing side of the threshold, by bin: below the axis, its bins, above it."""
    failing: list[int]
    missing: int = 0
    """Rows without a value."""

    @classmethod
    def empty(cls, axis: Axis) -> "Histogram":
        """Of no rows."""
        return cls([0] * (axis.bins + 2), [0] * (axis.bins + 2))

    def add(self, place: int | None, passes: bool | None, count: int) -> None:
        """Counts rows of one bin; None: they have no value."""
        if place is None:
            self.missing += count
        else:
            (self.passing if passes else self.failing)[place] += count


@dataclass(frozen=True)
class Answer:
    """What a moved threshold comes to."""

    funnel: Funnel
    histogram: Histogram
    failing: list[Neighbour]
    """The rows nearest to the threshold that do not pass it, nearest first. Of rows that have the same value some are
    taken, always the same."""
    passing: list[Neighbour]
    """The nearest that pass it."""
