"""Runs tasks on worker processes, for both engines: slots, watching, and repetition after a death.

A slot runs one worker at a time, so that the death of a worker concerns exactly one shard, and the worker's note file
tells which rows it was processing. The shard is then run again with these rows one at a time, and a row that kills its
worker again is failed instead of its shard. If the cause of a death may lie outside (somebody, or the kernel's
out-of-memory killer), the row must kill once more.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from curation.errors import StageError, UserError, WorkspaceError
from curation.tasks import Demand, Note, Outcome, Task, Watch

DEATHS_OUTSIDE = 2
"""Number of deaths of its worker, while no row was being processed, after which a shard is given up."""
CRASHED = "crashed"
"""The reason of a death that this program did not cause."""
NODES_LOST = 10
"""Number of losses of its machine, such as a spot instance, after which a shard is given up."""
CHECK = 0.5
"""Seconds between two checks of the workers' note files."""


class WorkerDied(Exception):
    """The worker process of a slot has died.

    Args:
        node: whether its machine was lost with it, for which no image is to blame.
        cause: what is known about the cause, in words; may be empty.
    """

    def __init__(self, node: bool = False, cause: str = "") -> None:
        super().__init__(cause)
        self.node = node


@dataclass
class Attempt:
    """A task, and what is known from its earlier attempts."""

    task: Task
    token: str | None = None
    """The fencing token of the run that may write; see `curation.workspace.files.fenced`."""
    kills: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Number of deaths of workers, by the row being processed and the step."""
    condemned: dict[tuple[int, int], str] = field(default_factory=dict)
    """The rows to be failed: reason by row and step."""
    deaths_outside: int = 0
    """Number of deaths of workers while no row was being processed."""
    nodes_lost: int = 0
    """Number of deaths of workers whose machine was lost with them."""
    cause: str = ""
    """Cause of the last death in words, as far as it is known."""

    def died(self, rows: range, reason: str, step: int = 0) -> None:
        """Records that a worker died while it processed these rows, at this step."""
        if not rows:
            self.deaths_outside += 1
        for row in rows:
            self.kills[row, step] += 1
            if len(rows) == 1 and self.kills[row, step] >= (3 if reason == CRASHED else 2):
                self.condemned[row, step] = reason

    def arguments(self, note: Path, memory: int) -> tuple[Any, ...]:
        """Returns the arguments of `pipelines.worker.work` for this attempt on a slot."""
        suspects = frozenset(row for row, _step in self.kills)
        return self.task, note, memory, suspects, self.condemned, self.token

    @property
    def hopeless(self) -> str | None:
        """Reason for giving the shard up; None if it is worth another attempt."""
        if self.deaths_outside >= DEATHS_OUTSIDE:
            return f"its worker process died twice with no image in hand ({self.cause or 'out of memory?'})"
        if self.nodes_lost >= NODES_LOST:
            return f"its machine was lost {NODES_LOST} times"
        return None


Handle = TypeVar("Handle")


class Slot(ABC, Generic[Handle]):
    """A place for one worker.

    Args:
        note: the file in which the worker notes the rows that it is processing.
    """

    def __init__(self, note: Path) -> None:
        self.note = note
        self.late = False
        self._seen: tuple[Note | None, float] = None, 0.0
        self.begin()

    @abstractmethod
    def start(self, attempt: Attempt) -> Handle:
        """Passes a task to the worker, which is started if there is none; returns a handle to its outcome."""

    @abstractmethod
    def outcome(self, handle: Handle) -> Outcome:
        """Returns the outcome of a finished task.

        Raises:
            WorkerDied: the worker died while it ran the task.
            Exception: the task raised this error.
        """

    @abstractmethod
    def kill(self) -> None:
        """Kills the worker at once; a file that it was writing remains under its temporary name only."""

    def noted(self) -> Note:
        """Reads the worker's last note from its file."""
        return Watch.read(self.note)

    def begin(self) -> None:
        """Resets the note file to no rows, before a task.

        Raises:
            WorkspaceError: the file cannot be written.
        """
        self.late, self._seen = False, (None, 0.0)
        try:
            self.note.parent.mkdir(parents=True, exist_ok=True)
            Watch.create(self.note)
        except OSError as error:
            raise WorkspaceError(f"cannot write {self.note}: {error.strerror or error}") from None

    def kill_if_late(self, note: Note, seconds: float) -> None:
        """Kills a worker that has spent too long on the same micro-batch, by the clock of this process.

        Args:
            note: the worker's last note.
            seconds: time limit of one micro-batch.
        """
        if (note.rows, note.since) != (self._seen[0] and (self._seen[0].rows, self._seen[0].since)):
            self._seen = note, time.monotonic()
        if note.rows and time.monotonic() - self._seen[1] > seconds and not self.late:
            self.late = True
            self.kill()


class Engine(ABC, Generic[Handle]):
    """Runs tasks on workers, which are kept for further calls until `close`.

    Args:
        image_timeout: seconds that one micro-batch may take before its worker is killed.
    """

    def __init__(self, image_timeout: float) -> None:
        self.image_timeout = image_timeout
        self.deaths = 0
        """Number of workers that have died so far."""

    @abstractmethod
    def prepare(self, demands: set[Demand], tasks: int) -> None:
        """Makes slots for tasks of these demands, at most as many as `tasks` tasks can use."""

    @abstractmethod
    def slots(self, demand: Demand) -> Sequence[Slot[Handle]]:
        """Returns the slots on which tasks of this demand run; different demands may share slots."""

    @abstractmethod
    def wait(self, handles: list[Handle], seconds: float) -> Iterable[Handle]:
        """Waits until at least one task has ended, at most `seconds`; returns the handles of all that have ended."""

    @abstractmethod
    def close(self) -> None:
        """Ends all workers."""

    def __enter__(self) -> "Engine[Handle]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(
        self, tasks: Sequence[Task], tick: Callable[[int], None] = lambda rows: None, token: str | None = None
    ) -> Generator[tuple[Task, Outcome], None, None]:
        """Yields each task with its outcome as it ends, in any order. Closing the iterator stops what is under way.

        A task whose outcome names another (`Outcome.then`) is followed by that one.

        Args:
            tasks: the tasks to run.
            tick: called about twice a second with the rows done so far of the tasks that are under way.
            token: the fencing token of the run on whose behalf workers write; see `curation.workspace.files.fenced`.
        """
        if not tasks:
            return
        demands = {demand for task in tasks for demand in task.demands}
        self.prepare(demands, len(tasks))
        pools = {demand: _Pool(self.slots(demand)) for demand in demands}
        for task in tasks:
            pools[task.demands[0]].waiting.append(Attempt(task, token))
        running: dict[Handle, tuple[Slot[Handle], Attempt]] = {}
        busy: set[Slot[Handle]] = set()
        checked = time.monotonic()
        try:
            while running or any(pool.waiting for pool in pools.values()):
                for pool in pools.values():
                    for slot, attempt in pool.fill(busy):
                        running[slot.start(attempt)] = slot, attempt
                for handle in self.wait(list(running), CHECK):
                    slot, attempt = running.pop(handle)
                    pool = pools[attempt.task.demands[0]]
                    outcome = self._outcome(slot, handle, attempt)
                    busy.discard(slot)
                    if outcome is None:
                        pool.waiting.appendleft(attempt)
                        continue
                    if outcome.then is not None:
                        pools[outcome.then.demands[0]].waiting.append(Attempt(outcome.then, token))
                    yield attempt.task, outcome
                if time.monotonic() - checked >= CHECK:
                    checked = time.monotonic()
                    notes = [(slot, attempt, slot.noted()) for slot, attempt in running.values()]
                    for slot, attempt, note in notes:
                        slot.kill_if_late(note, self.image_timeout * attempt.task.demands[0].patience)
                    tick(sum(note.done for _slot, _attempt, note in notes))
        finally:
            for slot, _attempt in running.values():
                slot.kill()

    def _outcome(self, slot: Slot[Handle], handle: Handle, attempt: Attempt) -> Outcome | None:
        """Returns the task's outcome, or None if the task must be run again because its worker died."""
        try:
            return slot.outcome(handle)
        except WorkerDied as death:
            self.deaths += 1
            note = slot.noted()
            if death.node:
                attempt.nodes_lost += 1
            else:
                reason = "timeout" if slot.late else note.reason or CRASHED
                attempt.cause = "more than worker_memory" if reason == "memory" else str(death)
                attempt.died(note.rows, reason, note.step)
        except WorkspaceError as error:
            return Outcome(error=str(error), stop=True)
        except (StageError, UserError) as error:
            return Outcome(error=str(error))
        except Exception as error:  # a bug in a stage costs the shard, not the run
            return Outcome(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return Outcome(error=attempt.hopeless) if attempt.hopeless else None


class _Pool(Generic[Handle]):
    """The waiting tasks of one demand, and the slots on which they may run."""

    def __init__(self, slots: Sequence[Slot[Handle]]) -> None:
        self.slots = slots
        self.waiting: deque[Attempt] = deque()

    def fill(self, busy: set[Slot[Handle]]) -> Iterator[tuple[Slot[Handle], Attempt]]:
        """Yields idle slots, each with the waiting task that it takes."""
        for slot in self.slots:
            if not self.waiting:
                return
            if slot not in busy:
                busy.add(slot)
                slot.begin()
                yield slot, self.waiting.popleft()
