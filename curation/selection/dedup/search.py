"""Finds duplicates among images: by equal bytes, perceptual hashes a few bits apart, and similar embeddings.

Rows come in rank order, best first (`rank_order` is the SQL for it). Going down, a row is a duplicate if it is near a
kept row, and then it belongs to the best such row. All rows of a group are thus near the kept image itself, so that a
chain of small changes never joins two images that differ much.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from curation.durations import in_words
from curation.scoring.vectors import Vectors
from curation.selection.dedup import cosine, hamming, inverted_lists
from curation.selection.dedup.arrays import Hashes, Index
from curation.selection.dedup.hamming import LOWER, first_near, near_pairs, runs

MAX_RADIUS = 6
"""Largest Hamming distance, in bits, for which near hashes can be searched."""
COMPARED = 1 << 20
"""Number of embeddings up to which each is compared with every kept one (about ten minutes on two cores).

More embeddings than that are compared within inverted lists.
"""
_LONG = 10.0  # seconds from which a search is announced


def rank_order(quality: str, pixels: str = "pixels", size: str = "bytes", key: str = "key") -> str:
    """Returns the ORDER BY terms (without the words) that put the best of several similar images first."""
    return f"{quality} DESC NULLS LAST, {pixels} DESC NULLS LAST, {size} DESC NULLS LAST, {key} ASC"


def exact(sha_hi: Hashes, sha_lo: Hashes) -> Index:
    """Finds duplicates by content hash.

    Args:
        sha_hi, sha_lo: uint64 (n,), the two halves of the rows' content hashes, in rank order.

    Returns:
        int64 (n,): for each row the kept row with the same hash; -1 for a kept row.

    Raises:
        ValueError: the arrays differ in length.
    """
    _same_length(sha_hi, sha_lo)
    first = _leaders(sha_hi)
    rows = np.flatnonzero(np.bincount(first, minlength=len(first))[first] > 1)
    both = _leaders(sha_lo[rows]) + (first[rows] << 32)  # numbers for pairs of halves: equal if both halves are
    return _but_own(first, rows, rows[_leaders(both.view(np.uint64))])


def exact_listed(sha_hi: Hashes, sha_lo: Hashes, listed_hi: Hashes, listed_lo: Hashes) -> Index:
    """Returns for each row the index of the first list entry with the same content hash, or -1: int64 (n,).

    Args:
        sha_hi, sha_lo: uint64 (n,), the rows.
        listed_hi, listed_lo: uint64 (m,), the list.

    Raises:
        ValueError: two arrays of a pair differ in length.
    """
    _same_length(listed_hi, listed_lo)
    keeper = exact(np.concatenate([listed_hi, sha_hi]), np.concatenate([listed_lo, sha_lo]))
    keeper = keeper[len(listed_hi) :]
    return np.where(keeper < len(listed_hi), keeper, -1)


def near(phash: Hashes, valid: NDArray[np.bool_], radius: int, *, threads: int = 2) -> Index:
    """Finds near-duplicates by perceptual hash.

    Args:
        phash: uint64 (n,), in rank order; values where `valid` is false are ignored.
        valid: bool (n,), false where a row has no hash, and so is near nothing.
        radius: maximum Hamming distance of near hashes, 0 to 6 bits.
        threads: number of threads.

    Returns:
        int64 (n,): for each row the kept row that it is near; -1 for a row that is kept or has no hash.

    Raises:
        ValueError: the radius is out of range, or the arrays differ in length.
    """
    _check(radius, phash, valid)
    rows = np.flatnonzero(valid)
    # Rows with equal hashes are near the same rows. If the best of them is kept, it is the best kept row that the
    # others are near; if not, the others are duplicates of the same kept row as the best.
    first = _leaders(phash[rows])
    distinct = np.flatnonzero(first == np.arange(len(first)))
    star = _star(phash[rows[distinct]], radius, threads)
    keeper = np.empty(len(rows), np.int64)
    keeper[distinct] = np.where(star < 0, distinct, distinct[star])
    keeper = keeper[first]
    return _but_own(np.arange(len(phash)), rows, rows[keeper])


def near_listed(phash: Hashes, valid: NDArray[np.bool_], listed: Hashes, radius: int, *, threads: int = 2) -> Index:
    """Returns for each row the first entry of a list of hashes that its hash is near, or -1: int64 (n,).

    Args:
        phash, valid, radius, threads: the same as for `near`; the order of the rows does not matter.
        listed: uint64 (m,), the hashes of the list.

    Raises:
        ValueError: for the reasons of `near`.
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
    """Finds near-duplicates by embedding.

    For up to `COMPARED` rows the result is exact; for more, some pairs are missed, and an estimate of how many is
    reported.

    Args:
        vectors: float16 (n, width), of length about 1; a row of zeros stands for no embedding, and is near nothing.
        rows: int64 (m,), indices of the rows to be compared, best first.
        threshold: minimum cosine of similar embeddings, above 0.
        say: a function that takes a line of text: a forecast, if the search takes long, and the estimate of misses.

    Returns:
        int64 (m,): for each row the position in `rows` of the kept row that it is similar to; -1 for a kept row.
    """
    if not len(rows):
        return np.empty(0, np.int64)
    with cosine.Cosine(threshold, vectors, rows) as comparison:
        points = comparison.points(vectors)
        if len(rows) <= COMPARED:
            _announce(say, len(rows), comparison.seconds(points, rows) * len(rows) ** 2 / 2)
            return comparison.group(points, rows)
        lists = inverted_lists.InvertedLists(comparison, points, rows)
        _announce(say, len(rows), inverted_lists.seconds(comparison, points, rows, lists))
        result = inverted_lists.group(comparison, points, rows, lists)
        checked, copies, missed = inverted_lists.missed(comparison, points, rows, result)
    say(f"of {checked:,} embeddings compared with every kept one, {copies:,} copies were found and {missed:,} missed")
    return result


def similar_listed(vectors: Vectors, rows: Index, listed: Vectors, threshold: float) -> Index:
    """Returns for each row the first entry of a list that its embedding is similar to, or -1: int64 (m,).

    Args:
        vectors, rows, threshold: the same as for `similar`; the order of the rows does not matter.
        listed: float16 (k, width), of length about 1.
    """
    if not len(rows):
        return np.empty(0, np.int64)
    with cosine.Cosine(threshold, vectors, rows) as comparison:
        points = comparison.points(listed), comparison.points(vectors)
        return comparison.first(points[0], np.arange(len(listed)), points[1], rows)


def _announce(say: Callable[[str], None], rows: int, seconds: float) -> None:
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
    """Returns an array as long as `like` that holds, at `rows`, each row's keeper if it is another row, and else -1."""
    result = np.full(len(like), -1, np.int64)
    result[rows] = np.where(keeper == rows, -1, keeper)
    return result


def _leaders(values: Hashes) -> Index:
    """Returns for each element the index of the first element equal to it: int64 (n,)."""
    if not len(values):
        return np.empty(0, np.int64)
    order = np.argsort(values)
    ordered = values[order]
    starts, lengths = runs(ordered[1:] == ordered[:-1])
    result = np.empty(len(values), np.int64)
    result[order] = np.repeat(np.minimum.reduceat(order, starts), lengths)
    return result


def _star(hashes: Hashes, radius: int, threads: int) -> Index:
    """Does the work of `near` for distinct hashes."""
    if radius == 0 or len(hashes) < 2:
        return np.full(len(hashes), -1, np.int64)
    pairs, all_found = near_pairs(hashes, radius, threads)
    if all_found:
        return _walk(pairs, len(hashes))
    # If so many rows are near each other, few are kept. Decide the head, the rows with 1/64 of the
    # pairs found, remove from the tail all rows near a kept row of the head, and decide the rest.
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
    """Returns the kept row that each row is near, or -1, from sorted pairs (better row in the upper 32 bits)."""
    result = np.full(count, -1, np.int64)
    of = result.data  # a memoryview: its single items are read and set far faster
    for start in range(0, len(pairs), hamming.CHUNK):
        part = pairs[start : start + hamming.CHUNK]
        better, worse = (part >> 32).tolist(), (part & LOWER).tolist()
        for a, b in zip(better, worse, strict=True):
            if of[b] < 0 and of[a] < 0:  # every row that `a` could be a duplicate of came before
                of[b] = a
    return result
