"""Answers requests of the lead about people: inviting, roles, revoking, and giving their work to others."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from annotation_ui.accounts import audit
from annotation_ui.accounts.people import DAY, Person, change_role, clean_name, invite, revoke
from annotation_ui.database.tables import people, qualifications
from annotation_ui.queue import qualifying, reassigning
from annotation_ui.routes.calling import Refusal, address_of, reading, task_of, tool_of, writing
from annotation_ui.routes.fields import Body, Nothing, ProjectId
from annotation_ui.routes.lead_calling import PersonNumber, known_person
from curation.annotation.names import LONGEST

router = APIRouter()
Role = Literal["annotator", "reviewer", "lead"]
AT_ONCE = 200
"""Number of votes that one transaction sets aside, so that others' votes need not wait long."""


class Invitation(Body):
    """Somebody new."""

    name: str = Field(min_length=1, max_length=4 * LONGEST)
    role: Role


class Invited(BaseModel):
    """A personal sign-in link, which is told this once: the page puts it together as ADDRESS/#join=TOKEN."""

    id: int
    name: str
    token: str
    expires_at: int
    """Milliseconds since 1970."""


class NewRole(Body):
    """The role that a person is given."""

    role: Role


class Reassignment(Body):
    """What others are to do in a person's place: the images held unvoted, or all votes that have decided nothing."""

    what: Literal["leases", "votes"]


class Reassigned(BaseModel):
    """What went back into the queue."""

    images: int


class Listed(BaseModel):
    """A person who takes part, or did."""

    id: int
    name: str
    role: Role
    revoked: bool


class Everybody(BaseModel):
    """All people, by name."""

    people: list[Listed]


@router.get("/people")
def list_people(request: Request) -> Everybody:
    """Lists everybody who takes part, or did."""
    return Everybody(people=reading(request, lambda c, p: everybody(c), role="lead"))


def everybody(connection: Connection) -> list[Listed]:
    """Returns all people, by name."""
    rows = connection.execute(select(people).order_by(people.c.name))
    return [Listed(id=row.id, name=row.name, role=row.role, revoked=row.revoked_at is not None) for row in rows]


@router.post("/invitations")
async def invite_person(body: Invitation, request: Request) -> Invited:
    """Invites somebody new, and returns the personal link."""

    def work(connection: Connection, lead: Person) -> Invited:
        name = clean_name(body.name)
        if connection.execute(select(people.c.id).where(people.c.name == name)).first() is not None:
            raise Refusal(409, "known", "there is a person of that name already")
        return _invited(request, connection, lead, name, body.role)

    return await writing(request, work, role="lead")


@router.post("/people/{person_id}/link")
async def new_link(person_id: PersonNumber, request: Request) -> Invited:
    """Makes a new personal link for a person; earlier ones end, and who was revoked may come back."""

    def work(connection: Connection, lead: Person) -> Invited:
        return _invited(request, connection, lead, known_person(connection, person_id), None)

    return await writing(request, work, role="lead")


@router.post("/people/{person_id}/role")
async def set_role(person_id: PersonNumber, body: NewRole, request: Request) -> Nothing:
    """Gives a person another role."""
    clock = tool_of(request).clock

    def work(connection: Connection, lead: Person) -> Nothing:
        _not_oneself(connection, lead, person_id)
        change_role(connection, clock, person_id, body.role, lead.id)
        return Nothing()

    return await writing(request, work, role="lead")


@router.post("/people/{person_id}/revoke")
async def revoke_person(person_id: PersonNumber, request: Request) -> Nothing:
    """Ends a person's access at once; what the person holds goes back into the queue, votes stay."""
    clock = tool_of(request).clock

    def work(connection: Connection, lead: Person) -> Nothing:
        _not_oneself(connection, lead, person_id)
        reassigning.return_leases(connection, clock, person_id)
        revoke(connection, clock, person_id, lead.id)
        return Nothing()

    return await writing(request, work, role="lead")


@router.post("/people/{person_id}/reassign")
async def reassign(person_id: PersonNumber, body: Reassignment, request: Request) -> Reassigned:
    """Takes what a person holds, or the person's undecided votes, and lets others vote in the person's place.

    Many votes are set aside in several transactions; if the server stops between two of them, ask again.
    """
    clock, address = tool_of(request).clock, address_of(request)

    def work(connection: Connection, lead: Person) -> tuple[int, bool]:
        known_person(connection, person_id)
        if body.what == "leases":
            images, more = reassigning.return_leases(connection, clock, person_id), False
        else:
            images = reassigning.retract_votes(connection, clock, person_id, AT_ONCE)
            more = images == AT_ONCE
        detail = {"person": person_id, "what": body.what, "images": images}
        audit.record(connection, clock(), lead.id, "reassign", address, **detail)
        return images, more

    total, more = 0, True
    while more:
        images, more = await writing(request, work, role="lead")
        total += images
    tool_of(request).statistics.clear()
    return Reassigned(images=total)


@router.post("/projects/{project_id}/people/{person_id}/test")
async def test_again(project_id: ProjectId, person_id: PersonNumber, request: Request) -> Nothing:
    """Lets a person who failed take the entry test again, with gold images that the person has not seen."""
    task_of(request, project_id)
    clock = tool_of(request).clock

    def work(connection: Connection, lead: Person) -> None:
        known_person(connection, person_id)
        own = (qualifications.c.project_id == project_id, qualifications.c.person_id == person_id)
        if connection.execute(select(qualifications.c.state).where(*own)).scalar() != qualifying.FAILED:
            raise Refusal(409, "not_failed", "this person has not failed the entry test")
        qualifying.let_try_again(connection, project_id, person_id)
        audit.record(
            connection, clock(), lead.id, "test_again", address_of(request), person=person_id, project=project_id
        )

    await writing(request, work, role="lead")
    tool_of(request).statistics.clear()
    return Nothing()


def _invited(request: Request, connection: Connection, lead: Person, name: str, role: str | None) -> Invited:
    tool = tool_of(request)
    days = tool.recipe.annotation.link_days
    person_id, token = invite(connection, tool.clock, name, role, days, lead.id)
    return Invited(id=person_id, name=name, token=token, expires_at=tool.clock() + round(days * DAY))


def _not_oneself(connection: Connection, lead: Person, person_id: int) -> None:
    """Raises Refusal if the lead would lock themself out, so that there is always a lead, or if nobody is meant."""
    known_person(connection, person_id)
    if person_id == lead.id:
        raise Refusal(409, "yourself", "another lead must do this to you")
