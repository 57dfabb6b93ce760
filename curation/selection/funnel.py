"""The funnel: how many rows a selection takes away at each step."""

from dataclasses import dataclass, field
from typing import Any

NEAR_UNDECIDED = "dedup"
"""Stands for a predicate's name where duplicates cannot be told apart yet, since hash or embedding is not computed."""
BALANCE_UNDECIDED = "balance"
"""Stands for a predicate's name where a row's group or rank cannot be told yet."""


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

    @property
    def complete(self) -> bool:
        """Whether the fates sum to the input."""
        return self.input == self.failed + self.balance + self.kept + sum(
            sum(part.values()) for part in (self.dropped, self.undecided, self.duplicate)
        )
