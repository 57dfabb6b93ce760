"""Takes votes and verdicts given elsewhere, those of the workspace's files, into the database.

Of a person's votes on an image the one with the latest round and revision stands, as it does in the file: a correction
that is imported replaces the vote in the database, and the image is decided anew. An image gets more votes than were
asked only if they were given elsewhere: each is then asked of that image.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from annotation_ui.clock import Clock
from annotation_ui.database.engine import Database
from annotation_ui.database.tables import (
    ANNOTATOR,
    CLOSING,
    DECIDED,
    IMAGE,
    OPEN,
    SAFETY_REVIEW,
    TIE,
    VOTED,
    WITHDRAWN,
    decisions,
    items,
    people,
    projects,
    slots,
    votes,
)
from annotation_ui.queue.leases import give_all_back
from curation.annotation.levels import latest_decisions, read_decisions, read_votes
from curation.errors import StageError
from curation.workspace import Workspace
from curation.workspace.files import Stamp, stamps

AT_ONCE = 500
"""Number of images whose votes one transaction takes in."""
LONGEST = 200
"""Largest number of characters of a name that the database holds."""
_UNDECIDED = (OPEN, CLOSING, TIE, SAFETY_REVIEW, DECIDED)


def stamp_of(workspace: Workspace) -> Stamp:
    """Returns the state of the workspace's files of votes, by which a change is seen; None if there are none."""
    found = stamps([str(workspace.votes), str(workspace.decisions)])
    return "|".join(stamp or "" for stamp in found) if any(found) else None


def take_in(database: Database, clock: Clock, workspace: Workspace, project_id: int, anew: bool = False) -> int:
    """Takes in what the database lacks of the workspace's votes and verdicts; returns the number of votes added.

    Args:
        anew: whether to look at files that have not changed too, since the database has images that it had not.

    Raises:
        StageError: a file is damaged.
    """
    stamp = stamp_of(workspace)
    known = select(projects.c.synced).where(projects.c.id == project_id)
    current = database.read(lambda c: c.execute(known).scalar_one()) == stamp
    if stamp is None or (current and not anew):
        return 0
    given = _given(workspace)
    added = 0
    keys = sorted(given)
    for start in range(0, len(keys), AT_ONCE):
        part = {key: given[key] for key in keys[start : start + AT_ONCE]}
        added += database.write(lambda c: _add(c, clock, project_id, part))  # noqa: B023
    if workspace.decisions.exists():
        verdicts = latest_decisions(read_decisions(workspace)).to_pylist()
        database.write(lambda c: _add_verdicts(c, clock, project_id, verdicts))
    mark_current(database, workspace, project_id)
    return added


def mark_current(database: Database, workspace: Workspace, project_id: int) -> None:
    """Notes that the database holds all that the workspace's files of votes hold."""
    stamp = stamp_of(workspace)
    database.write(lambda c: c.execute(update(projects).where(projects.c.id == project_id).values(synced=stamp)))


def _given(workspace: Workspace) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns the votes of the workspace's file that stand, by key and annotator."""
    standing: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    if not workspace.votes.exists():
        return standing
    table = read_votes(workspace)
    for row in sorted(table.to_pylist(), key=lambda row: (row["round"], row["revision"])):
        standing[row["key"]][row["annotator"]] = row
    return standing


def _add(connection: Connection, clock: Clock, project_id: int, given: dict[str, dict[str, dict[str, Any]]]) -> int:
    """Adds the votes on some images; returns their number."""
    found = connection.execute(
        select(items.c.id, items.c.key)
        .where(items.c.project_id == project_id, items.c.kind == IMAGE, items.c.key.in_(list(given)))
        .order_by(items.c.id)
    ).all()
    ids = people_by_name(connection, clock, {name for own in given.values() for name in own})
    added = 0
    for item_id, key in found:
        own = {ids[name]: vote for name, vote in given[key].items() if vote["level"] is not None}
        had = {row.person_id: row for row in connection.execute(_LATEST, {"item": item_id})}
        new = {person: vote for person, vote in own.items() if _is_newer(vote, had.get(person))}
        if new:
            _add_to(connection, clock, item_id, new)
            added += len(new)
    return added


def _is_newer(vote: dict[str, Any], known: Any) -> bool:
    """Returns whether a vote of the file comes after the last one of the same person in the database."""
    if known is None:
        return True
    later = (vote["round"], vote["revision"]) > (known.round, known.revision)
    return later and (vote["level"], milliseconds(vote["at"])) != (known.level, known.at)


def _add_to(connection: Connection, clock: Clock, item_id: int, new: dict[int, dict[str, Any]]) -> None:
    """Adds or replaces votes on one image. Leases give way; if votes alone are more than asked, more are asked."""
    now = clock()
    item = connection.execute(select(items).where(items.c.id == item_id).with_for_update()).one()
    parts = connection.execute(select(slots).where(slots.c.item_id == item_id)).all()
    give_all_back(connection, item_id, now)
    voted = {part.person_id: part.slot for part in parts if part.state == VOTED}
    taken = set(voted.values())
    asked = max(item.asked, len(voted.keys() | new.keys()))
    connection.execute(update(items).where(items.c.id == item_id).values(asked=asked))
    present = {part.person_id for part in parts}
    for person, vote in sorted(new.items()):
        slot = voted.get(person) or next(number for number in range(1, asked + 1) if number not in taken)
        taken.add(slot)
        at = milliseconds(vote["at"])
        values = {"slot": slot, "asked": asked, "state": VOTED, "expires_at": None}
        values |= {"changed_at": at or now, "level": vote["level"]}
        if person in present:
            own = update(slots).where(slots.c.item_id == item_id, slots.c.person_id == person)
            connection.execute(own.values(**values))
        else:
            connection.execute(insert(slots), {"item_id": item_id, "person_id": person, "lease": "", **values})
        times = {name: vote.get(name) for name in ("shown_ms", "decided_ms", "hidden_ms", "device")}
        row = {"item_id": item_id, "person_id": person, "round": vote["round"], "revision": vote["revision"]}
        connection.execute(insert(votes), row | times | {"level": vote["level"], "at": at})
    has_verdict = connection.execute(select(decisions.c.level).where(decisions.c.item_id == item_id)).first()
    complete = len(taken) >= asked
    counts: dict[str, Any] = {"taken": len(taken), "voted": len(taken)}
    if has_verdict is None and item.status in _UNDECIDED:
        counts |= {"status": CLOSING if complete else OPEN, "decide_at": now if complete else None, "level": None}
    connection.execute(update(items).where(items.c.id == item_id).values(**counts))


def _add_verdicts(connection: Connection, clock: Clock, project_id: int, verdicts: list[dict[str, Any]]) -> None:
    """Adds the verdicts that the database lacks; leases on images that are decided by them end."""
    ids = people_by_name(connection, clock, {verdict["annotator"] for verdict in verdicts})
    for verdict in verdicts:
        known = select(items.c.id, items.c.status).where(items.c.project_id == project_id, items.c.kind == IMAGE)
        item = connection.execute(known.where(items.c.key == verdict["key"])).one_or_none()
        if item is None or item.status == WITHDRAWN:
            continue
        if connection.execute(select(decisions.c.level).where(decisions.c.item_id == item.id)).first():
            continue
        row = {"item_id": item.id, "level": verdict["level"], "kind": verdict["kind"], "note": verdict["note"]}
        at = milliseconds(verdict["at"]) or 0
        connection.execute(insert(decisions), row | {"person_id": ids[verdict["annotator"]], "at": at})
        close(connection, clock, item.id, verdict["level"])


def close(connection: Connection, clock: Clock, item_id: int, level: int) -> None:
    """Decides an item by a verdict that the transaction has stored, and ends the leases on it."""
    give_all_back(connection, item_id, clock())
    decided = update(items).where(items.c.id == item_id)
    connection.execute(decided.values(status=DECIDED, level=level, decide_at=None))


def people_by_name(connection: Connection, clock: Clock, names: set[str]) -> dict[str, int]:
    """Returns the ids of people by name; who is unknown is added, and can sign in once invited.

    Raises:
        StageError: a name is too long, or holds what PostgreSQL cannot store.
    """
    known = {row.name: row.id for row in connection.execute(select(people.c.id, people.c.name))}
    for name in sorted(names - known.keys()):
        if len(name) > LONGEST or "\0" in name:
            detail = f"the annotator {name[:40]!r} has a name that no database holds"
            raise StageError(f"votes.parquet or decisions.parquet: {detail}; give votes by `curate annotate import`")
        values = {"name": name, "role": ANNOTATOR, "created_at": clock(), "preferences": {}}
        known[name] = connection.execute(insert(people).returning(people.c.id), values).scalar_one()
    return known


def milliseconds(at: datetime | None) -> int | None:
    """Returns a time of the workspace's files as the database holds it."""
    return None if at is None else round(at.timestamp() * 1000)


_LATEST = (
    select(votes.c.person_id, votes.c.round, votes.c.revision, votes.c.level, votes.c.at)
    .where(votes.c.item_id == bindparam("item"))
    .order_by(votes.c.round, votes.c.revision)
)
