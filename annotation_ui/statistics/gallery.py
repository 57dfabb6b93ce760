"""Lists images with their votes, a page at a time.

A page goes on from where the last one ended (keyset paging), and looks at a bounded number of images: so it takes as
long at the end of a million as at the beginning, and a filter that little passes gives short pages, not slow ones.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Subquery, bindparam, func, literal_column, select, tuple_

from annotation_ui.database.tables import DECIDED, GOLD, IMAGE, VOTED, items, people, slots

LOOKED_AT = 2_000
"""Number of images that one page looks at."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which images are listed; what is None admits all."""

    status: str | None = None
    level: int | None = None
    spread: int = 0
    """Least difference of the highest and the lowest vote, 0 to 4."""
    person_id: int | None = None
    """Who has voted on them; the latest votes come first."""
    gold: bool = False
    """Whether gold items are listed in place of the images of the queue; their level is the known one."""


@dataclass(frozen=True, slots=True)
class Given:
    """A vote that stands."""

    person_id: int
    person: str
    level: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """An image of the gallery."""

    id: int
    key: str
    status: str
    level: int | None
    known: int | None
    """The level of a gold item."""
    reason: str | None
    """Why it is unavailable."""
    unsafe: float | None
    version: str
    """The beginning of the picture's sha256."""
    votes: list[Given]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the gallery."""

    items: list[Shown]
    next: str | None
    """The cursor of the next page; None at the end."""
    looked_at: int
    """Number of images that were looked at."""


def page(connection: Connection, project_id: int, wanted: Filter, after: str | None, limit: int) -> Page:
    """Returns a page of images.

    Args:
        after: the cursor of the page before, NUMBER or NUMBER-NUMBER; None for the first page.
        limit: number of images at most.
    """
    if wanted.level is not None and wanted.status not in (None, DECIDED) and not wanted.gold:
        return Page([], None, 0)  # only what is decided has a level
    cursor = tuple(map(int, after.split("-"))) if after else ()
    near = _nearby(project_id, wanted, cursor)
    rows = connection.execute(_passing(near, project_id, wanted).limit(limit + 1)).all()
    more = len(rows) > limit
    last = rows[limit - 1] if more else connection.execute(_last(near, wanted)).one_or_none()
    looked_at = limit if more else connection.execute(select(func.count()).select_from(near)).scalar_one()
    shown = _described(connection, [row.id for row in rows[:limit]])
    if last is None or not (more or looked_at == LOOKED_AT):
        return Page(shown, None, looked_at)
    return Page(
        shown, "-".join(map(str, (last.at, last.id) if wanted.person_id is not None else (last.id,))), looked_at
    )


def _nearby(project_id: int, wanted: Filter, cursor: tuple[int, ...]) -> Subquery:
    """Builds the search for the images that a page looks at, along an index from the cursor on."""
    if wanted.person_id is not None:
        own = select(slots.c.item_id.label("id"), slots.c.changed_at.label("at")).where(
            slots.c.person_id == wanted.person_id, slots.c.state != literal_column("'leased'")
        )
        if len(cursor) == 2:
            own = own.where(tuple_(slots.c.changed_at, slots.c.item_id) < cursor)
        return own.order_by(slots.c.changed_at.desc(), slots.c.item_id.desc()).limit(LOOKED_AT).subquery("near")
    kind = GOLD if wanted.gold else IMAGE
    near = select(items.c.id).where(items.c.project_id == project_id, items.c.kind == kind)
    if wanted.level is not None and not wanted.gold:
        near = near.where(items.c.level == wanted.level)
    elif wanted.status is not None:
        near = near.where(items.c.status == wanted.status)
    if cursor:
        near = near.where(items.c.id > cursor[0])
    return near.order_by(items.c.id).limit(LOOKED_AT).subquery("near")


def _passing(near: Subquery, project_id: int, wanted: Filter) -> Select[Any]:
    """Builds the search for those of the images nearby that pass the filter, in their order."""
    passing = select(*near.c).join(items, items.c.id == near.c.id)
    if wanted.gold and wanted.level is not None:
        passing = passing.where(items.c.known == wanted.level)
    if wanted.spread:
        votes = (slots.c.item_id == items.c.id, slots.c.state == VOTED)
        spread = select(func.max(slots.c.level) - func.min(slots.c.level)).where(*votes).scalar_subquery()
        passing = passing.where(spread >= wanted.spread)
    if wanted.person_id is None:
        return passing.order_by(near.c.id)
    kind = GOLD if wanted.gold else IMAGE
    passing = passing.where(items.c.project_id == project_id, items.c.kind == kind)
    own = slots.alias("own")
    passing = passing.join(own, (own.c.item_id == items.c.id) & (own.c.person_id == wanted.person_id))
    passing = passing.where(own.c.state == VOTED)
    if wanted.status is not None:
        passing = passing.where(items.c.status == wanted.status)
    if wanted.level is not None and not wanted.gold:
        passing = passing.where(items.c.level == wanted.level)
    return passing.order_by(near.c.at.desc(), near.c.id.desc())


def _last(near: Subquery, wanted: Filter) -> Select[Any]:
    order = (near.c.id.desc(),) if wanted.person_id is None else (near.c.at, near.c.id)
    return select(*near.c).order_by(*order).limit(1)


def _described(connection: Connection, ids: list[int]) -> list[Shown]:
    if not ids:
        return []
    votes: dict[int, list[Given]] = {item_id: [] for item_id in ids}
    for row in connection.execute(_VOTES, {"ids": ids}):
        votes[row.item_id].append(Given(row.person_id, row.name, row.level))
    rows = {row.id: row for row in connection.execute(_ITEMS, {"ids": ids})}
    return [_shown(rows[item_id], votes[item_id]) for item_id in ids]


def _shown(row: Any, votes: list[Given]) -> Shown:
    version = picture_version(row.place, row.content)
    levels, state = (row.level, row.known), (row.reason, row.unsafe)
    return Shown(row.id, row.key, row.status, *levels, *state, version, votes)


def picture_version(place: Any, content: Any) -> str:
    """Returns the beginning of the sha256 of an item's first picture, which stands in the picture's address."""
    first = (content or {}).get("pictures", [place])[0]
    return str((first or {}).get("sha256", ""))[:8]


_ids: Any = bindparam("ids", expanding=True)
_ITEMS = select(
    items.c.id, items.c.key, items.c.status, items.c.level, items.c.known, items.c.reason, items.c.unsafe,
    items.c.place, items.c.content,
).where(items.c.id.in_(_ids))  # fmt: skip
_VOTES = (
    select(slots.c.item_id, slots.c.person_id, slots.c.level, people.c.name)
    .join(people, people.c.id == slots.c.person_id)
    .where(slots.c.item_id.in_(_ids), slots.c.state == VOTED)
    .order_by(slots.c.item_id, slots.c.changed_at, slots.c.person_id)
)
