"""Answers requests of the lead that change a project, and shows the audit log."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, StrictBool
from sqlalchemy import Connection, select, update

from annotation_ui.accounts import audit
from annotation_ui.accounts.people import Person
from annotation_ui.database import tables
from annotation_ui.routes.calling import address_of, reading, task_of, tool_of, writing
from annotation_ui.routes.fields import Body, Nothing, ProjectId

router = APIRouter()


class Pausing(Body):
    """Whether a project gives out no images."""

    paused: StrictBool


class Order(Body):
    """What is asked first: chance, the likely Level 5, or what the model doubts most."""

    ordering: Literal["random", "level5", "uncertain"]


class Entry(BaseModel):
    """Something that was done."""

    id: int
    at: int
    """Milliseconds since 1970."""
    person: str | None
    """Who did it; null on the command line and for a failed sign-in."""
    action: str
    detail: dict[str, Any] | None
    address: str | None


class Log(BaseModel):
    """What was done, the newest first."""

    entries: list[Entry]
    next: int | None
    """The cursor of the next page; null at the end."""
    names: dict[int, str]
    """Names of the people who are meant in details."""


@router.post("/projects/{project_id}/pause")
async def pause(project_id: ProjectId, body: Pausing, request: Request) -> Nothing:
    """Pauses a project or lets it go on; what people hold they may still vote on."""
    return await _change(request, project_id, "pause", {"paused": body.paused})


@router.post("/projects/{project_id}/order")
async def order(project_id: ProjectId, body: Order, request: Request) -> Nothing:
    """Chooses what is asked first."""
    return await _change(request, project_id, "order", {"ordering": body.ordering})


@router.get("/audit")
def log(
    request: Request,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Log:
    """Lists what was done, the newest first."""
    return reading(request, lambda c, p: _log(c, before, limit), role="lead")


def _log(connection: Connection, before: int | None, limit: int) -> Log:
    audit_log, people = tables.audit, tables.people
    wanted = select(audit_log, people.c.name).outerjoin(people, people.c.id == audit_log.c.person_id)
    if before is not None:
        wanted = wanted.where(audit_log.c.id < before)
    rows = connection.execute(wanted.order_by(audit_log.c.id.desc()).limit(limit + 1)).all()
    entries = [
        Entry(id=r.id, at=r.at, person=r.name, action=r.action, detail=r.detail, address=r.address)
        for r in rows[:limit]
    ]
    meant = {entry.detail["person"] for entry in entries if entry.detail and "person" in entry.detail}
    named = select(people.c.id, people.c.name).where(people.c.id.in_(meant))
    names = {row.id: row.name for row in connection.execute(named)} if meant else {}
    return Log(entries=entries, next=entries[-1].id if len(rows) > limit else None, names=names)


async def _change(request: Request, project_id: int, action: str, values: dict[str, Any]) -> Nothing:
    task_of(request, project_id)
    clock = tool_of(request).clock

    def work(connection: Connection, lead: Person) -> Nothing:
        project = update(tables.projects).where(tables.projects.c.id == project_id)
        connection.execute(project.values(**values))
        audit.record(connection, clock(), lead.id, action, address_of(request), project=project_id, **values)
        return Nothing()

    return await writing(request, work, role="lead")
