"""`engine: local`: worker processes of this machine, one single-worker pool to a slot.

A pool that breaks then names exactly one shard, and the worker's note the rows it had in hand: the shard is run again
with those one at a time, and a row that kills a worker twice is failed instead of the shard.
"""

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import connection as mp_connection
from pathlib import Path

from curation.errors import StageError, UserError
from curation.tasks import Outcome, Task, Watch

DEATHS_OUTSIDE = 2
"""Times a worker may die with no row in hand before its shard is given up."""
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


class LocalEngine:
    """Runs tasks on processes of this machine.

    Args:
        workers: processes; None is one a core.
        image_timeout: seconds that one micro-batch may take before its worker is killed.
        log: file that takes what the workers' libraries print.
    """

    def __init__(self, workers: int | None = None, image_timeout: float = 60, log: Path | None = None) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self.image_timeout = image_timeout
        self.log = log

    def run(
        self, tasks: Sequence[Task], tick: Callable[[int], None] = lambda rows: None
    ) -> Iterator[tuple[Task, Outcome]]:
        """Yields each task with its outcome as it ends, in any order. Closing the iterator stops the workers.

        Args:
            tick: called about once a second with the rows done so far of the tasks that are under way.
        """
        waiting = deque(_Attempt(task) for task in tasks)
        with tempfile.TemporaryDirectory(prefix="curate-") as folder, _environment(_ONE_THREAD):
            slots = [_Slot(Path(folder) / str(i), self.log) for i in range(min(self.workers, len(waiting)))]
            try:
                running: dict[Future[Outcome], tuple[_Slot, _Attempt]] = {}
                idle = list(slots)
                while waiting or running:
                    while waiting and idle:
                        slot, attempt = idle.pop(), waiting.popleft()
                        running[slot.start(attempt)] = slot, attempt
                    done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                    for future in done:
                        slot, attempt = running.pop(future)
                        idle.append(slot)
                        outcome = self._outcome(future, slot, attempt)
                        if outcome is None:
                            waiting.appendleft(attempt)
                        else:
                            yield attempt.task, outcome
                    for slot, _attempt in running.values():
                        slot.kill_if_late(self.image_timeout)
                    tick(sum(Watch.read(slot.note).done for slot, _attempt in running.values()))
            finally:
                for slot in slots:
                    slot.kill()

    def _outcome(self, future: "Future[Outcome]", slot: "_Slot", attempt: "_Attempt") -> Outcome | None:
        """The task's outcome, or None if it must be run again since its worker died."""
        try:
            return future.result()
        except BrokenProcessPool:
            attempt.died(slot.rows_in_hand(), "timeout" if slot.late else "crashed")
            slot.renew()
        except (StageError, UserError) as error:
            return Outcome(error=str(error))
        except Exception as error:  # a mistake in a stage costs the shard, not the run
            return Outcome(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        if attempt.deaths_outside >= DEATHS_OUTSIDE:
            return Outcome(error="its worker process died twice with no image in hand (out of memory?)")
        return None


@dataclass
class _Attempt:
    """A task, and what its earlier attempts have shown."""

    task: Task
    kills: Counter[int] = field(default_factory=Counter)
    condemned: dict[int, str] = field(default_factory=dict)
    deaths_outside: int = 0

    def died(self, rows: range, reason: str) -> None:
        if not rows:
            self.deaths_outside += 1
        for row in rows:
            self.kills[row] += 1
            if self.kills[row] >= 2 and len(rows) == 1:
                self.condemned[row] = reason


class _Slot:
    """A place for one worker process."""

    def __init__(self, note: Path, log: Path | None) -> None:
        self.note, self.log = note, log
        self.late = False
        self.pool: ProcessPoolExecutor | None = None

    def start(self, attempt: _Attempt) -> "Future[Outcome]":
        self.late = False
        if self.pool is None:
            Watch.create(self.note)
            self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (self.note, self.log))
        with _no_interrupt():  # inherited by the new process: Ctrl-C is its parent's business from the first moment
            return self.pool.submit(_work, attempt.task, self.note, frozenset(attempt.kills), attempt.condemned)

    def rows_in_hand(self) -> range:
        return Watch.read(self.note).rows

    def kill_if_late(self, seconds: float) -> None:
        note = Watch.read(self.note)
        if note.rows and time.time() - note.since > seconds:
            self.late = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(note.pid, signal.SIGKILL)

    def renew(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
            self.pool = None

    def kill(self) -> None:
        """Ends the worker at once; what it was writing stays under its temporary name only."""
        with contextlib.suppress(OSError):
            if pid := Watch.read(self.note).pid:
                os.kill(pid, signal.SIGKILL)
        self.renew()


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(note: Path, log: Path | None) -> None:
    """In the new worker: dies with its parent, leaves Ctrl-C to it, and keeps libraries' chatter off the screen."""
    Watch(note).note(os.getpid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as file:
            os.dup2(file.fileno(), 2)


def _die_with(sentinel: int) -> None:
    mp_connection.wait([sentinel])
    os._exit(1)


def _work(task: Task, note: Path, suspects: frozenset[int], condemned: dict[int, str]) -> Outcome:
    watch = Watch(note, suspects, condemned)
    watch.note(os.getpid())
    return task.run(watch)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Sets environment variables that worker processes inherit."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
