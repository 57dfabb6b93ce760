"""The ways in which a run can go wrong for its user, and how an error and a wrong name are told."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A wrong recipe, argument or file: one line that names the key or file and the fix. Exit status 2.

    Args:
        detail: what is wrong.
        key: what the line begins with, the recipe's dotted key that is to be changed, or an argument such as `query`;
            "" where `detail` itself names the file or the argument.
    """

    def __init__(self, detail: str, key: str = "") -> None:
        super().__init__(detail, key)
        self.detail, self.key = detail, key

    def __str__(self) -> str:
        return f"{self.key}: {self.detail}" if self.key else self.detail


class UnknownColumn(UserError):
    """An expression of the recipe reads a column that does not exist.

    Args:
        column: its name as it is written there.
        detail, key: see UserError.
    """

    def __init__(self, column: str, detail: str, key: str) -> None:
        super().__init__(detail, key)
        self.args = column, detail, key  # by which it is made again in another process
        self.column = column


class StageError(Exception):
    """Work that could not be finished although it was asked for rightly. Exit status 1."""


class WorkspaceError(StageError):
    """The workspace cannot be written: disk full, quota, read-only. Every other shard would meet the same."""


class RowError(Exception):
    """What costs one row, and no other. Its text, `reason: detail`, is what the workspace's files store of it.

    Args:
        reason: one word for counting.
        detail: more for people; may be empty.
        transient: whether the same work may succeed another time, as after a timeout, a failure of the network or
            a lack of memory. It is not stored.
    """

    def __init__(self, reason: str, detail: str = "", transient: bool = False) -> None:
        super().__init__(reason, detail, transient)
        self.reason, self.detail, self.transient = reason, detail, transient

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def reason_of(stored: str) -> str:
    """The reason of a RowError, from its stored text. Nothing else takes that text apart."""
    return stored.partition(": ")[0]


def in_one_line(error: BaseException, limit: int = 300) -> str:
    """An error's message without line breaks, `limit` characters at most."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that does not exist: `; did you mean "sharpness"?`, or the list of what there is."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known: {', '.join(known)}" if 0 < len(known) <= 60 else ""
