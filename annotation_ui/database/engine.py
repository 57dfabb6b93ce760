"""Opens the database, and runs each piece of work in one transaction.

SQLite has one writer: a thread of its own in each process, and BEGIN IMMEDIATE between processes, so that no
transaction fails half-way because another has written. `synchronous=FULL` syncs every commit to the disk before it
returns: a vote is acknowledged only then.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import anyio.to_thread
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, OperationalError

from annotation_ui.database.writer import Writer
from curation.errors import StageError, UserError, in_one_line

T = TypeVar("T")
BUSY_SECONDS = 30
"""Time that a writer waits for another process on SQLite."""
ATTEMPTS = 8
"""Number of times that a transaction is begun which another one made fail."""
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_RETRIED = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available


class StorageFailed(StageError):
    """The database cannot be written now, because the disk is full or gone; nothing of the request is kept."""


class Database:
    """A database of the tool, on SQLite or PostgreSQL; may be used by several threads.

    Args:
        url: an address as SQLAlchemy has it, `sqlite:////path/to/file` or `postgresql://user:password@host/name`.

    Raises:
        UserError: the address is none of these.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise UserError("expected an address such as postgresql://user@host/name", "annotation.database") from None
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise UserError("expected sqlite:///FILE or postgresql://user@host/name", "annotation.database")
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite and parsed.database in (None, "", ":memory:"):
            raise UserError("expected a file, sqlite:///FILE: votes in memory would be lost", "annotation.database")
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        self._place = parsed.database if self.is_sqlite else "annotation.database"
        options: dict[str, Any] = {"pool_size": 8, "max_overflow": 32}
        if self.is_sqlite:
            options |= {"connect_args": {"timeout": BUSY_SECONDS, "check_same_thread": False}}
        else:
            options |= {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}
        try:
            self.engine: Engine = create_engine(parsed, **options)
        except (ModuleNotFoundError, NoSuchModuleError):
            detail = "PostgreSQL needs a driver: pip install 'curate[postgres]'"
            raise UserError(detail, "annotation.database") from None
        self._writer: Writer | None = None
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
            self._writer = Writer(self.engine.execution_options(sqlite_begin="BEGIN IMMEDIATE"))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Runs the work in a transaction that may write, commits it durably, and returns what the work returns.

        A transaction that fails because of another one is rolled back and run again, so the work must have no effect
        but through its connection.

        Raises:
            StorageFailed: the disk is full, or the database cannot be reached.
        """
        if self._writer is None:
            return self._in_own_transaction(work)
        try:
            result: T = self._writer.submit(work).result()
        except DBAPIError as error:
            raise self._explained(error) from error
        return result

    async def write_soon(self, work: Callable[[Connection], T]) -> T:
        """Does as `write` does, and lets other requests be answered meanwhile."""
        if self._writer is None:
            return await anyio.to_thread.run_sync(self._in_own_transaction, work)
        try:
            result: T = await asyncio.wrap_future(self._writer.submit(work))
        except DBAPIError as error:
            raise self._explained(error) from error
        return result

    def _in_own_transaction(self, work: Callable[[Connection], T]) -> T:
        for attempt in range(ATTEMPTS):
            try:
                with self.engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if attempt == ATTEMPTS - 1 or not _is_conflict(error):
                    raise self._explained(error) from error
        raise AssertionError("unreachable")

    def read(self, work: Callable[[Connection], T]) -> T:
        """Runs the work in a transaction that only reads, and returns what the work returns.

        Raises:
            StorageFailed: the database cannot be read.
        """
        with self.reading() as connection:
            return work(connection)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yields the connection of a transaction that only reads and sees one state of the database throughout."""
        try:
            with self.engine.connect() as connection:
                if not self.is_sqlite:
                    connection = connection.execution_options(isolation_level="REPEATABLE READ")
                yield connection
        except DBAPIError as error:
            raise self._explained(error) from error

    def _explained(self, error: DBAPIError) -> Exception:
        """Returns StorageFailed for an error of the disk or the connection, otherwise the error itself."""
        code = getattr(error.orig, "sqlite_errorcode", None)
        detail = in_one_line(error.orig or error, 120)
        if code is not None and code & 0xFF in _DAMAGED:
            return StorageFailed(f"{self._place}: is damaged; put the last backup in its place ({detail})")
        if code is not None and code & 0xFF in _FULL | {sqlite3.SQLITE_BUSY}:
            return StorageFailed(f"{self._place}: the votes' database cannot be written: {detail}")
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if state.startswith(("08", "53", "57")) or (isinstance(error, OperationalError) and not state and code is None):
            return StorageFailed(f"{self._place}: the votes' database cannot be reached: {detail}")
        return error

    def close(self) -> None:
        """Closes all connections, after what waits to be written is written."""
        if self._writer is not None:
            self._writer.close()
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions by itself, and too late
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA cache_size=-4000")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def _is_conflict(error: DBAPIError) -> bool:
    """Returns whether the transaction failed only because of another one that ran at the same time."""
    if isinstance(error, IntegrityError):
        return True  # another transaction has written the row that this one would; the next try finds it
    return getattr(error.orig, "sqlstate", None) in _RETRIED
