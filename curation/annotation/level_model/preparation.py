"""Brings embeddings and signals of any range to one scale, with missing values in the middle of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.annotation.level_model.features import Rows

Matrix = NDArray[np.float64]

POINTS = 65
"""Number of quantiles by which a signal's values become ranks."""
COMPONENTS = 128
"""Maximum number of directions in which embeddings are looked at: those in which the voted images vary most."""
LEAST_VECTORS = 10
"""Number of voted images with an embedding below which embeddings are not looked at."""


def present(vectors: NDArray[np.float16]) -> NDArray[np.bool_]:
    """Tells which images have an embedding, since all values are 0 for the others: (n,)."""
    return np.asarray(vectors.any(axis=1), np.bool_)


@dataclass(frozen=True)
class _Ranked:
    """One signal: its values, and the rank of each among those of the voted images."""

    column: int
    values: Matrix
    ranks: Matrix

    def apply(self, numbers: Matrix) -> Matrix:
        ranks = np.interp(numbers[:, self.column], self.values, self.ranks)
        return np.nan_to_num(ranks)  # missing: the middle


@dataclass(frozen=True)
class _Projection:
    """The embeddings' mean, and the scaled directions on which they are laid: (width,) and (width, components)."""

    mean: Matrix
    directions: Matrix

    def apply(self, vectors: NDArray[np.float16]) -> Matrix:
        laid = (vectors.astype(np.float64) - self.mean) @ self.directions
        return np.where(present(vectors)[:, None], laid, 0.0)


class Preparation:
    """Learned on the voted images without their votes, so that it tells the model nothing about a level.

    A signal becomes its rank among the voted images, with mean 0 and variance 1: long tails and values outside the
    range of the voted images do no harm. A missing value is 0, and a column of its own says that it is missing.
    Embeddings are standardised and laid on their principal directions, which together have the variance of `spread`
    signals.

    Args:
        rows: the voted images.
        spread: variance of all components of the embeddings together.
    """

    def __init__(self, rows: Rows, spread: float = 64.0) -> None:
        self.ranked = [r for c in range(rows.numbers.shape[1]) if (r := _ranked(rows.numbers[:, c], c)) is not None]
        missing = np.isnan(rows.numbers)
        share = missing.mean(axis=0)
        partly = np.flatnonzero((share > 0) & (share < 1))
        _, first = np.unique(missing[:, partly], axis=1, return_index=True)  # columns of one signal lack the same rows
        self.indicators = partly[np.sort(first)]
        self.shares = share[self.indicators]
        has_vector = present(rows.vectors)
        enough = has_vector.sum() >= LEAST_VECTORS
        self.projection = _projection(rows.vectors[has_vector], spread) if enough else None
        self.present_share = float(has_vector.mean())

    def apply(self, rows: Rows) -> Matrix:
        """Returns the features of images: float64 (n, features), without NaN."""
        columns: list[Matrix] = [ranked.apply(rows.numbers)[:, None] for ranked in self.ranked]
        columns.append(np.isnan(rows.numbers[:, self.indicators]).astype(np.float64) - self.shares)
        if self.projection is not None:
            columns.append(self.projection.apply(rows.vectors))
            if self.present_share < 1:
                columns.append(present(rows.vectors)[:, None].astype(np.float64) - self.present_share)
        return np.concatenate(columns, axis=1)


def _ranked(column: Matrix, number: int) -> _Ranked | None:
    """Learns the ranks of a signal's values; returns None if it has fewer than two different ones."""
    known = column[~np.isnan(column)]
    if len(known) < 2 or known.min() == known.max():
        return None
    quantiles = np.quantile(known, np.linspace(0, 1, POINTS))
    values, places = np.unique(quantiles, return_inverse=True)
    ranks = np.bincount(places, np.linspace(0, 1, POINTS)) / np.bincount(places)  # of equal values, the middle rank
    laid = np.interp(known, values, ranks)
    return _Ranked(number, values, (ranks - laid.mean()) / max(laid.std(), 1e-6))


def _projection(vectors: NDArray[np.float16], spread: float) -> _Projection:
    values = vectors.astype(np.float64)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)
    standard = (values - mean) * scale
    variances, directions = np.linalg.eigh(standard.T @ standard / len(values))
    kept = min(COMPONENTS, len(values) - 1, values.shape[1])
    directions = directions[:, ::-1][:, :kept]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(kept)])  # else the sign would be any
    total = max(float(variances.sum()), 1e-12)
    return _Projection(mean, scale[:, None] * directions * np.sqrt(spread / total))
