"""Shows the progress of a stage on stderr and in a progress file.

On a terminal, stderr shows a live bar with rate and time left, elsewhere plain lines. `curate status` reads the
progress file, which lies in the workspace.
"""

import contextlib
import json
import os
import socket
import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any

from curation.counts import counted, per_second
from curation.errors import StageError
from curation.printing import plain, tell
from curation.tasks import Outcome
from curation.workspace import Workspace
from curation.workspace.files import write_text


class Progress:
    """Counts and shows the units of a stage that are done.

    Args:
        title: the stage's name.
        total: number of all units.
        unit: what is counted, in the plural.
        workspace: where to write the progress file for `curate status`; None writes none.
    """

    INTERVAL = 10.0
    """Minimum number of seconds between two plain lines, but for the last one."""
    FILE_INTERVAL = 1.0
    """Minimum number of seconds between two updates of the progress file."""

    def __init__(self, title: str, total: int, unit: str, workspace: Workspace | None = None) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.workspace = workspace
        self.done = self._ended = self._rows = self._passed = 0
        self._failed: Counter[str] = Counter()
        self.begun = self._printed = time.monotonic()
        self._shown: int | None = None  # units that the last plain line told
        self._began = time.time()
        self._written = 0.0
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

    def say(self, text: str | None) -> None:
        """Prints a line of text, without disturbing the live bar."""
        if text and self._live is not None:
            self._live.console.print(plain(f"{self.title}: {text}"), markup=False, highlight=False)
        elif text:
            tell(f"{self.title}: {text}")

    def advance(self, units: int, outcome: Outcome) -> None:
        """Counts further units as done for good, with the outcome of their task."""
        self._ended += units
        self._rows += outcome.rows
        self._passed += outcome.passed
        self._failed.update(outcome.failed)
        self.under_way(0)

    def rows_in_hand(self, rows: int) -> None:
        """Updates the display between the ends of shards, for a stage that counts shards; `rows` is ignored."""
        self.under_way(0)

    def under_way(self, units: int) -> None:
        """Shows the progress, with so many units of work that has not ended yet."""
        self.done = max(self.done, min(self.total, self._ended + units))
        self._write_file()
        if self._live is not None:
            self._live.update(self._id, completed=self.done, rate=self._rate())
        elif time.monotonic() - self._printed >= self.INTERVAL:
            self._print()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        elif (
            self._shown not in (None, self.done) and error is None
        ):  # else the reader of a log would not see the end of a long stage
            self._print()
        if self.workspace is not None:
            with contextlib.suppress(OSError):
                self.workspace.running.unlink(missing_ok=True)

    def _print(self) -> None:
        """Prints the progress as a plain line."""
        self._printed, self._shown = time.monotonic(), self.done
        tell(f"{self.title}: {self._plain()}")

    def _write_file(self) -> None:
        """Writes the progress file, unless it was written less than `FILE_INTERVAL` seconds ago."""
        if self.workspace is None or time.monotonic() - self._written < self.FILE_INTERVAL:
            return
        self._written = time.monotonic()
        state = {
            "stage": self.title,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "began": self._began,
            "at": time.time(),
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "rows": self._rows,
            "passed": self._passed,
            "judged": self._ended,
            "failed": dict(self._failed),
        }
        with contextlib.suppress(StageError):  # whoever writes the results will report a full disk
            write_text(self.workspace.running, json.dumps(state))

    def _plain(self) -> str:
        done = f"{self.done:,} of {counted(self.total, self.unit)}"
        if not self.done:
            return f"{done}, workers are starting"
        if self.done == self.total:
            return f"{done}, {self._rate()}, done in {_clock(time.monotonic() - self.begun)}"
        return f"{done}, {self._rate()}, {_clock((self.total - self.done) / max(1e-6, self._speed()))} left"

    def _speed(self) -> float:
        return self.done / max(1e-6, time.monotonic() - self.begun)

    def _rate(self) -> str:
        return per_second(self._speed())


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def note_run(workspace: Workspace, stage: str, seconds: float, **facts: Any) -> None:
    """Appends a run of a stage to the log of runs: when it began, how long it took in seconds, and further facts."""
    line = {"stage": stage, "began": round(time.time() - seconds, 1), "seconds": seconds} | facts
    with contextlib.suppress(OSError):
        workspace.runs.parent.mkdir(parents=True, exist_ok=True)
        with open(workspace.runs, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
