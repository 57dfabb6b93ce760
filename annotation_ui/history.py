"""Lists a person's own votes and skips, page by page."""

from typing import Any

from sqlalchemy import Connection, or_, select

from annotation_ui.database.tables import CLOSING, GOLD, OPEN, SKIPPED, VOTED, items, slots
from annotation_ui.items import Item, described
from annotation_ui.queue.claiming import Claim


class Entry(Item):
    """An item on which the person has voted, or that the person has skipped."""

    changeable: bool
    """Whether the vote can still be changed."""
    skipped: str | None
    """The reason for which it was skipped."""
    at: int
    """When, in milliseconds since 1970."""


def own_history(
    connection: Connection, project_id: int, person_id: int, now: int, blur_from: float, before: str | None, limit: int
) -> tuple[list[Entry], str | None]:
    """Returns a person's votes and skips, the newest first, and the cursor of the next page.

    Args:
        before: the cursor, TIME-ITEM; None for the newest.
        limit: number of entries at most.
    """
    own = (
        select(slots, items.c.kind, items.c.status, items.c.decide_at)
        .join(items, items.c.id == slots.c.item_id)
        .where(slots.c.person_id == person_id, slots.c.state.in_((VOTED, SKIPPED)), slots.c.state != "leased")
        .where(items.c.project_id == project_id)
    )
    if before is not None:
        at, item_id = map(int, before.split("-"))
        older = (slots.c.changed_at == at) & (slots.c.item_id < item_id)
        own = own.where(or_(slots.c.changed_at < at, older))
    rows = connection.execute(own.order_by(slots.c.changed_at.desc(), slots.c.item_id.desc()).limit(limit + 1)).all()
    shown = rows[:limit]
    claims = [Claim(row.item_id, row.lease, now) for row in shown]
    entries = [
        Entry(
            **item.model_dump(),
            changeable=_changeable(row, now),
            skipped=row.reason if row.state == SKIPPED else None,
            at=row.changed_at,
        )
        for row, item in zip(shown, described(connection, claims, person_id, now, blur_from), strict=True)
    ]
    more = len(rows) > limit
    return entries, f"{shown[-1].changed_at}-{shown[-1].item_id}" if more else None


def _changeable(row: Any, now: int) -> bool:
    if row.state == SKIPPED:
        return bool(row.status == OPEN)
    return bool(row.kind == GOLD or row.status == OPEN or (row.status == CLOSING and row.decide_at > now))
