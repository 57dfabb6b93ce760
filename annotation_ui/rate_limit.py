"""Limits how often something may be done: a bucket of tokens for each client, which fills up again with time."""

import threading
from collections import OrderedDict

from annotation_ui.clock import Clock

REMEMBERED = 10_000
"""Number of clients whose buckets are remembered; those seen longest ago are forgotten, and so are full again."""


class RateLimit:
    """Admits `burst` requests of a client at once, and `per_second` in the long run. Thread-safe."""

    def __init__(self, per_second: float, burst: int, clock: Clock) -> None:
        self.per_second, self.burst = per_second, burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()  # tokens, and when they were counted
        self._lock = threading.Lock()

    def wait(self, client: str) -> float:
        """Counts a request of a client; returns 0 if it is admitted, else the seconds until the next one would be."""
        now = self._clock()
        with self._lock:
            tokens, counted = self._buckets.get(client, (float(self.burst), now))
            elapsed = max(0, now - counted) / 1000  # a clock that goes backwards adds nothing
            tokens = min(float(self.burst), tokens + elapsed * self.per_second)
            admitted = tokens >= 1
            self._buckets[client] = (tokens - admitted, now)
            self._buckets.move_to_end(client)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        return 0.0 if admitted else (1 - tokens) / self.per_second
