"""Keeps what is dear to compute for a while, and lets only one such computation run at a time."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
LEAST_SECONDS = 5.0
"""Seconds for which any result is kept at least."""
TIMES_COST = 20
"""How many times as long as its computation took a result is kept: so all of them take a twentieth of one core."""


@dataclass(frozen=True, slots=True)
class _Kept:
    value: Any
    until: float


class Cache:
    """Results by name; may be used by several threads.

    Args:
        timer: seconds that only grow.
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._kept: dict[tuple[Any, ...], _Kept] = {}
        self._computing = threading.Lock()
        self._cleared = 0

    def get(self, name: tuple[Any, ...], compute: Callable[[], T]) -> T:
        """Returns the result that is kept, or computes it.

        While another computation runs, a result that is no longer fresh is better than waiting: it is returned as it
        is. Who asks for what nobody has computed yet waits.
        """
        kept = self._kept.get(name)
        if kept is not None and self._timer() < kept.until:
            return kept.value
        if not self._computing.acquire(blocking=kept is None):
            assert kept is not None
            return kept.value
        try:
            kept = self._kept.get(name)
            if kept is None or self._timer() >= kept.until:
                began, cleared = self._timer(), self._cleared
                value = compute()
                ended = self._timer()
                kept = _Kept(value, ended + max(LEAST_SECONDS, TIMES_COST * (ended - began)))
                if cleared == self._cleared:  # else it may not know of what was changed meanwhile
                    self._kept[name] = kept
            return kept.value
        finally:
            self._computing.release()

    def clear(self) -> None:
        """Drops all results, as after a change that who made it wants to see."""
        self._cleared += 1
        self._kept.clear()
