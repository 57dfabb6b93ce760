"""Checks predicates and queries: SQL from a file or a page is admitted only if it can do no harm.

A predicate is one scalar expression over the columns of an image: no subquery, table, window or aggregate, and only
pure functions of their arguments. A query is one SELECT. Both run in a DuckDB that reads nothing outside the folders
that it is given.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import duckdb

from curation.errors import UnknownColumn, UserError, nearest
from curation.recipe.not_a_number import nan_as_null
from curation.recipe.quotes import quotes_hint
from curation.recipe.sizes import check_sizes
from curation.workspace.sql import message, nodes, parsed, parser, quoted

_SCALAR_NODES = {
    "COLUMN_REF",
    "CONSTANT",
    "COMPARISON",
    "CONJUNCTION",
    "FUNCTION",
    "OPERATOR",
    "BETWEEN",
    "CASE",
    "CAST",
    "COLLATE",
    "TYPE",
}


@dataclass(frozen=True, slots=True)
class Predicate:
    """A predicate that `admit` has checked."""

    name: str
    sql: str
    """The text, as in the recipe."""
    columns: frozenset[str]
    types: tuple[tuple[str, str], ...] | None = None
    """The columns with their DuckDB types; None for SQL in which no number is computed that may be NaN."""

    @property
    def test(self) -> str:
        """The SQL that is evaluated: the text, in which NaN counts as NULL."""
        return self.sql if self.types is None else nan_as_null(self.sql, self.types)

    @property
    def mark(self) -> str:
        """A comment that marks this predicate's `WHEN` in SQL made from many predicates; see `failing`."""
        return f"/* select.where.{self.name} */"


def admit(name: str, sql: str, columns: Mapping[str, str], where: str = "select.where", form: str = "{}") -> Predicate:
    """Checks a predicate.

    Args:
        name: its name in the recipe.
        sql: its text.
        columns: the columns of an image, name to DuckDB type.
        where: the recipe's key that holds the predicate, for messages.
        form: the predicate into which the text is put, for an expression that is no predicate itself.

    Raises:
        UserError: the text is not one expression, or is with its form not one scalar boolean expression over these
            columns; or it makes a value of gigabytes.
    """
    if form != "{}":
        _only_select(sql, where)
    return _admitted(name, form.format(sql), tuple(columns.items()), where)


@lru_cache(maxsize=1024)
def _admitted(name: str, sql: str, typed: tuple[tuple[str, str], ...], where: str) -> Predicate:
    """Checks a predicate as `admit` does. Cached, since every part of a stage builds the recipe's cascade anew."""
    columns = dict(typed)
    key = f"{where}.{name}" if name else where
    if not sql.strip():
        raise UserError("the predicate is empty", key)
    node = _only_select(sql, key)
    plain = (
        node["from_table"]["type"] == "EMPTY"
        and not node["modifiers"]
        and not node["cte_map"]["map"]
        and not any(node[part] for part in ("where_clause", "group_expressions", "having", "qualify", "sample"))
    )
    if not plain or len(node["select_list"]) != 1:
        raise UserError(f"a predicate is one expression, such as `min_side >= 512`; given: {_short(sql)}", key)
    used = set()
    for part in nodes(node["select_list"][0]):
        if part["class"] == "COLUMN_REF":
            used.add(_column(part, columns, key, sql))
        elif part["class"] not in _SCALAR_NODES:
            what = {"SUBQUERY": "a subquery", "WINDOW": "a window function", "STAR": "a star"}.get(
                part["class"], part["class"].lower()
            )
            raise UserError(f"{what} is not allowed in a predicate", key)
        elif part["class"] == "FUNCTION" and part["function_name"] not in _pure_functions():
            raise UserError(
                f"the function {part['function_name']} is not allowed in a predicate"
                f"{nearest(part['function_name'], _named_functions())}",
                key,
            )
    check_sizes(node["select_list"], key, data=False)
    _bind(key, sql, {c: columns[c] for c in used})
    return Predicate(name, sql, frozenset(used), tuple((c, columns[c]) for c in sorted(used)))


def failing(sql: str, ask: Callable[[str], object]) -> str | None:
    """Finds the predicate that fails on a value, in a `CASE` of many predicates that has failed as a whole.

    Args:
        sql: `CASE … END` with a `Predicate.mark` before each predicate's `WHEN`.
        ask: evaluates an expression over all rows; raises duckdb.Error if it fails on one of them.

    Returns:
        The predicate's key in the recipe; None if none of them fails.
    """
    marks = list(re.finditer(r"/\* (select\.where\.\w+) \*/", sql))
    for mark, after in zip(marks, [*marks[1:], None], strict=False):
        try:  # the cases up to this one: those before it keep rows from it, as they do in the whole
            ask(f"{sql[: after.start()]} END" if after else sql)
        except duckdb.Error:
            return mark[1]
    return None


def query_columns(sql: str) -> set[str] | None:
    """Returns the column names that a query mentions anywhere; None if it selects all columns by a star.

    Raises:
        UserError: the text is not one SELECT, or makes a value of gigabytes.
    """
    node = _only_select(sql, "query", wrap=False)
    check_sizes(node, "query", data=True)
    used = set()
    for part in nodes(node):
        if part.get("class") == "STAR":
            return None
        if part.get("class") == "COLUMN_REF":
            used.update(part["column_names"])
    return used


def _only_select(sql: str, key: str, wrap: bool = True) -> dict[str, Any]:
    answer = parsed(f"SELECT (\n{sql}\n)" if wrap else sql)
    kind = "a predicate is one expression" if wrap else "a query is one SELECT"
    if answer["error"]:
        raise UserError(f"{kind}: {' '.join(answer['error_message'].split())}; given: {_short(sql)}", key)
    if wrap and parsed(f"SELECT [\n{sql}\n]")["error"]:  # `a) or (b` is one only between parentheses
        raise UserError(f"{kind}; given: {_short(sql)}", key)
    statements = answer["statements"]
    if len(statements) != 1 or (wrap and statements[0]["node"]["type"] != "SELECT_NODE"):
        raise UserError(f"{kind}; given: {_short(sql)}", key)
    return statements[0]["node"]


def _column(part: dict[str, Any], columns: Mapping[str, str], key: str, sql: str) -> str:
    written = ".".join(part["column_names"])
    for column in columns:  # SQL names are not case-sensitive
        if column.lower() == written.lower():
            return column
    hint = quotes_hint(sql, written) or nearest(written, columns)
    raise UnknownColumn(written, f'there is no column "{_short(written)}"{hint}', key)


def _bind(key: str, sql: str, columns: Mapping[str, str]) -> None:
    """Checks the types of a predicate by DuckDB on an empty table. Raises UserError if they do not fit."""
    fields = ", ".join(f"NULL::{kind} AS {quoted(name)}" for name, kind in columns.items()) or "NULL AS nothing"
    try:
        kind = parser().execute(f"SELECT typeof((\n{sql}\n)) FROM (SELECT {fields})").fetchone()
    except duckdb.Error as error:
        raise UserError(f"{message(error)}; given: {_short(sql)}", key) from None
    if kind and kind[0] not in ("BOOLEAN", '"NULL"'):
        raise UserError(f"a predicate is true or false; this is {kind[0]}: {_short(sql)}", key)


@cache
def _pure_functions() -> frozenset[str]:
    """Returns the names of scalar functions that depend on their arguments alone (not on a clock or a setting)."""
    rows = (
        parser()
        .execute(
            "SELECT function_name FROM duckdb_functions() GROUP BY 1"
            " HAVING bool_and(function_type = 'scalar' AND stability = 'CONSISTENT')"
        )
        .fetchall()
    )
    return frozenset(name for (name,) in rows if name != "age" and not name.startswith("current_"))


def _named_functions() -> list[str]:
    return [name for name in _pure_functions() if name.isidentifier() and not name.startswith("_")]


def _short(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= 100 else text[:97] + "…"
