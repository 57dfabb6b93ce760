"""Writes the wide file of a shard: samples and signals side by side, so that a selection need not join files.

It is derived: it may be deleted, and is made again when one of its sources has changed. Lists and text are left out,
unless an expression of the recipe reads them.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.corpora.samples import check_aligned, samples_notes
from curation.errors import WITHOUT_PIXELS
from curation.scoring.cascade import Cascade
from curation.scoring.decider import run_error
from curation.scoring.opened import Opened
from curation.signals.base import Signal, sidecar_fields
from curation.workspace import Workspace
from curation.workspace.digests import digest
from curation.workspace.files import fingerprint, read_table, remove_damaged, write_table
from curation.workspace.schemas import SKIPPED
from curation.workspace.sql import as_lists, connect, parquet_files

VERSION = 3
_UNDECODABLE = f"^({'|'.join(WITHOUT_PIXELS)})(:|$)"
"""Errors of a signal that say that the picture has no pixels: the row then counts as failed, whatever the predicates
read."""
ALWAYS = ("key",)
"""Text columns of every wide file. Statuses and states are stored as `is_ok` and `NAME_is_skipped`, one bit each."""


class WideRows:
    """The rows of a workspace, shard after shard.

    Args:
        workspace: the workspace of the files.
        files: paths of the wide files, one for each shard.
    """

    def __init__(self, workspace: Workspace, files: Sequence[str]) -> None:
        self.workspace, self.files = workspace, list(files)
        self.connection = connect([workspace.root], memory="4GB", spill=workspace.spill)

    @cached_property
    def wide(self) -> str:
        """SQL for the table of all wide files, for use after FROM."""
        return parquet_files(self.files)

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Returns the rows of a query. Raises UserError if it fails on a value, and StageError if a file is damaged."""
        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            remove_damaged(self.files)
            raise run_error(error) from None

    def _table(self, sql: str) -> pa.Table:
        try:
            return self.connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            remove_damaged(self.files)
            raise run_error(error) from None

    @cached_property
    def _starts(self) -> np.ndarray:
        """Number of rows in all files before each file: int64 (files + 1,)."""
        counts = dict(self.fetch(f"SELECT file_index, count(*) FROM {self.wide} GROUP BY 1"))
        return np.cumsum([0, *(counts.get(number, 0) for number in range(len(self.files)))])

    def _index(self, files: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns the numbers of rows counted through all files: int64 (n,)."""
        return self._starts[files.astype(np.int64)] + rows


def refresh(opened: Opened, corpus: str, shard: str) -> Path:
    """Writes the shard's wide file unless it is up to date; returns its path.

    Raises:
        StageError: a sidecar does not match the samples file.
    """
    workspace, cascade = opened.workspace, opened.cascade
    path, texts = workspace.wide(corpus, shard), cascade.text_columns
    identity = digest([VERSION, cascade.identity, str(cascade.meta), texts, _stats(workspace, cascade, corpus, shard)])
    if fingerprint(path) == identity:
        return path
    samples = cascade.with_meta(read_table(workspace.samples(corpus, shard)))
    notes = samples_notes(workspace, corpus, shard)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        name: samples[name]
        for name in samples.column_names
        if name in ALWAYS or name in texts or not _is_text_or_list(samples.schema.field(name).type)
    }
    is_ok = pc.equal(samples["status"], "ok")
    columns |= _hash_halves(samples["sha256"])
    for name, signal in cascade.signals.items():
        sidecar = _sidecar(workspace, cascade, name, corpus, shard, notes, samples)
        state = f"{name}_state"
        if sidecar is None:
            sidecar = sidecar_of_nothing(signal, samples["key"])
        columns[f"{name}_is_skipped"] = pc.equal(sidecar[state], SKIPPED)
        undecodable = pc.match_substring_regex(sidecar[f"{name}_error"], _UNDECODABLE)
        is_ok = pc.and_(is_ok, pc.invert(pc.fill_null(undecodable, False)))
        for f in sidecar_fields(signal):
            if f.name in texts or not _is_text_or_list(f.type):
                columns[f.name] = as_lists(sidecar[f.name])
    write_table(path, pa.table(columns | {"is_ok": is_ok}), identity)
    return path


def sidecar_of_nothing(signal: Signal, keys: pa.ChunkedArray) -> pa.Table:
    """Returns the sidecar that stands for a missing one: every row is skipped."""
    columns = {f.name: pa.nulls(len(keys), f.type) for f in sidecar_fields(signal)}
    columns[f"{signal.name}_state"] = pa.array([SKIPPED] * len(keys), pa.string())
    return pa.table({"key": keys} | columns)


def _sidecar(
    workspace: Workspace, cascade: Cascade, name: str, corpus: str, shard: str, notes: dict[str, str], samples: pa.Table
) -> pa.Table | None:
    """Reads the signal's sidecar; returns None if it is missing or out of date."""
    path = workspace.signal(name, corpus, shard)
    if fingerprint(path) != cascade.fingerprint(name, notes):
        return None
    sidecar = read_table(path)
    check_aligned(samples, sidecar, path)
    return sidecar


def _hash_halves(sha256: pa.ChunkedArray) -> dict[str, pa.Array]:
    """Returns the first 128 bits of each sha256 as two numbers, which are compared faster than text."""
    values = sha256.to_pylist()
    return {
        "sha_hi": pa.array([None if v is None else int(v[:16], 16) for v in values], pa.uint64()),
        "sha_lo": pa.array([None if v is None else int(v[16:32], 16) for v in values], pa.uint64()),
    }


def _stats(workspace: Workspace, cascade: Cascade, corpus: str, shard: str) -> str:
    paths = [workspace.samples(corpus, shard), *(workspace.signal(n, corpus, shard) for n in cascade.signals)]
    stats = [p.stat() if p.exists() else None for p in paths]
    return json.dumps([[s.st_size, s.st_mtime_ns] if s else None for s in stats])


def _is_text_or_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_nested(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )
