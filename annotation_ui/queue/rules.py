"""Holds the settings by which a queue is run, and the refusal with which it answers what they do not allow."""

from dataclasses import dataclass

MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of one project's queue."""

    gold: float = 0.0
    """Share of gold items among the items that a person gets, 0 to 1."""
    qualify_items: int = 0
    """Number of gold items by which a person is tested before any other item; 0 for no test."""
    qualify_pass: float = 0.0
    """Share of these that must be answered rightly, 0 to 1."""
    lease_ms: int = 10 * MINUTE
    """Milliseconds for which an item is kept for the person who got it."""
    grace_ms: int = MINUTE
    """Milliseconds after the last vote in which votes may still be changed."""


class Refused(Exception):
    """A request that the queue's rules do not allow; nothing is changed.

    Args:
        code: one word by which the page knows what to do.
        message: a sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)  # both, so that it can be sent to another process
        self.code = code

    def __str__(self) -> str:
        return str(self.args[1])
