"""Near pairs among 64-bit hashes: those that differ in at most r bits.

Hashes that differ in r bits, cut into b bands, agree in at least k = b - r of them. Each choice of k bands is one join:
sort by those bits, compare within the runs of equal ones. This is numpy and not SQL because long runs must be cut
further, which a database's join does not do. Measured beside joins in DuckDB over the same bands: those took 1.6 to 2.5
times the CPU on uniform hashes, 3 to 6 times where many hashes share bands, and more memory. Memory here is about 120
bytes a row, however many hashes are equal or near each other. Fewer than 2^32 rows.
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

Hashes = NDArray[np.uint64]
Index = NDArray[np.int64]
Ids = NDArray[np.uint32]

LOWER = (1 << 32) - 1
"""Mask of the worse row in a packed pair."""
CHUNK = 1 << 19
"""Candidate pairs compared at once: about 20 MB."""
MIN_BUDGET = 1 << 22
_ALL_BITS = (1 << 64) - 1
_HEAVY = 256  # a run longer than this is cut by more bits before its members are compared
_DEPTH = 3  # as often at most: more cuts than that cost more than they save
_CANDIDATE = 0.4  # what comparing two hashes costs, against 1 for sorting one (measured)
_SAMPLE = 1 << 14


def near_pairs(hashes: Hashes, radius: int, threads: int) -> tuple[Hashes, bool]:
    """All near pairs of distinct hashes, as `_walk` wants them, and True; or too many, False."""
    budget = max(MIN_BUDGET, len(hashes))
    parts: list[Hashes] = []
    count = 0

    def found(a: Ids, b: Ids) -> bool:
        nonlocal count
        parts.append((a.astype(np.uint64) << np.uint64(32)) | b)
        count += len(a)
        return count <= budget

    all_found = _Search(radius, None, found).run(hashes, threads)
    pairs = np.concatenate(parts) if parts else np.empty(0, np.uint64)
    if all_found:
        pairs.sort()
    return pairs, all_found


def first_near(left: Hashes, right: Hashes, radius: int, threads: int) -> Index:
    """For each of `right` (distinct) the first of `left` (distinct) that is near, or -1."""
    none = len(left)
    result = np.full(len(right), none, np.int64)

    def found(a: Ids, b: Ids) -> bool:
        np.minimum.at(result, b - none, a)
        return True

    if len(left) and len(right):
        _Search(radius, none, found).run(np.concatenate([left, right]), threads)
    return np.where(result == none, -1, result)


def runs(same: NDArray[np.bool_]) -> tuple[Index, Index]:
    """Starts and lengths of runs, given if each element after the first equals its predecessor."""
    starts = np.concatenate([[0], np.flatnonzero(~same) + 1])
    return starts, np.diff(starts, append=len(same) + 1)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Hashes that are to be compared within runs: (n,) hashes and ids, (m,) starts and lengths.

    Within a run ids ascend; those that are in no run are compared with nothing.
    """

    hashes: Hashes
    ids: Ids
    starts: Index
    lengths: Index

    def only(self, which: NDArray[np.bool_]) -> "_Rows":
        """Some of the runs, close together."""
        lengths = self.lengths[which]
        at = _members(self.starts[which], lengths)
        return _Rows(self.hashes[at], self.ids[at], np.cumsum(lengths) - lengths, lengths)


class _Join(NamedTuple):
    """Finds the pairs equal in the bits `mask`, and different in each of the bands `unequal`.

    An earlier join has those bands in the place of some of this one's: each pair is found once.
    """

    mask: int
    unequal: tuple[int, ...]


class _Search:
    """Finds the near pairs a < b; hands each once to `found`, in batches, one at a time.

    Args:
        radius: bits.
        lefts: if given, only pairs with a < lefts <= b are wanted.
        found: takes the ids a and b; false if it wants no more.
    """

    def __init__(self, radius: int, lefts: int | None, found: Callable[[Ids, Ids], bool]) -> None:
        self.radius, self.lefts, self.found = radius, lefts, found
        self.lock = threading.Lock()
        self.wanted = True

    def run(self, hashes: Hashes, threads: int) -> bool:
        """Compares all with all, `threads` joins at a time (numpy sorts without Python's lock).

        Returns whether all pairs were handed over.
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
        """The cheapest joins on `free` bits that find all pairs; none if they do not pay."""
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
        """How many pairs there are to compare; the runs must fill the rows."""
        if self.lefts is None:
            return int(rows.lengths @ (rows.lengths - 1)) // 2
        lefts = np.add.reduceat(rows.ids < self.lefts, rows.starts, dtype=np.int64)
        return int(lefts @ (rows.lengths - lefts))

    def _join(self, rows: _Rows, join: _Join, free: int, depth: int) -> None:
        if not self.wanted:
            return
        found = self._equal(rows, join.mask)
        heavy = found.lengths > _HEAVY
        deep = found.only(heavy)
        found = _Rows(found.hashes, found.ids, found.starts[~heavy], found.lengths[~heavy])
        self._compare(found, join.unequal)
        del found
        free &= ~join.mask
        joins = self._plan(deep, free, join.unequal) if depth < _DEPTH and len(deep.ids) else []
        for inner in joins:
            self._join(deep, inner, free, depth + 1)
        if not joins:
            self._compare(deep, join.unequal)

    def _equal(self, rows: _Rows, mask: int) -> _Rows:
        """The runs of equal `mask` bits within the given runs, those of a single row left out."""
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
        key.sort()  # far faster than argsort; the order of the rows comes along in the low bits
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
                    self.wanted = self.found(rows.ids[a[near]], rows.ids[b[near]])

    def _candidates(self, rows: _Rows) -> Iterator[tuple[Index, Index]]:
        """Positions of every wanted pair within a run, about `CHUNK` at a time."""
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
    """Pairs of first[i] .. first[i] + count[i] - 1 with later[i], at most `CHUNK` at a time."""
    ends = np.cumsum(count)
    for lo in range(0, int(ends[-1]), CHUNK):
        hi = min(lo + CHUNK, int(ends[-1]))
        i, j = np.searchsorted(ends, lo, "right"), np.searchsorted(ends, hi) + 1
        begin = ends[i:j] - count[i:j]
        times = np.minimum(ends[i:j], hi) - np.maximum(begin, lo)
        yield np.arange(lo, hi) + np.repeat(first[i:j] - begin, times), np.repeat(later[i:j], times)


def _members(starts: Index, lengths: Index) -> Index:
    """All positions in some runs."""
    ends = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(starts - ends + lengths, lengths)


def _on_both_sides(key: Hashes, lefts: int, bits: int) -> Ids:
    """Positions of the keys that are among the first `lefts` as well as among the others."""
    left, right = np.zeros(1 << bits, np.bool_), np.zeros(1 << bits, np.bool_)
    left[key[:lefts]] = True
    right[key[lefts:]] = True
    return np.flatnonzero((left & right)[key]).astype(np.uint32)


def _extract(hashes: Hashes, mask: int) -> Hashes:
    """The bits of a mask, moved together."""
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
    """(64,) information in each bit, taken alone: 1 where it is set in half of the hashes."""
    ones = ((hashes[:, None] >> np.arange(64, dtype=np.uint64)) & 1).mean(axis=0)
    use: NDArray[np.float64] = -np.log2(ones**2 + (1 - ones) ** 2)
    return use


def _entropy(rows: _Rows) -> float:
    """Bits of information in a hash, given its run; too high where bits depend on each other."""
    at = np.arange(0, len(rows.ids), 1 + len(rows.ids) // _SAMPLE)
    run = np.searchsorted(rows.starts, at, "right") - 1
    return float(_bit_use(rows.hashes[at] ^ rows.hashes[rows.starts[run]]).sum())


def _spread(hashes: Hashes) -> Hashes:
    """The hashes with bits reordered, so that those of little use fall in all bands alike."""
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
