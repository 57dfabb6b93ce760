"""The unit of work: one shard in, one file out, done by one worker process.

A stage is a list of tasks; `pipelines/` places them. A task says which rows it has in hand, so that a row that kills
its process costs itself and not its shard.
"""

import os
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class WorkerLost(BaseException):
    """This process can do no more work, as its GPU is in a state that only a new process leaves: it is to end."""


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
    line: dict[str, Any] | None = None
    """What the stage's ledger keeps of the shard."""
    stop: bool = False
    """Whether every other shard would meet the same error (a full disk): the stage stops."""
    passed: int = 0
    """Rows that the predicates let through, as far as is known."""
    seconds: dict[str, float] = field(default_factory=dict)
    """CPU seconds by what took them, such as a signal."""
    counts: dict[str, int] = field(default_factory=dict)
    """Rows by what they took them for."""
    sums: dict[str, dict[str, float]] = field(default_factory=dict)
    """More that is added up over all shards and told in the end, by name: what was spent, what was flagged."""
    then: "Task | None" = None
    """The task that goes on with this shard on another kind of worker."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a task asks of a cluster."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 0
    """Bytes; 0 asks for none in particular."""
    models: bool = False
    """Whether it loads models, which a worker then keeps for its next task."""
    patience: float = 1.0
    """How many times `image_timeout` its micro-batch may take."""

    @property
    def threads(self) -> int:
        """Threads that make pictures ready beside a GPU: one for each core that goes with it. A core alone has one."""
        return max(1, int(self.cpus)) if self.gpus else 1


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

    @property
    def demands(self) -> "tuple[Demand, ...]":
        """What it asks for, and what the tasks that follow it ask for (`Outcome.then`)."""

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
    reason: str | None = None
    """Why the worker ended itself: `memory`; None if it did not."""
    step: int = 0
    """What was being done with the rows in hand; see `Watch.step`."""


class Watch:
    """What a worker notes in a small file, for its parent to read after its death.

    The file is closed after every note, so that other machines see it on a shared file system.

    Args:
        path: the file; None if nobody watches.
        suspects: rows to be taken one at a time, since one of them killed a worker before.
        condemned: rows that killed their worker at some step, with the reason for which each is failed there.
    """

    _FORM = struct.Struct("<qqqqdqq")
    """Process id, first row in hand, row after the last (0: none in hand), rows done, when, over memory, step."""

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
        """Rows start..stop of the samples file are in hand, those before are done; stop = 0: none in hand."""
        self._done, self._in_hand = self._done + self._in_hand, count if count is not None else stop - start
        self._write(0, self._FORM.pack(pid, start, stop, self._done, time.time(), 0, 0))

    def step(self, number: int) -> None:
        """What is done next with the rows in hand, such as one signal of several; 0 where there is but one step."""
        self._write(self._FORM.size - 8, number.to_bytes(8, "little"))

    def verdict(self, row: int, step: int = 0) -> str | None:
        """Why a row is to be failed at this step instead of tried; None if it is to be tried."""
        return self._condemned.get((row, step))

    def over_memory(self) -> None:
        """The worker is about to end itself, since it holds more memory than it may."""
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
        """An empty note."""
        path.write_bytes(cls._FORM.pack(0, 0, 0, 0, 0.0, 0, 0))

    @classmethod
    def read(cls, path: Path) -> "Note":
        """What the worker noted last."""
        data = path.read_bytes()
        if len(data) != cls._FORM.size:  # a disk that was full when it was made
            return Note(0, range(0), 0, 0.0)
        pid, start, stop, done, since, over_memory, step = cls._FORM.unpack(data)
        return Note(pid, range(start, stop), done, since, "memory" if over_memory else None, step)

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


@dataclass
class Plan:
    """What a stage has to do."""

    tasks: list[Any] = field(default_factory=list)
    total: int = 0
    """Shards there are; those without a task are up to date."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why shards are to be done, by reason."""
    estimate: str | None = None
    """How long it will take, in words; None where nobody can say."""
    notices: list[str] = field(default_factory=list)
    """What the user should know before the work begins."""

    def add(self, task: Any, reason: str) -> None:
        """One more shard to do."""
        self.tasks.append(task)
        self.reasons[reason] += 1
