"""Finds the image that a row of the table stands for, and what is stored about it."""

import contextlib
import math
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from curation.corpora.thumbnails import Thumbnails
from curation.errors import StageError
from curation.scoring.opened import Opened
from curation.signals.base import sidecar_fields
from curation.views.tune.loaded import Loaded
from curation.workspace.files import read_table

_SHARDS_KEPT = 16
_FACTS = ("width", "height", "format", "length", "caption", "url")


class Images:
    """Finds images by their row in the table; may be used by several threads.

    Every method raises NoSuchRow for a row that the table does not have, and StageError when the workspace's files are
    no longer those that were loaded.
    """

    def __init__(self, opened: Opened, loaded: Loaded) -> None:
        self._opened, self._loaded = opened, loaded
        self._thumbnails = Thumbnails(opened.recipe, opened.workspace)
        self._lock = threading.Lock()
        self._shard = lru_cache(_SHARDS_KEPT)(self._read_shard)

    def close(self) -> None:
        """Closes the raw shards that are open."""
        self._thumbnails.close()

    def key(self, row: int) -> str:
        """Returns the key of an image."""
        corpus, shard, number = self._loaded.place_of(row)
        with self._as_loaded(corpus, shard):
            return str(self._known(corpus, shard)[1][number])

    def picture(self, row: int, side: int) -> bytes | None:
        """Returns the image as JPEG, its long side at most `side` pixels; None if it is gone or cannot be decoded."""
        corpus, shard, number = self._loaded.place_of(row)
        with self._as_loaded(corpus, shard):
            at = int(self._known(corpus, shard)[0][number])
            return self._thumbnails.jpeg(corpus, shard, at, side)

    def story(self, row: int) -> dict[str, Any]:
        """Returns the key, the index's facts about the image, and the values of every signal."""
        corpus, shard, number = self._loaded.place_of(row)
        workspace, cascade = self._opened.workspace, self._opened.cascade
        with self._as_loaded(corpus, shard):
            at = int(self._known(corpus, shard)[0][number])
            sample = read_table(workspace.samples(corpus, shard)).slice(at, 1).to_pylist()[0]
            wide = read_table(workspace.wide(corpus, shard)).slice(at, 1).to_pylist()[0]
        signals = {}
        for name, signal in cascade.signals.items():
            named = [f.name for f in sidecar_fields(signal) if f.name in signal.columns and f.name in wide]
            signals[name] = None if wide[f"{name}_is_skipped"] else {c: plain(wide[c]) for c in named}
        facts = {c: plain(v) for c, v in sample.items() if v is not None and (c in _FACTS or c.startswith("meta_"))}
        return {"key": sample["key"], "sample": facts, "signals": signals}

    @contextlib.contextmanager
    def _as_loaded(self, corpus: str, shard: str) -> Iterator[None]:
        """Raises StageError if what is read in the block does not belong to the rows of the table.

        The files are checked after reading. Stages replace whole files, so an unchanged file was unchanged while it was
        read.
        """
        try:
            yield
        except (OSError, IndexError, pa.ArrowException, StageError) as error:
            self._loaded.check(corpus, shard)
            raise StageError(f"{corpus}/{shard} cannot be read: {' '.join(str(error).split())[:200]}") from None
        self._loaded.check(corpus, shard)

    def _known(self, corpus: str, shard: str) -> tuple[np.ndarray, pa.Array]:
        with self._lock:
            return self._shard(corpus, shard)

    def _read_shard(self, corpus: str, shard: str) -> tuple[np.ndarray, pa.Array]:
        """Returns the rows of the samples file that could be indexed (int64), and their keys."""
        wide = read_table(self._opened.workspace.wide(corpus, shard), columns=["key", "is_ok"])
        rows = np.flatnonzero(wide["is_ok"].to_numpy())
        return rows, wide["key"].take(rows)


def plain(value: Any) -> Any:
    """Returns a value in a form that JSON and JavaScript can represent.

    Infinities and NaN, which JSON lacks, and integers of 2^53 and more, which JavaScript rounds, become strings.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int | None):
        return value if value is None or abs(value) < 1 << 53 else str(value)
    return str(value)
