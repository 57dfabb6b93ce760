"""Lists of images that must not be in the set: evaluation sets and block lists."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curation.errors import UserError
from curation.scoring.vectors import Vectors, directions
from curation.selection.dedup import search
from curation.workspace.user_tables import UserTable, read_user_table


@dataclass
class Listed:
    """A list of images, such as an evaluation set, given by content hash, perceptual hash or embedding."""

    names: pa.Array
    high: np.ndarray
    low: np.ndarray
    phash: np.ndarray
    hashed: np.ndarray
    vectors: Vectors | None
    """float16 (n, width), of length 1, or zeros for an entry without one; None if embeddings are not compared."""

    @classmethod
    def read(cls, path: str, width: int | None = None) -> "Listed":
        """Reads a Parquet or CSV file with `sha256` (hex), `phash` (number or 16 hex digits), or both.

        A column `key`, if there is one, names the entries.

        Args:
            path: the file.
            width: number of values of an embedding; None if embeddings are not compared. A Parquet file may have a
                column `embedding` of such vectors, which need not have length 1.

        Raises:
            UserError: the file is missing, unreadable, or has none of the columns; a value is no hash; or an embedding
                has another width or a number that is not finite.
        """
        compared = ["sha256", "phash"]
        if width is not None and path.endswith(".parquet"):
            compared.append("embedding")
        given = read_user_table(path, optional=("key", *compared), key="select.dedup.against")
        table = given.table
        if not set(compared) & set(given.found):
            hint = "; to compare embeddings, give select.dedup.cosine" if "embedding" in given.found else ""
            has = f"has neither a column sha256 nor phash; it has {', '.join(given.found)}{hint}"
            raise UserError(f"{given.name}: {has}", given.key)
        keys = table["key"].to_pylist() if "key" in given.found else [f"row {i + 1}" for i in range(table.num_rows)]
        digests, numbers = _hashes(given, "sha256", _digest), _hashes(given, "phash", _phash)
        vectors = None
        if width is not None and "embedding" in table.column_names:
            try:
                vectors = directions(table["embedding"], width)
            except ValueError as error:
                raise UserError(f"{given.name}: column embedding: {error}", given.key) from None
        return cls(
            pa.array([f"listed:{k}" for k in keys], pa.string()),
            np.array([0 if d is None else d >> 192 for d in digests], np.uint64),
            np.array([0 if d is None else d >> 128 & (1 << 64) - 1 for d in digests], np.uint64),
            np.array([0 if n is None else n for n in numbers], np.uint64),
            np.array([n is not None for n in numbers], bool),
            vectors,
        )

    def find(self, high: np.ndarray, low: np.ndarray, phash: np.ndarray, hashed: np.ndarray, radius: int) -> np.ndarray:
        """Returns for each row the index of the entry that it equals or is near, or -1: int64 (n,).

        Args:
            high, low: uint64 (n,), the two halves of the rows' content hashes.
            phash: uint64 (n,), the rows' perceptual hashes.
            hashed: bool (n,), whether the row has a perceptual hash.
            radius: maximum Hamming distance of near hashes, in bits.
        """
        found = search.exact_listed(high, low, self.high, self.low)
        entries = np.flatnonzero(self.hashed)
        if len(entries):
            near = search.near_listed(phash, hashed, self.phash[entries], radius)
            found = np.where(found >= 0, found, np.where(near >= 0, entries[near], -1))
        return found


def _hashes(given: UserTable, column: str, read: Callable[[Any], int | None]) -> list[int | None]:
    """The column's values as numbers, None where there is none. Raises UserError."""
    if column not in given.found:
        return [None] * given.table.num_rows
    hashes = []
    for row, value in enumerate(given.table[column].to_pylist()):
        try:
            hashes.append(read(value))
        except ValueError as error:
            raise UserError(f"{given.place(row)}: {column}: not a hash: {error}", given.key) from None
    return hashes


def _digest(value: str | None) -> int | None:
    """A SHA-256: hex digits. Raises ValueError."""
    return int(value, 16) if value else None


def _phash(value: str | int | None) -> int | None:
    """Parses a perceptual hash: 16 hex digits, or a number. Raises ValueError for anything else."""
    if value is None or value == "":
        return None
    number = int(value, 16) if isinstance(value, str) and len(value) == 16 else int(value)
    if not 0 <= number < 1 << 64:
        raise ValueError(f"{value} is not a number of 64 bits")
    return number
