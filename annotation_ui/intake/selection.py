"""Takes the kept images of the selection into the queue, a raw shard at a time.

A shard whose files have not changed since is passed over. An image that is no longer kept leaves the queue with its
votes on record, and comes back if it is kept again.
"""

import random as chance
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, bindparam, insert, select, update

from annotation_ui.clock import Clock
from annotation_ui.database.engine import Database
from annotation_ui.database.tables import (
    CLOSING,
    DECIDED,
    IMAGE,
    OPEN,
    TIE,
    UNAVAILABLE,
    WITHDRAWN,
    decisions,
    items,
    shards,
    slots,
)
from annotation_ui.queue.item_ids import new_ids
from annotation_ui.queue.leases import give_all_back
from curation.recipe import Recipe
from curation.workspace import Workspace
from curation.workspace.digests import digest
from curation.workspace.files import read_table, stamps

AT_ONCE = 2_000
"""Number of images that one transaction adds, so that votes need not wait long."""
_COLUMNS = ["key", "member", "offset", "length", "sha256", "width", "height"]


def take_in(
    database: Database, clock: Clock, random: chance.Random, recipe: Recipe, project_id: int, asked: int
) -> int:
    """Brings the queue to the state of the selection; returns the number of images that were added, or that came back.

    Raises:
        StageError: a file of the workspace is damaged; the images of the shards before are there.
    """
    workspace, added = Workspace(recipe.workspace), 0
    present = [(corpus.name, shard) for corpus in recipe.corpora for shard in workspace.shards(corpus.name)]
    own = select(shards).where(shards.c.project_id == project_id)
    known = database.read(lambda c: {(row.corpus, row.shard): row for row in c.execute(own)})
    for corpus, shard in [*present, *sorted(known.keys() - set(present))]:  # of the latter no image is left
        files = _files(workspace, corpus, shard)
        fingerprint = digest([stamps(map(str, files)), asked])
        row = known.get((corpus, shard))
        if row is not None and row.synced == fingerprint:
            continue
        shard_id = row.id if row is not None else database.write(lambda c: _add_shard(c, project_id, corpus, shard))  # noqa: B023
        kept = _kept(workspace, corpus, shard)
        added += _bring(database, clock, random, project_id, shard_id, kept, asked)
        synced = update(shards).where(shards.c.id == shard_id).values(synced=fingerprint)
        database.write(lambda c: c.execute(synced) and None)  # noqa: B023
    return added


def _files(workspace: Workspace, corpus: str, shard: str) -> list[Any]:
    safety = workspace.signal("safety", corpus, shard)
    return [workspace.selection(corpus, shard), workspace.samples(corpus, shard), safety]


def _kept(workspace: Workspace, corpus: str, shard: str) -> dict[str, dict[str, Any]]:
    """Returns the kept images of a shard by key: their place and the signal `unsafe`, if it is there."""
    selection = workspace.selection(corpus, shard)
    if not selection.exists() or not workspace.samples(corpus, shard).exists():
        return {}
    fates = read_table(selection, columns=["key", "fate"])
    table = images_of(workspace, corpus, shard)
    if not table["key"].equals(fates["key"]):
        return {}  # indexed anew since: the images come once the selection has followed
    rows = table.filter(pa.compute.equal(fates["fate"], "kept")).to_pylist()
    return {row["key"]: {"place": place_of(row, corpus, shard), "unsafe": row["unsafe"]} for row in rows}


def images_of(workspace: Workspace, corpus: str, shard: str) -> pa.Table:
    """Returns the images of a raw shard: key, the columns of their place, and the signal `unsafe`, null if not scored.

    Raises:
        StageError: a file is damaged.
    """
    table, safety = read_table(workspace.samples(corpus, shard), columns=_COLUMNS), pa.nulls(0, pa.float32())
    file = workspace.signal("safety", corpus, shard)
    if file.exists():
        safety = read_table(file, columns=["unsafe"])["unsafe"]
    aligned = len(safety) == table.num_rows
    return table.append_column("unsafe", safety if aligned else pa.nulls(table.num_rows, pa.float32()))


def place_of(row: dict[str, Any], corpus: str, shard: str) -> dict[str, Any]:
    """Returns where the image of a row of `images_of` lies, as `Source.image` takes it, and its size in pixels."""
    place = {name: row[name] for name in _COLUMNS if name != "key"}
    return place | {"corpus": corpus, "shard": shard}


def _add_shard(connection: Connection, project_id: int, corpus: str, shard: str) -> int:
    insertion = insert(shards).values(project_id=project_id, corpus=corpus, shard=shard).returning(shards.c.id)
    return connection.execute(insertion).scalar_one()


def _bring(
    database: Database,
    clock: Clock,
    random: chance.Random,
    project_id: int,
    shard_id: int,
    kept: dict[str, dict[str, Any]],
    asked: int,
) -> int:
    """Brings one shard's images to the state of the selection; returns the number of those new or come back."""
    known = database.read(lambda c: {row.key: row for row in c.execute(_KNOWN, {"p": project_id, "s": shard_id})})
    new = [key for key in kept if key not in known]
    for part in _parts(new):
        rows = [
            {"project_id": project_id, "key": key, "shard_id": shard_id, "asked": asked,
             "shuffle": random.randrange(2**31), **kept[key]}
            for key in part
        ]  # fmt: skip
        database.write(lambda c: add_items(c, random, rows))  # noqa: B023
    changes = [row for key, row in known.items() if _differs(row, kept.get(key), asked)]
    for part in _parts(changes):
        database.write(lambda c: _change_all(c, clock, part, kept, asked))  # noqa: B023
    return len(new) + sum(row.status == WITHDRAWN and key in kept for key, row in known.items())


def add_items(connection: Connection, random: chance.Random, rows: list[dict[str, Any]]) -> None:
    """Adds items, which are numbered here."""
    ids = new_ids(connection, random, len(rows))
    connection.execute(insert(items), [{"id": number, **row} for number, row in zip(ids, rows, strict=True)])


def _parts(values: list[Any]) -> Iterator[list[Any]]:
    return (values[start : start + AT_ONCE] for start in range(0, len(values), AT_ONCE))


def _differs(row: Any, kept: dict[str, Any] | None, asked: int) -> bool:
    if kept is None:
        return bool(row.status != WITHDRAWN)
    return row.place != kept["place"] or row.unsafe != kept["unsafe"] or needs_change(row, asked)


def needs_change(row: Any, asked: int) -> bool:
    """Returns whether an item that its source holds is out of the queue, or is asked another number of votes."""
    if row.status in _DECIDED_BY_VOTES:
        return bool(row.voted < asked)
    return row.status in (WITHDRAWN, UNAVAILABLE) or bool(row.status == OPEN and row.asked != asked)


def _change_all(
    connection: Connection, clock: Clock, rows: list[Any], kept: dict[str, dict[str, Any]], asked: int
) -> None:
    for row in rows:
        change(connection, clock, row.id, kept.get(row.key), asked)


def change(connection: Connection, clock: Clock, item_id: int, kept: dict[str, Any] | None, asked: int) -> None:
    """Brings one item to the state of its source.

    An item that was decided stays so, unless more votes are asked than it was decided by, and no verdict decided it:
    its level would else be missing for good, as `curation.annotation.majority` needs all the votes.

    Args:
        kept: the columns of `items` that the source gives; None if it no longer holds the item, which then leaves the
            queue with its votes on record.
        asked: number of votes that are asked on it.
    """
    item = connection.execute(select(items).where(items.c.id == item_id).with_for_update()).one()
    change = update(items).where(items.c.id == item_id)
    if kept is None:
        if item.status in (OPEN, UNAVAILABLE):
            give_all_back(connection, item_id, clock())
            connection.execute(change.values(status=WITHDRAWN))
        return
    values: dict[str, Any] = dict(kept)
    if item.status in (OPEN, WITHDRAWN, UNAVAILABLE) or (
        item.status in _DECIDED_BY_VOTES and item.voted < asked and not _has_verdict(connection, item_id)
    ):
        asked = max(asked, item.voted)
        if asked < item.asked:
            _number_anew(connection, clock, item, asked)
        complete = item.voted >= asked
        values |= {"asked": asked, "reason": None, "status": CLOSING if complete else OPEN, "level": None}
        values |= {"decide_at": clock() if complete else None}
    connection.execute(change.values(**values))


def _number_anew(connection: Connection, clock: Clock, item: Any, asked: int) -> None:
    """Makes an item's slots fit a smaller number of votes: leases give way if there are too many, numbers move down."""
    if item.taken > asked:
        give_all_back(connection, item.id, clock())
    held = select(slots.c.person_id, slots.c.slot).where(slots.c.item_id == item.id, slots.c.slot.is_not(None))
    numbers = {row.person_id: row.slot for row in connection.execute(held)}
    free = (number for number in range(1, asked + 1) if number not in numbers.values())
    for person_id in sorted(person for person, number in numbers.items() if number > asked):
        own = update(slots).where(slots.c.item_id == item.id, slots.c.person_id == person_id)
        connection.execute(own.values(slot=next(free)))


def _has_verdict(connection: Connection, item_id: int) -> bool:
    return connection.execute(select(decisions.c.level).where(decisions.c.item_id == item_id)).first() is not None


_DECIDED_BY_VOTES = (CLOSING, DECIDED, TIE)
_KNOWN = select(
    items.c.id, items.c.key, items.c.status, items.c.place, items.c.unsafe, items.c.asked, items.c.voted
).where(items.c.project_id == bindparam("p"), items.c.kind == IMAGE, items.c.shard_id == bindparam("s"))
