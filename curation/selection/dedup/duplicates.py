"""Finds the duplicates of a selection: rows that equal or resemble a better row, or an image on a given list."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import StageError
from curation.recipe.sections import Dedup
from curation.scoring.vectors import Vectors
from curation.selection.dedup import cosine, search
from curation.selection.dedup.arrays import Index
from curation.selection.dedup.listed import Listed
from curation.workspace.files import fingerprint, read_table, write_table

KINDS = ("listed", "exact", "near", "similar")
"""Kinds of duplicates: images on the list, equal bytes, near perceptual hashes, similar embeddings."""


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of candidates, which are read only when they are needed."""

    width: int
    """Number of values of an embedding."""
    read: Callable[[Index], Vectors]
    """Reads the embeddings of candidates by index: float16 (n, width), of length 1, or zeros for none."""
    say: Callable[[str], None] = lambda text: None
    """A function that takes a line of text, if a search will take long."""


@dataclass
class Duplicates:
    """The duplicates of a selection, sorted by file and row."""

    files: np.ndarray
    """int32 (n,): number of the wide file."""
    rows: np.ndarray
    """int64 (n,): row within the file."""
    kinds: np.ndarray
    """int8 (n,): index in KINDS."""
    originals: pa.Array
    """Text (n,): key of the row that stays, or `listed:NAME` for a row that the list `dedup.against` contains."""
    cosines: np.ndarray
    """float32 (n,): cosine with the row that stays, for duplicates of the kind `similar`; otherwise 0."""

    @classmethod
    def none(cls) -> "Duplicates":
        """Returns an empty set of duplicates."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, pa.nulls(0, pa.string()), np.empty(0, np.float32))

    @classmethod
    def read(cls, path: Path, made_from: str) -> "Duplicates | None":
        """Reads the duplicates that `write` stored; returns None if the file is missing, damaged or out of date."""
        if fingerprint(path) != made_from:
            return None
        try:
            table = read_table(path)
        except StageError:
            return None
        files, rows, kinds, cosines = (table[c].to_numpy() for c in ("file", "row", "kind", "cosine"))
        return cls(files, rows, kinds, table["original"].combine_chunks(), cosines)

    def write(self, path: Path, made_from: str) -> None:
        """Writes the duplicates to a Parquet file."""
        columns = {"file": self.files, "row": self.rows, "kind": self.kinds, "cosine": self.cosines}
        write_table(path, pa.table(columns | {"original": self.originals}), made_from)

    @classmethod
    def find(cls, candidates: pa.Table, rules: Dedup, embeddings: Embeddings | None = None) -> "Duplicates":
        """Finds duplicates among rows: listed images first, then equal bytes, near hashes and similar embeddings.

        Each kind is searched for among the rows that no earlier kind has taken. If the original of a duplicate turns
        out to be a duplicate itself, by a later kind, then both point to the row that stays.

        Args:
            candidates: rows in rank order, best first, with the columns `file`, `row`, `key`, `phash`, `sha_hi`,
                `sha_lo`.
            rules: the recipe's rules.
            embeddings: the candidates' embeddings, if `rules.cosine` is set.

        Raises:
            UserError: the list that the rules name cannot be used.
        """
        count = candidates.num_rows
        kind = np.full(count, -1, np.int8)
        original = np.full(count, -1, np.int64)
        listed_names = pa.nulls(0, pa.string())
        high, low = (_numbers(candidates[c]) for c in ("sha_hi", "sha_lo"))
        phash, hashed = _numbers(candidates["phash"]), candidates["phash"].is_valid().to_numpy()
        cosines = np.zeros(count, np.float32)
        vectors, owners = None, np.empty(0, np.int64)  # the embeddings that were read, and the rows that have them
        if rules.against:
            listed = Listed.read(rules.against, embeddings.width if embeddings else None)
            listed_names = listed.names
            entries = listed.find(high, low, phash, hashed, rules.near or 0)
            if rules.cosine is not None and embeddings and listed.vectors is not None:
                owners = np.flatnonzero(entries < 0)
                vectors = embeddings.read(owners)
                entries[owners] = search.similar_listed(vectors, np.arange(len(owners)), listed.vectors, rules.cosine)
            kind[entries >= 0], original[entries >= 0] = 0, entries[entries >= 0]
        if rules.exact:
            left = np.flatnonzero(kind < 0)
            keeper = search.exact(high[left], low[left])
            twin = keeper >= 0
            kind[left[twin]], original[left[twin]] = 1, left[keeper[twin]]
        if rules.near is not None:
            left = np.flatnonzero(kind < 0)
            keeper = search.near(phash[left], hashed[left], rules.near)
            close = keeper >= 0
            kind[left[close]], original[left[close]] = 2, left[keeper[close]]
        if rules.cosine is not None and embeddings:
            left = np.flatnonzero(kind < 0)
            if vectors is None:
                owners, vectors = left, embeddings.read(left)
            at = np.searchsorted(owners, left)
            keeper = search.similar(vectors, at, rules.cosine, embeddings.say)
            close = keeper >= 0
            kind[left[close]], original[left[close]] = 3, left[keeper[close]]
            cosines[left[close]] = cosine.between(vectors, at[close], at[keeper[close]])
        copies = np.flatnonzero(kind > 0)
        while len(copies := copies[kind[original[copies]] > 0]):
            original[copies] = original[original[copies]]
        return cls._sorted(candidates, kind, original, listed_names, cosines)

    @classmethod
    def _sorted(
        cls, candidates: pa.Table, kind: np.ndarray, original: np.ndarray, names: pa.Array, cosines: np.ndarray
    ) -> "Duplicates":
        file, row = candidates["file"].to_numpy(), candidates["row"].to_numpy()
        taken = np.flatnonzero(kind >= 0)
        taken = taken[np.lexsort((row[taken], file[taken]))]
        of_listed = kind[taken] == 0
        keys = candidates["key"].take(pa.array(np.where(of_listed, 0, original[taken])))
        listed = pa.array(names).take(pa.array(np.where(of_listed, original[taken], 0))) if len(names) else keys
        originals = pc.if_else(pa.array(of_listed), listed, keys)
        return cls(file[taken], row[taken], kind[taken], originals, cosines[taken])

    def counts(self) -> dict[str, int]:
        """Returns the numbers of duplicates by kind."""
        counts = np.bincount(self.kinds, minlength=len(KINDS)) if len(self.kinds) else [0] * len(KINDS)
        return {kind: int(n) for kind, n in zip(KINDS, counts, strict=True) if n}

    def of_file(self, number: int) -> list[tuple[int, str]]:
        """Returns the row number and the original of each duplicate in one file."""
        first, last = np.searchsorted(self.files, [number, number + 1])
        return list(zip(self.rows[first:last].tolist(), self.originals[first:last].to_pylist(), strict=True))


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Returns the uint64 values of a column, nulls as 0."""
    return pc.fill_null(column, pa.scalar(0, pa.uint64())).to_numpy()
