"""Which image a row of the table is, and what is known of it."""

import threading
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.cascade import sidecar_fields
from curation.tune.table import Table

_SHARDS_KEPT = 16
_SAID = ("width", "height", "format", "length", "caption", "url")


class Images:
    """Finds images by their row in the table. May be used by several threads."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._shard = lru_cache(_SHARDS_KEPT)(self._read_shard)

    def place(self, row: int) -> tuple[str, str, int]:
        """Corpus, shard and row of the samples file. Raises IndexError if there is no such row."""
        corpus, shard, number = self._table.place_of(row)
        return corpus, shard, int(self._known(corpus, shard)[0][number])

    def key(self, row: int) -> str:
        """The image's key. Raises IndexError."""
        corpus, shard, number = self._table.place_of(row)
        return str(self._known(corpus, shard)[1][number])

    def story(self, row: int) -> dict[str, Any]:
        """The key, what the index says of the image, and every number that the signals gave it."""
        corpus, shard, at = self.place(row)
        workspace, cascade = self._table.workspace, self._table.cascade
        sample = pq.read_table(workspace.samples(corpus, shard)).slice(at, 1).to_pylist()[0]
        wide = pq.read_table(workspace.wide(corpus, shard)).slice(at, 1).to_pylist()[0]
        signals = {}
        for name, signal in cascade.signals.items():
            named = [f.name for f in sidecar_fields(signal) if f.name in signal.columns and f.name in wide]
            signals[name] = None if wide[f"{name}_is_skipped"] else {c: _plain(wide[c]) for c in named}
        said = {c: _plain(v) for c, v in sample.items() if v is not None and (c in _SAID or c.startswith("meta_"))}
        return {"key": sample["key"], "sample": said, "signals": signals}

    def _known(self, corpus: str, shard: str) -> tuple[np.ndarray, pa.Array]:
        with self._lock:
            return self._shard(corpus, shard)

    def _read_shard(self, corpus: str, shard: str) -> tuple[np.ndarray, pa.Array]:
        """Rows of the samples file that could be indexed, and their keys."""
        wide = pq.read_table(self._table.workspace.wide(corpus, shard), columns=["key", "is_ok"])
        rows = np.flatnonzero(wide["is_ok"].to_numpy())
        return rows, wide["key"].take(rows)


def _plain(value: Any) -> Any:
    """A value as JSON and a page can take it: JavaScript has no 64-bit integers."""
    if isinstance(value, int | float | bool | None) and not (isinstance(value, int) and abs(value) >= 1 << 53):
        return value
    return str(value)
