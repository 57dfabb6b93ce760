"""The report's section on predicates: what each removes, histograms of its columns, and pictures from either side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation.recipe.predicates import Predicate
from curation.recipe.thresholds import Threshold, is_number, thresholds
from curation.views.report.fates import Fates
from curation.views.report.histograms import ALL, PredicateHistogram, classes_of, histogram
from curation.views.report.pictures import Gallery, Sheet

SHEET = 24
"""Number of pictures of a sheet, if there are few predicates."""
NEAREST = 8
"""Number of pictures on either side of a threshold."""
PICTURES = 500
"""Approximate limit on the number of pictures of all predicates together."""
_NO_QUANTITY = ("UBIGINT",)
"""Types of columns that hold hashes, which are numbers without an order that means anything."""
_OF_SAMPLES = ("width", "height", "min_side", "aspect_ratio", "length")


@dataclass
class Step:
    """One predicate and what it does to the rows."""

    predicate: Predicate
    reached: int
    """Number of rows that passed all earlier predicates."""
    dropped: int
    undecided: int
    histograms: list[PredicateHistogram]
    thresholds: list[Threshold]
    others: list[str]
    """Columns that the predicate reads and that are not numeric."""
    sheet: Sheet
    nearest: list[tuple[Threshold, Sheet, Sheet]]
    """Each threshold with the images next to it that pass, and those that fail."""


def steps(fates: Fates, gallery: Gallery) -> list[Step]:
    """Describes every predicate, in the recipe's order."""
    thresholds_of = [thresholds(p, fates.cascade.columns) for p in fates.cascade.predicates]
    pictures = sum(SHEET + 2 * NEAREST * len(t) for t in thresholds_of)
    scale = min(1.0, PICTURES / max(1, pictures))
    return [_step(fates, gallery, position, thresholds_of[position], scale) for position in range(len(thresholds_of))]


def other_histograms(fates: Fates, shown: set[str]) -> list[PredicateHistogram]:
    """Returns a histogram of every numeric column of samples and signals that is not in `shown` and has values."""
    columns = [*_OF_SAMPLES, *(c for s in fates.cascade.signals.values() for c in s.columns)]
    kinds = fates.cascade.columns
    wanted = [c for c in columns if c not in shown and is_number(kinds[c]) and kinds[c] not in _NO_QUANTITY]
    return [made for made in (histogram(fates.selection, c, classes=f"'{ALL}'") for c in wanted) if made.known]


def _step(fates: Fates, gallery: Gallery, position: int, comparisons: list[Threshold], scale: float) -> Step:
    predicate = fates.cascade.predicates[position]
    kinds = fates.cascade.columns
    columns = sorted(predicate.columns)
    numeric = [c for c in columns if is_number(kinds[c])]
    dropped = fates.numbers == 2 * position
    total = int(np.count_nonzero(dropped))
    classes = classes_of(fates.selection, position)
    return Step(
        predicate,
        int(np.count_nonzero(fates.numbers >= 2 * position)),
        total,
        int(np.count_nonzero(fates.numbers == 2 * position + 1)),
        [histogram(fates.selection, c, [t for t in comparisons if t.column == c], classes) for c in numeric],
        comparisons,
        [c for c in columns if c not in numeric],
        gallery.sheet(f"Dropped by {predicate.name}", fates.sample(dropped, _some(SHEET, scale)), total, columns),
        [(t, *_either_side(fates, gallery, position, t, _some(NEAREST, scale), columns)) for t in comparisons],
    )


def _either_side(
    fates: Fates, gallery: Gallery, position: int, threshold: Threshold, count: int, columns: Sequence[str]
) -> tuple[Sheet, Sheet]:
    """Returns the images nearest to the threshold that pass the predicate, and the nearest that it drops."""
    values = fates.column(threshold.column)
    with np.errstate(invalid="ignore"):
        distances = np.abs(values - threshold.value)
        on_it = distances <= 1e-6 * abs(threshold.value)  # float32 columns: SQL has decided their side exactly
        above = values > threshold.value
        below = values < threshold.value
    good, bad = (above, below) if threshold.operator.startswith(">") else (below, above)
    passing = (fates.numbers >= 2 * position + 2) & (good | on_it)
    failing = (fates.numbers == 2 * position) & (bad | on_it)
    sheets = [
        gallery.sheet(title, fates.nearest(distances, chosen, count), int(np.count_nonzero(chosen)), columns)
        for title, chosen in (("just pass", passing), ("just fail", failing))
    ]
    return sheets[0], sheets[1]


def _some(count: int, scale: float) -> int:
    return max(4, round(count * scale))
