"""Brings a project's queue to a list of items, each of several parts that are judged beside each other.

Each part gets an identifier by chance, and the parts of an item an order by chance, once. So nothing that the page is
given can be computed from the name of who made a part.
"""

import random as chance
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select, update

from annotation_ui.clock import Clock
from annotation_ui.database.engine import Database
from annotation_ui.database.tables import IMAGE, items, projects
from annotation_ui.intake.selection import add_items, change, needs_change
from curation.workspace.digests import digest


@dataclass(frozen=True, slots=True)
class ListedPart:
    """One of the parts of an item."""

    item: str
    """Identifies the part in the files of the workspace; the page is not given it."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else is stored of it; the page is given the captions alone."""
    picture: dict[str, Any] | None = None
    """The place of the part's own picture; None if all parts are of the item's picture."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An item as its source lists it."""

    key: str
    parts: Sequence[ListedPart]
    place: dict[str, Any] | None = None
    """The place of the item's picture; None if each part has its own."""
    unsafe: float | None = None
    prompt: str | None = None

    @property
    def identity(self) -> str:
        """A digest of what is judged: as long as it is the same, the votes on it stand."""
        return digest([self.key, sorted(part.item for part in self.parts)])


def is_current(database: Database, project_id: int, fingerprint: str) -> bool:
    """Returns whether the queue was last brought to the list with this fingerprint."""
    known = select(projects.c.synced).where(projects.c.id == project_id)
    return database.read(lambda c: c.execute(known).scalar_one()) == fingerprint


def bring(
    database: Database,
    clock: Clock,
    random: chance.Random,
    project_id: int,
    asked: int,
    listed: Sequence[Listed],
    fingerprint: str,
) -> int:
    """Brings the queue to the list; returns the number of new items.

    An item that is no longer listed leaves the queue with its votes on record, and comes back with them if it is listed
    again. Where the parts of an item differ from before, the item is another one, and the earlier one leaves.

    Args:
        asked: number of votes that are asked on each item.
        listed: all items; their keys are distinct.
        fingerprint: digest of all that the list is made from; see `is_current`.
    """
    wanted = {one.identity: one for one in listed}
    keys = {one.key: identity for identity, one in wanted.items()}

    def work(connection: Connection) -> int:
        rows = connection.execute(_KNOWN.where(items.c.project_id == project_id))
        known = {row.content["identity"]: row for row in rows}
        for identity, row in known.items():
            if identity not in wanted:
                change(connection, clock, row.id, None, asked)
                if row.key in keys:
                    freed = update(items).where(items.c.id == row.id)
                    connection.execute(freed.values(key=f"{row.key} {identity[:16]}"))
        for identity, row in known.items():
            if one := wanted.get(identity):
                _refresh(connection, clock, row, one, asked)
        new = [_row(random, one) for identity, one in wanted.items() if identity not in known]
        if new:
            more = {"project_id": project_id, "asked": asked}
            add_items(connection, random, [row | more for row in new])
        project = update(projects).where(projects.c.id == project_id)
        connection.execute(project.values(synced=fingerprint))
        return len(new)

    return database.write(work)


def _refresh(connection: Connection, clock: Clock, row: Any, one: Listed, asked: int) -> None:
    """Brings an item that is known to its state in the list: where its pictures lie may have changed."""
    columns = _columns(one, row.content["parts"])
    same = all(getattr(row, name) == value for name, value in columns.items())
    if not same or needs_change(row, asked):
        change(connection, clock, row.id, columns, asked)


def _row(random: chance.Random, one: Listed) -> dict[str, Any]:
    """Returns the row of a new item."""
    order = [{"id": f"{random.getrandbits(64):016x}", "item": part.item} for part in one.parts]
    random.shuffle(order)
    return _columns(one, order) | {"shuffle": random.randrange(2**31)}


def _columns(one: Listed, order: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what the list says of an item, its parts in the order and with the identifiers that they were given."""
    by_item = {part.item: part for part in one.parts}
    parts = [by_item[place["item"]] for place in order]
    content: dict[str, Any] = {"identity": one.identity}
    content["parts"] = [
        {"id": place["id"], "item": part.item, **part.facts} for place, part in zip(order, parts, strict=True)
    ]
    if one.place is None:
        content["pictures"] = [part.picture for part in parts]
    if one.prompt is not None:
        content["prompt"] = one.prompt
    return {"key": one.key, "place": one.place, "unsafe": one.unsafe, "content": content}


_KNOWN = select(
    items.c.id,
    items.c.key,
    items.c.status,
    items.c.place,
    items.c.content,
    items.c.unsafe,
    items.c.asked,
    items.c.voted,
).where(items.c.kind == IMAGE)
