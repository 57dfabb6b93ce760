"""Placing tasks on workers: what both engines have in common.

A slot holds one worker at a time, so that a death names exactly one shard, and the worker's note the rows it had in
hand. The shard is run again with those rows one at a time, and a row that kills its worker then is failed, not its
shard. Where the death may have come from outside (the machine's owner, its memory killer), it must do so twice.
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
"""Times a worker may die with no row in hand before its shard is given up."""
CRASHED = "crashed"
"""The reason of a death that nobody here has caused."""
NODES_LOST = 10
"""Times the machine may be lost under a shard (spot instances) before it is given up."""
CHECK = 0.5
"""Seconds between two looks at the workers' notes."""


class WorkerDied(Exception):
    """The worker process of a slot is gone.

    Args:
        node: whether its machine went with it, which is no image's fault.
        said: what is known of the death.
    """

    def __init__(self, node: bool = False, said: str = "") -> None:
        super().__init__(said)
        self.node = node


@dataclass
class Attempt:
    """A task, and what its earlier attempts have shown."""

    task: Task
    token: str | None = None
    """The fencing token of the run that may write; see `curation.workspace.files.fenced`."""
    kills: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Deaths of workers by the row in hand and the step."""
    condemned: dict[tuple[int, int], str] = field(default_factory=dict)
    """Reasons by row and step."""
    deaths_outside: int = 0
    nodes_lost: int = 0
    said: str = ""
    """What is known of the last death."""

    def died(self, rows: range, reason: str, step: int = 0) -> None:
        """Notes that a worker died over these rows, at this step."""
        if not rows:
            self.deaths_outside += 1
        for row in rows:
            self.kills[row, step] += 1
            if len(rows) == 1 and self.kills[row, step] >= (3 if reason == CRASHED else 2):
                self.condemned[row, step] = reason

    def given(self, note: Path, memory: int) -> tuple[Any, ...]:
        """The arguments of `pipelines.worker.work` for this attempt on a slot."""
        suspects = frozenset(row for row, _step in self.kills)
        return self.task, note, memory, suspects, self.condemned, self.token

    @property
    def hopeless(self) -> str | None:
        """Why the shard is given up; None if it is worth another attempt."""
        if self.deaths_outside >= DEATHS_OUTSIDE:
            return f"its worker process died twice with no image in hand ({self.said or 'out of memory?'})"
        if self.nodes_lost >= NODES_LOST:
            return f"its machine was lost {NODES_LOST} times"
        return None


Handle = TypeVar("Handle")


class Slot(ABC, Generic[Handle]):
    """A place for one worker.

    Args:
        note: the file in which the worker notes what it has in hand.
    """

    def __init__(self, note: Path) -> None:
        self.note = note
        self.late = False
        self._seen: tuple[Note | None, float] = None, 0.0
        self.begin()

    @abstractmethod
    def start(self, attempt: Attempt) -> Handle:
        """Hands a task to the worker, which is started if there is none."""

    @abstractmethod
    def outcome(self, handle: Handle) -> Outcome:
        """What the task gave. Raises WorkerDied, or what the task raised."""

    @abstractmethod
    def kill(self) -> None:
        """Ends the worker at once; what it was writing stays under its temporary name only."""

    def noted(self) -> Note:
        """What the worker noted last."""
        return Watch.read(self.note)

    def begin(self) -> None:
        """Before a task: nothing is in hand. Raises WorkspaceError where the note cannot be written."""
        self.late, self._seen = False, (None, 0.0)
        try:
            self.note.parent.mkdir(parents=True, exist_ok=True)
            Watch.create(self.note)
        except OSError as error:
            raise WorkspaceError(f"cannot write {self.note}: {error.strerror or error}") from None

    def kill_if_late(self, note: Note, seconds: float) -> None:
        """Kills a worker that has had the same micro-batch in hand for too long, by the clock of this process."""
        if (note.rows, note.since) != (self._seen[0] and (self._seen[0].rows, self._seen[0].since)):
            self._seen = note, time.monotonic()
        if note.rows and time.monotonic() - self._seen[1] > seconds and not self.late:
            self.late = True
            self.kill()


class Engine(ABC, Generic[Handle]):
    """Runs tasks on workers, which are kept for the next call until `close`.

    Args:
        image_timeout: seconds that one micro-batch may take before its worker is killed.
    """

    def __init__(self, image_timeout: float) -> None:
        self.image_timeout = image_timeout
        self.deaths = 0
        """Workers that have died so far."""

    @abstractmethod
    def prepare(self, demands: set[Demand], tasks: int) -> None:
        """Makes slots for tasks of these demands, as many as so many tasks can use."""

    @abstractmethod
    def slots(self, demand: Demand) -> Sequence[Slot[Handle]]:
        """The slots on which tasks of this demand run; different demands may share them."""

    @abstractmethod
    def wait(self, handles: list[Handle], seconds: float) -> Iterable[Handle]:
        """Those that have ended, after the first has or the time is over."""

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
        """The task's outcome, or None if it must be run again since its worker died."""
        try:
            return slot.outcome(handle)
        except WorkerDied as death:
            self.deaths += 1
            note = slot.noted()
            if death.node:
                attempt.nodes_lost += 1
            else:
                reason = "timeout" if slot.late else note.reason or CRASHED
                attempt.said = "more than worker_memory" if reason == "memory" else str(death)
                attempt.died(note.rows, reason, note.step)
        except WorkspaceError as error:
            return Outcome(error=str(error), stop=True)
        except (StageError, UserError) as error:
            return Outcome(error=str(error))
        except Exception as error:  # a mistake in a stage costs the shard, not the run
            return Outcome(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return Outcome(error=attempt.hopeless) if attempt.hopeless else None


class _Pool(Generic[Handle]):
    """Tasks of one demand, and the slots on which they may run."""

    def __init__(self, slots: Sequence[Slot[Handle]]) -> None:
        self.slots = slots
        self.waiting: deque[Attempt] = deque()

    def fill(self, busy: set[Slot[Handle]]) -> Iterator[tuple[Slot[Handle], Attempt]]:
        """Gives waiting tasks to slots that have nothing to do."""
        for slot in self.slots:
            if not self.waiting:
                return
            if slot not in busy:
                busy.add(slot)
                slot.begin()
                yield slot, self.waiting.popleft()
