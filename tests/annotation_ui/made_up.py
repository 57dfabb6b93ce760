"""A database of votes that were never given, of any size: people who differ in care, images that differ in level."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, func, insert, select

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import (
    GOLD,
    GOLD_ASKED,
    OPEN,
    SKIPPED,
    UNAVAILABLE,
    VOTED,
    items,
    people,
    projects,
    slots,
    votes,
)
from curation.annotation.levels import STATUSES, outcomes

NOW = 1_800_000_000_000
"""The time at which the last vote was given, about."""
DAY = 86_400_000
ASKED = 3
LEVELS = np.array([0.01, 0.12, 0.22, 0.5, 0.15])
"""How frequent the levels 1 to 5 are."""
AT_ONCE = 10_000


def fill(
    database: Database,
    images: int,
    annotators: int = 12,
    voted: float = 0.9,
    days: int = 10,
    now: int = NOW,
    places: Sequence[Any] = (),
) -> int:
    """Adds a project whose images have votes; returns its id.

    Args:
        images: number of images.
        annotators: number of people who vote, the last ones with less care.
        voted: share of the images that have all their votes.
        days: days over which the votes were given.
        now: when the last vote was given.
        places: where pictures lie, which the images are then given by turns; without them they have none.
    """
    random = np.random.default_rng(3)
    names = [f"annotator {n:02d}" for n in range(annotators)]
    everyone = [{"name": name, "role": "annotator", "created_at": now, "preferences": {}} for name in names]
    project_id = database.write(lambda c: _project(c, now - days * DAY))
    database.write(lambda c: c.execute(insert(people), everyone))
    first = _first_person(database, names[0])
    before = database.read(lambda c: c.execute(select(func.max(items.c.id))).scalar() or 0)
    truth = random.choice(5, size=images, p=LEVELS) + 1
    full = np.arange(images) < voted * images
    who = np.argsort(random.random((images, annotators)), axis=1)[:, :ASKED]
    care = np.linspace(0.9, 0.55, annotators)
    shift = np.where(random.random(who.shape) < care[who], 0, random.choice([-1, 1], size=who.shape))
    level = np.clip(truth[:, None] + shift, 2, 5)
    level[truth == 1] = 1
    counts = (level[:, :, None] == np.arange(1, 6)).sum(axis=1)
    decided, status = outcomes(counts, ASKED)
    at = now - ((1 - np.arange(images) / images) * days * DAY).astype(np.int64)
    rows: dict[Table, list[dict[str, Any]]] = {items: [], slots: [], votes: []}
    for n in range(images):
        gone = not full[n] and n % 50 == 0
        rows[items].append(
            {"id": before + n + 1, "project_id": project_id, "key": f"made/{n // 1000:05d}/{n:07d}", "asked": ASKED, "kind": "image",
             "status": STATUSES[status[n]] if full[n] else UNAVAILABLE if gone else OPEN,
             "reason": "the raw shard is gone" if gone else None, "known": None,
             "level": int(decided[n]) or None if full[n] else None, "taken": ASKED * int(full[n]),
             "voted": ASKED * int(full[n]), "shuffle": int(random.integers(2**31)), "place": places[n % len(places)] if places else _place(n), "unsafe": 0.0}
        )  # fmt: skip
        if not full[n]:
            continue
        for slot in range(ASKED):
            own = {"item_id": before + n + 1, "person_id": first + int(who[n, slot])}
            given = int(level[n, slot])
            when = int(at[n]) + 60_000 * slot
            rows[slots].append(own | {"slot": slot + 1, "asked": ASKED, "state": VOTED, "lease": "made up", "changed_at": when, "level": given, "reason": None})  # fmt: skip
            shown = int(900 + 2500 * random.random() ** 3 * (1 + who[n, slot] % 4))
            rows[votes].append(own | {"revision": 1, "level": given, "at": when, "shown_ms": shown, "decided_ms": shown, "hidden_ms": 0, "device": "keyboard"})  # fmt: skip
        if n % 40 == 0:
            skipper = first + int(np.setdiff1d(np.arange(annotators), who[n])[0])
            rows[slots].append({"item_id": before + n + 1, "person_id": skipper, "slot": None, "asked": ASKED, "state": SKIPPED, "lease": "made up", "changed_at": int(at[n]), "level": None, "reason": "unsure"})  # fmt: skip
        if n % 25 == 0:
            rows[votes].append(rows[votes][-1] | {"revision": 2})
    _add_gold(rows, now, first, annotators, before + images, truth, random)
    for table in (items, slots, votes):
        for start in range(0, len(rows[table]), AT_ONCE):
            database.write(lambda c: c.execute(insert(table), rows[table][start : start + AT_ONCE]))  # noqa: B023
    return project_id


def by_hand(database: Database, given: dict[str, dict[str, int]], at: int = NOW, **columns: Any) -> dict[str, int]:
    """Adds images with these votes, by key and person; returns the ids of items and people by key and name.

    Args:
        at: when the votes were given.
        columns: further columns of the images.
    """

    def work(connection: Connection) -> dict[str, int]:
        project_id = _project(connection, at)
        ids = {row.name: row.id for row in connection.execute(select(people.c.id, people.c.name))}
        for name in sorted({name for own in given.values() for name in own} - ids.keys()):
            row = {"name": name, "role": "annotator", "created_at": at, "preferences": {}}
            ids[name] = connection.execute(insert(people).returning(people.c.id), row).scalar_one()
        for number, (key, own) in enumerate(given.items()):
            asked = max(len(own), 1)
            item = {"project_id": project_id, "key": key, "asked": asked, "taken": len(own), "voted": len(own)}
            item |= {"shuffle": number, "place": _place(number)} | columns
            ids[key] = connection.execute(insert(items).returning(items.c.id), item).scalar_one()
            for slot, (name, level) in enumerate(own.items(), 1):
                part = {"item_id": ids[key], "person_id": ids[name]}
                held = {"slot": slot, "asked": item["asked"], "state": VOTED, "lease": "x", "changed_at": at + slot}
                connection.execute(insert(slots), part | held | {"level": level})
                connection.execute(insert(votes), part | {"revision": 1, "level": level, "at": at, "shown_ms": 1000})
        return ids

    return database.write(work)


def _project(connection: Connection, at: int) -> int:
    known = connection.execute(select(projects.c.id).where(projects.c.task == "levels")).scalar_one_or_none()
    if known is not None:
        return known
    row = {"task": "levels", "asked": ASKED, "paused": False, "created_at": at}
    return connection.execute(insert(projects).returning(projects.c.id), row).scalar_one()


def _add_gold(
    rows: dict[Table, list[dict[str, Any]]],
    now: int,
    first: int,
    annotators: int,
    last: int,
    truth: Any,
    random: Any,
) -> None:
    for n in range(min(30, len(rows[items]))):
        item_id = last + n + 1
        known = int(truth[n])
        rows[items].append(
            rows[items][n] | {"id": item_id, "kind": GOLD, "known": known, "asked": GOLD_ASKED, "taken": 0, "voted": 0,
                              "status": OPEN, "level": None, "reason": None}
        )  # fmt: skip
        for person in range(annotators):
            given = known if random.random() < 0.95 - 0.04 * person else 2 + known % 4
            own = {"item_id": item_id, "person_id": first + person}
            rows[slots].append(own | {"slot": first + person, "asked": GOLD_ASKED, "state": VOTED, "lease": "made up", "changed_at": now - DAY, "level": given, "reason": None})  # fmt: skip
            rows[votes].append(own | {"revision": 1, "level": given, "at": now - DAY, "shown_ms": 2000, "decided_ms": 2000, "hidden_ms": 0, "device": "keyboard"})  # fmt: skip


def _place(n: int) -> dict[str, Any]:
    place = {"corpus": "made", "shard": f"{n // 1000:05d}", "member": f"{n:07d}", "offset": 512 * n, "length": 200_000}
    return place | {"sha256": f"{n:064x}", "width": 1024, "height": 768}


def _first_person(database: Database, name: str) -> int:
    def find(connection: Connection) -> int:
        return int(connection.execute(people.select().where(people.c.name == name)).one().id)

    return database.read(find)
