"""The funnel: how many rows a selection takes away at each step."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

NEAR_UNDECIDED = "dedup"
"""Stands for a predicate's name where duplicates cannot be told apart yet, since hash or embedding is not computed."""
BALANCE_UNDECIDED = "balance"
"""Stands for a predicate's name where a row's group or rank cannot be told yet."""


class FunnelStep(NamedTuple):
    """What one step of the selection takes away."""

    kind: str
    """failed, dropped, undecided, duplicate or balance."""
    name: str
    """Of the predicate, or of the kind of duplicate; empty where there is but one step of the kind."""
    rows: int
    """Rows that it takes away."""
    left: int
    """Rows that are left after it."""


@dataclass
class Funnel:
    """How many rows went where, in the order in which it was decided."""

    input: int = 0
    failed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    undecided: dict[str, int] = field(default_factory=dict)
    duplicate: dict[str, int] = field(default_factory=dict)
    """By kind: listed (in `dedup.against`), exact, near (hashes), similar (embeddings)."""
    balance: int = 0
    kept: int = 0
    text_in_the_wild: int | None = None
    """Of those kept, the text-rich subset; None where the recipe has no rule for it."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
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
        """Every step in the order in which it was decided, those that take nothing away among them."""
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
