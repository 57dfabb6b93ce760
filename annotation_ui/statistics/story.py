"""Tells the whole story of one image: every vote with its time, who skipped or holds it, and the verdict."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from annotation_ui.database.tables import GOLD, VOTED, decisions, items, people, slots, votes
from annotation_ui.queue.rules import Refused
from annotation_ui.statistics.gallery import picture_version


@dataclass(frozen=True, slots=True)
class VoteTold:
    """One revision of a person's vote."""

    person: str
    round: int
    revision: int
    level: int | None
    answer: dict[str, dict[str, int]] | None
    """Neither a level nor an answer stands in a withdrawal."""
    at: int | None
    shown_ms: int | None
    decided_ms: int | None
    hidden_ms: int | None
    device: str | None


@dataclass(frozen=True, slots=True)
class PartTold:
    """A person's part in the image that is no vote: it is leased, was skipped, returned, or set aside by the lead."""

    person: str
    state: str
    reason: str | None
    at: int


@dataclass(frozen=True, slots=True)
class VerdictTold:
    """The verdict of a reviewer."""

    person: str
    level: int
    kind: str
    at: int
    note: str | None


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of an item."""

    id: int
    project_id: int
    key: str
    kind: str
    corpus: str | None
    shard: str | None
    width: int | None
    height: int | None
    version: str
    status: str
    level: int | None
    known: int | None
    asked: int
    reason: str | None
    unsafe: float | None
    votes: list[VoteTold]
    parts: list[PartTold]
    verdict: VerdictTold | None
    gold: str | None
    """Status of the gold item of the same image: `open` in service, `withdrawn` out of it; None if there is none."""


def story(connection: Connection, item_id: int) -> Story:
    """Returns the story of an item. Raises Refused if there is none."""
    item = connection.execute(select(items).where(items.c.id == item_id)).one_or_none()
    if item is None:
        raise Refused("no_item", "there is no such image")
    named = select(people.c.name, votes).join(people, people.c.id == votes.c.person_id)
    cast = connection.execute(named.where(votes.c.item_id == item_id).order_by(votes.c.at, votes.c.id)).all()
    had = select(people.c.name, slots).join(people, people.c.id == slots.c.person_id)
    parts = connection.execute(had.where(slots.c.item_id == item_id, slots.c.state != VOTED)).all()
    decided = select(people.c.name, decisions).join(people, people.c.id == decisions.c.person_id)
    verdict = connection.execute(decided.where(decisions.c.item_id == item_id)).one_or_none()
    twin = select(items.c.status).where(items.c.project_id == item.project_id, items.c.kind == GOLD)
    place: dict[str, Any] = (item.content or {}).get("pictures", [item.place])[0] or {}
    return Story(
        id=item.id,
        project_id=item.project_id,
        key=item.key,
        kind=item.kind,
        corpus=place.get("corpus"),
        shard=place.get("shard"),
        width=place.get("width"),
        height=place.get("height"),
        version=picture_version(item.place, item.content),
        status=item.status,
        level=item.level,
        known=item.known,
        asked=item.asked,
        reason=item.reason,
        unsafe=item.unsafe,
        votes=[_vote(row) for row in cast],
        parts=[PartTold(row.name, row.state, row.reason, row.changed_at) for row in parts],
        verdict=None if verdict is None else _verdict(verdict),
        gold=connection.execute(twin.where(items.c.key == item.key)).scalar_one_or_none(),
    )


def _verdict(row: Any) -> VerdictTold:
    return VerdictTold(row.name, row.level, row.kind, row.at, row.note)


def _vote(row: Any) -> VoteTold:
    times = (row.shown_ms, row.decided_ms, row.hidden_ms, row.device)
    return VoteTold(row.name, row.round, row.revision, row.level, row.answer, row.at, *times)
