"""The ordinal model: for each level but the last, a calibrated regression of whether an image goes beyond it.

It is the sequential model, or that of continuation ratios (Tutz 1991, Sequential models in categorical regression): is
the image unsafe; if not, artificial; if not, of bad parameters; if not, unremarkable. Each step learns only from what
the steps before have let through, and has weights of its own, since unsafe images do not lie on one line with dull and
fine ones. The logarithmic loss on images not seen, after 300 with votes (`python -m tests.benchmarks level_model`):

| | this | cumulative (Frank and Hall 2001) | proportional odds | multinomial |
|---|---|---|---|---|
| Levels 1 and 2 have causes of their own | 0.64 | 0.81 | 1.10 | 0.69 |
| all levels lie on one line | 0.72 | 0.73 | 0.69 | 0.75 |
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from curation.annotation.level_model.targets import LEVELS, Mask

Matrix = NDArray[np.float64]

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""The regularisations that are tried: scikit-learn's C, the inverse of the strength of L2."""
INNER_FOLDS = 3
TRIED = 2000
"""Maximum number of images on which regularisations are compared: C stands against a sum, so that the best one hardly
depends on the number of images."""
LEAST = 10
"""Least number of images at a level and beyond it for which the step between is calibrated."""
UNREGULARISED = 100.0
"""The C of calibration, which has one weight."""
SLACK = 1e-4
"""Least probability of a level in a logarithm."""


@dataclass(frozen=True)
class OrdinalModel:
    """Four logistic regressions, each of whether an image goes beyond a level, if it has come so far.

    Attributes:
        weights: (4, features), of the regressions for levels 1 to 4.
        intercepts: (4,).
        slopes, shifts: (4,), by which the regressions' log odds are calibrated (Platt 1999).
        strength: the regularisation C.
    """

    weights: Matrix
    intercepts: Matrix
    slopes: Matrix
    shifts: Matrix
    strength: float

    def probabilities(self, features: Matrix) -> Matrix:
        """Returns the probability of each level: (n, 5), rows sum to 1."""
        return as_levels((features @ self.weights.T + self.intercepts) * self.slopes + self.shifts)


def as_levels(log_odds: Matrix) -> Matrix:
    """Converts log odds of going beyond levels 1 to 4, (n, 4), to the probability of each level, (n, 5)."""
    beyond = 1 / (1 + np.exp(-np.clip(log_odds, -30, 30)))
    reached = np.cumprod(np.concatenate([np.ones((len(beyond), 1)), beyond], axis=1), axis=1)
    return np.concatenate([reached[:, :-1] * (1 - beyond), reached[:, -1:]], axis=1)


def fit(features: Matrix, shares: Matrix, outcomes: Matrix, ended: Mask, seed: int = 0) -> OrdinalModel:
    """Learns the model from the images' votes.

    The regressions learn from all votes: an image counts once, parted among the levels as its votes are. Their scores
    of images that they have not seen are then calibrated on what the levels came to. The regularisation is the one of
    least logarithmic loss on votes not seen.

    Args:
        features: (n, features).
        shares: (n, 5), shares of each image's votes.
        outcomes: (n, 5), the level of each image, or its shares where none is decided.
        ended: (n,), whether an image has all its votes; only such images are calibrated on.
        seed: seed of the folds.
    """
    best = choose_strength(features, shares, seed)
    unseen = np.empty((len(features), LEVELS - 1))
    for train, test in split(shares.argmax(axis=1), INNER_FOLDS, seed):
        unseen[test] = _log_odds(features[train], shares[train], best, features[test])
    slopes, shifts = np.ones(LEVELS - 1), np.zeros(LEVELS - 1)
    for k, (beyond, at) in enumerate(steps(outcomes[ended])):
        if min(beyond.sum(), at.sum()) >= LEAST:
            weight, shifts[k] = logistic(unseen[ended, k : k + 1], beyond, at, UNREGULARISED)
            slopes[k] = float(weight[0])
            if slopes[k] < 0:  # the scores tell nothing: all images have the same chance
                slopes[k], shifts[k] = 0.0, float(np.log(beyond.sum() / at.sum()))
    fitted = [logistic(features, beyond, at, best) for beyond, at in steps(shares)]
    return OrdinalModel(np.stack([w for w, _ in fitted]), np.array([b for _, b in fitted]), slopes, shifts, best)


def choose_strength(features: Matrix, shares: Matrix, seed: int) -> float:
    """Returns the regularisation whose models predict the votes on unseen images best."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(features))[:TRIED])
    features, shares = features[rows], shares[rows]
    loss = np.zeros(len(STRENGTHS))
    for train, test in split(shares.argmax(axis=1), INNER_FOLDS, seed):
        for number, strength in enumerate(STRENGTHS):
            levels = as_levels(_log_odds(features[train], shares[train], strength, features[test]))
            loss[number] -= (shares[test] * np.log(np.maximum(levels, SLACK))).sum()
    return STRENGTHS[int(loss.argmin())]


def steps(levels: Matrix) -> list[tuple[Matrix, Matrix]]:
    """Returns for each of levels 1 to 4 the probability of being beyond it, and that of being at it: (n,) each."""
    beyond = np.clip(1 - np.cumsum(levels, axis=1), 0, 1).round(9)  # else 1e-17 would count as a share of the votes
    return [(beyond[:, k], levels[:, k]) for k in range(LEVELS - 1)]


def split(labels: NDArray[np.integer], folds: int, seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Deals images to folds so that each has its share of every label; returns the numbers to train and to test on."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % folds
    return [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(folds)]


def logistic(features: Matrix, yes: Matrix, no: Matrix, strength: float) -> tuple[Matrix, float]:
    """Fits a logistic regression to images that count so much as a yes and so much as a no; returns its weights.

    Args:
        features: (n, features).
        yes, no: (n,), weight of each image on either side, 0 to 1. Where all are on one side, the regression's weights
            are 0, and its intercept says how sure so many images make one.
        strength: the regularisation C.

    Returns:
        (features,): the weights; the intercept.
    """
    if min(yes.sum(), no.sum()) < 1e-9:
        return np.zeros(features.shape[1]), float(np.log((yes.sum() + 0.5) / (no.sum() + 0.5)))
    on, off = np.flatnonzero(yes > 0), np.flatnonzero(no > 0)
    sides = np.concatenate([np.ones(len(on)), np.zeros(len(off))])
    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-6, max_iter=200)
    model.fit(features[np.concatenate([on, off])], sides, np.concatenate([yes[on], no[off]]))
    return model.coef_[0], float(model.intercept_[0])


def _log_odds(train: Matrix, shares: Matrix, strength: float, test: Matrix) -> Matrix:
    """Returns the log odds of going beyond levels 1 to 4, of images that the regressions have not seen: (n, 4)."""
    fitted = [logistic(train, beyond, at, strength) for beyond, at in steps(shares)]
    return np.stack([test @ weights + intercept for weights, intercept in fitted], axis=1)
