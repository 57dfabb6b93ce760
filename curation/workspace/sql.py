"""Opens DuckDB so that it reads only below given folders, loads no extension and writes nothing; parses its SQL."""

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

DEPTH = 400
"""Levels of a syntax tree, of which an operator takes three at most: Python walks through a thousand."""
_DUCK_TYPES = {
    pa.bool_(): "BOOLEAN", pa.string(): "VARCHAR",
    pa.float16(): "FLOAT", pa.float32(): "FLOAT", pa.float64(): "DOUBLE",
    pa.int8(): "TINYINT", pa.int16(): "SMALLINT", pa.int32(): "INTEGER", pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT", pa.uint16(): "USMALLINT", pa.uint32(): "UINTEGER", pa.uint64(): "UBIGINT",
}  # fmt: skip


def duck_types(schema: pa.Schema) -> dict[str, str]:
    """Returns DuckDB's type of each column.

    DuckDB itself is asked only for rare types, since it would import pandas, which takes a second.
    """
    return {f.name: _duck_type(f.type) for f in schema}


def _duck_type(kind: pa.DataType) -> str:
    if kind in _DUCK_TYPES:
        return _DUCK_TYPES[kind]
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"{_duck_type(kind.value_type)}[]"
    with duckdb.connect(config={"threads": 1}) as connection:
        return str(connection.from_arrow(pa.schema({"x": kind}).empty_table()).types[0])


def connect(
    folders: Iterable[Path] = (), *, threads: int | None = None, memory: str | None = None, spill: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """Opens an in-memory DuckDB that reads only below `folders` and loads no extension; its settings are locked.

    Args:
        folders: folders below which files may be read.
        threads: number of threads; None for DuckDB's default.
        memory: memory limit, such as `4GB`; None for DuckDB's default.
        spill: folder for temporary files, which is made below an existing one when it is needed; None for none.
    """
    config: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    if threads:
        config["threads"] = threads
    if memory:
        config["memory_limit"] = memory
    connection = duckdb.connect(config=config)
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET allow_community_extensions = false")
    allowed = [str(Path(f).resolve()) for f in folders]
    connection.execute("SET temp_directory = ?", [str(spill or "")])  # DuckDB's own is `.tmp` where curate was called
    if spill:
        allowed.append(str(spill.resolve()))
    connection.execute("SET allowed_directories = ?", [allowed])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def parquet_files(files: Iterable[str]) -> str:
    """Returns SQL that reads Parquet files, missing columns as null; wildcards in file names are taken literally."""
    escaped = (re.sub(r"([*?\[])", r"[\1]", f).replace("'", "''") for f in files)
    return "read_parquet([" + ", ".join(f"'{f}'" for f in escaped) + "], union_by_name = true)"


def message(error: duckdb.Error) -> str:
    """Returns the first line of DuckDB's message, without the kind of error before it."""
    return str(error).splitlines()[0].split(": ", 1)[-1]


def quoted(name: str) -> str:
    """Returns a column name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def parsed(sql: str) -> dict[str, Any]:
    """Returns DuckDB's syntax tree of a statement, of at most `DEPTH` levels.

    For a text that is no SQL, or is nested deeper, returns a dict with `error` and `error_message`.
    """
    try:
        row = parser().execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
        tree = json.loads(row[0]) if row else {"error": True, "error_message": "nothing to parse"}
    except duckdb.InvalidInputException:  # of half a character, which UTF-8 cannot hold
        return {"error": True, "error_message": "it holds half a character, as of damaged text"}
    except RecursionError:
        tree = None
    if tree is None or str(tree.get("error_message")).startswith("Max expression depth") or _is_deeper(tree, DEPTH):
        return {"error": True, "error_message": "it is nested too deep; use fewer brackets and operators"}
    return dict(tree)


def _is_deeper(tree: Any, levels: int) -> bool:
    """Returns whether lists and dicts in a tree are nested in more than so many levels."""
    level = [tree]
    for _ in range(levels):
        level = [
            part
            for node in level
            for part in (node.values() if isinstance(node, dict) else node)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True


def as_text(tree: dict[str, Any]) -> str:
    """Returns an expression's syntax tree as SQL."""
    statement = parsed("SELECT 1")
    statement["statements"][0]["node"]["select_list"] = [tree]
    row = parser().execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(statement)]).fetchone()
    assert row is not None
    return str(row[0]).removeprefix("SELECT ")


def nodes(tree: Any) -> Iterable[dict[str, Any]]:
    """Yields every node of a syntax tree that has a class."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)


@cache
def parser() -> duckdb.DuckDBPyConnection:
    """Returns this process's connection for parsing and binding SQL, which reads no file."""
    return connect(threads=1)


def as_lists(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Returns vectors as float32 lists, since DuckDB's Arrow scan lacks float16; other columns unchanged."""
    return column.cast(pa.list_(pa.float32())) if pa.types.is_fixed_size_list(column.type) else column


def as_json(value: Any) -> str | None:
    """Returns a value as a column of text holds it: text as it is, null as null, and anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
