"""Takes images out of the queue whose picture cannot be shown, and puts them back."""

from sqlalchemy import Connection, case, select, update

from annotation_ui.clock import Clock
from annotation_ui.database.tables import CLOSING, IMAGE, OPEN, UNAVAILABLE, items
from annotation_ui.queue.leases import give_all_back
from annotation_ui.queue.rules import Refused


def take_out(connection: Connection, clock: Clock, item_id: int, reason: str) -> None:
    """Takes an image out until the workspace's files change or a lead puts it back, and frees the leases on it."""
    item = connection.execute(select(items.c.kind, items.c.status).where(items.c.id == item_id).with_for_update()).one()
    if item.kind != IMAGE or item.status != OPEN:
        return
    give_all_back(connection, item_id, clock())
    connection.execute(update(items).where(items.c.id == item_id).values(status=UNAVAILABLE, reason=reason))


def reopen(connection: Connection, clock: Clock, item_id: int) -> None:
    """Puts an image back, whose picture is then tried anew.

    Raises:
        Refused: `no_item`; `available`, the picture can be shown as far as is known.
    """
    status = connection.execute(select(items.c.status).where(items.c.id == item_id).with_for_update()).scalar()
    if status is None:
        raise Refused("no_item", "there is no such image")
    if status != UNAVAILABLE:
        raise Refused("available", "this image is not among those that cannot be shown")
    _put_back(connection, clock, [item_id])


def reopen_all(connection: Connection, clock: Clock, project_id: int, limit: int) -> int:
    """Puts back all images of a project, at most `limit` of them; returns their number."""
    found = (
        select(items.c.id)
        .where(items.c.project_id == project_id, items.c.kind == IMAGE, items.c.status == UNAVAILABLE)
        .order_by(items.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.execute(found).scalars())
    _put_back(connection, clock, ids)
    return len(ids)


def _put_back(connection: Connection, clock: Clock, ids: list[int]) -> None:
    complete = items.c.voted >= items.c.asked
    connection.execute(
        update(items)
        .where(items.c.id.in_(ids))
        .values(
            status=case((complete, CLOSING), else_=OPEN),
            decide_at=case((complete, clock()), else_=None),
            reason=None,
        )
    )
