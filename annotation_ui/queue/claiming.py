"""Gives a person the next items, each under a lease.

Which item comes next is left to chance, so that everyone sees the images in an order of their own; items that others
have begun come before fresh ones, so that images are completed, and among fresh ones the first tier comes first. What
the search finds is only a candidate: it is locked, and every condition is checked again, before a slot is taken.
"""

import secrets
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import Select

from annotation_ui.clock import Clock
from annotation_ui.database.tables import (
    GOLD,
    IMAGE,
    LEASED,
    OPEN,
    RETURNED,
    items,
    people,
    projects,
    slots,
    votes,
)
from annotation_ui.queue import qualifying
from annotation_ui.queue.leases import expire
from annotation_ui.queue.rules import Refused, Rules

PROBED = 48
"""Number of candidates that are looked at from a random place on, before the search goes through all items."""
SHUFFLED = 2**31
"""Number of values of an item's random number."""

Candidates = tuple[Select[int], Select[int]]
"""Two searches for items, which together look from a random place on and come round."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An item that a person holds under a lease."""

    item_id: int
    lease: str
    expires_at: int
    revision: int = 0
    """Number of the person's revisions of a vote on it: not 0 if a vote was withdrawn."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a person holds now, the item that was got first coming first."""

    claims: list[Claim]
    state: str
    """`ready`; `nothing`, if no item is left for this person now; `paused`; `failed`, if the entry test was not passed;
    or `no_gold`, if the entry test needs more gold items than there are."""


def claim(
    connection: Connection, clock: Clock, random: Random, rules: Rules, project_id: int, person_id: int, wanted: int
) -> Claimed:
    """Lets a person hold up to `wanted` items; those that the person holds already are renewed and counted.

    Args:
        wanted: number of items, at most ten.

    Raises:
        Refused: there is no such project or person.
    """
    paused = connection.execute(_PROJECT, {"project": project_id, "person": person_id}).scalar_one_or_none()
    if paused is None:
        raise Refused("no_project", "there is no such project or person")
    now = clock()
    until = now + rules.lease_ms
    # Renewed first, and so locked: what is read then is not taken back by another server before this commits. All locks
    # after this one are had without waiting, so that claims never wait for each other in a circle.
    connection.execute(_RENEW, {"the_person": person_id, "until": until})
    expire(connection, now)
    held = [Claim(*row) for row in connection.execute(_HELD, {"project": project_id, "person": person_id})]
    if paused:
        return Claimed(held, "paused")
    state = qualifying.state_of(connection, rules, project_id, person_id)
    if state == qualifying.FAILED:
        return Claimed(held, "failed")
    while len(held) < min(wanted, 10):
        item = _next(connection, random, rules, project_id, person_id, state)
        if item is None:
            break
        # One millisecond apart, by which the next claim finds them in the same order.
        held.append(take(connection, item, person_id, now + len(held), until))
    if not held and state == qualifying.TESTING:
        return Claimed(held, "no_gold")
    return Claimed(held, "ready" if held else "nothing")


def take(
    connection: Connection, item: Row[*tuple[Any, ...]], person_id: int, now: int, until: int, lease: str = ""
) -> Claim:
    """Lets a person take a free slot of an item, which the transaction has locked and found to have one."""
    if item.kind == GOLD:
        slot, is_known = person_id, True
    else:
        parts = {row[0]: row[1] for row in connection.execute(_PARTS, {"item": item.id})}
        slot = next(number for number in range(1, item.asked + 1) if number not in parts.values())
        is_known = person_id in parts
        connection.execute(_TAKEN, {"the_item": item.id, "more": 1})
    own = {"the_item": item.id, "the_person": person_id}
    revision = connection.execute(_REVISION, own).scalar_one() if is_known else 0
    lease = lease or secrets.token_urlsafe(15)
    values = {"item_id": item.id, "person_id": person_id, "slot": slot, "asked": item.asked, "state": LEASED}
    values |= {"lease": lease, "expires_at": until, "changed_at": now}
    insertion = _TAKE_SQLITE if connection.dialect.name == "sqlite" else _TAKE_POSTGRESQL
    connection.execute(insertion, values)
    return Claim(item.id, lease, until, revision)


def _next(
    connection: Connection, random: Random, rules: Rules, project_id: int, person_id: int, state: str
) -> Row[*tuple[Any, ...]] | None:
    """Finds and locks an item for a person: a gold one in the entry test and now and then later, else by the order."""
    given = {"project": project_id, "person": person_id, "returned": RETURNED}
    if state == qualifying.TESTING:
        if qualifying.remaining(connection, rules, project_id, person_id) <= 0:
            return None
        return _from(connection, random, _GOLD, given)
    if rules.gold and random.random() < rules.gold and (item := _from(connection, random, _GOLD, given)):
        return item
    if item := _from(connection, random, _STARTED, given):
        return item
    tier: int | None = -1
    while (tier := connection.execute(_NEXT_TIER, given | {"after": tier}).scalar_one_or_none()) is not None:
        if item := _from(connection, random, _FRESH, given | {"tier": tier}):
            return item
    # Near the end most open items are ones that the person has had: only then all of them are looked at.
    return _first(connection, _ANY, given)


def _from(
    connection: Connection, random: Random, candidates: Candidates, given: dict[str, Any]
) -> Row[*tuple[Any, ...]] | None:
    """Looks at some candidates from a random place on, then at some from the beginning; locks and returns one."""
    given = given | {"place": random.randrange(SHUFFLED)}
    return _first(connection, candidates[0], given) or _first(connection, candidates[1], given)


def _first(connection: Connection, candidates: Select[int], given: dict[str, Any]) -> Row[*tuple[Any, ...]] | None:
    """Returns the first candidate that is still free once it is locked."""
    for candidate in connection.execute(candidates, given).scalars().all():
        item = connection.execute(_LOCK, {"item": candidate}).one_or_none()
        if item is not None and _is_free(item):
            return item
    return None


def _is_free(item: Row[*tuple[Any, ...]]) -> bool:
    return bool(item.status == OPEN and (item.kind == GOLD or item.taken < item.asked))


def _candidates(*conditions: Any) -> Candidates:
    """Builds the searches for items in which the person has no part yet: from a place on, and up to that place."""
    place: Any = bindparam("place")
    own = slots.alias()
    searches = []
    for there in (items.c.shuffle >= place, items.c.shuffle < place):
        probe = select(items.c.id, items.c.shuffle).where(items.c.project_id == bindparam("project"), *conditions)
        near = probe.where(there).order_by(items.c.shuffle).limit(PROBED).subquery()
        had = exists().where(
            own.c.item_id == near.c.id, own.c.person_id == bindparam("person"), own.c.state != bindparam("returned")
        )
        searches.append(select(near.c.id).where(~had).order_by(near.c.shuffle).limit(3))
    return searches[0], searches[1]


# The conditions stand as literal SQL, so that both databases see that a partial index fits.
_NEEDED = (
    items.c.status == literal_column(f"'{OPEN}'"),
    items.c.kind == literal_column(f"'{IMAGE}'"),
    items.c.taken < items.c.asked,
)
_STARTED = _candidates(*_NEEDED, items.c.taken > literal_column("0"))
_FRESH = _candidates(*_NEEDED, items.c.taken == literal_column("0"), items.c.tier == bindparam("tier"))
_same = items.alias("same_image")
_GOLD = _candidates(
    items.c.kind == literal_column(f"'{GOLD}'"),
    items.c.status == literal_column(f"'{OPEN}'"),  # else it was taken out of service
    ~exists().where(
        _same.c.project_id == items.c.project_id,
        _same.c.kind == IMAGE,
        _same.c.key == items.c.key,
        slots.c.item_id == _same.c.id,
        slots.c.person_id == bindparam("person"),
    ),
)
_ANY = (
    select(items.c.id)
    .where(items.c.project_id == bindparam("project"), *_NEEDED)
    .where(
        ~exists().where(
            slots.c.item_id == items.c.id,
            slots.c.person_id == bindparam("person"),
            slots.c.state != bindparam("returned"),
        )
    )
    .order_by(items.c.tier, items.c.shuffle)
    .limit(3)
)
_NEXT_TIER = (
    select(items.c.tier)
    .where(items.c.project_id == bindparam("project"), *_NEEDED, items.c.taken == literal_column("0"))
    .where(items.c.tier > bindparam("after"))
    .order_by(items.c.tier)
    .limit(1)
)
# The person is locked: two pages of one person that claim at once would each fill up what the person may hold.
_PROJECT = (
    select(projects.c.paused)
    .join(people, people.c.id == bindparam("person"))
    .where(projects.c.id == bindparam("project"))
    .with_for_update(of=people, key_share=True)
)
_HELD = (
    select(
        slots.c.item_id,
        slots.c.lease,
        slots.c.expires_at,
        select(func.coalesce(func.max(votes.c.revision), 0))
        .where(votes.c.item_id == slots.c.item_id, votes.c.person_id == slots.c.person_id)
        .scalar_subquery(),
    )
    .join(items, items.c.id == slots.c.item_id)
    .where(slots.c.person_id == bindparam("person"), slots.c.state == literal_column(f"'{LEASED}'"))
    .where(items.c.project_id == bindparam("project"))
    .order_by(slots.c.changed_at, slots.c.item_id)
)
_RENEW = (
    update(slots)
    .where(slots.c.person_id == bindparam("the_person"), slots.c.state == literal_column(f"'{LEASED}'"))
    .values(expires_at=bindparam("until"))
)
_LOCK = (
    select(items.c.id, items.c.kind, items.c.status, items.c.taken, items.c.asked)
    .where(items.c.id == bindparam("item"))
    .with_for_update(skip_locked=True)
)
_PARTS = select(slots.c.person_id, slots.c.slot).where(slots.c.item_id == bindparam("item"))
_REVISION = select(func.coalesce(func.max(votes.c.revision), 0)).where(
    votes.c.item_id == bindparam("the_item"), votes.c.person_id == bindparam("the_person")
)
_TAKEN = (
    update(items)
    .where(items.c.id == bindparam("the_item"))
    .values(taken=items.c.taken + bindparam("more", type_=items.c.taken.type))
)
_FIELDS = ("slot", "asked", "state", "lease", "expires_at", "changed_at")
_sqlite_insert, _postgresql_insert = sqlite.insert(slots), postgresql.insert(slots)
_TAKE_SQLITE = _sqlite_insert.on_conflict_do_update(
    index_elements=["item_id", "person_id"], set_={name: _sqlite_insert.excluded[name] for name in _FIELDS}
)
_TAKE_POSTGRESQL = _postgresql_insert.on_conflict_do_update(
    index_elements=["item_id", "person_id"], set_={name: _postgresql_insert.excluded[name] for name in _FIELDS}
)
