"""Refuses SQL that makes a value of gigabytes from a few characters, such as `repeat('x', 1000000000)`.

DuckDB evaluates what holds no column while it prepares a statement, where no limit of memory or time holds. So the size
of every value is estimated from the syntax tree before: a text has as many characters as it is written with, and a
column is taken for `COLUMN` of them.
"""

import math
import re
from collections.abc import Iterable
from typing import Any

from curation.errors import UserError

LARGEST = 100_000_000
"""Largest size of a value, in characters or bytes."""
COLUMN = 1_000
"""The size that a column's value is taken for."""

_TIMES = {"repeat": 1, "list_resize": 1, "array_resize": 1, "lpad": 1, "rpad": 1, "bitstring": 1}
"""Functions that make a value as many times as large as one of their arguments says: the argument's place."""
_RANGES = ("range", "generate_series")
"""Functions that count up to a number."""
_LAMBDAS = ("list_transform", "list_apply", "array_transform", "array_apply", "apply")
"""Functions that make a value for each element of a list."""
_WRITTEN = {"bin": 8, "to_binary": 8, "url_encode": 3, "hex": 2, "to_hex": 2, "base64": 2, "to_base64": 2}
"""Functions that write each byte with so many characters, at most."""
_REPLACING = ("replace", "regexp_replace")
_FORMATS = ("printf", "format")


class _TooLarge(Exception):
    """A function would make a value larger than `LARGEST`; the argument is its name."""


def check_sizes(tree: Any, key: str, data: bool) -> None:
    """Checks a syntax tree as `curation.workspace.sql.parsed` returns it.

    Args:
        tree: the tree, or a part of it.
        key: the recipe's key or the argument that holds the SQL, for the error.
        data: whether a column may say how large a value is; a query may, whose time and memory are limited.

    Raises:
        UserError: a value could be larger than `LARGEST`; the message names the function that makes it.
    """
    try:
        _size(tree, COLUMN if data else math.inf)
    except _TooLarge as error:
        raise UserError(
            f"{error} could make a value of more than {LARGEST // 10**6} MB; give it smaller numbers, in digits", key
        ) from None


def _size(tree: Any, column: float) -> float:
    """Returns the estimated size of all values of a tree.

    Args:
        tree: the tree.
        column: what a number is taken for that a column gives.

    Raises:
        _TooLarge: a value of the tree is larger than LARGEST.
    """
    if isinstance(tree, list):
        return _sum(tree, column)
    if not isinstance(tree, dict):
        return 0
    kind = tree.get("class")
    if kind == "CONSTANT":
        return len(_literal(tree))
    if kind == "COLUMN_REF":
        return COLUMN
    if kind == "FUNCTION":
        size = _made(tree["function_name"].lower(), [a["expression"] for a in tree["arguments"]], column)
        if size > LARGEST:
            raise _TooLarge(tree["function_name"])
        return size
    if tree.get("type") == "TABLE_FUNCTION":  # it gives row after row, and holds none of them
        return _size(tree["function"]["arguments"], column)
    return _sum(tree.values(), column)


def _sum(parts: Iterable[Any], column: float) -> float:
    total = 0.0
    for part in parts:
        total += _size(part, column)
    return total


def _made(name: str, arguments: list[Any], column: float) -> float:
    """Returns the estimated size of what a function makes."""
    sizes = [_size(argument, column) for argument in arguments]
    if name in _TIMES and len(arguments) > _TIMES[name]:
        return max(1, sum(sizes) - sizes[_TIMES[name]]) * _number(arguments[_TIMES[name]], column)
    if name in _RANGES:
        return 8 * max((_number(argument, column) for argument in arguments), default=0)
    if name in _LAMBDAS and len(sizes) == 2:
        return sizes[0] * max(1, sizes[1])
    if name in _REPLACING and len(sizes) > 2:
        return sizes[0] * max(1, sizes[2] / max(1, sizes[1] if name == "replace" else 1))
    if name in _FORMATS and arguments:
        return sum(sizes) + _widths(arguments[0], column)
    return sum(sizes) * _WRITTEN.get(name, 1)


def _number(node: Any, column: float) -> float:
    """Returns the number that an argument is: infinite if only its evaluation would tell."""
    while node["class"] == "CAST" or (node["class"] == "FUNCTION" and node["function_name"] in ("-", "+")):
        inner = [node["child"]] if node["class"] == "CAST" else [a["expression"] for a in node["arguments"]]
        if len(inner) != 1:
            break
        node = inner[0]
    if node["class"] == "CONSTANT":
        try:
            return abs(float(_literal(node)))
        except ValueError:
            return math.inf
    return column if _reads_columns(node) else math.inf


def _widths(node: Any, column: float) -> float:
    """Returns the sum of all numbers in a format such as `%10d`; infinite for one that takes widths from arguments."""
    if node["class"] != "CONSTANT":
        return column if _reads_columns(node) else math.inf
    text = _literal(node)
    if re.search(r"%[^a-zA-Z%]*\*|\{[^{}]*\{", text):
        return math.inf
    return sum(float(digits) for digits in re.findall(r"\d+", text))


def _literal(constant: dict[str, Any]) -> str:
    """Returns the text of a constant, where DuckDB writes it now or where it did before 1.5."""
    literal = constant.get("literal") or constant.get("value") or {}
    return str(literal.get("text", literal.get("value", "")))


def _reads_columns(tree: Any) -> bool:
    if isinstance(tree, list):
        return any(map(_reads_columns, tree))
    return isinstance(tree, dict) and (
        tree.get("class") in ("COLUMN_REF", "SUBQUERY") or any(map(_reads_columns, tree.values()))
    )
