"""Progress on stderr: a live bar with rate and time left on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    """Counts done units of a stage.

    Args:
        title: the stage's name.
        total: units in all.
        unit: what is counted, in the plural.
    """

    INTERVAL = 5.0
    """Seconds between plain lines."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = self._ended = 0
        self._begun = self._said = time.monotonic()
        self._live: Any = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._live = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(f"{self.unit}, {{task.fields[rate]}}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._live.start()
            self._id = self._live.add_task(self.title, total=self.total, rate="")
        return self

    def advance(self, units: int) -> None:
        """Counts some more units as done for good."""
        self._ended += units
        self.under_way(0)

    def under_way(self, units: int) -> None:
        """Shows units of work that has not ended yet."""
        self.done = min(self.total, self._ended + units)
        if self._live is not None:
            self._live.update(self._id, completed=self.done, rate=self._rate())
        elif time.monotonic() - self._said >= self.INTERVAL:
            self._said = time.monotonic()
            print(f"{self.title}: {self._plain()}", file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _plain(self) -> str:
        counted = f"{self.done:,} of {self.total:,} {self.unit}"
        return f"{counted}, {self._rate()}, {self._left()} left" if self.done else f"{counted}, workers are starting"

    def _speed(self) -> float:
        return self.done / max(1e-6, time.monotonic() - self._begun)

    def _rate(self) -> str:
        speed = self._speed()
        return f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s"

    def _left(self) -> str:
        seconds = int((self.total - self.done) / max(1e-6, self._speed()))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
