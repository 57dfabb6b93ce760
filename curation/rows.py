"""The wide files of all shards as one table, to be asked in SQL."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from curation.cascade import run_error
from curation.errors import StageError
from curation.predicates import connect, parquet_files
from curation.workspace import Workspace, read_table


class WideRows:
    """The rows of a workspace, shard after shard.

    Args:
        workspace: where the files lie.
        files: the wide files, see `curation.wide`.
    """

    def __init__(self, workspace: Workspace, files: Sequence[str]) -> None:
        self.workspace, self.files = workspace, list(files)
        self.connection = connect([workspace.root], memory="4GB")

    @cached_property
    def _wide(self) -> str:
        return parquet_files(self.files)

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            self._check_wide()
            raise run_error(error) from None

    def _check_wide(self) -> None:
        """Where a query failed: was it a damaged file? Removes such ones, which another run makes again."""
        damaged = [path for path in self.files if not _readable(Path(path))]
        for path in damaged:
            Path(path).unlink(missing_ok=True)
        if damaged:
            raise StageError(f"{damaged[0]} was damaged and is removed; run the same command again to make it anew")

    def _table(self, sql: str) -> pa.Table:
        try:
            return self.connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            self._check_wide()
            raise run_error(error) from None

    @cached_property
    def _starts(self) -> np.ndarray:
        """int64 (files + 1,): how many rows the files before each have."""
        counts = dict(self._rows(f"SELECT file_index, count(*) FROM {self._wide} GROUP BY 1"))
        return np.cumsum([0, *(counts.get(number, 0) for number in range(len(self.files)))])

    def _index(self, files: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Rows counted through all files."""
        return self._starts[files.astype(np.int64)] + rows


def _readable(path: Path) -> bool:
    try:
        read_table(path)
    except (StageError, FileNotFoundError):
        return False
    return True
