"""Duplicates among images: equal bytes, and perceptual hashes a few bits apart.

Rows come in rank order, best first (`rank_order` is the SQL for it). Going down, a row is a duplicate if it is near a
row that was kept, and then of the best of those: a star around each kept row, so a chain of small changes never joins
two images that differ much. Everything here is exact.

Bands: r changed bits touch at most r of b bands, so two near hashes agree in at least b - r of them. Each choice of
b - r bands is one DuckDB join on the bits of these.

Equal hashes: they are near the same rows, so all share the fate of the best of them, and only that one is compared. If
it is kept, they are duplicates of it, since any better kept row near them would be near it too.

Blocks: where the near pairs are too many to hold, the best rows are settled alone, rows near a kept one are taken out,
and the others follow. A row settled first cannot depend on a later one, and only kept rows make duplicates, so the
pairs among those taken out (a dense cluster has quadratically many) are never needed.
"""

from collections.abc import Iterator
from itertools import combinations
from math import comb
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Index = NDArray[np.int64]

MAX_RADIUS = 6
_MEMORY = "1GB"  # for DuckDB, which spills beyond it: 10 million rows fit
_BUDGET = 1 << 22  # near pairs held at once; as many as there are rows, if these are more
_CANDIDATE = 0.3  # what comparing two hashes costs, against 1 for joining one (measured)
_SAMPLE = 1 << 16
_LOWER = (1 << 32) - 1


def rank_order(quality: str, pixels: str = "pixels", size: str = "bytes", key: str = "key") -> str:
    """ORDER BY terms (without the words) that put the best of several alike images first."""
    return f"{quality} DESC NULLS LAST, {pixels} DESC NULLS LAST, {size} DESC NULLS LAST, {key} ASC"


def exact(sha_hi: Hashes, sha_lo: Hashes) -> Index:
    """For each row, in rank order, the kept row with the same content hash; -1: itself is kept.

    Args:
        sha_hi, sha_lo: uint64 (n,), two halves of a content hash.

    Raises:
        ValueError: the arrays differ in length.
    """
    _same_length(sha_hi, sha_lo)
    first = _leaders(sha_hi)
    rows = np.flatnonzero(np.bincount(first, minlength=len(first))[first] > 1)
    keeper = np.arange(len(first))
    keeper[rows] = rows[_leaders(_leaders(sha_lo[rows]) + (first[rows] << 32))]  # numbers both: equal iff both are
    return np.where(keeper == np.arange(len(first)), -1, keeper)


def exact_listed(sha_hi: Hashes, sha_lo: Hashes, listed_hi: Hashes, listed_lo: Hashes) -> Index:
    """For each row the first list entry with the same content hash, or -1.

    Args:
        sha_hi, sha_lo: uint64 (n,), the rows.
        listed_hi, listed_lo: uint64 (m,), the list.

    Raises:
        ValueError: two halves differ in length.
    """
    _same_length(listed_hi, listed_lo)
    keeper = exact(np.concatenate([listed_hi, sha_hi]), np.concatenate([listed_lo, sha_lo]))[len(listed_hi) :]
    return np.where(keeper < len(listed_hi), keeper, -1)


def near(phash: Hashes, valid: NDArray[np.bool_], radius: int, *, threads: int = 2) -> Index:
    """For each row, in rank order, the kept row it nearly equals; -1: itself kept, or no hash.

    Args:
        phash: uint64 (n,); what stands where `valid` is false does not matter. n is less than 2^31.
        valid: bool (n,), false where a row has no hash: it joins nothing.
        radius: bits, 0 to 6, by which two near hashes may differ at most.

    Raises:
        ValueError: the radius is out of range, or the arrays differ in length.
    """
    _check(radius, phash, valid)
    rows = np.flatnonzero(valid)
    first = _leaders(phash[rows])
    distinct = np.flatnonzero(first == np.arange(len(first)))
    star = _star(phash[rows[distinct]], radius, threads)
    keeper = np.arange(len(rows))
    keeper[distinct] = np.where(star < 0, distinct, distinct[star])
    keeper = keeper[first]
    result = np.full(len(phash), -1, np.int64)
    result[rows] = np.where(keeper == np.arange(len(rows)), -1, rows[keeper])
    return result


def near_listed(phash: Hashes, valid: NDArray[np.bool_], listed: Hashes, radius: int, *, threads: int = 2) -> Index:
    """For each row the first entry of a list of hashes that it is within `radius` bits of, or -1.

    Args:
        phash, valid, radius: as for `near`; the order of the rows does not matter.
        listed: uint64 (m,).

    Raises:
        ValueError: as for `near`.
    """
    _check(radius, phash, valid)
    hashes, row = np.unique(phash[valid], return_inverse=True)
    entries = np.flatnonzero(_leaders(listed) == np.arange(len(listed)))
    hit = _first_near(listed[entries], hashes, radius, threads)[row]
    result = np.full(len(phash), -1, np.int64)
    result[valid] = np.where(hit < 0, -1, entries[hit]) if len(entries) else -1
    return result


def _check(radius: int, phash: Hashes, valid: NDArray[np.bool_]) -> None:
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius is {radius} bits; it must be 0 to {MAX_RADIUS}")
    _same_length(phash, valid)


def _same_length(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"arrays of one length are needed, not {a.shape} and {b.shape}")


def _leaders(values: NDArray[Any]) -> Index:
    """For each element the index of the first one equal to it."""
    _, first, at = np.unique(values, return_index=True, return_inverse=True)
    return first[at]


def _star(hashes: Hashes, radius: int, threads: int) -> Index:
    """`near` for distinct hashes."""
    keeper = np.full(len(hashes), -1, np.int64)
    left, size = np.arange(len(hashes)), len(hashes)
    while len(left):
        block, rest = left[:size], left[size:]
        budget = max(_BUDGET, len(block))
        pairs = _near_pairs(hashes[block], radius, threads, budget)
        if len(pairs) > budget:  # go on with a head that has about 1/64 of them, at most
            size = max(1, int(np.quantile(pairs & _LOWER, 1 / 64)))
            continue
        star = _walk(pairs, len(block))
        keeper[block[star >= 0]] = block[star[star >= 0]]
        kept = block[star < 0]
        hit = _first_near(hashes[kept], hashes[rest], radius, threads)
        keeper[rest[hit >= 0]] = kept[hit[hit >= 0]]
        left, size = rest[hit < 0], len(hashes)
    return keeper


def _walk(pairs: Index, count: int) -> Index:
    """The star of `count` rows, from their sorted near pairs: better row in the upper half, worse in the lower."""
    result = np.full(count, -1, np.int64)
    of = result.data  # a memoryview: single items are read and set far faster
    for part in np.array_split(pairs, 1 + len(pairs) // _SAMPLE):
        for a, b in zip((part >> 32).tolist(), (part & _LOWER).tolist(), strict=True):
            if of[b] < 0 and of[a] < 0:  # all that could make a duplicate of `a` came before
                of[b] = a
    return result


def _near_pairs(hashes: Hashes, radius: int, threads: int, budget: int) -> Index:
    """All near pairs of distinct hashes, as `_walk` wants them; or some, but more than `budget`."""
    found = np.empty(0, np.int64)
    select = "SELECT a.i::BIGINT << 32 | b.i AS pair FROM a JOIN a b ON a.i < b.i AND"
    for part in _joins({"a": hashes}, select, f"LIMIT {budget + 1}", len(hashes) ** 2 / 2, radius, threads):
        found = np.sort(np.concatenate([found, part["pair"].to_numpy()]))  # np.union1d takes ten times as long
        found = found[np.diff(found, prepend=-1) != 0]
        if len(found) > budget:
            break
    return found


def _first_near(left: Hashes, right: Hashes, radius: int, threads: int) -> Index:
    """For each of `right` (distinct) the first of `left` (distinct) that is near, or -1."""
    result = np.full(len(right), len(left))
    select = "SELECT b.i AS right, min(a.i) AS left FROM a JOIN b ON"
    tables = {"a": left, "b": right}
    for part in _joins(tables, select, "GROUP BY b.i", float(len(left)) * len(right), radius, threads):
        rows = part["right"].to_numpy()
        result[rows] = np.minimum(result[rows], part["left"].to_numpy())
    return np.where(result == len(left), -1, result)


def _joins(
    tables: dict[str, Hashes], select: str, end: str, pairs: float, radius: int, threads: int
) -> Iterator[pa.Table]:
    """Results of the joins, one by one, that together find each near pair of the tables' (i, h)."""
    if not pairs:
        return
    config: dict[str, Any] = {"threads": threads, "memory_limit": _MEMORY, "preserve_insertion_order": False}
    config |= {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    with TemporaryDirectory() as spill, duckdb.connect(config={**config, "temp_directory": spill}) as connection:
        for name, hashes in tables.items():
            given = pa.table({"i": np.arange(len(hashes), dtype=np.uint32), "h": hashes.view(np.int64)})
            connection.register("given", given)
            connection.execute(f"CREATE TABLE {name} AS FROM given")
            connection.unregister("given")
        masks = _bands(tables["b" if "b" in tables else "a"], pairs, radius)
        for chosen in combinations(range(len(masks)), len(masks) - radius):
            same = sum(masks[i] for i in chosen)
            on = f"a.h & {same} = b.h & {same} AND bit_count(xor(a.h, b.h)) <= {radius}"
            yield connection.sql(f"{select} {on} {end}").to_arrow_table()


def _bands(hashes: Hashes, pairs: float, radius: int) -> list[int]:
    """Masks of the bands with which the joins cost least; bits of like use are dealt to all bands alike."""
    sample = hashes[:: 1 + len(hashes) // _SAMPLE]
    ones = np.array([np.mean(sample >> np.uint64(bit) & np.uint64(1)) for bit in range(64)])
    use = -np.log2(ones**2 + (1 - ones) ** 2)  # 1 where a bit is set in half of the hashes, 0 where in none or all

    def cost(bands: int) -> float:
        candidates = pairs / 2 ** (use.sum() * (bands - radius) / bands)
        return comb(bands, radius) * (len(hashes) + _CANDIDATE * candidates)

    bands, order = min(range(radius + 1, radius + 7), key=cost), np.argsort(use, kind="stable")
    return [int(np.bitwise_or.reduce(np.int64(1) << order[i::bands])) for i in range(bands)]
