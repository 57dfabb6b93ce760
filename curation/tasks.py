"""The unit of work: a task reads one shard and writes one file, in one worker process.

A stage is a list of tasks, which `pipelines/` distributes to workers. A task records which rows it is working on, so
that a row that crashes its worker process fails alone, and the rest of the shard is still done.
"""

import os
import struct
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class WorkerLost(BaseException):
    """Raised when the process cannot continue, because its GPU is in a state that only a new process can leave."""


@dataclass(slots=True)
class Outcome:
    """The result of one task."""

    rows: int = 0
    """Number of the shard's rows that were processed."""
    failed: Counter[str] = field(default_factory=Counter)
    """Number of failed rows by reason."""
    notes: list[str] = field(default_factory=list)
    """Messages for the user about damage that concerns the shard and no single row."""
    error: str | None = None
    """The reason why the whole shard failed, in one line; None if it did not."""
    changed: list[tuple[str, str]] = field(default_factory=list)
    """Corpus and name of raw shards whose bytes are not those of the index; the next index reads them again."""
    line: Mapping[str, object] | None = None
    """The shard's entry in the stage's ledger, such as a `ScoreLine`; None if nothing is to be recorded."""
    stop: bool = False
    """Whether every other shard would fail with the same error, such as a full disk; the stage then stops."""
    passed: int = 0
    """Number of rows that passed the predicates, as far as is known."""
    seconds: dict[str, float] = field(default_factory=dict)
    """CPU seconds by what they were spent on, such as the name of a signal."""
    counts: dict[str, int] = field(default_factory=dict)
    """Number of rows that each entry of `seconds` was spent on, by the same names."""
    sums: dict[str, dict[str, float]] = field(default_factory=dict)
    """Further totals, added up over all shards and reported when the stage ends, such as money spent: group → name →
    amount."""
    then: "Task | None" = None
    """The follow-up task that continues with this shard on another kind of worker; None if there is none."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The resources that a task requests from the cluster."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 0
    """Bytes; 0 requests no particular amount."""
    models: bool = False
    """Whether the task loads models; its worker process is then kept for the next task, with the models loaded."""
    patience: float = 1.0
    """Time limit of one micro-batch, as a multiple of the recipe's `image_timeout`."""

    @property
    def threads(self) -> int:
        """Number of threads that decode images: with a GPU, one for each CPU core requested beside it; otherwise 1."""
        return max(1, int(self.cpus)) if self.gpus else 1


class Task(Protocol):
    """The work on one shard. It must be picklable, and holds names and parameters but no data."""

    @property
    def corpus(self) -> str:
        """The corpus's name."""

    @property
    def shard(self) -> str:
        """The shard's name."""

    @property
    def rows(self) -> int:
        """Number of rows to process, from which the remaining time is estimated; 0 if unknown."""

    @property
    def demands(self) -> "tuple[Demand, ...]":
        """The resources that this task requests, and then those of its follow-up tasks (`Outcome.then`), in order."""

    def run(self, watch: "Watch") -> Outcome:
        """Does the work in the worker process, writes the file and returns the result."""
        ...


@dataclass(frozen=True, slots=True)
class Note:
    """The progress record that a worker last wrote; see `Watch`."""

    pid: int
    rows: range
    """The rows that the worker is, or was, working on; empty if none."""
    done: int
    """Number of the shard's rows that are finished."""
    since: float
    """Time at which the record was written, in seconds since 1970."""
    reason: str | None = None
    """The reason why the worker ended itself: `memory` if it used too much; None if it did not end itself."""
    step: int = 0
    """The number of the step that was being done with `rows`; see `Watch.step`."""


class Watch:
    """Writes a worker's progress to a small file, which the parent process reads if the worker dies.

    The file is closed after every write, so that other machines see the progress on a shared file system.

    Args:
        path: the file; None writes nothing.
        suspects: rows to process one at a time, since one of them was in hand when an earlier worker died.
        condemned: (row, step) → reason for which the row is failed at that step, since it killed its worker there.
    """

    _FORM = struct.Struct("<qqqqdqq")
    """Process id, first row in hand, row after the last in hand (0: none), rows finished, time in seconds since 1970,
    whether the worker was over its memory limit, step."""

    def __init__(
        self,
        path: Path | None = None,
        suspects: frozenset[int] = frozenset(),
        condemned: "dict[tuple[int, int], str] | None" = None,
    ) -> None:
        self.suspects = suspects
        self._condemned = condemned or {}
        self._done = self._in_hand = 0
        self._path = path

    def note(self, pid: int, start: int = 0, stop: int = 0, count: int | None = None) -> None:
        """Records that rows start..stop of the samples file are in hand, and that the rows noted before are finished.

        Args:
            pid: the worker's process id.
            start: first row in hand.
            stop: row after the last one in hand; 0 if no row is in hand.
            count: how many of start..stop are in hand; None means all.
        """
        self._done, self._in_hand = self._done + self._in_hand, count if count is not None else stop - start
        self._write(0, self._FORM.pack(pid, start, stop, self._done, time.time(), 0, 0))

    def step(self, number: int) -> None:
        """Records which step comes next for the rows in hand, such as one signal of several; 0 if there is only one."""
        self._write(self._FORM.size - 8, number.to_bytes(8, "little"))

    def verdict(self, row: int, step: int = 0) -> str | None:
        """Returns the reason to fail a row at this step without trying it; None if it is to be tried."""
        return self._condemned.get((row, step))

    def over_memory(self) -> None:
        """Records that the worker is about to end itself because it uses more memory than it may."""
        self._write(self._FORM.size - 16, (1).to_bytes(8, "little"))

    def _write(self, offset: int, data: bytes) -> None:
        if self._path is not None:
            file = os.open(self._path, os.O_WRONLY)
            try:
                os.pwrite(file, data, offset)
            finally:
                os.close(file)

    @classmethod
    def create(cls, path: Path) -> None:
        """Creates the file with an empty progress record."""
        path.write_bytes(cls._FORM.pack(0, 0, 0, 0, 0.0, 0, 0))

    @classmethod
    def read(cls, path: Path) -> "Note":
        """Reads the progress record that the worker wrote last."""
        data = path.read_bytes()
        if len(data) != cls._FORM.size:  # the disk was full when the file was created
            return Note(0, range(0), 0, 0.0)
        pid, start, stop, done, since, over_memory, step = cls._FORM.unpack(data)
        return Note(pid, range(start, stop), done, since, "memory" if over_memory else None, step)

    def batches(self, rows: list[int], pixels: list[int], size: int, most_pixels: int) -> Iterator[list[int]]:
        """Yields micro-batches of at most `size` rows and about `most_pixels` decoded pixels; a suspect comes alone.

        Args:
            rows: row numbers in the samples file.
            pixels: number of decoded pixels of each of these rows.
            size: largest number of rows in a batch.
            most_pixels: largest number of pixels in a batch; a single row may have more.
        """
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


@dataclass
class Plan:
    """The tasks of a stage, and the messages about them that the user sees before the work begins."""

    tasks: list[Any] = field(default_factory=list)
    total: int = 0
    """Number of all shards; those without a task are up to date."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Number of tasks by the reason why their shard has to be done."""
    estimate: str | None = None
    """Expected duration of the stage, in words; None if it is unknown."""
    notices: list[str] = field(default_factory=list)
    """Messages for the user before the work begins."""

    def add(self, task: Any, reason: str) -> None:
        """Adds the task of one more shard, and the reason why the shard has to be done."""
        self.tasks.append(task)
        self.reasons[reason] += 1
