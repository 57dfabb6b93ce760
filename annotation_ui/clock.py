"""The time, as every function of the queue is given it."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns the time in milliseconds since 1970, UTC. A transaction asks for it after it holds its locks."""


def system_clock() -> int:
    """Returns the machine's time in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
