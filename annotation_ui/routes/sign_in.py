"""Answers requests about oneself: signing in and out, preferences, the password."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, field_validator
from sqlalchemy import Connection, select

from annotation_ui.accounts import audit, passwords
from annotation_ui.accounts.people import SESSION_DAYS, Person, end_session, person_of, set_preferences, sign_in_by_link
from annotation_ui.database.tables import projects
from annotation_ui.guard import cookie_name, csrf_token, session_of
from annotation_ui.queue.rules import MINUTE
from annotation_ui.rate_limit import RateLimit
from annotation_ui.routes.calling import ERRORS, Refusal, address_of, reading, signed_in, tool_of, writing
from annotation_ui.routes.fields import Body, Nothing
from annotation_ui.task import Task

router = APIRouter(prefix="/api", responses=ERRORS, tags=["people"])
PREFERENCES = 4_000
"""Largest number of characters of a person's preferences as JSON."""


class SignIn(Body):
    """A personal link's token, or a name and a password."""

    token: str | None = Field(None, max_length=100)
    name: str | None = Field(None, max_length=200)
    password: str | None = Field(None, max_length=passwords.MOST)


class Me(BaseModel):
    """Who is signed in."""

    id: int
    name: str
    role: str
    has_password: bool
    preferences: dict[str, Any]


class Project(BaseModel):
    """Something that people are asked."""

    id: int
    task: str
    paused: bool
    declaration: Task
    grace_seconds: int = MINUTE // 1000


class Signed(BaseModel):
    """What the page needs to begin."""

    person: Me
    csrf: str
    projects: list[Project]
    team: str
    tune: bool


class Preferences(Body):
    """What a person has chosen on the page; the server only keeps it."""

    preferences: dict[str, Any]

    @field_validator("preferences")
    @classmethod
    def _small(cls, preferences: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(preferences, ensure_ascii=False, allow_nan=False)  # raises ValueError for NaN
        text.encode()  # raises one for a half of a surrogate pair, which no answer could contain
        if len(text) > PREFERENCES:
            raise ValueError(f"at most {PREFERENCES:,} characters")
        return preferences


class NewPassword(Body):
    """A new password, and the present one if there is one."""

    password: str = Field(min_length=passwords.LEAST, max_length=passwords.MOST)
    current: str | None = Field(None, max_length=passwords.MOST)


@router.post("/sign-in")
def sign_in(body: SignIn, request: Request, response: Response) -> Signed:
    """Signs in by a personal link's token, or by name and password."""
    tool, address = tool_of(request), address_of(request)
    _limit(tool.sign_ins, address)
    if body.token is not None:
        token = body.token
        session = tool.database.write(lambda c: sign_in_by_link(c, tool.clock, token, address))
        if session is None:
            tool.database.write(lambda c: audit.record(c, tool.clock(), None, "sign_in_failed", address))
            raise Refusal(401, "link", "this link no longer works; ask for a new one")
    elif body.name is not None and body.password is not None:
        _limit(tool.passwords, body.name)
        session = _by_password(request, body.name, body.password)
    else:
        raise Refusal(422, "body", "send a token, or a name and a password")
    response.set_cookie(
        cookie_name(request.scope), session, max_age=SESSION_DAYS * 86_400, httponly=True, samesite="lax",
        secure=request.app.state.secure,
    )  # fmt: skip
    return tool.database.read(lambda c: _signed(request, c, _known(request, c, session), session))


@router.post("/sign-out")
def sign_out(request: Request, response: Response) -> Nothing:
    """Ends the session."""
    tool_of(request).database.write(lambda c: end_session(c, session_of(request.scope)))
    response.delete_cookie(cookie_name(request.scope), httponly=True, samesite="lax", secure=request.app.state.secure)
    return Nothing()


@router.get("/me")
def me(request: Request) -> Signed:
    """Tells who is signed in, and what there is to do."""
    return reading(request, lambda c, person: _signed(request, c, person, session_of(request.scope)))


@router.put("/me/preferences")
async def preferences(body: Preferences, request: Request) -> Preferences:
    """Keeps what the person has chosen on the page."""
    await writing(request, lambda c, person: set_preferences(c, person.id, body.preferences))
    return body


@router.put("/me/password")
def password(body: NewPassword, request: Request) -> Nothing:
    """Sets the person's password; who has one must give it."""
    tool = tool_of(request)
    person = reading(request, lambda c, person: person)
    _limit(tool.passwords, person.name)
    if person.has_password:
        known = tool.database.read(lambda c: passwords.stored_hash(c, person.name))
        if known is None or not passwords.matches(known[1], body.current or ""):
            raise Refusal(403, "password", "the present password is another one")
    new = passwords.hashed(body.password)
    tool.database.write(lambda c: passwords.set_hash(c, tool.clock, signed_in(request, c).id, new))
    return Nothing()


def _by_password(request: Request, name: str, password: str) -> str:
    tool = tool_of(request)
    known = tool.database.read(lambda c: passwords.stored_hash(c, name))
    if passwords.matches(known[1] if known else None, password) and known and known[1]:
        person_id, stored = known[0], known[1]
        session = tool.database.write(
            lambda c: passwords.sign_in(c, tool.clock, person_id, stored, address_of(request))
        )
        if session is not None:
            return session
    told = {"person": known[0]} if known else {}
    tool.database.write(lambda c: audit.record(c, tool.clock(), None, "sign_in_failed", address_of(request), **told))
    raise Refusal(401, "password", "the name or the password is wrong")


def _limit(limit: RateLimit, client: str) -> None:
    if wait := limit.wait(client):
        raise Refusal(429, "too_many", "too many tries; wait a little", {"Retry-After": str(int(wait) + 1)})


def _known(request: Request, connection: Connection, session: str) -> Person:
    person = person_of(connection, tool_of(request).clock(), session)
    return person if person is not None else signed_in(request, connection)


def _signed(request: Request, connection: Connection, person: Person, session: str) -> Signed:
    tool = tool_of(request)
    paused = {row.id: row.paused for row in connection.execute(select(projects.c.id, projects.c.paused))}
    return Signed(
        person=Me(id=person.id, name=person.name, role=person.role, has_password=person.has_password,
                  preferences=person.preferences),
        csrf=csrf_token(session),
        projects=[
            Project(id=project_id, task=task.name, paused=paused.get(project_id, False), declaration=task)
            for project_id, task in tool.tasks.items()
        ],
        team=tool.recipe.name,
        tune=person.is_lead and request.app.state.tune is not None,
    )  # fmt: skip
