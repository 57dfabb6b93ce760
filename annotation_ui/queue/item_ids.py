"""Numbers items so that a number tells nothing: gold items lie among the images, though they are made later.

The page is given these numbers. Were they dense, every number above those of the images would be gold's.
"""

from random import Random

from sqlalchemy import Connection, func, select

from annotation_ui.database.tables import items

STEP = 4
"""Largest difference of two images' numbers; on average three of five numbers between are left for gold items."""
TRIES = 100


def new_ids(connection: Connection, random: Random, count: int) -> list[int]:
    """Returns the numbers of new items, above all that there are."""
    last, ids = _last(connection), []
    for _ in range(count):
        last += random.randint(1, STEP)
        ids.append(last)
    return ids


def hidden_id(connection: Connection, random: Random) -> int:
    """Returns a number among those of the items that there are; above them, if all tried are in use."""
    last = _last(connection)
    for _ in range(TRIES):
        number = random.randint(1, max(last, 1))
        if connection.execute(select(items.c.id).where(items.c.id == number)).first() is None:
            return number
    return last + random.randint(1, STEP)


def _last(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(items.c.id), 0))).scalar_one())
