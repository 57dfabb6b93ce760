"""Reads what the model of levels looks at: embeddings and numeric signals of the kept images, shard after shard."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.corpora.samples import samples_notes
from curation.scoring.opened import Opened
from curation.scoring.vectors import Vectors, matrix
from curation.scoring.wide_table import refresh
from curation.selection.kept import kept_rows
from curation.workspace.files import fingerprint, read_table

OF_SAMPLES = ("min_side", "aspect_ratio", "length")
"""The samples columns that are looked at beside the signals."""
EMBEDDING = "embedding"
"""The signal, and its column, that holds vectors."""


@dataclass(frozen=True)
class Rows:
    """Some images, n of them.

    Attributes:
        keys: string (n,).
        numbers: float64 (n, columns), NaN where a value is missing.
        vectors: float16 (n, width), zeros where an image has no embedding; the width is 0 without that signal.
    """

    keys: pa.Array
    numbers: NDArray[np.float64]
    vectors: Vectors

    def take(self, rows: NDArray[np.int64]) -> "Rows":
        """Returns some of the images, by their numbers."""
        return Rows(self.keys.take(pa.array(rows, pa.int64())), self.numbers[rows], self.vectors[rows])


def joined(parts: Sequence[Rows]) -> Rows:
    """Returns the images of all parts, of which there is at least one."""
    keys = pa.concat_arrays([part.keys for part in parts])
    return Rows(keys, np.concatenate([p.numbers for p in parts]), np.concatenate([p.vectors for p in parts]))


class KeptFeatures:
    """Reads the features of the images that the selection keeps; at any time those of one shard are in memory.

    Duplicates need no care here: of each group that the selection has found, it keeps one image.

    Args:
        opened: the opened recipe.
    """

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        signals = opened.cascade.signals
        scalars = (name for signal in signals.values() for name, kind in signal.columns.items() if _is_numeric(kind))
        self.columns = [*OF_SAMPLES, *scalars]
        self.width = signals[EMBEDDING].columns[EMBEDDING].list_size if EMBEDDING in signals else 0

    def read(self, corpus: str, shard: str, among: pa.Array | None = None) -> Rows:
        """Reads the kept images of a shard.

        Args:
            corpus: name of the corpus.
            shard: name of the shard.
            among: the keys of the images that are asked for; None for all.

        Raises:
            StageError: the shard has no selection, or one by other rules, or a file is damaged.
        """
        samples = read_table(self.opened.workspace.samples(corpus, shard), ["key"])
        asked = np.array([source is not None for source in kept_rows(self.opened, corpus, shard, samples)], np.bool_)
        keys = samples["key"].combine_chunks()
        if among is not None:
            asked &= pc.is_in(keys, among).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(asked)
        if not len(rows):
            return Rows(keys[:0], np.zeros((0, len(self.columns))), np.zeros((0, self.width), np.float16))
        wide = read_table(refresh(self.opened, corpus, shard), self.columns)
        numbers = np.stack([_as_numbers(wide[name])[rows] for name in self.columns], axis=1)
        return Rows(keys.take(pa.array(rows)), numbers, self._vectors(corpus, shard, rows))

    def _vectors(self, corpus: str, shard: str, rows: NDArray[np.int64]) -> Vectors:
        """Returns the embeddings of some rows, zeros where there is none that is up to date."""
        workspace = self.opened.workspace
        path = workspace.signal(EMBEDDING, corpus, shard)
        if self.width and path.exists():
            notes = samples_notes(workspace, corpus, shard)
            if fingerprint(path) == self.opened.cascade.fingerprint(EMBEDDING, notes):
                return matrix(read_table(path, [EMBEDDING])[EMBEDDING])[rows]
        return np.zeros((len(rows), self.width), np.float16)


def _is_numeric(kind: pa.DataType) -> bool:
    """Tells whether a column's values can be compared by size; a hash (uint64) cannot."""
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return (number or pa.types.is_boolean(kind)) and not pa.types.is_uint64(kind)


def _as_numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    values = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)
