"""Closes items a minute after their last vote: a majority decides; a tie and a vote for Level 1 wait for a verdict."""

import numpy as np
from sqlalchemy import Connection, bindparam, literal_column, select, update

from annotation_ui.clock import Clock
from annotation_ui.database.tables import CLOSING, DECIDED, VOTED, items, projects, slots
from curation.annotation.majority import HIGHEST, STATUSES, outcomes

LEVELS = "levels"
"""Name of the task whose votes are levels; items of other tasks need no decision."""
AT_ONCE = 500
"""Number of items that one transaction closes at most."""


def settle(connection: Connection, clock: Clock, limit: int = AT_ONCE) -> int:
    """Closes the items whose votes can no longer be changed; returns their number, at most `limit`."""
    due = connection.execute(_DUE, {"now": clock(), "limit": limit}).scalars().all()
    for item_id in due:
        settle_item(connection, item_id)
    return len(due)


def settle_item(connection: Connection, item_id: int) -> None:
    """Closes one item, which the transaction has locked and found to have all its votes."""
    task, asked = connection.execute(_ITEM, {"item": item_id}).one()
    level, status = None, DECIDED
    if task == LEVELS:
        levels = connection.execute(_LEVELS, {"item": item_id}).scalars().all()
        counts = np.bincount(np.array(levels) - 1, minlength=HIGHEST)
        decided, outcome = outcomes(counts[None], asked)
        level, status = int(decided[0]) or None, STATUSES[outcome[0]]
    values = {"the_item": item_id, "new_status": status, "new_level": level}
    connection.execute(_CLOSE, values)


_DUE = (
    select(items.c.id)
    .where(items.c.status == literal_column(f"'{CLOSING}'"), items.c.decide_at <= bindparam("now"))
    .order_by(items.c.decide_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_ITEM = (
    select(projects.c.task, items.c.asked)
    .join(projects, projects.c.id == items.c.project_id)
    .where(items.c.id == bindparam("item"))
)
_LEVELS = select(slots.c.level).where(slots.c.item_id == bindparam("item"), slots.c.state == VOTED)
_CLOSE = (
    update(items)
    .where(items.c.id == bindparam("the_item"))
    .values(status=bindparam("new_status"), level=bindparam("new_level"), decide_at=None)
)
