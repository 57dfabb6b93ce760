"""Finds near pairs among 64-bit hashes: pairs that differ in at most r bits.

Two hashes that differ in r bits, cut into b bands, agree in at least k = b - r bands. Each choice of k bands is one
join: sort by the bits of these bands, then compare within the runs of equal bits. This is numpy and not SQL because
long runs must be cut further, which a database's join does not do. DuckDB joins over the same bands were measured to
take 1.6 to 2.5 times the CPU time on uniform hashes, 3 to 6 times where many hashes share bands, and more memory.
Memory here is about 120 bytes a row, however many hashes are equal or near each other. At most 2^32 - 1 rows.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.selection.dedup.arrays import Hashes, Index

Ids = NDArray[np.uint32]
"""Indices of hashes, in 32 bits to save memory: uint32 (n,)."""

LOWER = (1 << 32) - 1
"""Mask of the worse row in a packed pair."""
CHUNK = 1 << 19
"""Number of candidate pairs compared at once, which takes about 20 MB."""
MIN_BUDGET = 1 << 22
"""Smallest number of pairs after which a search for all pairs is given up."""
_ALL_BITS = (1 << 64) - 1
_HEAVY = 256  # a run longer than this is cut by further bits before its members are compared
_DEPTH = 3  # maximum number of such cuts: more would cost more than they save
_CANDIDATE = 0.4  # cost of comparing two hashes, relative to sorting one (measured)
_SAMPLE = 1 << 14


def near_pairs(hashes: Hashes, radius: int, threads: int) -> tuple[Hashes, bool]:
    """Finds all near pairs of distinct hashes.

    Args:
        hashes: uint64 (n,), distinct.
        radius: maximum Hamming distance in bits.
        threads: number of joins run at once.

    Returns:
        uint64 (pairs,), sorted, the lower row in the upper 32 bits and the higher in the lower, and True; or a part of
        the pairs, unsorted, and False if there are more than the budget.
    """
    budget = max(MIN_BUDGET, len(hashes))
    parts: list[Hashes] = []
    count = 0

    def collect(a: Ids, b: Ids) -> bool:
        nonlocal count
        parts.append((a.astype(np.uint64) << np.uint64(32)) | b)
        count += len(a)
        return count <= budget

    all_found = _Search(radius, None, collect).run(hashes, threads)
    pairs = np.concatenate(parts) if parts else np.empty(0, np.uint64)
    if all_found:
        pairs.sort()
    return pairs, all_found


def first_near(left: Hashes, right: Hashes, radius: int, threads: int) -> Index:
    """Returns for each hash on the right the index of the first hash on the left that is near, or -1: int64 (m,).

    Args:
        left: uint64 (n,), distinct.
        right: uint64 (m,), distinct.
        radius: maximum Hamming distance in bits.
        threads: number of joins run at once.
    """
    none = len(left)
    result = np.full(len(right), none, np.int64)

    def collect(a: Ids, b: Ids) -> bool:
        np.minimum.at(result, b - none, a)
        return True

    if len(left) and len(right):
        _Search(radius, none, collect).run(np.concatenate([left, right]), threads)
    return np.where(result == none, -1, result)


def runs(same: NDArray[np.bool_]) -> tuple[Index, Index]:
    """Returns starts and lengths of runs of equal elements: int64 (runs,) each.

    Args:
        same: bool (n - 1,), whether each element after the first equals the one before it.
    """
    starts = np.concatenate([[0], np.flatnonzero(~same) + 1])
    return starts, np.diff(starts, append=len(same) + 1)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Hashes to be compared within runs: (n,) hashes and ids, (m,) starts and lengths of the runs.

    Within a run ids ascend; hashes outside every run are compared with nothing.
    """

    hashes: Hashes
    ids: Ids
    starts: Index
    lengths: Index

    def only(self, which: NDArray[np.bool_]) -> "_Rows":
        """Returns some of the runs, stored contiguously."""
        lengths = self.lengths[which]
        at = _members(self.starts[which], lengths)
        return _Rows(self.hashes[at], self.ids[at], np.cumsum(lengths) - lengths, lengths)


class _Join(NamedTuple):
    """A join that finds the pairs equal in the bits of `mask` and different in each of the bands `unequal`.

    The bands `unequal` belong to earlier joins, so that each pair is found by only one join.
    """

    mask: int
    unequal: tuple[int, ...]


class _Search:
    """A search for near pairs a < b, which passes each pair once to `collect`, in batches, one call at a time.

    Args:
        radius: maximum Hamming distance in bits.
        lefts: if given, only pairs with a < lefts <= b are searched for.
        collect: a function that takes the ids a and b (uint32 arrays) and returns False to stop the search.
    """

    def __init__(self, radius: int, lefts: int | None, collect: Callable[[Ids, Ids], bool]) -> None:
        self.radius, self.lefts, self.collect = radius, lefts, collect
        self.lock = threading.Lock()
        self.wanted = True

    def run(self, hashes: Hashes, threads: int) -> bool:
        """Compares all hashes with each other, `threads` joins at a time (numpy sorts without holding the GIL).

        Returns whether all pairs were passed on.
        """
        n = len(hashes)
        rows = _Rows(_spread(hashes), np.arange(n, dtype=np.uint32), np.array([0]), np.array([n]))
        joins = self._plan(rows, _ALL_BITS, ())
        if not joins:
            self._compare(rows, ())
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda join: self._join(rows, join, _ALL_BITS, 1), joins))
        return self.wanted

    def _plan(self, rows: _Rows, free: int, unequal: tuple[int, ...]) -> list[_Join]:
        """Returns the cheapest joins on the bits `free` that find all pairs; none if direct comparison is cheaper."""
        n, positions = len(rows.ids), [i for i in range(64) if free >> i & 1]
        room = 64 - n.bit_length() - len(rows.starts).bit_length()
        pairs, entropy = self._count(rows), _entropy(rows)
        best, least = 0, _CANDIDATE * pairs
        for bands in range(self.radius + 1, min(self.radius + 6, len(positions))):
            share = (bands - self.radius) / bands
            cost = comb(bands, self.radius) * (n + _CANDIDATE * pairs / 2 ** (entropy * share))
            if cost < least and (bands - self.radius) * -(-len(positions) // bands) <= room:
                best, least = bands, cost
        if not best:
            return []
        masks = [sum(1 << int(i) for i in band) for band in np.array_split(positions, best)]
        joins = []
        for chosen in combinations(range(best), best - self.radius):
            before = tuple(masks[i] for i in range(chosen[-1]) if i not in chosen)
            joins.append(_Join(sum(masks[i] for i in chosen), unequal + before))
        return joins

    def _count(self, rows: _Rows) -> int:
        """Returns the number of pairs to compare; the runs must cover all rows."""
        if self.lefts is None:
            return int(rows.lengths @ (rows.lengths - 1)) // 2
        lefts = np.add.reduceat(rows.ids < self.lefts, rows.starts, dtype=np.int64)
        return int(lefts @ (rows.lengths - lefts))

    def _join(self, rows: _Rows, join: _Join, free: int, depth: int) -> None:
        if not self.wanted:
            return
        equal = self._equal(rows, join.mask)
        heavy = equal.lengths > _HEAVY
        deep = equal.only(heavy)
        equal = _Rows(equal.hashes, equal.ids, equal.starts[~heavy], equal.lengths[~heavy])
        self._compare(equal, join.unequal)
        del equal
        free &= ~join.mask
        joins = self._plan(deep, free, join.unequal) if depth < _DEPTH and len(deep.ids) else []
        for inner in joins:
            self._join(deep, inner, free, depth + 1)
        if not joins:
            self._compare(deep, join.unequal)

    def _equal(self, rows: _Rows, mask: int) -> _Rows:
        """Returns the runs of equal `mask` bits within the given runs, without runs of a single row."""
        key, bits = _extract(rows.hashes, mask), mask.bit_count()
        if len(rows.starts) > 1:
            key |= np.repeat(np.arange(len(rows.starts), dtype=np.uint64), rows.lengths) << bits
        at = np.arange(len(key), dtype=np.uint32)
        if self.lefts is not None and len(rows.starts) == 1 and bits <= 24:
            at = _on_both_sides(key, int(np.searchsorted(rows.ids, self.lefts)), bits)
            key = key[at]
        shift = len(rows.ids).bit_length()
        key <<= shift
        key |= at
        key.sort()  # far faster than argsort; the low bits carry the order of the rows
        at = (key & ((1 << shift) - 1)).astype(np.uint32)
        key >>= shift
        starts, lengths = runs(key[1:] == key[:-1])
        several = lengths > 1
        return _Rows(rows.hashes[at], rows.ids[at], starts[several], lengths[several])

    def _compare(self, rows: _Rows, unequal: tuple[int, ...]) -> None:
        for a, b in self._candidates(rows):
            differ = rows.hashes[a] ^ rows.hashes[b]
            near = np.flatnonzero(np.bitwise_count(differ) <= self.radius)
            for band in unequal:
                near = near[(differ[near] & band) != 0]
            with self.lock:
                if not self.wanted:
                    return
                if len(near):
                    self.wanted = self.collect(rows.ids[a[near]], rows.ids[b[near]])

    def _candidates(self, rows: _Rows) -> Iterator[tuple[Index, Index]]:
        """Yields the positions of every wanted pair within a run, about `CHUNK` pairs at a time."""
        ends = np.cumsum(rows.lengths)
        done = 0
        while done < len(ends):
            stop = int(np.searchsorted(ends, ends[done] + CHUNK))
            starts, lengths = rows.starts[done:stop], rows.lengths[done:stop]
            later = _members(starts, lengths)
            first = np.repeat(starts, lengths)
            if self.lefts is None:
                count = later - first
            else:
                left = rows.ids[later] < self.lefts
                lefts = np.add.reduceat(left, np.cumsum(lengths) - lengths, dtype=np.int64)
                count = np.where(left, 0, np.repeat(lefts, lengths))
            yield from _each_with(first, count, later)
            done = stop


def _each_with(first: Index, count: Index, later: Index) -> Iterator[tuple[Index, Index]]:
    """Yields the pairs of first[i] .. first[i] + count[i] - 1 with later[i], at most `CHUNK` at a time."""
    ends = np.cumsum(count)
    for lo in range(0, int(ends[-1]), CHUNK):
        hi = min(lo + CHUNK, int(ends[-1]))
        i, j = np.searchsorted(ends, lo, "right"), np.searchsorted(ends, hi) + 1
        begin = ends[i:j] - count[i:j]
        times = np.minimum(ends[i:j], hi) - np.maximum(begin, lo)
        yield np.arange(lo, hi) + np.repeat(first[i:j] - begin, times), np.repeat(later[i:j], times)


def _members(starts: Index, lengths: Index) -> Index:
    """Returns all positions within some runs, run after run: int64."""
    ends = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(starts - ends + lengths, lengths)


def _on_both_sides(key: Hashes, lefts: int, bits: int) -> Ids:
    """Returns the positions of keys that occur both among the first `lefts` keys and among the others."""
    left, right = np.zeros(1 << bits, np.bool_), np.zeros(1 << bits, np.bool_)
    left[key[:lefts]] = True
    right[key[lefts:]] = True
    return np.flatnonzero((left & right)[key]).astype(np.uint32)


def _extract(hashes: Hashes, mask: int) -> Hashes:
    """Extracts the bits of a mask and packs them together at the low end."""
    result, done = np.zeros(len(hashes), np.uint64), 0
    while mask:
        shift = (mask & -mask).bit_length() - 1
        width = ((mask >> shift) ^ ((mask >> shift) + 1)).bit_length() - 1
        part = hashes >> shift
        part &= (1 << width) - 1
        part <<= done
        result |= part
        done += width
        mask &= ~(((1 << width) - 1) << shift)
    return result


def _bit_use(hashes: Hashes) -> NDArray[np.float64]:
    """Returns the information in each bit, taken alone: float64 (64,), 1 for a bit set in half of the hashes."""
    ones = ((hashes[:, None] >> np.arange(64, dtype=np.uint64)) & 1).mean(axis=0)
    use: NDArray[np.float64] = -np.log2(ones**2 + (1 - ones) ** 2)
    return use


def _entropy(rows: _Rows) -> float:
    """Estimates the bits of information in a hash, given its run; too high where bits depend on each other."""
    at = np.arange(0, len(rows.ids), 1 + len(rows.ids) // _SAMPLE)
    run = np.searchsorted(rows.starts, at, "right") - 1
    return float(_bit_use(rows.hashes[at] ^ rows.hashes[rows.starts[run]]).sum())


def _spread(hashes: Hashes) -> Hashes:
    """Returns the hashes with their bits permuted, so that bits of little information fall evenly on all bands."""
    use = _bit_use(hashes[:: 1 + len(hashes) // _SAMPLE])
    place = np.empty(64, np.uint64)
    place[np.argsort(-use, kind="stable")] = np.arange(64) * 39 % 64  # steps of the golden ratio
    byte = np.arange(256, dtype=np.uint64)
    result = np.zeros(len(hashes), np.uint64)
    for low in range(0, 64, 8):
        table = np.zeros(256, np.uint64)
        for bit in range(8):
            table |= (byte >> bit & 1) << place[low + bit]
        for i in range(0, len(hashes), CHUNK):
            result[i : i + CHUNK] |= table[hashes[i : i + CHUNK] >> low & 255]
    return result
