"""Computes how models do by the ratings of their images: means, confidence intervals and agreement.

Every image has the same weight, however many people rated it; intervals are over each model's images.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curation.annotation.agreement import krippendorff_alpha
from curation.annotation.bootstrap import CONFIDENCE, MeanEstimate, mean_estimates
from curation.annotation.layout import (
    ABOUT_BOUNDS,
    ABOUT_PLUS_MINUS,
    Formatted,
    Row,
    agreement_row,
    aligned,
    bounds,
    estimate_cells,
    markdown_table,
    plus_minus,
)
from curation.annotation.majority import HIGHEST, LOWEST, Integers
from curation.annotation.rating import RATING_CRITERIA, RatingCriterion
from curation.annotation.revisions import newest
from curation.annotation.tally import numbered, tally
from curation.counts import counted
from curation.errors import UserError

COLUMNS = ("images", "ratings", *RATING_CRITERIA)
HEAD = ["", *(name.replace("_", " ").capitalize() for name in COLUMNS)]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """The row of one model."""

    model: str
    images: int
    """Number of its images that are rated."""
    ratings: int
    """Number of ratings of these, each by one person."""
    estimates: dict[RatingCriterion, MeanEstimate | None]
    """The mean of each criterion; None where nobody has rated it."""


@dataclass(frozen=True, slots=True)
class RatingResult:
    """The table, and the data that it is based on."""

    rows: list[ModelRow]
    """The models, sorted by name."""
    agreement: dict[RatingCriterion, float | None]
    """Krippendorff's alpha (ordinal) over all images; None where it is not defined."""
    prompts: int
    images: int
    annotators: int
    ratings: int

    def as_dict(self) -> dict[str, Any]:
        """Returns the result as a dict for JSON."""
        return asdict(self) | {"confidence": CONFIDENCE}


def table(ratings: pa.Table) -> RatingResult:
    """Computes the result.

    Args:
        ratings: all ratings ever given (columns: RATINGS of `curation.annotation.rating`).

    Raises:
        UserError: there is no rating yet.
    """
    ratings = _counting(ratings)
    if not ratings.num_rows:
        raise UserError("there are no ratings of images yet; have people rate some first")
    item, items = numbered(ratings["item"])
    model, models = numbered(ratings["model"])
    counts = {}
    for name in RATING_CRITERIA:
        given = ratings[name].is_valid().to_numpy()
        counts[name] = tally(item[given], ratings[name].drop_null().to_numpy(), len(items))
    values = np.stack([_means(counts[name]) for name in RATING_CRITERIA], axis=1)
    model_of = np.zeros(len(items), np.int64)
    model_of[item] = model
    rows = []
    for name, number in sorted((name, number) for number, name in enumerate(models.to_pylist())):
        own = model_of == number
        estimates = dict(zip(RATING_CRITERIA, mean_estimates(values[own]), strict=True))
        rows.append(ModelRow(name, int(own.sum()), int((model == number).sum()), estimates))
    alphas = {name: krippendorff_alpha(counts[name]) for name in RATING_CRITERIA}
    return RatingResult(
        rows,
        {name: None if alpha is None else round(alpha, 4) for name, alpha in alphas.items()},
        len(ratings["prompt"].unique()),
        len(items),
        len(ratings["annotator"].unique()),
        ratings.num_rows,
    )


def lines(result: RatingResult) -> list[str]:
    """Returns the lines of the table for a terminal: each mean with half the width of its confidence interval."""
    return [f"rating: {_basis(result)}", *aligned(_cells(result, plus_minus)), ABOUT_PLUS_MINUS]


def markdown(result: RatingResult) -> str:
    """Returns the table in Markdown for a report: each mean with its confidence interval."""
    basis = _basis(result)
    return f"{markdown_table(_cells(result, bounds))}\n\n{basis[:1].upper()}{basis[1:]}. {ABOUT_BOUNDS}\n"


def _cells(result: RatingResult, formatted: Formatted) -> list[Row]:
    rows = [
        [row.model, f"{row.images:,}", f"{row.ratings:,}",
         *estimate_cells([(row.estimates[name], 2) for name in RATING_CRITERIA], formatted)]
        for row in result.rows
    ]  # fmt: skip
    return [HEAD, *rows, agreement_row(result.agreement, COLUMNS)]


def _basis(result: RatingResult) -> str:
    names = ("prompts", "images", "annotators", "ratings")
    return ", ".join(counted(getattr(result, name), name) for name in names)


def _counting(ratings: pa.Table) -> pa.Table:
    """Returns the latest rating of each item and annotator, unless nothing is rated in it."""
    item, _ = numbered(ratings["item"])
    annotator, annotators = numbered(ratings["annotator"])
    counting = newest(item * len(annotators) + annotator, ratings["revision"].to_numpy())
    rated = np.zeros(len(ratings), bool)
    for name in RATING_CRITERIA:
        rated |= ratings[name].is_valid().to_numpy()
    return ratings.filter(pa.array(counting & rated))


def _means(counts: Integers) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Returns the mean score of each item; NaN where nobody gave one."""
    total = counts.sum(axis=1)
    return np.where(total > 0, counts @ np.arange(LOWEST, HIGHEST + 1) / np.maximum(total, 1), np.nan)
