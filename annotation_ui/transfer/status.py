"""Tells how far the votes have come."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import (
    GOLD,
    IMAGE,
    SAFETY_REVIEW,
    TIE,
    UNAVAILABLE,
    WITHDRAWN,
    items,
    people,
    projects,
    slots,
)
from curation.counts import counted


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """How far the votes of one task have come."""

    task: str
    paused: bool
    items: int
    """Number of items, without the twins of gold images."""
    statuses: dict[str, int]
    """Number of items of each status that occurs."""
    votes_cast: int
    votes_asked: int
    """Number of votes asked on the items that can be voted on."""
    people: int
    """Number of people who have voted."""
    ties: int
    """Number of items that wait for an adjudicator."""
    safety_reviews: int
    """Number of items that wait for a safety reviewer."""
    gold: int
    """Number of gold items."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far all votes have come."""

    database: str
    """The database's address, without a password."""
    people: dict[str, int]
    """Number of people of each role who can sign in, or could once they are invited."""
    projects: list[ProjectStatus]

    def as_dict(self) -> dict[str, Any]:
        """Returns the status as a dict for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Returns the status as lines of text."""
        roles = ", ".join(counted(count, f"{role}s") for role, count in sorted(self.people.items()))
        return [f"database: {self.database}", f"people: {roles or 'none'}", *map(_line, self.projects)]


def status_of(database: Database, address: str) -> Status:
    """Returns the state of all projects.

    Args:
        database: the database.
        address: its address as it may be shown.

    Raises:
        StorageFailed: the database cannot be read.
    """

    def find(connection: Connection) -> Status:
        roles = connection.execute(
            select(people.c.role, func.count()).where(people.c.revoked_at.is_(None)).group_by(people.c.role)
        )
        found = connection.execute(select(projects).order_by(projects.c.id)).all()
        return Status(address, {row[0]: row[1] for row in roles}, [_project(connection, row) for row in found])

    return database.read(find)


def _project(connection: Connection, project: Any) -> ProjectStatus:
    counts = connection.execute(
        select(items.c.kind, items.c.status, func.count(), func.sum(items.c.voted), func.sum(items.c.asked))
        .where(items.c.project_id == project.id)
        .group_by(items.c.kind, items.c.status)
    ).all()
    images = [row for row in counts if row[0] == IMAGE]
    statuses = {row[1]: row[2] for row in sorted(images, key=lambda row: row[1])}
    voters = (
        select(func.count(slots.c.person_id.distinct()))
        .join(items, items.c.id == slots.c.item_id)
        .where(items.c.project_id == project.id, items.c.kind == IMAGE, slots.c.state == "voted")
    )
    return ProjectStatus(
        task=project.task,
        paused=bool(project.paused),
        items=sum(statuses.values()),
        statuses=statuses,
        votes_cast=sum(int(row[3]) for row in images),
        votes_asked=sum(int(row[4]) for row in images if row[1] not in (UNAVAILABLE, WITHDRAWN)),
        people=connection.execute(voters).scalar_one(),
        ties=statuses.get(TIE, 0),
        safety_reviews=statuses.get(SAFETY_REVIEW, 0),
        gold=sum(row[2] for row in counts if row[0] == GOLD),
    )


def _line(project: ProjectStatus) -> str:
    statuses = ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in project.statuses.items())
    votes = f"{project.votes_cast:,} of {counted(project.votes_asked, 'votes')} by {counted(project.people, 'people')}"
    gold = f"; {counted(project.gold, 'gold items')}" if project.gold else ""
    paused = " (paused)" if project.paused else ""
    return f"{project.task}{paused}: {counted(project.items, 'items')}: {statuses or 'none'}; {votes}{gold}"
