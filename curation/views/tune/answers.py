"""The answers to the page's requests: the state of the recipe, and counts and rows for moved thresholds."""

from dataclasses import dataclass, field
from typing import Any, TypedDict

from curation.views.tune.axis import Axis


@dataclass
class FunnelCounts:
    """Number of rows by fate, before duplicates are searched for."""

    input: int = 0
    failed: int = 0
    """Number of rows that could not be indexed, those gone from their source included."""
    gone: int = 0
    """Number of the failed rows whose image is gone from the source."""
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
    """Number of rows on the other side, by bin."""
    missing: int = 0
    """Number of rows without a value."""

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
    """The rows nearest to the threshold that do not pass it, nearest first; rows of equal value go by a hash."""
    passing: list[Neighbour]
    """The rows nearest to the threshold that pass it, nearest first."""


class ThresholdState(TypedDict):
    """One threshold, with the place of its number in the predicate's SQL and the axis of its slider."""

    number: int
    """Position among the predicate's thresholds."""
    column: str
    operator: str
    value: float
    start: int
    """Start of the number in the SQL, in characters."""
    stop: int
    low: float
    """Lower end of the axis; see `Axis`."""
    high: float
    bins: int
    step: float
    whole: bool


class PredicateState(TypedDict):
    """One predicate of the recipe."""

    name: str
    sql: str
    thresholds: list[ThresholdState]
    signals: list[str]
    """Names of the signals that the predicate reads."""
    overridden: bool
    """Whether the SQL was given by `--set`, so that the recipe's file has another."""


class LastSelect(TypedDict):
    """The counts of the last `curate select`."""

    duplicates: int
    balanced: int
    """Number of rows that balancing removed."""
    kept: int
    current: bool
    """Whether it used the recipe's predicates as they are saved now."""


class State(TypedDict):
    """All that the page shows when it is opened."""

    recipe: str
    """Name of the recipe's file."""
    folder: str
    """Folder of the recipe's file."""
    name: str
    version: str
    """Identifies the state of the workspace's files; see `Loaded.version`."""
    predicates: list[PredicateState]
    saved: dict[str, Any]
    """The fields of `FunnelCounts` for the recipe as saved."""
    last: LastSelect | None
    """None if `curate select` has not been run."""


class DiffAnswer(TypedDict):
    """The lines of the recipe that would change."""

    diff: list[str]


class KeysAnswer(TypedDict):
    """The keys of rows, in the order of the request."""

    keys: list[str]
