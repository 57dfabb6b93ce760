"""Reads a checkpoint's configuration, and refuses numbers by which a few bytes would build a model of any size."""

import json
import re
from pathlib import Path
from typing import Any

from curation.errors import UserError, in_one_line

_LARGEST = (
    (re.compile(r"([a-z_]*_)?(layers?|depths?|blocks)", re.IGNORECASE), 1_000),
    (re.compile(r"(image|img|crop)_size|height|width", re.IGNORECASE), 20_000),
    (re.compile(r"num_(labels|classes)", re.IGNORECASE), 1_000_000),
)
"""Names of numbers and the largest that is believed. A model of 1,000 layers is built in a second, of 10^6 in an hour;
published ones have some hundred layers, and read images of some thousand pixels."""


class _TooLarge(Exception):
    """A number of a configuration is larger than is believed; one line names both."""


def read_config(key: str, path: Path) -> dict[str, Any]:
    """Reads a configuration.

    Args:
        key: the recipe's key that names the checkpoint, for error messages.
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read, is no JSON object, is nested too deep, or one of its numbers is too large.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        _check(content)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except RecursionError:
        raise UserError(f"{path} is nested too deep", key) from None
    except _TooLarge as error:
        raise UserError(f"{path}: {error}", key) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no JSON: {in_one_line(error)}", key) from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(content).__name__}", key)
    return content


def _check(config: Any) -> None:
    """Checks all numbers of a configuration. Raises _TooLarge."""
    left = [("", config)]
    while left:
        name, content = left.pop()
        if isinstance(content, dict):
            left += content.items()
        elif isinstance(content, list):
            left += [(name, value) for value in content]
        elif isinstance(content, int | float):
            _check_number(name, content)


def _check_number(name: str, content: float) -> None:
    largest = next((largest for names, largest in _LARGEST if names.fullmatch(name)), None)
    if largest is not None and content > largest:
        raise _TooLarge(f"{name} is {content:,}; at most {largest:,} is believed")
