"""Computes how far people agree on levels, and who differs from whom, from the votes that stand.

The database only counts: how many images got which votes, and how often two people gave which levels. That is little,
however many votes there are. The coefficients are computed from it in a process of its own, as they need pyarrow, which
the server does without.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, case, func, literal_column, select

from annotation_ui.database.tables import IMAGE, VOTED, items, slots
from curation.annotation.majority import HIGHEST

Counts = NDArray[np.int64]
Pairs = dict[tuple[int, int], Counts]
"""For two people, the smaller id first, how often the one gave Level i + 1 where the other gave Level j + 1: (5, 5)."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people agree."""

    images: int
    """Number of images with at least two votes."""
    alpha: float | None
    """Krippendorff's alpha for ordinal values, with its 95 % interval."""
    alpha_interval: tuple[float, float] | None
    kappa: float | None
    """Fleiss' kappa, with its 95 % interval."""
    kappa_interval: tuple[float, float] | None


def patterns(connection: Connection, project_id: int) -> Counts:
    """Counts the distinct sets of votes that images have.

    Returns:
        int64 (sets, 6): the number of votes for each level from 1 to 5, and the number of images that have these votes.
    """
    rows = connection.execute(_PATTERNS, {"project": project_id}).all()
    return np.array([tuple(row) for row in rows], np.int64).reshape(-1, HIGHEST + 1)


def agreement_of(found: Counts) -> Agreement:
    """Computes how far people agree; imports pyarrow.

    Args:
        found: see `patterns`.
    """
    from curation.annotation.agreement import alpha_interval, fleiss_kappa, kappa_interval, krippendorff_alpha

    counts = np.repeat(found[:, :HIGHEST], found[:, HIGHEST], axis=0)
    if not len(counts):
        return Agreement(0, None, None, None, None)
    return Agreement(
        images=int((counts.sum(axis=1) >= 2).sum()),
        alpha=krippendorff_alpha(counts),
        alpha_interval=alpha_interval(counts),
        kappa=fleiss_kappa(counts),
        kappa_interval=kappa_interval(counts),
    )


def pairs(connection: Connection, project_id: int) -> Pairs:
    """Compares each two people's votes on the same images."""
    found: Pairs = {}
    for first, second, one, other, times in connection.execute(_PAIRS, {"project": project_id}):
        matrix = found.setdefault((first, second), np.zeros((HIGHEST, HIGHEST), np.int64))
        matrix[one - 1, other - 1] += times
    return found


def confusion(found: Pairs, first: int, second: int | None) -> Counts:
    """Returns how often a person gave each level (rows) where another gave each level (columns), int64 (5, 5).

    Args:
        found: see `pairs`.
        first: the person's id.
        second: the other's; None for all others together.
    """
    total = np.zeros((HIGHEST, HIGHEST), np.int64)
    for (one, other), matrix in found.items():
        if one == first and second in (None, other):
            total += matrix
        elif other == first and second in (None, one):
            total += matrix.T
    return total


def equal_share(matrix: Counts) -> float | None:
    """Returns the share, 0 to 1, of the pairs of votes in a confusion matrix that are equal; None without a pair."""
    return float(np.trace(matrix) / matrix.sum()) if matrix.any() else None


_voted = (slots.c.state == literal_column(f"'{VOTED}'"), slots.c.level.is_not(None))
_image = (items.c.project_id == bindparam("project"), items.c.kind == literal_column(f"'{IMAGE}'"))
_numbers = [f"level_{level}" for level in range(1, HIGHEST + 1)]
_per_image = (
    select(
        *(
            func.sum(case((slots.c.level == literal_column(str(n)), 1), else_=0)).label(name)
            for n, name in enumerate(_numbers, 1)
        )
    )
    .join(items, items.c.id == slots.c.item_id)
    .where(*_image, *_voted)
    .group_by(items.c.id)
    .subquery()
)
_PATTERNS = select(*(_per_image.c[name] for name in _numbers), func.count()).group_by(
    *(_per_image.c[name] for name in _numbers)
)
_other = slots.alias("other")
_PAIRS = (
    select(slots.c.person_id, _other.c.person_id, slots.c.level, _other.c.level, func.count())
    .select_from(items)
    .join(slots, slots.c.item_id == items.c.id)
    .join(_other, (_other.c.item_id == items.c.id) & (_other.c.person_id > slots.c.person_id))
    .where(*_image, *_voted, _other.c.state == literal_column(f"'{VOTED}'"), _other.c.level.is_not(None))
    .group_by(slots.c.person_id, _other.c.person_id, slots.c.level, _other.c.level)
)
