"""Limits of time and memory for one query of DuckDB."""

import contextlib
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb

AGAIN = 0.1
"""Seconds between two interruptions: one that comes between two steps of a query is lost."""
BESIDE = 512 * 2**20
"""Bytes that the process may take beside those of the query: the stacks of DuckDB's threads, and Python's own."""


class TimeLimit(Exception):
    """A query took longer than it may."""


class MemoryLimit(Exception):
    """A query needs more memory than it may take."""


@contextlib.contextmanager
def limited(connection: duckdb.DuckDBPyConnection, seconds: float, memory: int) -> Iterator[None]:
    """Ends what the connection does within the context at a limit.

    DuckDB does not count the memory of some long values against its own `memory_limit`, so the limit holds for the
    process too, where Linux can tell how much it has.

    Args:
        connection: the connection.
        seconds: the limit of time.
        memory: the limit of memory, in bytes.

    Raises:
        TimeLimit, MemoryLimit: the limit was hit.
    """
    ended = threading.Event()

    def interrupt() -> None:
        wait = seconds
        while not ended.wait(wait):
            connection.interrupt()
            wait = AGAIN

    timer = threading.Thread(target=interrupt, daemon=True)
    timer.start()
    try:
        with _process_memory(memory + BESIDE):
            yield
    except duckdb.InterruptException:
        raise TimeLimit from None
    except (duckdb.OutOfMemoryException, MemoryError):
        raise MemoryLimit from None
    finally:
        ended.set()
        timer.join()


@contextlib.contextmanager
def _process_memory(more: int) -> Iterator[None]:
    """Lets this process take only so many bytes more than it has, within the context."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (min([_memory() + more, *limits]), hard))
    except (OSError, ValueError):  # no Linux
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _memory() -> int:
    """Returns the bytes that count against RLIMIT_DATA. Raises OSError where the system does not tell them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmData")
