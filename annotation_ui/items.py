"""Describes items as the page shows them: addresses of pictures, what stands beside them, the person's own vote."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection, bindparam, func, select

from annotation_ui.database.tables import items, votes
from annotation_ui.queue.claiming import Claim


class Picture(BaseModel):
    """The addresses of a picture, and how large the image is, in pixels."""

    preview: str
    full: str
    width: int | None
    height: int | None


class Part(BaseModel):
    """One of several things that are judged beside each other: a caption, or one of the pictures."""

    id: str
    caption_zh: str | None = None
    caption_en: str | None = None


class Item(BaseModel):
    """Something to vote on. Nothing in it tells what others have voted, or whether its level is known."""

    id: int
    lease: str
    expires_in: float
    """Seconds for which it is kept for the person."""
    revision: int
    """Number of revisions of the person's own vote."""
    level: int | None = None
    """The level of the vote that stands."""
    answer: dict[str, dict[str, int]] | None = None
    """The scores of the vote that stands, by part and criterion."""
    unsafe: bool
    """Whether it is blurred for who wants that."""
    width: int | None
    height: int | None
    pictures: list[Picture]
    parts: list[Part] | None
    prompt: str | None


def described(
    connection: Connection, claims: Sequence[Claim], person_id: int, now: int, blur_from: float
) -> list[Item]:
    """Returns the description of the items that a person holds or has voted on, in the order given."""
    ids = [claim.item_id for claim in claims]
    rows = {row.id: row for row in connection.execute(_ITEMS, {"ids": ids})} if ids else {}
    latest = {row.item_id: row for row in connection.execute(_LATEST, {"ids": ids, "person": person_id})} if ids else {}
    return [_item(rows[c.item_id], c, latest.get(c.item_id), now, blur_from) for c in claims]


def _item(row: Any, claim: Claim, vote: Any, now: int, blur_from: float) -> Item:
    places, content = row.place, row.content or {}
    pictures = content.get("pictures", [places])
    first = pictures[0]
    return Item(
        id=row.id,
        lease=claim.lease,
        expires_in=max(0.0, (claim.expires_at - now) / 1000),
        revision=vote.revision if vote else 0,
        level=vote.level if vote else None,
        answer=vote.answer if vote else None,
        unsafe=row.unsafe is not None and row.unsafe > blur_from,
        width=first.get("width"),
        height=first.get("height"),
        pictures=[_picture(row.id, number, place) for number, place in enumerate(pictures)],
        parts=[Part(**part) for part in content["parts"]] if "parts" in content else None,
        prompt=content.get("prompt"),
    )


def _picture(item_id: int, number: int, place: dict[str, Any]) -> Picture:
    version = place["sha256"][:8]  # a browser may keep a picture for good: another image has another address
    base = f"/pictures/{item_id}/{number}"
    size = {"width": place.get("width"), "height": place.get("height")}
    return Picture(preview=f"{base}/preview.jpg?v={version}", full=f"{base}/full.jpg?v={version}", **size)


_ITEMS = select(items.c.id, items.c.place, items.c.content, items.c.unsafe).where(
    items.c.id.in_(bindparam("ids", expanding=True))
)
_newest = (
    select(votes.c.item_id, func.max(votes.c.id).label("id"))
    .where(votes.c.item_id.in_(bindparam("ids", expanding=True)), votes.c.person_id == bindparam("person"))
    .group_by(votes.c.item_id)
    .subquery()
)
_LATEST = select(votes.c.item_id, votes.c.revision, votes.c.level, votes.c.answer).join(
    _newest, votes.c.id == _newest.c.id
)
