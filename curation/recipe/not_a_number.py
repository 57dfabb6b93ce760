"""NaN in an expression of the recipe counts as NULL. In DuckDB it is greater than any number, so it would pass `> 5`.

Stored scores and metadata hold no NaN: there it is null. But an expression may compute one (`0.0 / 0.0`,
`'nan'::FLOAT`, `sqrt(-1)`). So wherever a computed floating-point number is compared, cast to something else or asked
for being NULL, NaN is replaced by NULL. `isnan(…)` still sees it.
"""

from functools import lru_cache
from typing import Any

import duckdb

from curation.workspace.sql import as_text, nodes, parsed, parser, quoted

_FLOATS = ("FLOAT", "DOUBLE")
_COMPUTED = ("FUNCTION", "OPERATOR", "CASE", "CAST")
_OPERANDS = {
    "COMPARISON": ("left", "right"),
    "BETWEEN": ("input", "lower", "upper"),
    "CAST": ("child",),
    "OPERATOR": ("children",),
}
"""The parts of a node that are compared, by the node's class; of operators, those of _ASKING."""
_ASKING = ("COMPARE_IN", "COMPARE_NOT_IN", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_CAST")


@lru_cache(maxsize=1024)
def nan_as_null(sql: str, columns: tuple[tuple[str, str], ...]) -> str:
    """Returns an admitted expression in which NaN counts as NULL; an expression that computes no such number as it is.

    Args:
        sql: one scalar expression over the columns.
        columns: name and DuckDB type of at least the columns that it reads.
    """
    tree = parsed(f"SELECT (\n{sql}\n)")["statements"][0]["node"]["select_list"][0]
    guard = _Guard(columns)
    guarded = guard.operand(guard.below(tree))
    return as_text(guarded) if guard.changed else sql


class _Guard:
    """Replaces operands of one expression, and remembers whether it has replaced any."""

    def __init__(self, columns: tuple[tuple[str, str], ...]) -> None:
        fields = ", ".join(f"NULL::{kind} AS {quoted(name)}" for name, kind in columns) or "NULL AS nothing"
        self._empty = f"(SELECT {fields})"
        self.changed = False

    def below(self, node: Any) -> Any:
        """Returns a node with the operands in it replaced."""
        if isinstance(node, list):
            return [self.below(part) for part in node]
        if not isinstance(node, dict):
            return node
        node = {key: self.below(part) for key, part in node.items()}
        if node.get("class") in _OPERANDS and node["type"] in _ASKING or node.get("class") in ("COMPARISON", "BETWEEN"):
            for part in _OPERANDS[node["class"]]:
                node[part] = [self.operand(p) for p in node[part]] if part == "children" else self.operand(node[part])
        return node

    def operand(self, node: dict[str, Any]) -> dict[str, Any]:
        """Returns a node that may compute NaN with NULL in its place, and any other node as it is."""
        if node["class"] not in _COMPUTED:
            return node
        text = as_text(node)
        kind = parser().execute(f"SELECT typeof({text}) FROM {self._empty}").fetchone()
        if kind is None or kind[0] not in _FLOATS or (_is_constant(node) and not _is_nan(text)):
            return node
        self.changed = True
        guarded = parsed(f"SELECT CASE WHEN isnan({text}) THEN NULL ELSE {text} END")
        return dict(guarded["statements"][0]["node"]["select_list"][0])


def _is_constant(node: dict[str, Any]) -> bool:
    return not any(part["class"] == "COLUMN_REF" for part in nodes(node))


def _is_nan(constant: str) -> bool:
    """Returns whether a constant floating-point number, such as `-1::FLOAT`, is NaN, or fails."""
    try:
        row = parser().execute(f"SELECT isnan({constant})").fetchone()
    except duckdb.Error:
        return True
    return row is None or row[0] is not False
