"""Runs a task within a worker process, whichever engine started the process."""

import os
import threading
import time
from pathlib import Path

from curation.tasks import Outcome, Task, Watch, WorkerLost
from curation.workspace.arrow import without_pandas
from curation.workspace.files import fenced

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
"""Environment that limits a worker to one thread: more would disturb other workers, and change sums."""
_LOOK = 0.1
"""Seconds between two checks of the memory in use."""


def work(
    task: Task,
    note: Path,
    memory: int | None,
    suspects: frozenset[int],
    condemned: dict[tuple[int, int], str],
    token: str | None,
) -> Outcome:
    """Runs one task under watch.

    Args:
        task: the task.
        note: the file in which to note the rows that are being processed.
        memory: bytes that this process may hold; above them it ends itself, and the note says so. None sets no limit.
        suspects, condemned: see Watch.
        token: the fencing token of the run, see `curation.workspace.files.fenced`.
    """
    without_pandas()
    watch = Watch(note, suspects, condemned)
    watch.note(os.getpid())
    _guard.follow(watch, memory)
    with fenced(token):
        try:
            return task.run(watch)
        except WorkerLost:
            os._exit(1)
        finally:
            _guard.follow(None, None)


class _MemoryGuard:
    """Ends this process before its memory use starves the machine; checks from one thread per process."""

    def __init__(self) -> None:
        self._followed: tuple[Watch, int] | None = None  # one value, so that the thread never sees half an update
        self._thread: threading.Thread | None = None

    def follow(self, watch: Watch | None, limit: int | None) -> None:
        """Guards this process from now on for the task of `watch`; stops guarding if either argument is None.

        Args:
            watch: takes note of the reason before the process ends itself.
            limit: maximum number of bytes that the process may hold.
        """
        self._followed = (watch, limit) if watch is not None and limit else None
        if limit and self._thread is None:
            self._thread = threading.Thread(target=self._look, daemon=True)
            self._thread.start()

    def _look(self) -> None:
        while True:
            if (followed := self._followed) is not None and own_memory() > followed[1]:
                followed[0].over_memory()
                os._exit(1)
            time.sleep(_LOOK)


_guard = _MemoryGuard()
_PAGE = os.sysconf("SC_PAGE_SIZE")


def visible_gpus() -> list[str]:
    """Returns the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them, without asking a driver."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    try:
        return [str(number) for number in range(len(os.listdir("/proc/driver/nvidia/gpus")))]
    except OSError:
        return []


def own_memory() -> int:
    """Returns the bytes of memory private to this process: resident, less what is mapped from files."""
    with open("/proc/self/statm", "rb") as file:
        fields = file.read().split()
    return (int(fields[1]) - int(fields[2])) * _PAGE


def machine_memory() -> int:
    """Returns the bytes of memory of this machine, or the limit of its control group if that is lower."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no control group, or "max"
        return total
