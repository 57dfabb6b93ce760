"""Estimates how many images of Level 5 are among those that are not decided yet.

The sum of the calibrated probabilities is corrected by what the probabilities of voted images, each predicted unseen,
were wrong by: the difference estimator of survey sampling (Särndal, Swensson and Wretman 1992, section 6.3). It holds
whatever the model is worth as long as the voted images were drawn at random. Where the queue was ordered by the model
they were not. So the correction is made within strata of the probability (post-stratification): among images that the
model rates alike, the voted ones stand for the others. It fails where the model rates images as it does no voted one;
their share is told.

In simulations (`test_level_accuracy.py`) the 95 % interval held the truth in 95 to 97 % of cases after 150 votes in
random order, even where the model's log odds were wrong by 0.8 throughout. Where votes went to what the model rates
highest, it was 96 % with a calibrated model, and 84 to 88 % with one so wrong. With the model itself, learned from 240
of 3,000 images (`python -m tests.benchmarks level_model`), it was 92 % of 100 cases in random order, and 94 % of 80
where it had chosen two thirds of the images.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STRATA, PER_STRATUM = 5, 15
"""Maximum number of strata, and the least number of voted images in each."""
NORMAL = 1.96
"""The normal distribution's quantile for 95 %."""
WORSE = 1.25
"""By how much a model may seem to widen the interval beyond that of a random sample without one; more is chance."""
Chances = NDArray[np.floating]


@dataclass(frozen=True)
class Remaining:
    """How many images of Level 5 remain.

    Attributes:
        images: number of images that are not decided.
        level5: how many of them are of Level 5.
        low, high: ends of the 95 % interval.
        outside: share of the images (0 to 1) with a lower or higher chance of Level 5 than any voted image has.
    """

    images: int
    level5: int
    low: int
    high: int
    outside: float


def remaining(voted: Chances, is_level5: Chances, undecided: Chances) -> Remaining:
    """Estimates the number of undecided images of Level 5.

    Args:
        voted: (n,), chance of Level 5 of the images with all their votes, each predicted unseen.
        is_level5: (n,), 1 if the image is of Level 5, 0 if it is not, and in between where votes are tied.
        undecided: (m,), chance of Level 5 of the images that are not decided.
    """
    count = len(undecided)
    if not count:
        return Remaining(0, 0, 0, 0, 0.0)
    edges = _edges(voted)
    of_voted, of_undecided = np.searchsorted(edges, voted, "right"), np.searchsorted(edges, undecided, "right")
    total = float(undecided.sum(dtype=np.float64))
    variance, alike = 0.0, 0.0
    for stratum in range(len(edges) + 1):
        errors = (is_level5 - voted)[of_voted == stratum]
        chances = undecided[of_undecided == stratum].astype(np.float64)
        total += len(chances) * float(errors.mean())
        spread = max(float(errors.var(ddof=1)), float((voted * (1 - voted))[of_voted == stratum].mean()))
        alike += (weight := len(chances) ** 2 / len(errors) + len(chances))
        variance += spread * weight
    total = min(max(total, 0.0), count)
    share = (total + 1) / (count + 2)  # in between even where no voted image was of Level 5
    draws = count**2 * max(share * (1 - share) / variance, 1 / (WORSE * alike))
    low, high = _wilson(total / count, draws)
    outside = float(((undecided < voted.min()) | (undecided > voted.max())).mean())
    return Remaining(count, round(total), int(low * count), int(np.ceil(high * count)), round(outside, 4))


def _edges(voted: Chances) -> Chances:
    """Returns the chances between strata, of which each holds about equally many of the voted images."""
    strata = max(1, min(STRATA, len(voted) // PER_STRATUM))
    edges = np.unique(np.quantile(voted, np.arange(1, strata) / strata))
    return edges[edges > voted.min()]  # else equal chances would leave the lowest stratum empty


def _wilson(share: float, draws: float) -> tuple[float, float]:
    """Returns Wilson's interval (1927) of a share that so many random draws have given.

    Unlike one of the same width on both sides it holds for small shares, and never leaves 0 to 1.
    """
    widened = 1 + NORMAL**2 / draws
    middle = (share + NORMAL**2 / (2 * draws)) / widened
    half = NORMAL / widened * np.sqrt(share * (1 - share) / draws + (NORMAL / (2 * draws)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)
