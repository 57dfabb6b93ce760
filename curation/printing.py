"""Prints to the terminal: all output of the command line goes through here, so that no text in it moves the cursor.

File names, captions, a server's messages and the text of errors come from the web. A control character among them could
rewrite what stands on the screen, set the clipboard, or show a text in another order than it has (CVE-2021-42574).
"""

import json
import sys
import traceback
from types import TracebackType
from typing import Any

from curation.json_text import json_text
from curation.texts import printable


def plain(text: str) -> str:
    """Returns the text with control characters, marks of direction and unpaired surrogates escaped."""
    return printable(text).encode("utf-8", "backslashreplace").decode("utf-8")


def show(text: str, end: str = "\n") -> None:
    """Prints text on stdout, escaped as by `plain`."""
    print(plain(text), end=end, flush=True)


def tell(text: str) -> None:
    """Prints text on stderr, escaped as by `plain`."""
    print(plain(text), file=sys.stderr, flush=True)


def show_json(value: Any, indent: int | None = None) -> None:
    """Prints a value on stdout as JSON, and what is no JSON as text; escapes what `plain` does, as JSON has it."""
    text = json_text(value, indent)
    if plain(text) != text:
        text = "".join(c if plain(c) == c else json.dumps(c)[1:-1] for c in text)
    print(text, flush=True)


def clear() -> None:
    """Clears the terminal."""
    print("\033[2J\033[H", end="", flush=True)


def tell_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints an error that nobody expected, for `sys.excepthook`."""
    tell("".join(traceback.format_exception(kind, error, trace)).rstrip())
