"""Takes in images whose level is known: each is decided by that, and has a twin by which people are tested."""

import random as chance
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Text, cast, insert, select, update

from annotation_ui.accounts.people import clean_name
from annotation_ui.clock import Clock
from annotation_ui.database.engine import Database
from annotation_ui.database.tables import GOLD, IMAGE, WITHDRAWN, decisions, items
from annotation_ui.intake.votes import close, people_by_name
from annotation_ui.queue.gold import put_into_service
from curation.annotation.tally import HIGHEST
from curation.errors import UserError
from curation.keys import composed
from curation.workspace.user_tables import cell_text, read_user_table, whole_number

AT_ONCE = 500
"""Number of keys that one question to the database names."""
VERDICT = "gold"
"""The kind of the decisions that are made."""


def import_gold(
    database: Database, clock: Clock, random: chance.Random, project_id: int, file: Path, by: str
) -> dict[str, int]:
    """Takes in known levels from a CSV or Parquet file with the columns key and level.

    A level that is given again replaces the earlier one. The verdict of a reviewer on an image stands, and the image is
    gold nevertheless.

    Args:
        by: name of the person who knows the levels.

    Returns:
        `gold`, the number of images named; `new`, how many of them were not gold before; `changed`, how many had
            another level; `verdicts_left`, how many keep the level of a reviewer.

    Raises:
        UserError: a line is wrong, or names an image that is not voted on; nothing is taken in.
    """
    levels = _levels(file)
    name = clean_name(by)

    def work(connection: Connection) -> dict[str, int]:
        images, twins = _known(connection, project_id, IMAGE, levels), _known(connection, project_id, GOLD, levels)
        person_id = people_by_name(connection, clock, {name})[name]
        counts = {"gold": len(levels), "new": 0, "changed": 0, "verdicts_left": 0}
        for key, (where, level) in levels.items():
            image, twin = images.get(key), twins.get(key)
            if image is None or image.status == WITHDRAWN:
                detail = "there is no such image among those voted on; it must be kept by the selection"
                raise UserError(f'{where}: key: "{key}": {detail}')
            counts["new"] += twin is None
            counts["changed"] += twin is not None and twin.known != level
            put_into_service(connection, random, image, twin, level)
            counts["verdicts_left"] += not _decide(connection, clock, person_id, image.id, level)
        return counts

    return database.write(work)


def follow(database: Database, project_id: int) -> None:
    """Lets the twins of gold images follow where the images lie, after these were indexed anew."""
    twin = items.alias()
    moved = (
        select(twin.c.id, items.c.place, items.c.unsafe, items.c.shard_id)
        .where(twin.c.project_id == project_id, twin.c.kind == GOLD, items.c.project_id == project_id)
        .where(items.c.kind == IMAGE, items.c.key == twin.c.key)
        .where(cast(items.c.place, Text) != cast(twin.c.place, Text))
    )
    if rows := database.read(lambda c: c.execute(moved).all()):

        def work(connection: Connection) -> None:
            for row in rows:
                values = {"place": row.place, "unsafe": row.unsafe, "shard_id": row.shard_id}
                connection.execute(update(items).where(items.c.id == row.id).values(**values))

        database.write(work)


def _levels(file: Path) -> dict[str, tuple[str, int]]:
    """Returns the place of each key in the file, in words, and its level."""
    levels: dict[str, tuple[str, int]] = {}
    for where, row in read_user_table(file, ("key", "level")).rows():
        key, level = composed(cell_text(row["key"])), whole_number(where, "level", row["level"], 1, HIGHEST)
        if not key:
            raise UserError(f"{where}: key: it is empty; write the image's key")
        if key in levels and levels[key][1] != level:
            raise UserError(f'{where}: level: "{key}" has another one before, {levels[key][1]}; leave one of them')
        levels[key] = where, level
    if not levels:
        raise UserError(f"{file}: it names no image; write a line for each with its key and level")
    return levels


def _known(connection: Connection, project_id: int, kind: str, keys: dict[str, Any]) -> dict[str, Any]:
    """Returns the items of a kind that some keys name."""
    names, found = list(keys), {}
    for start in range(0, len(names), AT_ONCE):
        part = names[start : start + AT_ONCE]
        wanted = select(items).where(items.c.project_id == project_id, items.c.kind == kind, items.c.key.in_(part))
        found.update({row.key: row for row in connection.execute(wanted)})
    return found


def _decide(connection: Connection, clock: Clock, person_id: int, item_id: int, level: int) -> bool:
    """Decides an image by its known level; returns False if it keeps the verdict of a reviewer."""
    earlier = connection.execute(select(decisions).where(decisions.c.item_id == item_id)).one_or_none()
    if earlier is not None and earlier.kind != VERDICT:
        return False
    if earlier is not None and earlier.level == level:
        return True
    values = {"level": level, "kind": VERDICT, "person_id": person_id, "at": clock()}
    if earlier is None:
        connection.execute(insert(decisions), {"item_id": item_id, **values})
    else:
        connection.execute(update(decisions).where(decisions.c.item_id == item_id).values(**values))
    close(connection, clock, item_id, level)
    return True
