"""Counts how many rows a selection takes away at each step."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

NEAR_UNDECIDED = "dedup"
"""Stands for a predicate's name for rows that lack a hash or an embedding, so that duplicates are not known yet."""
BALANCE_UNDECIDED = "balance"
"""Stands for a predicate's name for rows whose group or rank is not known yet."""


class FunnelStep(NamedTuple):
    """One step of the selection, with the number of rows that it takes away."""

    kind: str
    """Kind of the step: failed, dropped, undecided, duplicate or balance."""
    name: str
    """Name of the predicate, or of the kind of duplicate; empty for failed and balance, of which there is one step."""
    rows: int
    """Number of rows that the step takes away."""
    left: int
    """Number of rows that are left after the step."""


@dataclass
class Funnel:
    """The number of rows of each fate, in the order in which fates are decided."""

    input: int = 0
    failed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """Numbers of rows by predicate."""
    undecided: dict[str, int] = field(default_factory=dict)
    """Numbers of rows by predicate, or by `NEAR_UNDECIDED` and `BALANCE_UNDECIDED`."""
    duplicate: dict[str, int] = field(default_factory=dict)
    """Numbers of rows by kind: listed (in `dedup.against`), exact, near (hashes), similar (embeddings)."""
    balance: int = 0
    kept: int = 0
    text_in_the_wild: int | None = None
    """Number of kept rows in the text-rich subset; None if the recipe has no rule for it."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the funnel as a dict for JSON."""
        return {
            "input": self.input,
            "failed": self.failed,
            "dropped": self.dropped,
            "undecided": self.undecided,
            "duplicate": self.duplicate,
            "balance": self.balance,
            "kept": self.kept,
        } | ({} if self.text_in_the_wild is None else {"text_in_the_wild": self.text_in_the_wild})

    def steps(self) -> Iterator[FunnelStep]:
        """Yields every step in the order in which it is decided, including steps that take no row away."""
        left = self.input
        for kind, name, count in self._taken():
            left -= count
            yield FunnelStep(kind, name, count, left)

    def _taken(self) -> Iterator[tuple[str, str, int]]:
        yield "failed", "", self.failed
        for name, count in self.dropped.items():
            yield "dropped", name, count
            if name in self.undecided:
                yield "undecided", name, self.undecided[name]
        yield from (("undecided", name, count) for name, count in self.undecided.items() if name not in self.dropped)
        yield from (("duplicate", kind, count) for kind, count in self.duplicate.items())
        yield "balance", "", self.balance

    @property
    def complete(self) -> bool:
        """Whether the fates sum to the input."""
        return [step.left for step in self.steps()][-1] == self.kept
