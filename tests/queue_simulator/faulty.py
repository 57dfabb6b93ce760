"""Breaks the queue on purpose, in one place each: the simulator must find every one of them."""

import types
import zlib
from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam, func, literal_column, select, update

from annotation_ui.database.tables import VOTED, items, slots, votes
from annotation_ui.queue import claiming, leases, qualifying, reassigning, reviewing, settling, voting
from annotation_ui.queue.rules import MINUTE

Patch = tuple[Any, str, Any]
"""A module, the name of one of its parts, and what stands there instead."""


def _never(*_: object) -> None:
    return None


def _retake_unchecked(connection: Any, rules: Any, item: Any, slot: Any, now: int) -> None:
    free = set(range(1, 9)) - {row.slot for row in connection.execute(claiming._PARTS, {"item": item.id})}
    values = {"slot": min(free), "state": "leased", "expires_at": now + rules.lease_ms}
    of_slot = (slots.c.item_id == item.id, slots.c.person_id == slot.person_id)
    connection.execute(update(slots).where(*of_slot).values(values))


def _retract_by_half(connection: Any, item_id: int, person_id: int, now: int) -> bool:
    done = _retract(connection, item_id, person_id, now)
    connection.execute(update(items).where(items.c.id == item_id).values(taken=items.c.taken + done))
    return done


def _answered_unstored(connection: Any, person_id: int, vote: Any, now: int) -> Any:
    """Loses every seventh vote, as a write that is not committed would."""
    if zlib.crc32(vote.request.encode()) % 7:
        return _store(connection, person_id, vote, now)
    return voting.Saved(vote.item_id, vote.revision + 1, now)


def _looked_up_before_the_lock(connection: Any, clock: Any, rules: Any, person_id: int, vote: Any) -> Any:
    if earlier := voting._earlier(connection, person_id, vote):
        return earlier
    without = types.FunctionType(_cast.__code__, vars(voting) | {"_earlier": _never})
    return without(connection, clock, rules, person_id, vote)


_cast = voting.cast
_retract, _expire, _store = reassigning._retract, leases.expire, voting._store

FAULTS: dict[str, Callable[[], Patch]] = {
    "an item is not looked at again once it is locked": lambda: (claiming, "_is_free", lambda item: True),
    "a repeated request is not known again": lambda: (voting, "_earlier", _never),
    "a request is looked up before the item is locked": lambda: (voting, "cast", _looked_up_before_the_lock),
    "a slot that is returned is counted twice": lambda: (
        leases, "_ONE_LESS", update(items).where(items.c.id == bindparam("the_item")).values(taken=items.c.taken - 2),
    ),
    "a slot that is returned is not counted": lambda: (
        leases, "_ONE_LESS", update(items).where(items.c.id == bindparam("the_item")).values(taken=items.c.taken),
    ),
    "an item is closed by the first votes, not the changed ones": lambda: (
        settling, "_LEVELS",
        select(votes.c.level).join(
            slots, (slots.c.item_id == votes.c.item_id) & (slots.c.person_id == votes.c.person_id)
        ).where(votes.c.item_id == bindparam("item"), votes.c.revision == 1, slots.c.state == VOTED),
    ),
    "a vote is changed after the decision": lambda: (voting, "_check_open", _never),
    "a stale page overwrites a vote": lambda: (voting, "_check_revision", _never),
    "a late vote does not ask whether there is a slot": lambda: (voting, "_retake", _retake_unchecked),
    "a lease is taken back too early": lambda: (claiming, "expire", lambda c, now: _expire(c, now + 2 * MINUTE)),
    "an expired lease is never taken back": lambda: (claiming, "expire", _never),
    "a voter decides": lambda: (
        reviewing, "_HAS_VOTED",
        select(literal_column("0")).where(bindparam("item").is_not(None), bindparam("person").is_not(None)),
    ),
    "a retracted vote keeps its slot": lambda: (reassigning, "_retract", _retract_by_half),
    "nobody is tested": lambda: (qualifying, "state_of", lambda *_: qualifying.PASSED),
    "a vote is acknowledged and not stored": lambda: (voting, "_store", _answered_unstored),
    "a withdrawn vote still counts": lambda: (
        voting, "_ONE_VOTE_LESS", update(items).where(items.c.id == bindparam("the_item")).values(voted=items.c.voted),
    ),
    "an item closes one vote too early": lambda: (settling, "_DUE", _due_early()),
}  # fmt: skip


def _due_early() -> Any:
    early = (items.c.voted == items.c.asked - 1) & (items.c.asked > 1)
    due = select(items.c.id).where(items.c.kind == "image", items.c.status.in_(("open", "closing")))
    return due.where(early, func.coalesce(bindparam("now"), 0) > 0).limit(bindparam("limit"))
