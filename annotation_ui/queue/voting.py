"""Takes in votes, changes and withdrawals of votes, and skips.

A request carries the lease under which the item is held, and a key of its own: a request that is sent again, since its
answer was lost on the way, has the same effect and the same answer as the first. Votes are only ever added; the
revision of a vote tells which one stands.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, func, insert, literal_column, select, update

from annotation_ui.clock import Clock
from annotation_ui.database.tables import (
    CLOSING,
    GOLD,
    IMAGE,
    LEASED,
    OPEN,
    RETRACTED,
    RETURNED,
    SKIPPED,
    VOTED,
    items,
    slots,
    votes,
)
from annotation_ui.queue import qualifying
from annotation_ui.queue.claiming import take
from annotation_ui.queue.leases import give_back
from annotation_ui.queue.rules import Refused, Rules


@dataclass(frozen=True, slots=True)
class Times:
    """How long a person took over a vote, in milliseconds, and on what."""

    shown_ms: int | None = None
    """Time that the item was visible before the vote."""
    decided_ms: int | None = None
    """Time from when the item was first shown to the decision."""
    hidden_ms: int | None = None
    """The part of that time in which the page was hidden."""
    device: str | None = None
    """`mouse`, `touch`, `keyboard` or `pen`."""


@dataclass(frozen=True, slots=True)
class Vote:
    """A request that casts, changes or withdraws a vote."""

    item_id: int
    lease: str
    request: str
    """The key of the request, of the client's own making, at most 64 characters."""
    revision: int
    """Number of the person's revisions of this vote before this one: 0 for the first."""
    level: int | None = None
    answer: dict[str, Any] | None = None
    """What tasks ask that ask more than a level."""
    times: Times = Times()
    project_id: int | None = None
    """The project that the request names; None if it names none."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The answer to a request that is stored."""

    item_id: int
    revision: int
    at: int
    """When it was stored, milliseconds since 1970."""


def cast(connection: Connection, clock: Clock, rules: Rules, person_id: int, vote: Vote) -> Saved:
    """Casts a vote, or changes it as long as the item is not decided.

    Raises:
        Refused: `lease_lost`, the item has gone to others meanwhile; `decided`, it is closed; `changed`, the vote has
            another revision than the request knows, as when two pages are open; `key_reused`, the key has been used
            for another request; `no_item`, the person never had the item; `no_answer`, the vote is empty.
    """
    item = _locked(connection, vote.item_id, vote.project_id)
    if earlier := _earlier(connection, person_id, vote):
        return earlier
    slot = _part(connection, person_id, vote.item_id, vote.lease)
    now = clock()
    if vote.level is None and vote.answer is None:
        raise Refused("no_answer", "a vote needs a level or an answer")
    if slot.state not in (LEASED, VOTED, RETURNED):
        raise Refused("lease_lost", "this image was skipped or given to others meanwhile")
    _check_revision(connection, person_id, vote)
    if slot.state == RETURNED:
        _retake(connection, rules, item, slot, now)
    else:
        _check_open(item, now)
    saved = _store(connection, person_id, vote, now)
    values = {"the_item": vote.item_id, "the_person": person_id, "level": vote.level, "now": now}
    connection.execute(_SLOT_VOTED, values)
    if item.kind == GOLD:
        before = slot.level if slot.state == VOTED else None
        more = (vote.level == item.known) - (before is not None and before == item.known)
        qualifying.count(connection, rules, item.project_id, person_id, more, slot.state != VOTED)
    elif slot.state != VOTED:
        connection.execute(_ONE_VOTE_MORE, {"the_item": vote.item_id, "closes": now + rules.grace_ms})
    return saved


def withdraw(connection: Connection, clock: Clock, rules: Rules, person_id: int, vote: Vote) -> Saved:
    """Takes a person's vote back, as long as the item is not decided; the person holds the item under a lease again.

    Raises:
        Refused: for the reasons of `cast`; or `no_vote`, there is no vote of this person.
    """
    vote = replace(vote, level=None, answer=None)
    item = _locked(connection, vote.item_id, vote.project_id)
    if earlier := _earlier(connection, person_id, vote):
        return earlier
    slot = _part(connection, person_id, vote.item_id, vote.lease)
    now = clock()
    if slot.state != VOTED:
        raise Refused("no_vote", "there is no vote of yours on this image")
    _check_revision(connection, person_id, vote)
    _check_open(item, now)
    saved = _store(connection, person_id, vote, now)
    values = {"the_item": vote.item_id, "the_person": person_id, "now": now, "until": now + rules.lease_ms}
    connection.execute(_SLOT_LEASED, values)
    if item.kind == GOLD:
        qualifying.count(connection, rules, item.project_id, person_id, -(slot.level == item.known), -1)
    else:
        connection.execute(_ONE_VOTE_LESS, {"the_item": vote.item_id})
    return saved


def skip(
    connection: Connection,
    clock: Clock,
    person_id: int,
    item_id: int,
    lease: str,
    reason: str,
    project_id: int | None = None,
) -> None:
    """Gives an item back unvoted; the person does not get it again, unless the skip is undone.

    Raises:
        Refused: `no_item`, `lease_lost` or `voted`.
    """
    _locked(connection, item_id, project_id)
    slot = _part(connection, person_id, item_id, lease)
    if slot.state == VOTED:
        raise Refused("voted", "you have voted on this image; undo the vote first")
    if slot.state == RETRACTED:
        raise Refused("lease_lost", "this image was given to others meanwhile")
    if slot.state == LEASED:
        give_back(connection, item_id, person_id, clock(), state=SKIPPED)
    connection.execute(_SKIPPED, {"the_item": item_id, "the_person": person_id, "why": reason})


def unskip(
    connection: Connection,
    clock: Clock,
    rules: Rules,
    person_id: int,
    item_id: int,
    lease: str,
    project_id: int | None = None,
) -> None:
    """Lets a person hold an item again that the person has skipped.

    Raises:
        Refused: `no_item`, or `lease_lost`, if others have taken all slots meanwhile.
    """
    item = _locked(connection, item_id, project_id)
    slot = _part(connection, person_id, item_id, lease)
    if slot.state == VOTED:
        raise Refused("voted", "you have voted on this image")
    if slot.state == RETRACTED:
        raise Refused("lease_lost", "this image was given to others meanwhile")
    if slot.state != LEASED:
        _retake(connection, rules, item, slot, clock())


def _earlier(connection: Connection, person_id: int, vote: Vote) -> Saved | None:
    """Returns the answer that the same request got before, if it did. Raises Refused if the key is another's.

    The item must be locked: a repetition that runs beside the first request waits there, and then finds its vote.
    """
    row = connection.execute(_BY_REQUEST, {"request": vote.request}).one_or_none()
    if row is None:
        return None
    if (row.item_id, row.person_id, row.level, row.answer) != (vote.item_id, person_id, vote.level, vote.answer):
        raise Refused("key_reused", "this key belongs to another request")
    return Saved(row.item_id, row.revision, row.at)


def _locked(connection: Connection, item_id: int, project_id: int | None) -> Row[*tuple[Any, ...]]:
    """Locks an item of a project, or of any if that is None, and returns it."""
    item = connection.execute(_LOCK, {"item": item_id}).one_or_none()
    if item is None or project_id not in (None, item.project_id):
        raise Refused("no_item", "there is no such image")
    return item


def _part(connection: Connection, person_id: int, item_id: int, lease: str) -> Row[*tuple[Any, ...]]:
    """Returns a person's part in an item."""
    slot = connection.execute(_SLOT, {"item": item_id, "person": person_id}).one_or_none()
    if slot is None or slot.lease != lease:
        raise Refused("no_item", "this image was not given to you")
    return slot


def _retake(
    connection: Connection, rules: Rules, item: Row[*tuple[Any, ...]], slot: Row[*tuple[Any, ...]], now: int
) -> None:
    """Takes a slot again that was freed, as a lease had expired or the item was skipped."""
    if item.kind == IMAGE and not (item.status == OPEN and item.taken < item.asked):
        raise Refused("lease_lost", "this image has gone to others meanwhile")
    take(connection, item, slot.person_id, now, now + rules.lease_ms, lease=slot.lease)


def _check_revision(connection: Connection, person_id: int, vote: Vote) -> None:
    revision = connection.execute(_REVISION, {"item": vote.item_id, "person": person_id}).scalar_one()
    if (revision or 0) != vote.revision:
        raise Refused("changed", "you have voted on this image on another page")


def _check_open(item: Row[*tuple[Any, ...]], now: int) -> None:
    """Raises Refused if votes on an item can no longer be given or changed."""
    is_open = item.status == OPEN or (item.status == CLOSING and now < item.decide_at)
    if item.kind == IMAGE and not is_open:
        raise Refused("decided", "this image is closed; its votes can no longer be given or changed")


def _store(connection: Connection, person_id: int, vote: Vote, now: int) -> Saved:
    revision = (connection.execute(_REVISION, {"item": vote.item_id, "person": person_id}).scalar_one() or 0) + 1
    row = {"item_id": vote.item_id, "person_id": person_id, "revision": revision, "at": now}
    row |= {"level": vote.level, "answer": vote.answer, "request": vote.request, **asdict(vote.times)}
    connection.execute(_INSERT, row)
    return Saved(vote.item_id, revision, now)


_own: Any = (slots.c.item_id == bindparam("the_item"), slots.c.person_id == bindparam("the_person"))
_BY_REQUEST = select(
    votes.c.item_id, votes.c.person_id, votes.c.level, votes.c.answer, votes.c.revision, votes.c.at
).where(votes.c.request == bindparam("request"))
_LOCK = (
    select(
        items.c.id, items.c.project_id, items.c.kind, items.c.status, items.c.known,
        items.c.taken, items.c.asked, items.c.decide_at,
    )
    .where(items.c.id == bindparam("item"))
    .with_for_update()
)  # fmt: skip
_SLOT = select(slots.c.person_id, slots.c.state, slots.c.lease, slots.c.level).where(
    slots.c.item_id == bindparam("item"), slots.c.person_id == bindparam("person")
)
_REVISION = select(func.max(votes.c.revision)).where(
    votes.c.item_id == bindparam("item"), votes.c.person_id == bindparam("person")
)
_INSERT = insert(votes)
_SLOT_VOTED = (
    update(slots)
    .where(*_own)
    .values(state=VOTED, level=bindparam("level"), expires_at=None, changed_at=bindparam("now"))
)
_SLOT_LEASED = (
    update(slots)
    .where(*_own)
    .values(state=LEASED, level=None, expires_at=bindparam("until"), changed_at=bindparam("now"))
)
_SKIPPED = update(slots).where(*_own).values(state=SKIPPED, reason=bindparam("why"))
_FULL = items.c.voted + 1 >= items.c.asked
_ONE_VOTE_MORE = (
    update(items)
    .where(items.c.id == bindparam("the_item"))
    .values(
        voted=items.c.voted + 1,
        status=case((_FULL, CLOSING), else_=items.c.status),
        decide_at=case((_FULL, bindparam("closes")), else_=None),
    )
)
_ONE_VOTE_LESS = (
    update(items)
    .where(items.c.id == bindparam("the_item"))
    .values(voted=items.c.voted - 1, status=literal_column(f"'{OPEN}'"), decide_at=None)
)
