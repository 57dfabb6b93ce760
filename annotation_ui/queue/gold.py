"""Makes gold items of decided images, and takes them out of service.

A gold item is a twin of the image, with its level as the known one. Who has had a part in the image itself is not given
its twin.
"""

from random import Random
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from annotation_ui.database.tables import DECIDED, GOLD, GOLD_ASKED, IMAGE, OPEN, WITHDRAWN, items
from annotation_ui.queue import qualifying
from annotation_ui.queue.item_ids import hidden_id
from annotation_ui.queue.rules import Refused


def mark(connection: Connection, random: Random, item_id: int) -> int:
    """Makes a gold item of a decided image, or puts the one that there is back into service; returns its level.

    Raises:
        Refused: `no_item`; `undecided`, the image has no level; `gold`, it is gold already.
    """
    image, twin = _twins(connection, item_id)
    if image.status != DECIDED or image.level is None:
        raise Refused("undecided", "only an image whose level is decided can become gold")
    if twin is not None and twin.status == OPEN and twin.known == image.level:
        raise Refused("gold", "this image is gold already")
    put_into_service(connection, random, image, twin, image.level)
    return int(image.level)


def put_into_service(connection: Connection, random: Random, image: Any, twin: Any, level: int) -> None:
    """Makes the gold item of an image, or puts the one that there is (else None) back into service, with its level."""
    same = {name: getattr(image, name) for name in ("project_id", "key", "shard_id", "place", "content", "unsafe")}
    if twin is None:
        own = {"id": hidden_id(connection, random), "kind": GOLD, "known": level, "asked": GOLD_ASKED}
        connection.execute(insert(items), same | own | {"shuffle": random.randrange(2**31)})
    else:
        again = update(items).where(items.c.id == twin.id)
        connection.execute(again.values(same | {"status": OPEN, "known": level}))
        qualifying.level_changed(connection, twin, level)


def retire(connection: Connection, item_id: int) -> None:
    """Takes a gold item out of service; what was answered on it stays on record.

    Args:
        item_id: the id of the gold item or of its image.

    Raises:
        Refused: `no_item`; `not_gold`, the image is not gold.
    """
    _, twin = _twins(connection, item_id)
    if twin is None or twin.status != OPEN:
        raise Refused("not_gold", "this image is not gold")
    connection.execute(update(items).where(items.c.id == twin.id).values(status=WITHDRAWN))


def _twins(connection: Connection, item_id: int) -> tuple[Row[*tuple[object, ...]], Row[*tuple[object, ...]] | None]:
    """Locks and returns an image and its gold item."""
    named = connection.execute(select(items.c.project_id, items.c.key).where(items.c.id == item_id)).one_or_none()
    if named is None:
        raise Refused("no_item", "there is no such image")
    both = select(items).where(items.c.project_id == named.project_id, items.c.key == named.key)
    found = {row.kind: row for row in connection.execute(both.with_for_update())}
    if IMAGE not in found:
        raise Refused("no_item", "there is no such image")
    return found[IMAGE], found.get(GOLD)
