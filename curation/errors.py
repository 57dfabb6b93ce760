"""The errors that end a run or cost a row, and the texts in which errors and wrong names are reported."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A wrong recipe, argument or file: one line that names the key or file and the fix. Exit status 2.

    Args:
        detail: what is wrong.
        key: the recipe's dotted key that is to be changed, or an argument such as `query`, with which the line begins;
            "" if `detail` itself names the file or the argument.
        file: the file in which the key stands, which then begins the line; "" if it is not known here.
    """

    def __init__(self, detail: str, key: str = "", file: str = "") -> None:
        super().__init__(detail, key, file)
        self.detail, self.key, self.file = detail, key, file

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.detail) if part)


class UnknownColumn(UserError):
    """An expression of the recipe reads a column that does not exist.

    Args:
        column: the column's name as written in the expression.
        detail, key: see UserError.
    """

    def __init__(self, column: str, detail: str, key: str) -> None:
        super().__init__(detail, key)
        self.args = column, detail, key  # pickle passes them to the constructor in another process
        self.column = column


class StageError(Exception):
    """A stage could not finish its work although recipe and arguments are right. Exit status 1."""


class ChangedShard(StageError):
    """The bytes of a raw shard are not those that the index saw."""


class WorkspaceError(StageError):
    """The workspace cannot be written (disk full, quota, read-only). Every other shard would fail in the same way."""


class RowError(Exception):
    """An error by which one row fails, and no other. The workspace's files store its text, `reason: detail`.

    Args:
        reason: one word, by which failures are counted.
        detail: an explanation for people; may be empty.
        transient: whether the same work may succeed another time, for instance after a timeout, a failure of the
            network or a lack of memory. It is not stored.
    """

    def __init__(self, reason: str, detail: str = "", transient: bool = False) -> None:
        super().__init__(reason, detail, transient)
        self.reason, self.detail, self.transient = reason, detail, transient

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class ImageError(RowError):
    """An image that cannot be used."""


WITHOUT_PIXELS = ("empty", "not_an_image", "truncated", "corrupt", "too_large", "heic", "jxl", "no_range",
                  "unsupported", "unreadable", "changed")  # fmt: skip
"""Reasons of errors by which a picture has no pixels at all, whoever asks for them; other reasons are a model's."""


def reason_of(stored: str) -> str:
    """Returns the reason of a RowError from its stored text. No other code takes that text apart."""
    return stored.partition(": ")[0]


def in_one_line(error: BaseException, limit: int = 300) -> str:
    """Returns an error's message without line breaks, at most `limit` characters; its class's name if it is empty."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns a hint for a name that does not exist: `; did you mean "sharpness"?`, or a list of the known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known: {', '.join(known)}" if 0 < len(known) <= 60 else ""
