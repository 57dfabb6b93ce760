"""`engine: local`: worker processes of this machine, a pool of a single process for each slot."""

import contextlib
import math
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from curation.child_process import follow_parent
from curation.tasks import Demand, Outcome, Watch
from pipelines.engine import Attempt, Engine, Slot, WorkerDied
from pipelines.worker import ONE_THREAD, machine_memory, visible_gpus, work

MEMORY_SHARE = 0.9
"""Share of the machine's memory that all workers together may hold."""


class LocalEngine(Engine["Future[Outcome]"]):
    """Runs tasks on processes of this machine. Of a task's demands only GPUs count, if the machine has any.

    Args:
        workers: number of processes; None for one per core.
        image_timeout: see Engine.
        log: file for the output of the workers' libraries.
        memory: bytes that one worker may hold; None divides the machine's memory among the workers that run at once.
    """

    def __init__(
        self,
        workers: int | None = None,
        image_timeout: float = 60,
        log: Path | None = None,
        memory: int | None = None,
    ) -> None:
        super().__init__(image_timeout)
        self.workers = workers or len(os.sched_getaffinity(0))
        self.memory = memory
        self.log = log
        self._folder = tempfile.TemporaryDirectory(prefix="curate-")
        self._slots: list[_LocalSlot] = []
        self._gpus = visible_gpus()
        self._together = 1
        """Number of GPUs that one worker is given; the GPUs of two workers are either the same or disjoint."""

    def prepare(self, demands: set[Demand], tasks: int) -> None:
        """Implements Engine. Ends workers that the tasks cannot use, or that have fewer GPUs than the tasks demand."""
        together = max(1, *(math.ceil(demand.gpus) for demand in demands))
        if together != self._together:  # a process keeps the GPUs it started with
            self._end(0)
            self._together = together
        at_once = min(self.workers, max(map(self._at_once, demands)))
        self._end(at_once)  # idle workers hold memory, of GPUs too
        groups = self._groups
        while len(self._slots) < min(at_once, tasks):
            number = len(self._slots)
            gpus = groups[number % len(groups)] if groups else None
            self._slots.append(_LocalSlot(Path(self._folder.name) / str(number), self.log, gpus))
        for slot in self._slots:
            slot.memory = self.memory or int(MEMORY_SHARE * machine_memory() / at_once)

    def slots(self, demand: Demand) -> "Sequence[Slot[Future[Outcome]]]":
        """Implements Engine. A task that demands GPUs gets only as many slots as there are GPUs for."""
        return self._slots[: self._at_once(demand)]

    @property
    def _groups(self) -> list[str]:
        """The GPUs of each worker, as CUDA_VISIBLE_DEVICES lists them; all in one group if they are too few."""
        each = min(self._together, len(self._gpus))
        return [",".join(self._gpus[i : i + each]) for i in range(0, len(self._gpus) - each + 1, each or 1) if each]

    def _at_once(self, demand: Demand) -> int:
        """Returns how many tasks of this demand may run at the same time."""
        if not demand.gpus or not self._gpus:
            return self.workers
        return len(self._groups) * max(1, int(self._together / demand.gpus))

    def _end(self, first: int) -> None:
        """Ends the workers from number `first` on."""
        for slot in self._slots[first:]:
            slot.kill()
        del self._slots[first:]

    def wait(self, handles: "list[Future[Outcome]]", seconds: float) -> "Iterable[Future[Outcome]]":
        """Implements Engine."""
        return wait(handles, seconds, return_when=FIRST_COMPLETED).done

    def close(self) -> None:
        """Implements Engine; also removes the folder of note files."""
        self._end(0)
        self._folder.cleanup()


class _LocalSlot(Slot["Future[Outcome]"]):
    """A slot whose worker is the only process of a pool."""

    def __init__(self, note: Path, log: Path | None, gpus: str | None = None) -> None:
        super().__init__(note)
        self.log, self.gpus = log, gpus
        self.memory = 0
        """Number of bytes that the worker may hold."""
        self.pool: ProcessPoolExecutor | None = None

    def start(self, attempt: Attempt) -> "Future[Outcome]":
        arguments = attempt.arguments(self.note, self.memory)
        if self.pool is not None:
            try:
                return self.pool.submit(work, *arguments)
            except BrokenProcessPool:  # the worker died while idle
                self._end_pool()
        values = ONE_THREAD if self.gpus is None else ONE_THREAD | {"CUDA_VISIBLE_DEVICES": self.gpus}
        with _environment(values), _no_interrupt():  # inherited: only the parent handles Ctrl-C
            self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (self.note, self.log))
            return self.pool.submit(work, *arguments)

    def outcome(self, handle: "Future[Outcome]") -> Outcome:
        try:
            return handle.result()
        except BrokenProcessPool:
            self._end_pool()
            raise WorkerDied from None

    def kill(self) -> None:
        for process in list((self.pool._processes or {}).values()) if self.pool else []:
            process.kill()
        if not self.late:  # the pool of a late worker is ended in `outcome`
            self._end_pool()

    def _end_pool(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
            self.pool = None


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    """Blocks SIGINT within the block: it stays pending, and a process started within inherits the blocked signal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(note: Path, log: Path | None) -> None:
    """Initializes a worker: it dies with its parent, ignores Ctrl-C, and sends the output of libraries to the log."""
    Watch(note).note(os.getpid())
    follow_parent()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as file:
            os.dup2(file.fileno(), 2)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Sets environment variables within the block, for worker processes to inherit."""
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
