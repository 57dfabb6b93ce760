"""The duplicates of a selection: which rows equal or resemble a better one, or an image on a given list."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from curation import dedup
from curation.errors import UserError
from curation.recipe import Dedup

KINDS = ("listed", "exact", "near")


@dataclass
class Duplicates:
    """The duplicates of a selection, sorted by file and row."""

    files: np.ndarray
    """int32 (n,): number of the wide file."""
    rows: np.ndarray
    """int64 (n,): row within it."""
    kinds: np.ndarray
    """int8 (n,): index in KINDS."""
    originals: pa.Array
    """Text (n,): key of the row that stays, or `listed:NAME` for a row that `dedup.against` lists."""

    @classmethod
    def none(cls) -> "Duplicates":
        """No duplicates."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, pa.nulls(0, pa.string()))

    @classmethod
    def find(cls, candidates: pa.Table, rules: Dedup) -> "Duplicates":
        """Finds them among rows in rank order: first what is listed, then equal bytes, then near hashes."""
        count = candidates.num_rows
        kind = np.full(count, -1, np.int8)
        original = np.full(count, -1, np.int64)
        listed_names = pa.nulls(0, pa.string())
        high, low = (_numbers(candidates[c]) for c in ("sha_hi", "sha_lo"))
        phash, hashed = _numbers(candidates["phash"]), candidates["phash"].is_valid().to_numpy()
        if rules.against:
            listed = Listed.read(rules.against)
            listed_names = listed.names
            found = listed.find(high, low, phash, hashed, rules.near or 0)
            kind[found >= 0], original[found >= 0] = 0, found[found >= 0]
        if rules.exact:
            left = np.flatnonzero(kind < 0)
            keeper = dedup.exact(high[left], low[left])
            twin = keeper >= 0
            kind[left[twin]], original[left[twin]] = 1, left[keeper[twin]]
        if rules.near is not None:
            left = np.flatnonzero(kind < 0)
            keeper = dedup.near(phash[left], hashed[left], rules.near)
            close = keeper >= 0
            kind[left[close]], original[left[close]] = 2, left[keeper[close]]
            twins = np.flatnonzero(kind == 1)  # a twin's keeper may have fallen to a better one: name that
            moved = twins[kind[original[twins]] == 2]
            original[moved] = original[original[moved]]
        return cls._sorted(candidates, kind, original, listed_names)

    @classmethod
    def _sorted(cls, candidates: pa.Table, kind: np.ndarray, original: np.ndarray, names: pa.Array) -> "Duplicates":
        file, row = candidates["file"].to_numpy(), candidates["row"].to_numpy()
        found = np.flatnonzero(kind >= 0)
        found = found[np.lexsort((row[found], file[found]))]
        of_listed = kind[found] == 0
        keys = candidates["key"].take(pa.array(np.where(of_listed, 0, original[found])))
        listed = pa.array(names).take(pa.array(np.where(of_listed, original[found], 0))) if len(names) else keys
        originals = pc.if_else(pa.array(of_listed), listed, keys)
        return cls(file[found], row[found], kind[found], originals)

    def counts(self) -> dict[str, int]:
        """How many of each kind there are."""
        counts = np.bincount(self.kinds, minlength=len(KINDS)) if len(self.kinds) else [0] * len(KINDS)
        return {kind: int(n) for kind, n in zip(KINDS, counts, strict=True) if n}

    def of_file(self, number: int) -> list[tuple[int, str]]:
        """Row and original of each duplicate in one file."""
        first, last = np.searchsorted(self.files, [number, number + 1])
        return list(zip(self.rows[first:last].tolist(), self.originals[first:last].to_pylist(), strict=True))


@dataclass
class Listed:
    """A given list of images, such as an evaluation set: by content hash, perceptual hash, or both."""

    names: pa.Array
    high: np.ndarray
    low: np.ndarray
    phash: np.ndarray
    hashed: np.ndarray

    @classmethod
    def read(cls, path: str) -> "Listed":
        """Reads a Parquet or CSV file with `sha256` (hex) and/or `phash` (number or 16 hex digits), perhaps `key`.

        Raises:
            UserError: the file is missing, unreadable, or has neither column, or a value is no hash.
        """
        where = f"select.dedup.against: {path}"
        try:
            table = (
                pq.read_table(path)
                if path.endswith(".parquet")
                else pacsv.read_csv(
                    path,
                    convert_options=pacsv.ConvertOptions(column_types={"sha256": pa.string(), "phash": pa.string()}),
                )
            )
        except FileNotFoundError:
            raise UserError(f"{where}: no such file") from None
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{where}: cannot be read: {' '.join(str(error).split())[:150]}") from None
        if not {"sha256", "phash"} & set(table.column_names):
            raise UserError(f"{where}: has neither a column sha256 nor phash; it has {', '.join(table.column_names)}")
        count = table.num_rows
        shas = table["sha256"].to_pylist() if "sha256" in table.column_names else [None] * count
        hashes = table["phash"].to_pylist() if "phash" in table.column_names else [None] * count
        keys = table["key"].to_pylist() if "key" in table.column_names else [f"row {i + 1}" for i in range(count)]
        try:
            digests = [int(s, 16) if s else None for s in shas]
            numbers = [_phash(h) for h in hashes]
        except ValueError as error:
            raise UserError(f"{where}: not a hash: {error}") from None
        return cls(
            pa.array([f"listed:{k}" for k in keys], pa.string()),
            np.array([0 if d is None else d >> 192 for d in digests], np.uint64),
            np.array([0 if d is None else d >> 128 & (1 << 64) - 1 for d in digests], np.uint64),
            np.array([0 if n is None else n for n in numbers], np.uint64),
            np.array([n is not None for n in numbers], bool),
        )

    def find(self, high: np.ndarray, low: np.ndarray, phash: np.ndarray, hashed: np.ndarray, radius: int) -> np.ndarray:
        """For each row the list's entry that it equals or is near, or -1."""
        found = dedup.exact_listed(high, low, self.high, self.low)
        entries = np.flatnonzero(self.hashed)
        if len(entries):
            near = dedup.near_listed(phash, hashed, self.phash[entries], radius)
            found = np.where(found >= 0, found, np.where(near >= 0, entries[near], -1))
        return found


def _phash(value: str | int | None) -> int | None:
    """A perceptual hash: 16 hex digits, or a number. Raises ValueError."""
    if value is None or value == "":
        return None
    number = int(value, 16) if isinstance(value, str) and len(value) == 16 else int(value)
    if not 0 <= number < 1 << 64:
        raise ValueError(f"{value} is not a number of 64 bits")
    return number


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """uint64 values of a column, nulls as 0."""
    return pc.fill_null(column, pa.scalar(0, pa.uint64())).to_numpy()
