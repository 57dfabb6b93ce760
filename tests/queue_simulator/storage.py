"""A database in memory, under the queue's own SQL, whose n-th operation can be made to fail.

Transactions run one after the other, as on SQLite. To let two of them interleave as on PostgreSQL (READ COMMITTED), a
whole transaction can be run inside another one, right before that one locks an item, as long as it has locked none yet.
What it has done until then is committed early: a claim's renewals of leases, and nothing else.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from annotation_ui.database.tables import items, metadata

T = TypeVar("T")
TABLES = tuple(table.name for table in metadata.sorted_tables)


class Crashed(Exception):
    """The database failed in this transaction, which was rolled back."""


@dataclass
class _Transaction:
    fail_at: int
    between: Callable[[], object] | None
    before_lock: int
    operations: int = 0
    locks: int = 0
    has_locked: bool = False


class Storage:
    """A database whose content can be set back to a copy at any time; one object serves many runs."""

    def __init__(self) -> None:
        self._raw = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._raw.execute("PRAGMA foreign_keys=ON")
        engine = create_engine("sqlite://", creator=lambda: self._raw, poolclass=StaticPool)
        metadata.create_all(engine)
        self._empty = self.copy()
        event.listen(engine, "before_cursor_execute", self._before)
        self._connections = (engine.connect(), engine.connect())
        self._running: list[_Transaction] = []

    @property
    def changes(self) -> int:
        """The number of rows changed so far, also by transactions that were rolled back."""
        return self._raw.total_changes

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Returns what a query finds, past SQLAlchemy, and without counting as an operation."""
        return self._raw.execute(query).fetchall()

    def dump(self) -> list[list[tuple[Any, ...]]]:
        """Returns all rows of all tables."""
        return [self.rows(f"select * from {table}") for table in TABLES]

    def copy(self) -> sqlite3.Connection:
        """Returns a copy of the content."""
        copied = sqlite3.connect(":memory:", check_same_thread=False)
        self._raw.backup(copied)
        return copied

    def reset(self, content: sqlite3.Connection | None = None) -> None:
        """Makes the content that of a copy, or removes all rows."""
        (content or self._empty).backup(self._raw)

    def transact(
        self,
        work: Callable[[Connection], T],
        fail_at: int = 0,
        between: Callable[[], object] | None = None,
        before_lock: int = 1,
    ) -> T:
        """Runs the work in a transaction, as `annotation_ui.database.engine.Database.write` does.

        Args:
            fail_at: the number of the operation that fails, from 1 on; the commit is the last; 0 for none.
            between: what happens beside it, unless it has found and locked an item earlier.
            before_lock: the number of the statement that locks items, from 1 on, before which this happens.

        Raises:
            Crashed: an operation was made to fail.
        """
        connection = self._connections[len(self._running)]
        mine = _Transaction(fail_at, between, before_lock)
        self._running.append(mine)
        if between is None:
            self._raw.execute("BEGIN")
        try:
            done = work(connection)
            self._count(mine)
            connection.commit()
            return done
        except OperationalError as error:
            connection.rollback()
            if "made to fail" in str(error):
                raise Crashed from None
            raise
        except BaseException:
            connection.rollback()
            raise
        finally:
            self._running.pop()
            if self._raw.in_transaction:  # nothing was executed, so SQLAlchemy knows of no transaction
                self._raw.execute("ROLLBACK")

    def _before(self, _connection: Any, _cursor: Any, _sql: str, _values: Any, context: Any, _many: bool) -> None:
        mine = self._running[-1]
        if mine.between is not None:
            locks = _locks_items(context)
            mine.has_locked |= context.isupdate and context.compiled.statement.table is items
            mine.locks += locks
            if locks and mine.locks == mine.before_lock and not mine.has_locked:
                between, mine.between = mine.between, None
                if self._raw.in_transaction:
                    self._raw.execute("COMMIT")
                between()
            if not self._raw.in_transaction and (locks or _writes(context)):
                self._raw.execute("BEGIN")
        self._count(mine)

    def _count(self, mine: _Transaction) -> None:
        mine.operations += 1
        if mine.operations == mine.fail_at:
            raise OperationalError("operation", {}, sqlite3.OperationalError("made to fail"))


def _writes(context: Any) -> bool:
    return bool(context.isinsert or context.isupdate or context.isdelete)


def _locks_items(context: Any) -> bool:
    statement = context.invoked_statement
    locked = getattr(statement, "_for_update_arg", None)  # SQLite's SQL has no FOR UPDATE in which it would show
    return locked is not None and any(items in table._from_objects for table in statement.get_final_froms())
