"""Counts how far a project has come, how fast votes come in, and which levels the images get."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, literal_column, select

from annotation_ui.database.tables import (
    DECIDED,
    IMAGE,
    OPEN,
    SAFETY_REVIEW,
    STATUSES,
    TIE,
    UNAVAILABLE,
    VOTED,
    WITHDRAWN,
    items,
    slots,
)

HOUR, DAY = 3_600_000, 86_400_000
SHOWN_DAYS = 60
"""Days of which the hours are counted."""
PACE_DAYS = 7
"""Days that the pace is taken from."""
LEAST_VOTES, LEAST_SPAN = 20, DAY
"""Votes, and milliseconds since the first of them, before which there is no pace: an hour's zeal says nothing."""
LEAST_IMAGES = 30
"""Images with all their votes before which no distribution of levels is expected."""
_COMPLETE = (DECIDED, TIE, SAFETY_REVIEW)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast votes come in."""

    votes_per_day: float
    days: float
    """Days that it is taken from."""
    days_left: float | None
    """Days that what is left takes at this pace; None if nothing comes in."""


@dataclass(frozen=True, slots=True)
class LevelShare:
    """How many images got a level, and how many of all are expected to get it."""

    level: int
    images: int
    low: float | None
    """Bounds of the 95 % interval of the share among images with all their votes, 0 to 1; None before enough are."""
    high: float | None
    expected: int | None
    """Images expected among all of the project."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a project."""

    images: dict[str, int]
    """Number of images of each status."""
    asked: int
    """Votes asked in all, of the images that can be voted on or have been."""
    cast: int
    """Votes that stand on them."""
    left: int
    """Votes that open images still need."""
    hours: dict[int, int]
    """Number of votes given here, by the hour since 1970, UTC, of the last days; no entry for an hour without one."""
    pace: Pace | None
    levels: list[LevelShare]


def progress(connection: Connection, project_id: int, now: int, is_random: bool) -> Progress:
    """Computes a project's progress.

    Args:
        now: milliseconds since 1970.
        is_random: whether images are asked in random order; only then those decided tell of the others.
    """
    rows = {row.status: row for row in connection.execute(_STATUSES, {"project": project_id})}
    images = {status: rows[status].images if status in rows else 0 for status in STATUSES}
    counted = [row for row in rows.values() if row.status not in (UNAVAILABLE, WITHDRAWN)]
    left = sum(row.asked - row.voted for row in counted if row.status == OPEN)
    given = {"project": project_id, "since": now - SHOWN_DAYS * DAY}
    hours = {row.hour: row.votes for row in connection.execute(_HOURS, given)}
    levels = {row.level: row.images for row in connection.execute(_LEVELS, {"project": project_id})}
    total, complete = sum(images[row.status] for row in counted), sum(images[status] for status in _COMPLETE)
    return Progress(
        images=images,
        asked=sum(row.asked for row in counted),
        cast=sum(row.voted for row in counted),
        left=left,
        hours=hours,
        pace=pace_of(hours, now, left),
        levels=_shares(levels, complete if is_random else 0, total),
    )


def pace_of(hours: Mapping[int, int], now: int, left: int) -> Pace | None:
    """Computes the pace of the last days; None before there is one.

    Args:
        hours: number of votes by the hour since 1970.
        now: milliseconds since 1970.
        left: number of votes that are still needed.
    """
    if not hours:
        return None
    begin = max(now - PACE_DAYS * DAY, min(hours) * HOUR)
    span = now - begin
    votes = sum(count for hour, count in hours.items() if hour * HOUR >= begin)
    if span < LEAST_SPAN or votes < LEAST_VOTES:
        return None
    per_day = votes / (span / DAY)
    return Pace(per_day, span / DAY, left / per_day)


def wilson(successes: int, of: int) -> tuple[float, float]:
    """Computes Wilson's 95 % interval of a share (E. Wilson, Journal of the American Statistical Association 22, 1927).

    Args:
        successes, of: counts, of > 0.

    Returns:
        low, high: 0 to 1.
    """
    z, share = 1.959964, successes / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def _shares(levels: Mapping[int, int], complete: int, total: int) -> list[LevelShare]:
    shares = []
    for level in range(1, 6):
        images = levels.get(level, 0)
        if complete < LEAST_IMAGES:
            shares.append(LevelShare(level, images, None, None, None))
            continue
        low, high = wilson(images, complete)
        shares.append(LevelShare(level, images, low, high, round(total * images / complete)))
    return shares


_image: Any = (items.c.project_id == bindparam("project"), items.c.kind == literal_column(f"'{IMAGE}'"))
_STATUSES = (
    select(
        items.c.status,
        func.count().label("images"),
        func.sum(items.c.asked).label("asked"),
        func.sum(items.c.voted).label("voted"),
    )
    .where(*_image)
    .group_by(items.c.status)
)
_LEVELS = (
    select(items.c.level, func.count().label("images"))
    .where(*_image, items.c.level.is_not(None))
    .group_by(items.c.level)
)
_hour = (slots.c.changed_at // HOUR).label("hour")
# Votes that were taken in from the workspace's files have no lease, and tell nothing of the pace here.
_HOURS = (
    select(_hour, func.count().label("votes"))
    .join(items, items.c.id == slots.c.item_id)
    .where(*_image, slots.c.state == literal_column(f"'{VOTED}'"), slots.c.lease != "")
    .where(slots.c.changed_at > bindparam("since"))
    .group_by(literal_column("hour"))
)
