"""Counts how each person works: votes, time, agreement with others, gold, the entry test, skips and corrections."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, String, bindparam, case, cast, func, literal_column, select

from annotation_ui.database.tables import (
    GOLD,
    IMAGE,
    LEASED,
    RETRACTED,
    SKIPPED,
    VOTED,
    items,
    qualifications,
    slots,
    votes,
)
from annotation_ui.statistics.agreement import Pairs, confusion, equal_share

BIN_MS, LONGEST_MS = 50, 600_000
"""Times are counted to 50 ms, and those above ten minutes as ten minutes."""
_LATER, _WITHDRAWN = -1, -2


@dataclass(slots=True)
class Work:
    """How a person works in a project. Gold items count only in `gold` and `gold_right`."""

    votes: int = 0
    """Votes that stand."""
    median_ms: float | None = None
    """Median and tenth percentile of the time for which an image was shown before its first vote, to 50 ms."""
    p10_ms: float | None = None
    agreement: float | None = None
    """Share, 0 to 1, of pairs of a vote and another person's on the same image that are equal."""
    gold: int = 0
    """Gold items that were answered."""
    gold_right: int = 0
    test: str | None = None
    """How the entry test stands: testing, passed or failed; None if there is none."""
    test_correct: int = 0
    test_answered: int = 0
    skips: dict[str, int] = field(default_factory=dict)
    """Number of images skipped, by reason."""
    corrections: int = 0
    """Number of later votes on an image on which the person had voted."""
    withdrawals: int = 0
    set_aside: int = 0
    """Votes that the lead has set aside."""
    held: int = 0
    """Images held now, unvoted."""
    last_at: int | None = None
    """Time of the person's last action on an image, milliseconds since 1970."""


def annotators(connection: Connection, project_id: int, pairs: Pairs) -> dict[int, Work]:
    """Returns how each person works who has had an item of the project, by the person's id.

    Args:
        pairs: the comparisons of people, see `annotation_ui.statistics.agreement`.
    """
    found: dict[int, Work] = defaultdict(Work)
    given = {"project": project_id}
    for row in connection.execute(_STATES, given):
        work = found[row.person_id]
        work.last_at = max(work.last_at or 0, row.last)
        if row.state == SKIPPED:
            work.skips[row.reason or ""] = row.times
        elif row.state in _FIELDS:
            setattr(work, _FIELDS[row.state], row.times)
    times: dict[int, dict[int, int]] = defaultdict(dict)
    for person_id, bin_number, count in connection.execute(_TIMES, given):
        if bin_number == _LATER:
            found[person_id].corrections = count
        elif bin_number == _WITHDRAWN:
            found[person_id].withdrawals = count
        elif bin_number is not None:
            times[person_id][bin_number] = count
    for person_id, bins in times.items():
        found[person_id].median_ms, found[person_id].p10_ms = quantile(bins, 0.5), quantile(bins, 0.1)
    for row in connection.execute(_GOLD, given):
        found[row.person_id].gold, found[row.person_id].gold_right = row.answered, row.right
    for row in connection.execute(_TESTS, given):
        work = found[row.person_id]
        work.test, work.test_correct, work.test_answered = row.state, row.correct, row.answered
    for person_id, work in found.items():
        work.agreement = equal_share(confusion(pairs, person_id, None))
        work.withdrawals -= work.set_aside  # each is on record as a withdrawal
    return dict(found)


def quantile(bins: Mapping[int, int], share: float) -> float | None:
    """Returns a quantile of times that are counted in bins.

    Args:
        bins: number of times in each bin of 50 ms, by the bin's number.
        share: 0 to 1.

    Returns:
        milliseconds, as if the times of a bin lay evenly in it; None without a time.
    """
    wanted, before = share * sum(bins.values()), 0
    for number in sorted(bins):
        if before + bins[number] >= wanted:
            return BIN_MS * (number + (wanted - before) / bins[number])
        before += bins[number]
    return None


_FIELDS = {VOTED: "votes", LEASED: "held", RETRACTED: "set_aside"}
_image: Any = (items.c.project_id == bindparam("project"), items.c.kind == literal_column(f"'{IMAGE}'"))
_STATES = (
    select(
        slots.c.person_id,
        slots.c.state,
        slots.c.reason,
        func.count().label("times"),
        func.max(slots.c.changed_at).label("last"),
    )
    .join(items, items.c.id == slots.c.item_id)
    .where(*_image)
    .group_by(slots.c.person_id, slots.c.state, slots.c.reason)
)
# A vote without a level and without scores is a withdrawal; JSON's null stands where there are no scores.
_is_withdrawn = votes.c.level.is_(None) & (
    func.coalesce(cast(votes.c.answer, String), literal_column("'null'")) == "null"
)
_shown = case((votes.c.shown_ms > LONGEST_MS, LONGEST_MS), else_=votes.c.shown_ms) // BIN_MS
_bin = case((votes.c.revision == 1, _shown), (_is_withdrawn, _WITHDRAWN), else_=_LATER).label("bin")
_TIMES = (
    select(votes.c.person_id, _bin, func.count())
    .join(items, items.c.id == votes.c.item_id)
    .where(*_image)
    .group_by(votes.c.person_id, literal_column("bin"))
)
_GOLD = (
    select(
        slots.c.person_id,
        func.count().label("answered"),
        func.sum(case((slots.c.level == items.c.known, 1), else_=0)).label("right"),
    )
    .join(items, items.c.id == slots.c.item_id)
    .where(items.c.project_id == bindparam("project"), items.c.kind == literal_column(f"'{GOLD}'"))
    .where(slots.c.state == literal_column(f"'{VOTED}'"))
    .group_by(slots.c.person_id)
)
_TESTS = select(qualifications).where(qualifications.c.project_id == bindparam("project"))
