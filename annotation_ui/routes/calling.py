"""Finds out who makes a request and what it may do, and says in which form a request is refused."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from sqlalchemy import Connection

from annotation_ui.accounts.people import Person, person_of
from annotation_ui.guard import session_of
from annotation_ui.task import Task
from annotation_ui.tool import Tool

T = TypeVar("T")


class ErrorDetail(BaseModel):
    """What is wrong."""

    code: str
    message: str


class Error(BaseModel):
    """The answer to a request that is refused."""

    error: ErrorDetail


class Refusal(Exception):
    """A request that is answered by an error status.

    Args:
        status: the HTTP status.
        code: one word by which the page knows what to do.
        message: a sentence for people.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "The body is not what it says to be."},
    401: {"model": Error, "description": "Nobody is signed in."},
    403: {"model": Error, "description": "The person's role does not allow it, or a token against forgery is missing."},
    404: {"model": Error, "description": "There is no such project, item or person."},
    409: {"model": Error, "description": "The rules of the queue do not allow it; the code says why."},
    413: {"model": Error, "description": "The body is too large."},
    415: {"model": Error, "description": "The body is not JSON."},
    421: {"model": Error, "description": "The server is not known by that host name."},
    422: {"model": Error, "description": "The body or the address has another form."},
    429: {"model": Error, "description": "There were too many requests; try again after Retry-After seconds."},
    507: {"model": Error, "description": "The database cannot be written; nothing is stored, so try again later."},
}
"""The errors by which any request may be answered, for the API's description."""


def tool_of(request: Request) -> Tool:
    """Returns the tool that the server works with."""
    tool: Tool = request.app.state.tool
    return tool


def signed_in(request: Request, connection: Connection, role: str = "") -> Person:
    """Returns who makes a request.

    Args:
        role: `reviewer` admits reviewers and leads, `lead` leads alone, "" everybody who is signed in.

    Raises:
        Refusal: nobody is signed in, or the person may not do this.
    """
    person = person_of(connection, tool_of(request).clock(), session_of(request.scope))
    if person is None:
        raise Refusal(401, "signed_out", "sign in first")
    if not (not role or person.is_lead or (role == "reviewer" and person.may_review)):
        raise Refusal(403, "role", f"this is for a {role} to do")
    return person


async def writing(request: Request, work: Callable[[Connection, Person], T], role: str = "") -> T:
    """Runs work that may write, in one transaction, for who makes the request."""
    return await tool_of(request).database.write_soon(lambda c: work(c, signed_in(request, c, role)))


def reading(request: Request, work: Callable[[Connection, Person], T], role: str = "") -> T:
    """Runs work that only reads, in one transaction, for who makes the request."""
    return tool_of(request).database.read(lambda c: work(c, signed_in(request, c, role)))


def address_of(request: Request) -> str:
    """Returns the client's address, for limits and the audit log."""
    return request.client.host if request.client else ""


def task_of(request: Request, project_id: int) -> Task:
    """Returns a project's task. Raises Refusal if there is no such project."""
    task = tool_of(request).tasks.get(project_id)
    if task is None:
        raise Refusal(404, "no_project", "there is no such project")
    return task
