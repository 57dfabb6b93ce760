"""Gives ties to an adjudicator and images with a Level 1 vote to a safety reviewer, and takes in their verdicts.

A verdict is given by a person who has never voted on the image, and stands beside the votes, which it leaves alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, insert, select, update

from annotation_ui.clock import Clock
from annotation_ui.database.tables import DECIDED, IMAGE, SAFETY_REVIEW, TIE, decisions, items, votes
from annotation_ui.queue.rules import Refused

KINDS = {TIE: "adjudication", SAFETY_REVIEW: "safety_review"}
"""The kind of verdict that an item of each status waits for."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict as it is stored."""

    item_id: int
    level: int
    kind: str
    at: int


def next_review(
    connection: Connection,
    random: Random,
    project_id: int,
    person_id: int,
    kinds: tuple[str, ...] = (TIE, SAFETY_REVIEW),
    but: Sequence[int] = (),
) -> int | None:
    """Returns an item that waits for a verdict which this person may give, drawn at random; None if there is none.

    Items in `but`, which the person leaves to others or to later, are not drawn.
    """
    own = exists().where(votes.c.item_id == items.c.id, votes.c.person_id == person_id)
    waiting = (
        select(items.c.id)
        .where(
            items.c.project_id == project_id,
            items.c.kind == IMAGE,
            items.c.status.in_(kinds),
            ~own,
            items.c.id.not_in(but),
        )
        .order_by(items.c.id)
        .limit(200)
    )
    found = connection.execute(waiting).scalars().all()
    return random.choice(found) if found else None


def waiting(connection: Connection, project_id: int) -> dict[str, int]:
    """Returns the number of items that wait for each kind of verdict."""
    rows = connection.execute(
        select(items.c.status, func.count())
        .where(items.c.project_id == project_id, items.c.kind == IMAGE, items.c.status.in_(tuple(KINDS)))
        .group_by(items.c.status)
    )
    found = {row[0]: row[1] for row in rows}
    return {kind: found.get(status, 0) for status, kind in KINDS.items()}


def decide_item(
    connection: Connection,
    clock: Clock,
    person_id: int,
    item_id: int,
    level: int,
    request: str,
    note: str | None = None,
) -> Verdict:
    """Gives a verdict on an item.

    Raises:
        Refused: `no_item`; `decided`, the item waits for no verdict; `own_vote`, the person has voted on it;
            `key_reused`, the key has been used for another request.
    """
    item = connection.execute(_LOCK, {"item": item_id}).one_or_none()
    if item is None:
        raise Refused("no_item", "there is no such image")
    # Only now, since a repetition that runs beside the first request has waited for the lock.
    earlier = connection.execute(select(decisions).where(decisions.c.request == request)).one_or_none()
    if earlier is not None:
        if (earlier.item_id, earlier.person_id, earlier.level) != (item_id, person_id, level):
            raise Refused("key_reused", "this key belongs to another request")
        return Verdict(item_id, level, earlier.kind, earlier.at)
    if item.status not in KINDS:
        raise Refused("decided", "this image waits for no verdict")
    if connection.execute(_HAS_VOTED, {"item": item_id, "person": person_id}).scalar_one():
        raise Refused("own_vote", "you have voted on this image; another person must decide it")
    verdict = Verdict(item_id, level, KINDS[item.status], clock())
    row: dict[str, Any] = {"item_id": item_id, "level": level, "kind": verdict.kind, "person_id": person_id}
    connection.execute(insert(decisions), row | {"at": verdict.at, "note": note, "request": request})
    connection.execute(update(items).where(items.c.id == item_id).values(status=DECIDED, level=level))
    return verdict


_LOCK = select(items.c.status).where(items.c.id == bindparam("item")).with_for_update()
_HAS_VOTED = select(exists().where(votes.c.item_id == bindparam("item"), votes.c.person_id == bindparam("person")))
