"""Writes to SQLite in one thread: what waits at the same time is committed together, by one sync of the disk.

Each piece of work has a savepoint of its own, so that one that fails takes nothing of the others with it. Nobody is
answered before the commit has returned.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

Work = Callable[[Connection], Any]
TOGETHER = 64
"""Number of pieces of work that are committed together at most."""


class Writer:
    """A thread that runs work in transactions of the engine, which must begin them by BEGIN IMMEDIATE.

    Args:
        engine: an engine of SQLite.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> "Future[Any]":
        """Lets the work run soon; the future has what it returned or raised, once that is committed or rolled back."""
        future: Future[Any] = Future()
        self._waiting.put((work, future))
        return future

    def close(self) -> None:
        """Ends the thread after what waits is done."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            while len(batch) < TOGETHER and not self._waiting.empty():
                if (further := self._waiting.get()) is None:
                    self._waiting.put(None)
                    break
                batch.append(further)
            # What was given up while it waited, as when the server stops, is left out; from here on it cannot be.
            if batch := [one for one in batch if one[1].set_running_or_notify_cancel()]:
                self._commit(batch)

    def _commit(self, batch: "list[tuple[Work, Future[Any]]]") -> None:
        """Runs a batch in one transaction; if that cannot be committed, each piece of work in one of its own."""
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            with self._engine.begin() as connection:
                for work, future in batch:
                    outcomes.append((future, *_tried(connection, work)))
        except Exception as error:  # as on a full disk: SQLite has then rolled back all of it
            if len(batch) > 1:
                for one in batch:
                    self._commit([one])
                return
            outcomes = [(batch[0][1], None, error)]
        for future, result, failure in outcomes:
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(result)


def _tried(connection: Connection, work: Work) -> tuple[Any, BaseException | None]:
    """Runs work in a savepoint; returns its result, or the error by which the savepoint was rolled back.

    Raises:
        Exception: the transaction itself is gone, so that nothing in it can be kept.
    """
    savepoint = connection.begin_nested()
    try:
        result = work(connection)
        savepoint.commit()
    except BaseException as error:
        try:
            savepoint.rollback()
        except DBAPIError:
            raise error from None
        return None, error
    return result, None
