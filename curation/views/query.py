"""`curate query`: one SELECT over the view `images`, which has a row for each image and the columns of all stages."""

import re
from typing import Any

import duckdb
import pyarrow as pa

from curation.annotation.levels import read_levels
from curation.corpora.samples import spelling
from curation.errors import UserError, nearest
from curation.recipe.predicates import query_columns
from curation.recipe.quotes import quotes_hint
from curation.scoring.opened import Opened
from curation.signals.base import sidecar_fields
from curation.workspace.files import read_table
from curation.workspace.limits import MemoryLimit, TimeLimit, limited
from curation.workspace.schemas import CAPTIONS, LEVELS_IN_VIEW, SAMPLES, SELECTION
from curation.workspace.sql import connect, message, parquet_files, quoted

_BY_NAME_ONLY = ("embedding",)
"""Columns that `SELECT *` leaves out; a query reads them by naming them."""


def run_query(
    opened: Opened, sql: str, limit: int, seconds: float = 300, gigabytes: float = 4
) -> tuple[list[str], list[tuple[Any, ...]], bool]:
    """Runs a query over the view `images`.

    Args:
        opened: the opened recipe.
        sql: the query, a single SELECT.
        limit: maximum number of rows to return.
        seconds: limit of time.
        gigabytes: limit of memory.

    Returns:
        column names, at most `limit` rows, and whether there are more rows.

    Raises:
        UserError: the text is not a single SELECT, or DuckDB refuses it; the message names the nearest column. Or it
            takes more time or memory than it may; the message names the option.
    """
    named = query_columns(sql)
    view = ImagesView(opened)
    memory = f"{gigabytes * 1000:.0f}MB"
    try:
        connection = connect([view.workspace.root], memory=memory, spill=view.workspace.spill)
        for name, table in view.tables(named).items():
            connection.register(name, table)
        connection.execute(f"CREATE TEMP VIEW images AS {view.sql(named)}")
        with limited(connection, seconds, int(gigabytes * 1e9)):
            result = connection.execute(sql)
            rows = result.fetchmany(limit + 1)
    except TimeLimit:
        raise UserError(f"stopped after {seconds:g} s; --time-limit SECONDS gives it longer", "query") from None
    except MemoryLimit:
        raise UserError(
            f"needs more than {gigabytes:g} GB of memory; --memory-limit GB gives it more", "query"
        ) from None
    except duckdb.Error as error:
        raise UserError(_explained(error, sql, view.columns), "query") from None
    return [d[0] for d in result.description or []], rows[:limit], len(rows) > limit


def _explained(error: duckdb.Error, sql: str, columns: list[str]) -> str:
    """Returns DuckDB's message with what the user will have meant: a table, a text or the nearest column."""
    text = message(error)
    if table := re.match("Table with name (.+) does not exist", text):
        return f'there is no table "{table[1]}"; the one table is images, as in `select key from images`'
    missing = re.match('Referenced column "(.+)" not found', text)
    if missing:
        hint = quotes_hint(sql, missing[1]) or nearest(missing[1], columns)
        return f'there is no column "{missing[1]}"{hint}'
    if text.startswith("Could not convert string"):  # perhaps compared with a column that was meant as text
        for column in re.findall('"([^"]+)"', sql):
            if hint := quotes_hint(sql, column):
                return f'{text}; "{column}" is the column of that name{hint}'
    return text


class ImagesView:
    """The view `images`, made of the stages' files; only files of stages whose columns a query names are read.

    Raises:
        UserError: nothing is indexed yet.
    """

    def __init__(self, opened: Opened) -> None:
        self.workspace, self.shards, self.cascade = opened.workspace, opened.indexed_shards(), opened.cascade
        self.samples = pa.schema([*SAMPLES, *self.cascade.meta])
        self.owners = {c: f"signal_{n}" for c, n in self.cascade.owners.items()}
        self.owners |= {c: "selection" for c in SELECTION.names if c != "key"}
        self.owners |= {c: "captions" for c in CAPTIONS.names if c != "key"}
        self.owners |= {c: "levels" for c in LEVELS_IN_VIEW.values() if c != "key"}
        self.columns = [*self.samples.names, *self.owners, "corpus", "kept"]

    def sql(self, named: set[str] | None) -> str:
        """Returns the SELECT that defines the view: the samples, joined by key with the stages that the query names.

        Args:
            named: columns that the query names; None for all columns.
        """
        joined = self._joined(named)
        columns = [f"s.{quoted(c)}" for c in self._samples_columns(named)] + ["split_part(s.key, '/', 1) AS corpus"]
        for source in joined:
            columns += [
                f"{source}.{quoted(c)}"
                for c, owner in self.owners.items()
                if owner == source and (c not in _BY_NAME_ONLY or (named and c in named))
            ]
        if "selection" in joined:
            columns.append("coalesce(fate = 'kept', false) AS kept")
        joins = " ".join(f"LEFT JOIN {self._from(source)} AS {source} USING (key)" for source in joined)
        return f"SELECT {', '.join(columns)} FROM {self._from('samples')} AS s {joins}"

    def tables(self, named: set[str] | None) -> dict[str, pa.Table]:
        """Returns the Arrow tables that the view reads besides files, by table name.

        These are the levels, and an empty table for each stage that has not run.
        """
        tables = {}
        if self._has_twins:
            wanted = self._samples_columns(named)
            paths = [self.workspace.samples(*shard) for shard in self.shards]
            parts = [self.cascade.with_meta(read_table(path)).select(wanted) for path in paths]
            tables["samples_table"] = pa.concat_tables(parts)
        for source in self._joined(named):
            if source == "levels":
                tables["levels_table"] = read_levels(self.workspace).rename_columns(LEVELS_IN_VIEW)
            elif not self._files(source):
                names = [c for c, owner in self.owners.items() if owner == source]
                kinds = self._schema(source)
                tables[f"{source}_table"] = pa.schema(
                    [pa.field("key", pa.string()), *(kinds.field(n) for n in names)]
                ).empty_table()
        return tables

    @property
    def _has_twins(self) -> bool:
        """Whether columns of the samples files differ only in case, so that DuckDB cannot read them from the files."""
        return any(spelling(field) != field.name for field in self.cascade.meta)

    def _samples_columns(self, named: set[str] | None) -> list[str]:
        """Returns the columns of samples that the view has; of twins, which are read at once, only the named ones."""
        if not self._has_twins or named is None:
            return self.samples.names
        asked = {name.lower() for name in named} | {"key"}
        return [c for c in self.samples.names if c.lower() in asked]

    def _joined(self, named: set[str] | None) -> list[str]:
        columns = set(self.columns) if named is None else named | {c.lower() for c in named}
        if "kept" in columns:
            columns = columns | {"fate"}
        return sorted({owner for column, owner in self.owners.items() if column in columns})

    def _from(self, source: str) -> str:
        files = self._files(source)
        if source == "levels" or not files or (source == "samples" and self._has_twins):
            return f"{source}_table"
        return parquet_files(files)

    def _files(self, source: str) -> list[str]:
        place = {
            "samples": self.workspace.samples,
            "selection": self.workspace.selection,
            "captions": self.workspace.captions,
        }.get(source)
        if place is None:
            name = source.removeprefix("signal_")
            paths = [self.workspace.signal(name, *shard) for shard in self.shards]
        else:
            paths = [place(*shard) for shard in self.shards]
        return [str(p) for p in paths if p.exists()]

    def _schema(self, source: str) -> pa.Schema:
        if source == "selection":
            return SELECTION
        if source == "captions":
            return CAPTIONS
        return pa.schema(sidecar_fields(self.cascade.signals[source.removeprefix("signal_")]))
