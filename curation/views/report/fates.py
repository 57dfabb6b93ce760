"""The fate of every row, held in memory as numbers, and reproducible samples of rows."""

from bisect import bisect_right
from functools import cached_property

import numpy as np
import pyarrow.parquet as pq

from curation.errors import StageError
from curation.keys import key_hash, split_key
from curation.selection.dedup.duplicates import KINDS
from curation.selection.funnel import BALANCE_UNDECIDED, NEAR_UNDECIDED, Funnel
from curation.selection.stage import Selection
from curation.workspace.sql import parquet_files

SALT = "report"
"""Salt of the hash by which the images to be shown are chosen."""


class Fates:
    """The fate of every row under the recipe, computed anew from the stored signals; takes 10 bytes a row.

    A row's index counts through the shards in the selection's order.

    Raises:
        UserError: a predicate fails on a value.
        StageError: a stage has written to the workspace meanwhile.
    """

    def __init__(self, selection: Selection) -> None:
        self.selection, self.cascade = selection, selection.cascade
        self.kept = 2 * len(self.cascade.predicates)
        """Number of a kept row. Smaller numbers are those of `Cascade.fate_sql`; the greater ones follow below."""
        self.waiting = self.kept + 1
        """Number of a row that passes every predicate but lacks a signal that duplicate search needs."""
        self.copies = self.kept + 2
        """Number of a duplicate of the first of `KINDS`; the other kinds follow."""
        self.ungrouped = self.copies + len(KINDS)
        """Number of a row that passes all of this but whose balance group is not known yet."""
        self.away = self.ungrouped + 1
        """Number of a row that balancing removes."""
        counted = selection.funnel()
        parts = [self._file(number) for number in range(len(selection.files))]
        self.starts = np.cumsum([0, *(len(numbers) for numbers, _ in parts)])
        """int64 (shards + 1,): index of the first row of each shard, and the number of all rows."""
        self.numbers = np.concatenate([numbers for numbers, _ in parts])
        """int16 (rows,): the number of each row's fate; -1 for a row that could not be indexed."""
        self.hashes = np.concatenate([hashes for _, hashes in parts])
        """uint64 (rows,): hash of each row's key."""
        self._column: tuple[str, np.ndarray] | None = None
        self._keys: tuple[int, dict[str, int]] | None = None
        assert self.funnel.complete, self.funnel
        if self.funnel != counted:
            raise StageError(
                f"{selection.workspace.root} has changed while it was read; wait until no stage is running"
            )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.numbers)

    @cached_property
    def funnel(self) -> Funnel:
        """Numbers of rows by fate."""
        failed, *counts = np.bincount(self.numbers + 1, minlength=self.away + 2).tolist()
        names = [predicate.name for predicate in self.cascade.predicates]
        dropped = {name: counts[2 * i] for i, name in enumerate(names)}
        undecided = {name: counts[2 * i + 1] for i, name in enumerate(names)}
        undecided |= {NEAR_UNDECIDED: counts[self.waiting], BALANCE_UNDECIDED: counts[self.ungrouped]}
        duplicate = dict(zip(KINDS, counts[self.copies : self.ungrouped], strict=True))
        some = [{name: n for name, n in part.items() if n} for part in (undecided, duplicate)]
        return Funnel(self.rows, failed, dropped, some[0], some[1], counts[self.away], counts[self.kept])

    def place(self, index: int) -> tuple[int, int]:
        """Returns the number of the shard that holds a row, and the row's number within the shard."""
        shard = bisect_right(self._starts, index) - 1
        return shard, index - self._starts[shard]

    def find(self, key: str) -> int | None:
        """Returns the index of the row with this key; None if there is none."""
        try:
            corpus, shard, _ = split_key(key)
            number = self.selection.shards.index((corpus, shard))
        except ValueError:
            return None
        if self._keys is None or self._keys[0] != number:
            keys = pq.read_table(self.selection.files[number], columns=["key"])["key"].to_pylist()
            self._keys = number, {key: row for row, key in enumerate(keys)}
        row = self._keys[1].get(key)
        return None if row is None else self._starts[number] + row

    def sample(self, chosen: np.ndarray, count: int) -> list[int]:
        """Returns the indices of at most `count` rows whose keys have the smallest hashes, in the order of the hashes.

        Args:
            chosen: bool (rows,): the rows to choose from.
            count: maximum number of indices to return.
        """
        indices = np.flatnonzero(chosen)
        hashes = self.hashes[indices]
        if len(indices) > count:
            least = np.argpartition(hashes, count)[:count]
            indices, hashes = indices[least], hashes[least]
        return indices[np.argsort(hashes, kind="stable")].tolist()

    def nearest(self, distances: np.ndarray, chosen: np.ndarray, count: int) -> list[int]:
        """Returns the indices of at most `count` rows with the smallest distances, nearest first; ties go by hash.

        Args:
            distances: float64 (rows,), NaN for rows without a value, which must not be chosen.
            chosen: bool (rows,): the rows to choose from.
            count: maximum number of indices to return.
        """
        indices = np.flatnonzero(chosen)
        if len(indices) > count:
            limit = np.partition(distances[indices], count - 1)[count - 1]
            indices = indices[distances[indices] <= limit]
        order = np.lexsort((self.hashes[indices], distances[indices]))[:count]
        return indices[order].tolist()

    def column(self, name: str) -> np.ndarray:
        """Reads a numeric column: float64 (rows,), NaN where the value is not known."""
        if self._column is None or self._column[0] != name:  # a cache of one: a column's thresholds come together
            parts = [pq.read_table(file, columns=[name])[name].to_numpy() for file in self.selection.files]
            self._column = name, np.concatenate([part.astype(np.float64) for part in parts])
        return self._column[1]

    @cached_property
    def _starts(self) -> list[int]:
        return self.starts.tolist()

    def _file(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns fate numbers and key hashes of one shard's rows, in their order."""
        selection = self.selection
        waits = f"({selection.waits}) AS waits, ({selection.balance_waits}) AS waits_for_group"
        sql = f"SELECT {self.cascade.fate_sql} AS n, key, {waits} FROM "
        table = selection.connection.sql(sql + parquet_files([selection.files[number]])).to_arrow_table()
        numbers = table["n"].to_numpy().astype(np.int16)
        numbers[(numbers == self.kept) & table["waits"].to_numpy()] = self.waiting
        duplicates = selection.duplicates
        first, last = np.searchsorted(duplicates.files, [number, number + 1])
        copies = np.full(len(numbers), -1, np.int16)
        copies[duplicates.rows[first:last]] = duplicates.kinds[first:last]
        is_copy = (copies >= 0) & (numbers == self.kept)
        numbers[is_copy] = self.copies + copies[is_copy]
        numbers[(numbers == self.kept) & table["waits_for_group"].to_numpy()] = self.ungrouped
        balance = selection.balance
        first, last = np.searchsorted(balance.files, [number, number + 1])
        numbers[balance.rows[first:last][balance.away[first:last]]] = self.away
        hashes = np.array([key_hash(key, SALT) for key in table["key"].to_pylist()], np.uint64)
        return numbers, hashes
