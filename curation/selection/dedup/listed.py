"""Reads lists of images that must not be in the set, such as evaluation sets, and finds rows that they contain."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curation.errors import UserError
from curation.scoring.vectors import Vectors, directions
from curation.selection.dedup import search
from curation.workspace.user_tables import UserTable, read_user_table

_OTHER_HASHES = {32: "MD5", 40: "SHA-1", 56: "SHA-224", 96: "SHA-384", 128: "SHA-512"}
"""Other hashes by their number of hexadecimal digits."""


@dataclass
class Listed:
    """A list of images, such as an evaluation set, given by content hash, perceptual hash or embedding."""

    names: pa.Array
    """Text (n,): `listed:NAME` for each entry."""
    high: np.ndarray
    """uint64 (n,): the upper 64 bits of the upper half of the SHA-256, or 0 for an entry without one."""
    low: np.ndarray
    """uint64 (n,): the lower 64 bits of the upper half of the SHA-256, or 0 for an entry without one."""
    phash: np.ndarray
    """uint64 (n,): the perceptual hash, or 0 for an entry without one."""
    hashed: np.ndarray
    """bool (n,): whether the entry has a perceptual hash."""
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
        listed = read_user_table(path, optional=("key", *compared), key="select.dedup.against")
        table = listed.table
        if not set(compared) & set(listed.found):
            hint = "; to compare embeddings, give select.dedup.cosine" if "embedding" in listed.found else ""
            detail = f"has neither a column sha256 nor phash; it has {', '.join(listed.found)}{hint}"
            raise UserError(f"{listed.name}: {detail}", listed.key)
        keys = table["key"].to_pylist() if "key" in listed.found else [f"row {i + 1}" for i in range(table.num_rows)]
        digests, numbers = _hashes(listed, "sha256", _digest), _hashes(listed, "phash", _phash)
        vectors = None
        if width is not None and "embedding" in table.column_names:
            try:
                vectors = directions(table["embedding"], width)
            except ValueError as error:
                raise UserError(f"{listed.name}: column embedding: {error}", listed.key) from None
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
        result = search.exact_listed(high, low, self.high, self.low)
        entries = np.flatnonzero(self.hashed)
        if len(entries):
            near = search.near_listed(phash, hashed, self.phash[entries], radius)
            result = np.where(result >= 0, result, np.where(near >= 0, entries[near], -1))
        return result


def _hashes(listed: UserTable, column: str, read: Callable[[Any], int | None]) -> list[int | None]:
    """Returns a column's values as numbers, None for a missing value. Raises UserError if a value is no hash."""
    if column not in listed.found:
        return [None] * listed.table.num_rows
    hashes = []
    for row, value in enumerate(listed.table[column].to_pylist()):
        try:
            hashes.append(read(value))
        except ValueError as error:
            raise UserError(f"{listed.place(row)}: {column}: not a hash: {error}", listed.key) from None
    return hashes


def _digest(value: str | bytes | None) -> int | None:
    """Parses a SHA-256: 64 hex digits, or 32 bytes; returns None for an empty value. Raises ValueError."""
    if isinstance(value, bytes) and len(value) == 32:
        return int.from_bytes(value, "big")
    text = "" if value is None else (value.decode("latin-1") if isinstance(value, bytes) else str(value)).strip()
    if not text:
        return None
    if not re.fullmatch("[0-9a-fA-F]+", text):
        raise ValueError(f"expected 64 hexadecimal digits, found {text[:40]!r}")
    if len(text) != 64:
        other = _OTHER_HASHES.get(len(text))
        what = f", as {other} has" if other else ""
        raise ValueError(f"expected 64 hexadecimal digits, found {len(text)}{what}; `sha256sum FILE` prints them")
    return int(text, 16)


def _phash(value: str | int | None) -> int | None:
    """Parses a perceptual hash, 16 hex digits or a number; returns None for an empty value. Raises ValueError."""
    if value is None or value == "":
        return None
    number = int(value, 16) if isinstance(value, str) and len(value) == 16 else int(value)
    if not 0 <= number < 1 << 64:
        raise ValueError(f"{value} is not a number of 64 bits")
    return number
