"""The two ways in which a run can go wrong for its user, and how an error and a wrong name are told."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A wrong recipe, argument or file: one line that names the key or file and the fix. Exit status 2."""


class StageError(Exception):
    """Work that could not be finished although it was asked for rightly. Exit status 1."""


class WorkspaceError(StageError):
    """The workspace cannot be written: disk full, quota, read-only. Every other shard would meet the same."""


def in_one_line(error: BaseException) -> str:
    """An error's message without line breaks, 300 characters at most."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that does not exist: `; did you mean "sharpness"?`, or the list of what there is."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known: {', '.join(known)}" if 0 < len(known) <= 60 else ""


class SignalError(Exception):
    """One row could not be scored. `reason` is one word for counting."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
