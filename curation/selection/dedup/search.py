"""Duplicates among images: equal bytes, perceptual hashes a few bits apart, and embeddings in nearly one direction.

Rows come in rank order, best first (`rank_order` is the SQL for it). Going down, a row is a
duplicate if it is near a row that was kept, and then of the best of those: a star around each kept
row, so a chain of small changes never joins two images that differ much.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from curation.durations import in_words
from curation.scoring.vectors import Vectors
from curation.selection.dedup import cosine, hamming, inverted_lists
from curation.selection.dedup.hamming import LOWER, Hashes, Index, first_near, near_pairs, runs

MAX_RADIUS = 6
COMPARED = 1 << 20
"""Embeddings of which each is compared with every kept one: about ten minutes of two cores. More go by cells."""
_LONG = 10.0  # seconds that are told beforehand


def rank_order(quality: str, pixels: str = "pixels", size: str = "bytes", key: str = "key") -> str:
    """ORDER BY terms (without the words) that put the best of several alike images first."""
    return f"{quality} DESC NULLS LAST, {pixels} DESC NULLS LAST, {size} DESC NULLS LAST, {key} ASC"


def exact(sha_hi: Hashes, sha_lo: Hashes) -> Index:
    """For each row, in rank order, the kept row with the same content hash; -1: itself is kept.

    Args:
        sha_hi, sha_lo: uint64 (n,), two halves of a content hash.
    """
    _same_length(sha_hi, sha_lo)
    first = _leaders(sha_hi)
    rows = np.flatnonzero(np.bincount(first, minlength=len(first))[first] > 1)
    both = _leaders(sha_lo[rows]) + (first[rows] << 32)  # numbers both halves: equal iff both are
    return _but_own(first, rows, rows[_leaders(both.view(np.uint64))])


def exact_listed(sha_hi: Hashes, sha_lo: Hashes, listed_hi: Hashes, listed_lo: Hashes) -> Index:
    """For each row the first list entry with the same content hash, or -1.

    Args:
        sha_hi, sha_lo: uint64 (n,), the rows.
        listed_hi, listed_lo: uint64 (m,), the list.
    """
    _same_length(listed_hi, listed_lo)
    keeper = exact(np.concatenate([listed_hi, sha_hi]), np.concatenate([listed_lo, sha_lo]))
    keeper = keeper[len(listed_hi) :]
    return np.where(keeper < len(listed_hi), keeper, -1)


def near(phash: Hashes, valid: NDArray[np.bool_], radius: int, *, threads: int = 2) -> Index:
    """For each row, in rank order, the kept row it nearly equals; -1: itself kept, or no hash.

    Args:
        phash: uint64 (n,); what stands where `valid` is false does not matter.
        valid: bool (n,), false where a row has no hash: it joins nothing.
        radius: bits, 0 to 6, by which two near hashes may differ at most.

    Raises:
        ValueError: the radius is out of range, or the arrays differ in length.
    """
    _check(radius, phash, valid)
    rows = np.flatnonzero(valid)
    # Equal hashes are near the same rows: where the best of them is kept it is the best kept row
    # that the others are near, and where it is not, theirs is the one it is a duplicate of.
    first = _leaders(phash[rows])
    distinct = np.flatnonzero(first == np.arange(len(first)))
    star = _star(phash[rows[distinct]], radius, threads)
    keeper = np.empty(len(rows), np.int64)
    keeper[distinct] = np.where(star < 0, distinct, distinct[star])
    keeper = keeper[first]
    return _but_own(np.arange(len(phash)), rows, rows[keeper])


def near_listed(phash: Hashes, valid: NDArray[np.bool_], listed: Hashes, radius: int, *, threads: int = 2) -> Index:
    """For each row the first entry of a list of hashes that it is within `radius` bits of, or -1.

    Args:
        phash, valid, radius: as for `near`; the order of the rows does not matter.
        listed: uint64 (m,).

    Raises:
        ValueError: as for `near`.
    """
    _check(radius, phash, valid)
    result = np.full(len(phash), -1, np.int64)
    rows = np.flatnonzero(valid)
    first = _leaders(phash[rows])
    distinct = np.flatnonzero(first == np.arange(len(first)))
    entries = np.flatnonzero(_leaders(listed) == np.arange(len(listed)))
    hit = np.full(len(rows), -1, np.int64)
    hit[distinct] = first_near(listed[entries], phash[rows[distinct]], radius, threads)
    hit = hit[first]
    result[rows[hit >= 0]] = entries[hit[hit >= 0]]
    return result


def similar(vectors: Vectors, rows: Index, threshold: float, say: Callable[[str], None] = lambda text: None) -> Index:
    """For each of some rows, in rank order, the position in `rows` of the kept one it is similar to; -1: itself kept.

    Up to `COMPARED` rows this is the star exactly; of more, some pairs are missed, and how many is said.

    Args:
        vectors: float16 (n, width), of length about 1; a row of zeros has no embedding: it joins nothing.
        rows: int64 (m,), best first.
        threshold: least cosine of two that are similar, above 0.
        say: is told beforehand how long it takes, where it takes long.
    """
    if not len(rows):
        return np.empty(0, np.int64)
    with cosine.Cosine(threshold, vectors, rows) as by:
        points = by.points(vectors)
        if len(rows) <= COMPARED:
            _foretell(say, len(rows), by.seconds(points, rows) * len(rows) ** 2 / 2)
            return by.star(points, rows)
        found_in = inverted_lists.Cells(by, points, rows)
        _foretell(say, len(rows), inverted_lists.seconds(by, points, rows, found_in))
        result = inverted_lists.star(by, points, rows, found_in)
        looked_at, found, missed = inverted_lists.missed(by, points, rows, result)
    say(f"of {looked_at:,} embeddings compared with every kept one, {found:,} copies were found and {missed:,} missed")
    return result


def similar_listed(vectors: Vectors, rows: Index, listed: Vectors, threshold: float) -> Index:
    """For each of some rows the first entry of a list that it is similar to, or -1.

    Args:
        vectors, rows, threshold: as for `similar`; the order of the rows does not matter.
        listed: float16 (k, width), of length about 1.
    """
    if not len(rows):
        return np.empty(0, np.int64)
    with cosine.Cosine(threshold, vectors, rows) as by:
        return by.first(by.points(listed), np.arange(len(listed)), by.points(vectors), rows)


def _foretell(say: Callable[[str], None], rows: int, seconds: float) -> None:
    if seconds >= _LONG:
        say(f"comparing {rows:,} embeddings, which takes about {in_words(seconds)}")


def _check(radius: int, phash: Hashes, valid: NDArray[np.bool_]) -> None:
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius is {radius} bits; it must be 0 to {MAX_RADIUS}")
    _same_length(phash, valid)


def _same_length(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"arrays of one length are needed, not {a.shape} and {b.shape}")


def _but_own(like: Index, rows: Index, keeper: Index) -> Index:
    """-1 everywhere, but at `rows` their keepers where those are other rows."""
    result = np.full(len(like), -1, np.int64)
    result[rows] = np.where(keeper == rows, -1, keeper)
    return result


def _leaders(values: Hashes) -> Index:
    """For each element the index of the first one equal to it."""
    if not len(values):
        return np.empty(0, np.int64)
    order = np.argsort(values)
    ordered = values[order]
    starts, lengths = runs(ordered[1:] == ordered[:-1])
    result = np.empty(len(values), np.int64)
    result[order] = np.repeat(np.minimum.reduceat(order, starts), lengths)
    return result


def _star(hashes: Hashes, radius: int, threads: int) -> Index:
    """`near` for distinct hashes."""
    if radius == 0 or len(hashes) < 2:
        return np.full(len(hashes), -1, np.int64)
    pairs, all_found = near_pairs(hashes, radius, threads)
    if all_found:
        return _walk(pairs, len(hashes))
    # Where so many rows are near each other, few are kept. Settle a head that has 1/64 of the
    # pairs seen, take out of the tail what is near a row kept there, and do the rest.
    pairs &= LOWER
    cut = int(np.partition(pairs, len(pairs) // 64)[len(pairs) // 64])
    del pairs
    head = _star(hashes[:cut], radius, threads)
    kept = np.flatnonzero(head < 0)
    near_kept = first_near(hashes[kept], hashes[cut:], radius, threads)
    tail = np.where(near_kept < 0, -1, kept[near_kept])
    left = np.flatnonzero(tail < 0)
    rest = _star(hashes[cut:][left], radius, threads)
    tail[left] = np.where(rest < 0, -1, cut + left[rest])
    return np.concatenate([head, tail])


def _walk(pairs: Hashes, count: int) -> Index:
    """The star, from the sorted near pairs: better row in the upper half, worse in the lower."""
    result = np.full(count, -1, np.int64)
    of = result.data  # a memoryview: single items are read and set far faster
    for start in range(0, len(pairs), hamming.CHUNK):
        part = pairs[start : start + hamming.CHUNK]
        better, worse = (part >> 32).tolist(), (part & LOWER).tolist()
        for a, b in zip(better, worse, strict=True):
            if of[b] < 0 and of[a] < 0:  # all that could make a duplicate of `a` came before
                of[b] = a
    return result
