"""Computes how far people agree: Krippendorff's alpha, Fleiss' kappa, and who differs from whom.

K. Krippendorff, Content Analysis, 4th edition, chapter 12; Computing Krippendorff's Alpha-Reliability, 2011. J. Fleiss,
Measuring Nominal Scale Agreement Among Many Raters, Psychological Bulletin 76, 1971. K. Gwet, Handbook of Inter-Rater
Reliability, 4th edition, 2014, chapter 2. There may be any number of raters, each of whom may have rated any subset of
the items. Both coefficients depend only on sums over items, so that a million items cost as much as the few hundred
distinct rows of counts among them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.annotation.bootstrap import Floats, intervals
from curation.annotation.levels import counting_votes
from curation.annotation.majority import HIGHEST, Integers
from curation.annotation.tally import numbered

Interval = tuple[float, float]


@dataclass(frozen=True)
class _Coefficient:
    """A coefficient that is a function of sums over the items."""

    terms: Callable[[Floats], Floats]
    """Takes counts (items, values) and returns what each item adds to the sums, float64 (items, terms)."""
    value: Callable[[Floats, int], Floats]
    """Takes sums (…, terms) and the number of values, and returns the coefficient (…,); NaN where it is undefined."""

    def of(self, counts: NDArray[Any]) -> float | None:
        """Returns the coefficient; None where it is not defined."""
        distinct, times = _distinct(counts)
        value = float(self.value(times @ self.terms(distinct), counts.shape[1]))
        return value if np.isfinite(value) else None

    def interval(self, counts: NDArray[Any]) -> Interval | None:
        """Returns the bounds of the 95 % interval; None for fewer than two items, or where nothing is defined."""
        distinct, times = _distinct(counts)
        if times.sum() < 2:
            return None
        terms = self.terms(distinct)
        low, high = intervals(times, lambda drawn: self.value(drawn @ terms, counts.shape[1])[:, None])
        return (float(low[0]), float(high[0])) if np.isfinite(low[0]) else None


def krippendorff_alpha(counts: NDArray[Any]) -> float | None:
    """Computes alpha for ordinal values: 1 for full agreement, 0 for chance, below 0 for systematic disagreement.

    Args:
        counts: integers (items, values), the number of raters who gave each item each value; the values are in
            ascending order.

    Returns:
        alpha, or None where it is not defined: no item was rated twice, or all ratings are the same.
    """
    return _ALPHA.of(counts)


def alpha_interval(counts: NDArray[Any]) -> Interval | None:
    """Computes the 95 % interval of alpha, resampling the items that were rated at least twice (bootstrap).

    Args:
        counts: see `krippendorff_alpha`.

    Returns:
        low, high; None for fewer than two such items, or where alpha is not defined.
    """
    return _ALPHA.interval(counts[counts.sum(axis=1) >= 2])


def fleiss_kappa(counts: NDArray[Any]) -> float | None:
    """Computes kappa for nominal values: 1 for full agreement, 0 for chance.

    Where all items have equal numbers of ratings this is Fleiss' kappa of 1971. For unequal numbers it is Gwet's
    generalisation (2014, section 2.4): agreement is the mean over items rated at least twice of the share of equal
    pairs, and the chance of a value is the mean over all rated items of the share of the item's ratings that name it.

    Args:
        counts: integers (items, values), the number of raters who gave each item each value.

    Returns:
        kappa, or None where it is not defined: no item was rated twice, or all ratings are the same.
    """
    return _KAPPA.of(counts)


def kappa_interval(counts: NDArray[Any]) -> Interval | None:
    """Computes the 95 % interval of kappa, resampling the rated items (bootstrap).

    Args:
        counts: see `fleiss_kappa`.

    Returns:
        low, high; None for fewer than two rated items, or where kappa is not defined.
    """
    return _KAPPA.interval(counts[counts.any(axis=1)])


@dataclass(frozen=True, slots=True)
class Confusion:
    """Who named which level where another named which, over the images on which both have voted."""

    counts: dict[tuple[str, str], Integers]
    """For each two annotators who share an image, in alphabetical order, int64 (5, 5): entry (i, j) is how often the
    first gave Level i + 1 where the second gave Level j + 1."""
    agreement: dict[str, float | None]
    """For each annotator, the share (0 to 1) of pairs of a vote and another person's on the same image that name the
    same level; None for one who shares no image with anybody."""


def confusion(votes: pa.Table) -> Confusion:
    """Compares each two annotators' votes on the same images.

    Args:
        votes: all votes ever given (columns: VOTES); see `counting_votes` for those that count. Votes of several rounds
            are compared too, but nobody with themselves.
    """
    votes = counting_votes(votes)
    image, _ = numbered(votes["key"])
    encoded, names = numbered(votes["annotator"])
    people = sorted(names.to_pylist())
    who = np.array([people.index(name) for name in names.to_pylist()], np.int64)[encoded]
    pairs, counts = _pairs(image, who, votes["level"].to_numpy().astype(np.int64) - 1, len(people))
    first, second = np.divmod(pairs, max(len(people), 1))
    equal, shared = np.zeros((2, len(people)), np.int64)
    for ends in (first, second):
        np.add.at(equal, ends, np.trace(counts, axis1=1, axis2=2))
        np.add.at(shared, ends, counts.sum(axis=(1, 2)))
    return Confusion(
        {(people[a], people[b]): own for a, b, own in zip(first, second, counts, strict=True)},
        {name: float(equal[n] / shared[n]) if shared[n] else None for n, name in enumerate(people)},
    )


def _pairs(image: Integers, who: Integers, level: Integers, people: int) -> tuple[Integers, Integers]:
    """Pairs each two people's votes on the same image.

    Returns:
        the pairs of people that there are, first * people + second with first < second, int64 (pairs,), ascending; and
        how often each gave which level where the other gave which, int64 (pairs, 5, 5).
    """
    order = np.lexsort((who, image))
    image, who, level = image[order], who[order], level[order]
    codes = [np.zeros(0, np.int64)]
    for apart in range(1, int(np.bincount(image, minlength=1).max())):
        shared = (image[apart:] == image[:-apart]) & (who[apart:] != who[:-apart])
        pair = who[:-apart] * people + who[apart:]
        codes.append(((pair * HIGHEST + level[:-apart]) * HIGHEST + level[apart:])[shared])
    cells, times = np.unique(np.concatenate(codes), return_counts=True)
    pairs, number = np.unique(cells // HIGHEST**2, return_inverse=True)
    counts = np.zeros((len(pairs), HIGHEST**2), np.int64)
    counts[number, cells % HIGHEST**2] = times
    return pairs, counts.reshape(-1, HIGHEST, HIGHEST)


def _distinct(counts: NDArray[Any]) -> tuple[Floats, Integers]:
    """Returns the distinct rows of counts in ascending order, float64, and how often each occurs."""
    names = [str(n) for n in range(counts.shape[1])]
    columns = pa.table([pa.array(np.ascontiguousarray(column)) for column in counts.T], names=names)
    grouped = columns.group_by(names, use_threads=False).aggregate([([], "count_all")])
    times = grouped["count_all"].to_numpy()
    rows = np.stack([grouped[name].to_numpy() for name in names], axis=1).astype(np.float64)
    order = np.lexsort(rows.T)
    return rows[order], times[order]


def _alpha_terms(counts: Floats) -> Floats:
    """The coincidences of values within each item, flat; none in one rated once, which says nothing of agreement."""
    pairs = counts[:, :, None] * counts[:, None, :] - np.eye(counts.shape[1]) * counts[:, :, None]
    return (pairs / np.maximum(counts.sum(axis=1) - 1, 1)[:, None, None]).reshape(len(counts), counts.shape[1] ** 2)


def _alpha(sums: Floats, values: int) -> Floats:
    coincidences = sums.reshape(*sums.shape[:-1], values, values)
    totals = coincidences.sum(axis=-1)
    # The ordinal distance of two values is the number of ratings from the middle of one to the middle of the other.
    middle = np.cumsum(totals, axis=-1) - totals / 2
    distances = (middle[..., :, None] - middle[..., None, :]) ** 2
    expected = (totals[..., :, None] * totals[..., None, :] * distances).sum(axis=(-2, -1))
    observed = (coincidences * distances).sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - (totals.sum(axis=-1) - 1) * observed / expected, np.nan)


def _kappa_terms(counts: Floats) -> Floats:
    """The share of equal pairs, whether there are pairs, whether there are ratings, and the share of each value."""
    total = counts.sum(axis=1)
    equal = (counts * (counts - 1)).sum(axis=1) / np.maximum(total * (total - 1), 1)
    return np.column_stack([equal, total >= 2, total >= 1, counts / np.maximum(total, 1)[:, None]])


def _kappa(sums: Floats, values: int) -> Floats:
    equal, paired, rated, shares = sums[..., 0], sums[..., 1], sums[..., 2], sums[..., 3:]
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = ((shares / rated[..., None]) ** 2).sum(axis=-1)
        kappa = (equal / paired - chance) / (1 - chance)
    return np.where((paired > 0) & (np.count_nonzero(shares, axis=-1) > 1), kappa, np.nan)


_ALPHA, _KAPPA = _Coefficient(_alpha_terms, _alpha), _Coefficient(_kappa_terms, _kappa)
