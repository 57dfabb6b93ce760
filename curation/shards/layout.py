"""Puts the rows of the product in order: DuckDB sorts the places of their lines, see `curation.shards.rows`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import duckdb
import numpy as np
import pyarrow as pa

from curation.annotation.levels import read_levels
from curation.errors import StageError
from curation.scoring.decider import run_error
from curation.scoring.opened import Opened
from curation.scoring.wide_table import refresh
from curation.workspace import Workspace
from curation.workspace.files import read_table, remove_damaged, replacing
from curation.workspace.schemas import PLACES
from curation.workspace.sql import connect, parquet_files

MEMORY = "1GB"
"""Memory limit of DuckDB; a sort of more rows spills to the workspace's disk."""
_MADE = pa.schema([pa.field("raw", pa.int32()), pa.field("row", pa.int32()), *PLACES])
STREAMED = 1 << 17
"""Number of rows that are read from a sorted result at a time."""


class Layout:
    """The rows of all raw shards, in the product's order.

    Args:
        opened: the opened recipe.
        shards: corpus and name of each raw shard; the lines of all of them must have been made.
    """

    def __init__(self, opened: Opened, shards: list[tuple[str, str]]) -> None:
        self.opened, self.workspace, self.shards = opened, opened.workspace, shards
        workspace = opened.workspace
        self._connection = connect([workspace.root], memory=MEMORY, spill=workspace.root / ".plan" / "spill")
        self._connection.register("levels", read_levels(workspace).select(["key", "level", "status"]))
        self._connection.register("made", pa.RecordBatchReader.from_batches(_MADE, self._made()))
        try:
            self._connection.execute(
                """CREATE TEMP TABLE places AS SELECT made.*, level,
                          CASE WHEN status = 'safety_review' THEN status WHEN level = 1 THEN 'level_1'
                               WHEN size = 0 THEN 'no_text' END AS left_out
                   FROM made LEFT JOIN levels USING (key)"""
            )
        except duckdb.Error:
            remove_damaged([workspace.places(*shard) for shard in shards])
            raise

    def __enter__(self) -> "Layout":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def left_out(self) -> Counter[str]:
        """Counts the kept rows that are left out of the product by reason, in the order in which the reasons first
        occur."""
        sql = """SELECT left_out, count(*) FROM places WHERE left_out IS NOT NULL
                 GROUP BY 1 ORDER BY min(raw::BIGINT << 32 | row)"""
        return Counter(dict(self._connection.execute(sql).fetchall()))

    def best(self) -> pa.Table:
        """Returns a table whose column `key` holds the keys of the quality phase.

        These are the rows at Level 5 that pass `shards.quality.where`, if the recipe has it.

        Raises:
            UserError: the rule fails on a value of a row at Level 5.
        """
        sql = "SELECT key, raw FROM places WHERE level = 5 AND left_out IS NULL"
        best = self._connection.sql(sql).to_arrow_table()
        rule = self.opened.cascade.quality_rule
        if rule is None or not best.num_rows:
            return best
        shards = [self.shards[number] for number in sorted(best["raw"].unique().to_pylist())]
        wide = [refresh(self.opened, *shard) for shard in shards]
        self._connection.register("best", best)
        sql = f"""SELECT key FROM {parquet_files(map(str, wide))}
                  WHERE CASE WHEN key IN (SELECT key FROM best) THEN (\n{rule.test}\n) END"""
        try:
            return self._connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            remove_damaged(wide)
            raise run_error(error, "shards.quality.where") from None

    def deal(self, phase: str, keys: pa.Table | None, most: int) -> Iterator[pa.RecordBatch]:
        """Writes the plan of a phase, and yields the places of its rows, one batch for each product shard.

        Args:
            phase: `concept` or `quality`.
            keys: a table whose column `key` holds the phase's keys; None for all rows that are not left out.
            most: maximum number of rows of a product shard.

        Yields:
            the columns raw (number of the raw shard), start and size (bytes, in the file of lines), hash and level.
        """
        chosen = "left_out IS NULL"
        if keys is not None:
            self._connection.register("chosen", keys)
            chosen += " AND key IN (SELECT key FROM chosen)"
        ordered = f"SELECT raw, start, size, hash, level FROM places WHERE {chosen} ORDER BY rank, key"
        names = pa.array(["/".join(shard) for shard in self.shards])
        total = self._connection.sql(f"SELECT count(*) FROM places WHERE {chosen}").fetchall()[0][0]
        rows = self._connection.sql(ordered).to_arrow_reader(STREAMED)
        schema = rows.schema.set(0, pa.field("raw", pa.dictionary(pa.int32(), pa.string())))
        with replacing(_plan_path(self.workspace, phase)) as path, pa.ipc.new_file(str(path), schema) as plan:
            for part in _parts(rows, total, most):
                raw = pa.DictionaryArray.from_arrays(part["raw"], names)
                plan.write_batch(part.set_column(0, schema.field(0), raw))
                yield part

    def _made(self) -> Iterator[pa.RecordBatch]:
        """Yields the table of places of each raw shard, with shard and row numbers, after verifying page checksums."""
        for number, shard in enumerate(self.shards):
            # One thread: to start more takes longer than to read so small a table.
            table = read_table(self.workspace.places(*shard), use_threads=False)
            raw = pa.repeat(pa.scalar(number, pa.int32()), table.num_rows)
            rows = pa.array(np.arange(table.num_rows, dtype=np.int32))
            yield from pa.table([raw, rows, *table.columns], schema=_MADE).to_batches()


def read_part(workspace: Workspace, phase: str, number: int) -> pa.RecordBatch:
    """Reads the places of the rows of one product shard from the plan that `Layout.deal` wrote.

    Returns:
        the columns that `Layout.deal` yields, but raw as the text CORPUS/SHARD.

    Raises:
        StageError: the plan is missing or damaged.
    """
    path = _plan_path(workspace, phase)
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as plan:
            return plan.get_batch(number)
    except (OSError, pa.ArrowException) as error:
        raise StageError(f"{path} is damaged; run `curate build-shards RECIPE` again ({error})") from None


def _plan_path(workspace: Workspace, phase: str) -> Path:
    return workspace.root / ".plan" / f"{phase}.arrow"


def _parts(rows: pa.RecordBatchReader, total: int, most: int) -> Iterator[pa.RecordBatch]:
    """Splits a stream of rows into the smallest number of parts; their sizes differ by at most one."""
    parts, rest = -(-total // most), rows.schema.empty_table()
    for number in range(parts):
        size = (number + 1) * total // parts - number * total // parts
        while rest.num_rows < size:
            rest = pa.concat_tables([rest, pa.Table.from_batches([rows.read_next_batch()])])
        yield rest.slice(0, size).combine_chunks().to_batches()[0]
        rest = rest.slice(size)
