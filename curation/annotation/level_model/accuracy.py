"""Measures by cross-validation how well the model predicts the levels of images that it has not seen."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from curation.annotation.level_model.ordinal import Matrix, fit, split
from curation.annotation.level_model.targets import LEVELS, Voted

FOLDS = 5
RESAMPLES = 500
BINS, PER_BIN = 10, 15
"""Maximum number of bins of the calibration error, and the least number of images in each."""
Interval = list[float]
"""An estimate with the ends of its 95 % interval: [estimate, low, high]."""
Figures = dict[str, Interval | None]


def unseen_probabilities(features: Matrix, voted: Voted, seed: int = 0) -> Matrix:
    """Returns the probability of each level, (n, 5), each image's by a model that has not seen any of its votes.

    Regularisation and calibration are learned anew within each fold.
    """
    probabilities = np.empty((len(features), LEVELS))
    for train, test in split(voted.outcomes.argmax(axis=1), FOLDS, seed + 1):
        model = fit(features[train], voted.shares[train], voted.outcomes[train], voted.ended[train], seed)
        probabilities[test] = model.probabilities(features[test])
    return probabilities


def figures(probabilities: Matrix, voted: Voted, seed: int = 0) -> Figures:
    """Returns how well probabilities predict the decided levels, each figure with its interval.

    The intervals are percentiles of a bootstrap over images. A figure is None where it cannot be computed, as the area
    under ROC is without an image of Level 5.

    Args:
        probabilities: (n, 5), of `unseen_probabilities`.
        voted: the n images, of which only decided ones count.
        seed: seed of the bootstrap.

    Returns:
        `accuracy`, the share of images whose most probable level is the decided one, and `mean_error`, the mean
        distance of the two in levels; the same of the most frequent level as `baseline_accuracy` and `baseline_error`;
        `agreement`, the share of pairs of votes on an image that agree. For whether an image is of Level 5:
        `level5_auc`, the area under ROC; `level5_brier`, the mean squared error of the probability;
        `level5_brier_baseline`, that of the share of Level 5; `level5_ece`, the expected calibration error.
    """
    rows = np.flatnonzero(voted.decided)
    levels, chance = voted.levels[rows], probabilities[rows, LEVELS - 1]
    predicted = probabilities[rows].argmax(axis=1) + 1
    frequent = np.bincount(levels).argmax()
    is_level5 = (levels == LEVELS).astype(np.float64)
    agreeing, pairs = _pairs(voted.counts[rows])
    bins = max(1, min(BINS, len(rows) // PER_BIN))
    measures: dict[str, Callable[[NDArray[np.int64]], float]] = {
        "accuracy": lambda r: (predicted[r] == levels[r]).mean(),
        "baseline_accuracy": lambda r: (levels[r] == frequent).mean(),
        "agreement": lambda r: agreeing[r].sum() / pairs[r].sum() if pairs[r].any() else np.nan,
        "mean_error": lambda r: np.abs(predicted[r] - levels[r]).mean(),
        "baseline_error": lambda r: np.abs(frequent - levels[r]).mean(),
        "level5_auc": lambda r: area_under_roc(chance[r], is_level5[r]),
        "level5_brier": lambda r: ((chance[r] - is_level5[r]) ** 2).mean(),
        "level5_brier_baseline": lambda r: is_level5[r].mean() * (1 - is_level5[r].mean()),
        "level5_ece": lambda r: calibration_error(chance[r], is_level5[r], bins),
    }
    rng = np.random.default_rng(seed)
    samples = [rng.integers(0, len(rows), len(rows)) for _ in range(RESAMPLES)]
    everyone = np.arange(len(rows))
    return {name: _interval(measure(everyone), [measure(s) for s in samples]) for name, measure in measures.items()}


def area_under_roc(scores: Matrix, positive: Matrix) -> float:
    """Returns the chance that a positive has a higher score than a negative, ties counting half; NaN without both."""
    above, below = scores[positive > 0], np.sort(scores[positive == 0])
    if not len(above) or not len(below):
        return float("nan")
    least, most = (np.searchsorted(below, above, side) for side in ("left", "right"))
    return float((least + most).mean()) / 2 / len(below)


def calibration_error(chance: Matrix, positive: Matrix, bins: int) -> float:
    """Returns the mean distance of predicted chance and share of positives over bins of equally many images (ECE)."""
    parts = np.array_split(np.argsort(chance, kind="stable"), bins)
    gaps = [len(part) * abs(chance[part].mean() - positive[part].mean()) for part in parts if len(part)]
    return float(sum(gaps) / len(chance))


def _pairs(counts: Matrix) -> tuple[Matrix, Matrix]:
    """Returns for each image the number of agreeing pairs of its votes, and of all pairs: (n,) each."""
    votes = counts.sum(axis=1)
    return (counts * (counts - 1)).sum(axis=1), votes * (votes - 1)


def _interval(estimate: float, resampled: list[float]) -> Interval | None:
    if np.isnan(estimate):
        return None
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return [round(float(value), 4) for value in (estimate, low, high)]
