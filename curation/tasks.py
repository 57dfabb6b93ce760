"""The unit of work: one shard in, one file out, done by one worker process.

A stage is a list of tasks; `pipelines/` places them. A task says which rows it has in hand, so that a row that kills
its process costs itself and not its shard.
"""

import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap
from pathlib import Path
from typing import Protocol


@dataclass(slots=True)
class Outcome:
    """What became of one task."""

    rows: int = 0
    """Rows of the shard that were looked at."""
    failed: Counter[str] = field(default_factory=Counter)
    """Failed rows by reason."""
    notes: list[str] = field(default_factory=list)
    """Lines for the user: damage that is not a row's."""
    error: str | None = None
    """Why the whole shard could not be done, in one line."""


class Task(Protocol):
    """One shard's work. Picklable; holds names and parameters, never data."""

    @property
    def corpus(self) -> str:
        """The corpus's name."""

    @property
    def shard(self) -> str:
        """The shard's name."""

    @property
    def rows(self) -> int:
        """Rows it has to do, for the estimate of the time left; 0 if unknown."""

    def run(self, watch: "Watch") -> Outcome:
        """Does the work in the worker process and writes the file."""
        ...


@dataclass(frozen=True, slots=True)
class Note:
    """What a worker noted."""

    pid: int
    rows: range
    """Rows that it has, or had, in hand."""
    done: int
    """Rows of its shard that it has done."""
    since: float
    """Seconds since 1970."""


class Watch:
    """What a worker notes in a small mapped file, for its parent to read after its death.

    Args:
        path: the mapped file; None if nobody watches.
        suspects: rows to be taken one at a time, since one of them killed a worker before.
        condemned: rows that killed a worker twice, with the reason each is failed for.
    """

    _FORM = struct.Struct("<qqqqd")  # pid, first row, row after the last (0: none in hand), rows done, when

    def __init__(
        self, path: Path | None = None, suspects: frozenset[int] = frozenset(), condemned: dict[int, str] | None = None
    ) -> None:
        self.suspects = suspects
        self.condemned = condemned or {}
        self._done = self._in_hand = 0
        self._map: mmap | None = None
        if path is not None:
            with open(path, "r+b") as file:
                self._map = mmap(file.fileno(), self._FORM.size)

    def note(self, pid: int, start: int = 0, stop: int = 0, count: int | None = None) -> None:
        """Rows start..stop of the samples file are in hand, those before are done; stop = 0: none in hand."""
        self._done, self._in_hand = self._done + self._in_hand, count if count is not None else stop - start
        if self._map is not None:
            self._map[:] = self._FORM.pack(pid, start, stop, self._done, time.time())

    @classmethod
    def create(cls, path: Path) -> None:
        """An empty note."""
        path.write_bytes(cls._FORM.pack(0, 0, 0, 0, 0.0))

    @classmethod
    def read(cls, path: Path) -> "Note":
        """What the worker noted last."""
        pid, start, stop, done, since = cls._FORM.unpack(path.read_bytes())
        return Note(pid, range(start, stop), done, since)

    def batches(self, rows: list[int], pixels: list[int], size: int, most_pixels: int) -> Iterator[list[int]]:
        """Micro-batches of at most `size` rows and about `most_pixels` decoded pixels; suspects go alone."""
        batch: list[int] = []
        total = 0
        for row, count in zip(rows, pixels, strict=True):
            alone = row in self.suspects
            if batch and (alone or len(batch) == size or total + count > most_pixels):
                yield batch
                batch, total = [], 0
            batch.append(row)
            total += count
            if alone:
                yield batch
                batch, total = [], 0
        if batch:
            yield batch
