"""Caches the answers of generative backends beside the captions: one SQLite file per shard, written by one worker.

An answer costs GPU time or money, so it is stored as soon as it arrives: a worker that is killed repeats at most one
batch, and a rerun with other checks, with another translator or after a loss of files requests only what is new.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from curation.errors import WorkspaceError
from curation.models.text.generation import Answer

WAIT = 60.0
"""Seconds to wait for another process that still has the file open and is about to be stopped."""
_AT_ONCE = 500
"""Number of names in one statement; SQLite limits the number of values."""


class Answers:
    """The cached answers of one shard, each under the digest of its request.

    A damaged file is replaced by an empty one, since it is only a cache.

    Args:
        path: the file, created on first use.

    Raises:
        WorkspaceError: the file cannot be read or written; any method may raise it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: sqlite3.Connection | None = None

    def get(self, names: Sequence[str]) -> dict[str, Answer]:
        """Returns the cached answers among these names, by name."""
        answers: dict[str, Answer] = {}
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            sql = f"SELECT name, answer FROM answers WHERE name IN ({','.join('?' * len(some))})"
            answers |= {name: Answer(**json.loads(text)) for name, text in self._run(sql, some)}
        return answers

    def put(self, answers: Mapping[str, Answer]) -> None:
        """Stores answers in one transaction. Failed and empty ones are left out, so that they are requested again."""
        rows = [(n, _as_text(answer)) for n, answer in answers.items() if answer.text.strip() and not answer.failed]
        try:
            with self._connection as connection:  # one transaction
                connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise WorkspaceError(f"cannot write {self.path}: {error}") from None

    def close(self) -> None:
        """Closes the file."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _run(self, sql: str, values: Sequence[str]) -> list[tuple[str, str]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise WorkspaceError(f"cannot read {self.path}: {error}") from None

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._kept is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                if not _whole(self.path):
                    self.path.unlink()
                self._kept = sqlite3.connect(self.path, timeout=WAIT)
                self._kept.execute("CREATE TABLE IF NOT EXISTS answers (name TEXT PRIMARY KEY, answer TEXT NOT NULL)")
            except (sqlite3.Error, OSError) as error:
                raise WorkspaceError(f"cannot open {self.path}: {error}") from None
        return self._kept


def _as_text(answer: Answer) -> str:
    return json.dumps(asdict(answer), ensure_ascii=False)


def _whole(path: Path) -> bool:
    """Returns whether the file is missing or a sound table of answers, and not damaged."""
    if not path.exists():
        return True
    try:
        with closing(sqlite3.connect(path, timeout=WAIT)) as connection:
            sound = connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
                return sound  # the process was killed before it had created the table
            for _name, text in connection.execute("SELECT name, answer FROM answers LIMIT 1"):
                Answer(**json.loads(text))
        return sound
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):  # in use, and not damaged
            raise
        return False
    except (sqlite3.DatabaseError, ValueError, TypeError):
        return False
