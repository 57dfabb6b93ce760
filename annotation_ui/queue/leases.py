"""Renews and returns leases, and takes back those that have expired."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, bindparam, literal_column, select, update

from annotation_ui.clock import Clock
from annotation_ui.database.tables import IMAGE, LEASED, RETURNED, items, slots
from annotation_ui.queue.rules import Rules

AT_ONCE = 50
"""Number of expired leases that one claim takes back at most."""


def renew(connection: Connection, clock: Clock, rules: Rules, person_id: int, leases: Iterable[str]) -> list[str]:
    """Renews a person's leases; returns those that the person still holds."""
    until = clock() + rules.lease_ms
    renewed = []
    for lease in leases:
        values = {"the_person": person_id, "the_lease": lease, "until": until}
        if connection.execute(_RENEW, values).rowcount:
            renewed.append(lease)
    return renewed


def release(connection: Connection, clock: Clock, person_id: int, leases: Iterable[str]) -> list[str]:
    """Returns items that a person holds to the queue, unvoted; returns the leases that were held."""
    now = clock()
    released = []
    for lease in leases:
        item_id = connection.execute(_ITEM_OF, {"person": person_id, "lease": lease}).scalar_one_or_none()
        if item_id is not None and give_back(connection, item_id, person_id, now):
            released.append(lease)
    return released


def expire(connection: Connection, now: int) -> None:
    """Returns items to the queue whose lease has expired.

    It waits for nobody: what another transaction has locked is left for the next time.
    """
    for item_id, person_id, kind in connection.execute(_EXPIRED, {"now": now}).all():
        _free(connection, item_id, person_id, kind, now, RETURNED)


def give_back(connection: Connection, item_id: int, person_id: int, now: int, state: str = RETURNED) -> bool:
    """Frees the slot that a person holds under a lease; returns whether it was held so.

    Args:
        state: what becomes of the person's part in the item: returned or skipped.
    """
    kind = connection.execute(_LOCK, {"item": item_id}).scalar_one()
    return _free(connection, item_id, person_id, kind, now, state)


def give_all_back(connection: Connection, item_id: int, now: int) -> None:
    """Frees all slots of an item that are held under a lease."""
    leased = select(slots.c.person_id).where(slots.c.item_id == item_id, slots.c.state == LEASED)
    for person_id in connection.execute(leased).scalars().all():
        give_back(connection, item_id, person_id, now)


def _free(connection: Connection, item_id: int, person_id: int, kind: str, now: int, state: str) -> bool:
    values = {"the_item": item_id, "the_person": person_id, "now": now, "new_state": state}
    if not connection.execute(_FREE, values).rowcount:
        return False
    if kind == IMAGE:
        connection.execute(_ONE_LESS, {"the_item": item_id})
    return True


_own: Any = (slots.c.person_id == bindparam("the_person"), slots.c.state == literal_column(f"'{LEASED}'"))
_RENEW = update(slots).where(*_own, slots.c.lease == bindparam("the_lease")).values(expires_at=bindparam("until"))
_ITEM_OF = select(slots.c.item_id).where(
    slots.c.person_id == bindparam("person"),
    slots.c.state == literal_column(f"'{LEASED}'"),
    slots.c.lease == bindparam("lease"),
)
_EXPIRED = (
    select(slots.c.item_id, slots.c.person_id, items.c.kind)
    .join(items, items.c.id == slots.c.item_id)
    .where(slots.c.state == literal_column(f"'{LEASED}'"), slots.c.expires_at <= bindparam("now"))
    .order_by(slots.c.expires_at)
    .limit(AT_ONCE)
    .with_for_update(skip_locked=True)
)
_LOCK = select(items.c.kind).where(items.c.id == bindparam("item")).with_for_update()
_FREE = (
    update(slots)
    .where(*_own, slots.c.item_id == bindparam("the_item"))
    .values(slot=None, expires_at=None, state=bindparam("new_state"), changed_at=bindparam("now"))
)
_ONE_LESS = update(items).where(items.c.id == bindparam("the_item")).values(taken=items.c.taken - 1)
