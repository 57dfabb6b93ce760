"""Computes confidence intervals by the percentile bootstrap: items are drawn anew, with replacement, many times.

B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES, SEED, CHUNK = 10_000, 0, 1_000
CONFIDENCE = 0.95
"""Confidence level of the intervals."""


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A mean over images with the bounds of its confidence interval (None for fewer than two images)."""

    mean: float
    low: float | None
    high: float | None


def intervals(
    times: NDArray[Any], statistic: Callable[[Floats], Floats], resamples: int = RESAMPLES
) -> tuple[Floats, Floats]:
    """Computes the interval of a statistic that depends only on how often each distinct item occurs.

    Args:
        times: integers (items,), how often each distinct item was observed; 1 where none equals another.
        statistic: takes how often each item occurs in each resample, float64 (resamples, items), and returns the
            statistic, float64 (resamples, columns); NaN where it is not defined.
        resamples: number of resamples, each of as many items as were observed.

    Returns:
        low, high: float64 (columns,), the bounds at the confidence level `CONFIDENCE`; NaN where the statistic is
        defined for no resample. The same input always gives the same bounds.
    """
    random = np.random.default_rng(SEED)
    total = int(times.sum())
    found = []
    for start in range(0, resamples, CHUNK):
        drawn = random.multinomial(total, times / total, size=min(CHUNK, resamples - start))
        found.append(statistic(drawn.astype(np.float64)))
    values = np.concatenate(found)
    defined = np.isfinite(values).any(axis=0)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(np.where(defined, values, 0), [tail, 100 - tail], axis=0)
    return np.where(defined, low, np.nan), np.where(defined, high, np.nan)


def mean_intervals(values: Floats, resamples: int = RESAMPLES) -> tuple[Floats, Floats]:
    """Computes the intervals of column means, resampling images.

    Args:
        values: float64 (images, columns); NaN where an image has no value.
        resamples: see `intervals`.

    Returns:
        low, high: float64 (columns,); equal values always give equal bounds.
    """
    present, filled = np.isfinite(values).astype(np.float64), np.nan_to_num(values)

    def means(times: Floats) -> Floats:
        with np.errstate(invalid="ignore"):  # a resample may hold no value of a column
            return (times @ filled) / (times @ present)

    return intervals(np.ones(len(values), np.int64), means, resamples)


def mean_estimates(values: Floats) -> list[MeanEstimate | None]:
    """Estimates column means with their intervals, rounded to four digits.

    Args:
        values: float64 (images, columns), at least one image; NaN where an image has no value.

    Returns:
        the estimate of each column; None for a column without a value.
    """
    empty: NDArray[np.bool_] = ~np.any(np.isfinite(values), axis=0)
    flat = np.where(empty, 0.0, values)
    bounds = zip(np.nanmean(flat, axis=0), *mean_intervals(flat), empty, strict=True)
    one = len(values) < 2
    return [
        None if none else MeanEstimate(_rounded(mean), None if one else _rounded(low), None if one else _rounded(high))
        for mean, low, high, none in bounds
    ]


def _rounded(value: float) -> float:
    return round(float(value), 4)
