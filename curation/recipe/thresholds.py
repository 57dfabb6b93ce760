"""Finds the numbers in a predicate that can be moved, and writes the predicate with other numbers in their place.

`sharpness >= 30` has one, `aspect_ratio BETWEEN 0.4 AND 2.5` two. A threshold compares a plain numeric column by <, <=,
>, >= or BETWEEN with one constant number, which may have a sign, an exponent, or a cast to FLOAT or DOUBLE.

Comparisons are searched for only below AND, OR and NOT: there, a row that passes one more comparison is nearer to
passing the whole predicate (below NOT the operator is inverted). Within CASE, a function, IS NULL and the like no such
statement holds, so these numbers are left alone.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from curation.errors import UserError
from curation.recipe.predicates import Predicate
from curation.workspace.sql import parsed

_OPERATORS = {
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
}
_NOT = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}
_SWAPPED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}
_NUMERIC = re.compile(r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL(\(.*\))?")
_NUMBER = re.compile(r"(-\s*)?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(e[+-]?\d+)?", re.IGNORECASE)
_FLOATS = ("FLOAT", "FLOAT4", "FLOAT8", "REAL", "DOUBLE", "DOUBLE PRECISION")
_WRAP = "SELECT (\n{}\n)"


@dataclass(frozen=True, slots=True)
class Threshold:
    """One number of a predicate that can be moved."""

    predicate: str
    """The predicate's name in the recipe."""
    number: int
    """Number of the threshold within its predicate, from 0, in the order of the text."""
    column: str
    """A numeric column of the images."""
    operator: str
    """The comparison of column and value by which a row passes: `>=`, `>`, `<=` or `<`."""
    value: float
    """The number as it stands in the text."""
    start: int
    """Position of the number in the text, in characters: `text[start:stop]`."""
    stop: int
    """Position after the last character of the number."""


def thresholds(predicate: Predicate, columns: Mapping[str, str]) -> list[Threshold]:
    """Returns the thresholds of an admitted predicate, in the order of its text.

    Args:
        predicate: the predicate.
        columns: the columns of an image, name to DuckDB type (`Cascade.columns`).
    """
    wrapped = _WRAP.format(predicate.sql)
    tree = parsed(wrapped)["statements"][0]["node"]["select_list"][0]
    places = []
    for column, operator, constant in _comparisons(tree, negated=False):
        name = next((c for c in columns if c.lower() == column.lower()), None)
        place = _place(constant, wrapped)
        if name and place and is_number(columns[name]):
            start = place[0] - _WRAP.index("{")
            stop = place[1] - _WRAP.index("{")
            value = float("".join(predicate.sql[start:stop].split()))
            if math.isfinite(value):
                places.append((start, stop, name, operator, value))
    return [
        Threshold(predicate.name, number, name, operator, value, start, stop)
        for number, (start, stop, name, operator, value) in enumerate(sorted(places))
    ]


def moved(sql: str, movable: Sequence[Threshold], values: Mapping[int, float]) -> str:
    """Returns a predicate's text with some of its numbers replaced; all else stays byte for byte.

    Args:
        sql: the predicate's text.
        movable: the predicate's thresholds.
        values: new numbers by `Threshold.number`; an unchanged number keeps its text.

    Raises:
        UserError: a value is not finite.
    """
    for threshold in sorted(movable, key=lambda t: t.start, reverse=True):
        value = values.get(threshold.number, threshold.value)
        if value != threshold.value:
            before, after = sql[: threshold.start], sql[threshold.stop :]
            sql = f"{before}{_gap(before[-1:])}{number_text(value)}{_gap(after[:1])}{after}"
    return sql


def is_number(kind: str) -> bool:
    """Returns whether a DuckDB type is a plain number."""
    return _NUMERIC.fullmatch(kind) is not None


def number_text(value: float) -> str:
    """Formats a number for SQL: 30 rather than 30.0, and no exponent from 1e-12 to 1e18.

    Raises:
        UserError: the number is not finite.
    """
    if not math.isfinite(value):
        raise UserError(f"{value} is not a number that a predicate can compare with")
    if value and not 1e-12 <= abs(value) < 1e18:
        return repr(float(value))
    text = format(Decimal(repr(float(value))), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _comparisons(node: dict[str, Any], negated: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields each comparison of a column: the column as written, the operator by which a row passes, the other side."""
    if node["class"] == "CONJUNCTION" or node["type"] == "OPERATOR_NOT":
        for child in node["children"]:
            yield from _comparisons(child, negated != (node["type"] == "OPERATOR_NOT"))
    elif node["class"] == "BETWEEN" and node["type"] == "COMPARE_BETWEEN":
        column = _column(node["input"])
        if column:
            yield column, "<" if negated else ">=", node["lower"]
            yield column, ">" if negated else "<=", node["upper"]
    elif node["class"] == "COMPARISON" and node["type"] in _OPERATORS:
        operator = _OPERATORS[node["type"]]
        left, right = _column(node["left"]), _column(node["right"])
        if left and not right:
            yield left, _NOT[operator] if negated else operator, node["right"]
        elif right and not left:
            operator = _SWAPPED[operator]
            yield right, _NOT[operator] if negated else operator, node["left"]


def _column(node: dict[str, Any]) -> str | None:
    return ".".join(node["column_names"]) if node["class"] == "COLUMN_REF" else None


def _place(node: dict[str, Any], wrapped: str) -> tuple[int, int] | None:
    """Returns start and stop of a constant number in the text; None if the node is anything else."""
    if node["class"] == "CAST" and not node["try_cast"] and _cast_to(node) in _FLOATS:
        return _place(node["child"], wrapped)
    if node["class"] == "FUNCTION" and node["function_name"] in ("+", "-") and len(node["arguments"]) == 1:
        place = _place(node["arguments"][0]["expression"], wrapped)
        if place is None or wrapped[place[0]] in "+-":
            return None
        # The sign of `+7`, or of `-7::FLOAT`, which is -(7::FLOAT), is a node of its own in the syntax tree.
        sign = wrapped[: place[0]].rstrip()
        return (len(sign) - 1, place[1]) if sign.endswith(node["function_name"]) else None
    if node["class"] != "CONSTANT":
        return None
    # DuckDB counts bytes, and gives 2**64 - 1 for a node without a position of its own.
    start = len(wrapped.encode()[: node["query_location"]].decode(errors="ignore"))
    match = _NUMBER.match(wrapped, start)
    return match.span() if match else None


def _cast_to(node: dict[str, Any]) -> str:
    return str(node.get("type_expr", {}).get("type_name", "")).upper()


def _gap(neighbour: str) -> str:
    """Returns a space if the number would otherwise run into a word, as in `BETWEEN-1 AND-2`."""
    return " " if neighbour.isalnum() or neighbour == "_" else ""
