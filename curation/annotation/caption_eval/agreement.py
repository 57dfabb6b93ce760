"""Computes the agreement of evaluators: Krippendorff's alpha for ordinal values.

K. Krippendorff, Content Analysis, 4th edition, chapter 12; Computing Krippendorff's Alpha-Reliability, 2011. There may
be any number of evaluators, each of whom may have scored any subset of the items.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def krippendorff_alpha(counts: NDArray[Any]) -> float | None:
    """Computes alpha for ordinal values: 1 for full agreement, 0 for chance, below 0 for systematic disagreement.

    Args:
        counts: integers (items, values), the number of evaluators who gave each item each value; the values are in
            ascending order.

    Returns:
        alpha, or None where it is not defined: no item was scored twice, or all scores are the same.
    """
    counts = counts[counts.sum(axis=1) >= 2].astype(np.float64)  # an item scored once says nothing of agreement
    weighted = counts / np.maximum(counts.sum(axis=1, keepdims=True) - 1, 1)
    coincidences = weighted.T @ counts - np.diag(weighted.sum(axis=0))
    totals = coincidences.sum(axis=1)
    below = np.cumsum(totals)
    # The ordinal distance of two values is the number of scores from the middle of one to the middle of the other.
    middle = below - totals / 2
    distances = (middle[:, None] - middle[None, :]) ** 2
    expected = float((np.outer(totals, totals) * distances).sum())
    if not expected:
        return None
    return 1 - float(totals.sum() - 1) * float((coincidences * distances).sum()) / expected
