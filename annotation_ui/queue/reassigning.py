"""Takes a person's leases, or the votes that have decided nothing yet, and lets others vote in the person's place."""

from sqlalchemy import Connection, func, insert, select, update

from annotation_ui.clock import Clock
from annotation_ui.database.tables import CLOSING, IMAGE, LEASED, OPEN, RETRACTED, VOTED, items, slots, votes
from annotation_ui.queue.leases import give_back


def return_leases(connection: Connection, clock: Clock, person_id: int) -> int:
    """Returns to the queue all that a person holds unvoted; returns the number of items."""
    now = clock()
    held = select(slots.c.item_id).where(slots.c.person_id == person_id, slots.c.state == LEASED)
    item_ids = connection.execute(held.order_by(slots.c.item_id)).scalars().all()
    return sum(give_back(connection, item_id, person_id, now) for item_id in item_ids)


def retract_votes(connection: Connection, clock: Clock, person_id: int, limit: int | None = None) -> int:
    """Sets aside a person's votes on items that are not decided, and asks others instead; returns their number.

    The votes stay on record, each followed by a revision that withdraws it. The person does not get the items again.

    Args:
        limit: number of votes at most, so that one transaction is short; None for all.
    """
    now = clock()
    standing = (
        select(slots.c.item_id)
        .join(items, items.c.id == slots.c.item_id)
        .where(slots.c.person_id == person_id, slots.c.state == VOTED)
        .where(items.c.kind == IMAGE, items.c.status.in_((OPEN, CLOSING)))
        .order_by(slots.c.item_id)
        .limit(limit)
    )
    return sum(
        _retract(connection, item_id, person_id, now) for item_id in connection.execute(standing).scalars().all()
    )


def _retract(connection: Connection, item_id: int, person_id: int, now: int) -> bool:
    """Retracts one vote; returns whether it could be, as another transaction may just have closed the item."""
    locked = select(items.c.status).where(items.c.id == item_id).with_for_update()
    if connection.execute(locked).scalar_one() not in (OPEN, CLOSING):
        return False
    own = (slots.c.item_id == item_id, slots.c.person_id == person_id)
    freed = update(slots).where(*own, slots.c.state == VOTED)
    if not connection.execute(freed.values(state=RETRACTED, slot=None, level=None, changed_at=now)).rowcount:
        return False
    of_vote = (votes.c.item_id == item_id, votes.c.person_id == person_id)
    revision = connection.execute(select(func.max(votes.c.revision)).where(*of_vote)).scalar_one()
    row = {"item_id": item_id, "person_id": person_id, "revision": revision + 1, "at": now}
    connection.execute(insert(votes), row)
    reopened = update(items).where(items.c.id == item_id)
    connection.execute(reopened.values(taken=items.c.taken - 1, voted=items.c.voted - 1, status=OPEN, decide_at=None))
    return True
