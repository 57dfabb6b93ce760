"""Answers requests of people who vote."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from annotation_ui.accounts.people import Person
from annotation_ui.database.tables import items, qualifications
from annotation_ui.history import Entry, own_history
from annotation_ui.items import Item, described
from annotation_ui.queue import claiming, leases, voting
from annotation_ui.routes.calling import ERRORS, Refusal, reading, task_of, tool_of, writing
from annotation_ui.routes.fields import Body, ItemId, Lease, Milliseconds, Nothing, ProjectId, RequestKey, Score
from annotation_ui.task import Task

router = APIRouter(prefix="/api/projects/{project_id}", responses=ERRORS, tags=["voting"])


class Wanted(Body):
    """How many items the page wants to hold."""

    wanted: int = Field(ge=1, le=10)


class Test(BaseModel):
    """How far a person has come in the entry test."""

    answered: int
    of: int


class Claimed(BaseModel):
    """The items that a person holds, and what the queue says."""

    state: Literal["ready", "nothing", "paused", "failed", "no_gold"]
    testing: bool
    test: Test | None
    items: list[Item]
    left: int
    """Number of items that need votes of somebody, as of some seconds ago."""
    done: int
    """Number of the person's votes, as of some seconds ago."""


class Leases(Body):
    """Leases that a page holds."""

    leases: list[Lease] = Field(max_length=20)


class Renewed(BaseModel):
    """The leases that still hold."""

    renewed: list[str]


class Released(BaseModel):
    """The leases that were given back."""

    released: list[str]


class Ballot(Body):
    """A vote on an item."""

    item: ItemId
    lease: Lease
    request: RequestKey
    revision: int = Field(0, ge=0, le=2**31 - 1)
    level: Score | None = None
    answer: dict[Annotated[str, Field(max_length=80)], dict[Annotated[str, Field(max_length=40)], Score]] | None = (
        Field(None, max_length=100)
    )
    shown_ms: Milliseconds | None = None
    decided_ms: Milliseconds | None = None
    hidden_ms: Milliseconds | None = None
    device: Literal["mouse", "touch", "keyboard", "pen"] | None = None


class Withdrawal(Body):
    """A request to take a vote back."""

    item: ItemId
    lease: Lease
    request: RequestKey
    revision: int = Field(ge=0, le=2**31 - 1)


class TestResult(BaseModel):
    """How the entry test ended."""

    state: str
    correct: int
    of: int


class Saved(BaseModel):
    """A vote as it is stored, for good and on the disk."""

    item: int
    revision: int
    at: int
    test: TestResult | None = None


class Skip(Body):
    """A request to give an item back unvoted."""

    item: ItemId
    lease: Lease
    reason: str = Field(max_length=40)


class Unskip(Body):
    """A request to hold an item again that was skipped."""

    item: ItemId
    lease: Lease


class History(BaseModel):
    """The person's own votes and skips, the newest first."""

    items: list[Entry]
    next: str | None
    """The cursor of the page after this one; null at the end."""


@router.post("/claim")
async def claim(project_id: ProjectId, body: Wanted, request: Request) -> Claimed:
    """Gives the person items to vote on; those that the person holds already come first, and are renewed."""
    tool = tool_of(request)
    task_of(request, project_id)
    rules = tool.rules[project_id]

    def work(connection: Connection, person: Person) -> tuple[claiming.Claimed, list[Item], Test | None, int]:
        claimed = claiming.claim(connection, tool.clock, tool.random, rules, project_id, person.id, body.wanted)
        blur_from = tool.recipe.annotation.blur_from
        shown = described(connection, claimed.claims, person.id, tool.clock(), blur_from)
        return claimed, shown, _test(connection, rules.qualify_items, project_id, person.id), person.id

    claimed, shown, test, person_id = await writing(request, work)
    left, done = await tool.counts(project_id, person_id)
    return Claimed(
        state=claimed.state,
        testing=test is not None,
        test=test,
        items=shown,
        left=left,
        done=done,
    )


@router.post("/renew")
async def renew(project_id: ProjectId, body: Leases, request: Request) -> Renewed:
    """Renews leases of a page that is in use."""
    tool = tool_of(request)
    task_of(request, project_id)
    rules = tool.rules[project_id]
    return Renewed(renewed=await writing(request, lambda c, p: leases.renew(c, tool.clock, rules, p.id, body.leases)))


@router.post("/release")
async def release(project_id: ProjectId, body: Leases, request: Request) -> Released:
    """Gives items back unvoted, as when the page is closed."""
    tool = tool_of(request)
    task_of(request, project_id)
    return Released(released=await writing(request, lambda c, p: leases.release(c, tool.clock, p.id, body.leases)))


@router.post("/votes")
async def vote(project_id: ProjectId, body: Ballot, request: Request) -> Saved:
    """Casts a vote, or changes it while the item is not decided. The same request again gets the same answer."""
    tool, task = tool_of(request), task_of(request, project_id)
    _check_answer(task, body)
    times = voting.Times(body.shown_ms, body.decided_ms, body.hidden_ms, body.device)
    ballot = voting.Vote(body.item, body.lease, body.request, body.revision, body.level, body.answer, times, project_id)

    def work(connection: Connection, person: Person) -> Saved:
        _limit(request, person)
        if ballot.answer is not None:
            _check_parts(connection, ballot)
        rules = tool.rules[project_id]
        saved = voting.cast(connection, tool.clock, rules, person.id, ballot)
        test = _ended(connection, project_id, person.id) if rules.qualify_items else None
        return Saved(item=saved.item_id, revision=saved.revision, at=saved.at, test=test)

    return await writing(request, work)


@router.post("/withdraw")
async def withdraw(project_id: ProjectId, body: Withdrawal, request: Request) -> Saved:
    """Takes a vote back while the item is not decided; the person holds the item again."""
    tool = tool_of(request)
    task_of(request, project_id)
    ballot = voting.Vote(body.item, body.lease, body.request, body.revision, project_id=project_id)

    def work(connection: Connection, person: Person) -> Saved:
        _limit(request, person)
        saved = voting.withdraw(connection, tool.clock, tool.rules[project_id], person.id, ballot)
        return Saved(item=saved.item_id, revision=saved.revision, at=saved.at)

    return await writing(request, work)


@router.post("/skip")
async def skip(project_id: ProjectId, body: Skip, request: Request) -> Nothing:
    """Gives an item back unvoted, with the reason; the person does not get it again."""
    tool, task = tool_of(request), task_of(request, project_id)
    if body.reason not in {reason.name for reason in task.skip_reasons}:
        raise Refusal(422, "body", f"reason: there is no {body.reason!r}")
    await writing(
        request, lambda c, p: voting.skip(c, tool.clock, p.id, body.item, body.lease, body.reason, project_id)
    )
    return Nothing()


@router.post("/unskip")
async def unskip(project_id: ProjectId, body: Unskip, request: Request) -> Nothing:
    """Lets the person hold an item again that was skipped, if it still needs a vote."""
    tool = tool_of(request)
    task_of(request, project_id)
    rules = tool.rules[project_id]
    await writing(request, lambda c, p: voting.unskip(c, tool.clock, rules, p.id, body.item, body.lease, project_id))
    return Nothing()


@router.get("/history")
def history(
    project_id: ProjectId,
    request: Request,
    before: Annotated[str | None, Query(max_length=60, pattern=r"^\d{1,18}-\d{1,18}$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> History:
    """Lists the person's own votes and skips, the newest first."""
    tool = tool_of(request)
    task_of(request, project_id)
    blur_from = tool.recipe.annotation.blur_from
    entries, cursor = reading(
        request, lambda c, p: own_history(c, project_id, p.id, tool.clock(), blur_from, before, limit)
    )
    return History(items=entries, next=cursor)


def _check_answer(task: Task, body: Ballot) -> None:
    """Raises Refusal if a vote does not answer what its task asks."""
    if task.answer == "level" and (body.level is None or body.answer is not None):
        raise Refusal(422, "body", "level: expected 1 to 5, and no answer beside it")
    if task.answer == "scores":
        names = {criterion.name for criterion in task.criteria}
        if body.level is not None or not body.answer or any(own.keys() != names for own in body.answer.values()):
            raise Refusal(422, "body", f"answer: expected {', '.join(sorted(names))} of every part, and no level")


def _check_parts(connection: Connection, ballot: voting.Vote) -> None:
    """Raises Refusal if a vote does not score the very parts of its item."""
    content = connection.execute(select(items.c.content).where(items.c.id == ballot.item_id)).scalar_one_or_none()
    if content and ballot.answer and ballot.answer.keys() != {part["id"] for part in content["parts"]}:
        raise Refusal(422, "body", "answer: expected the scores of every part of this item, and of no other")


def _limit(request: Request, person: Person) -> None:
    if wait := tool_of(request).submits.wait(str(person.id)):
        raise Refusal(429, "too_many", "too many votes at once", {"Retry-After": str(int(wait) + 1)})


def _test(connection: Connection, of: int, project_id: int, person_id: int) -> Test | None:
    """Returns how far a person has come in the entry test; None if there is none, or it is over."""
    if not of:
        return None
    row = connection.execute(
        select(qualifications.c.answered).where(
            qualifications.c.project_id == project_id,
            qualifications.c.person_id == person_id,
            qualifications.c.state == "testing",
        )
    ).one_or_none()
    return None if row is None else Test(answered=row.answered, of=of)


def _ended(connection: Connection, project_id: int, person_id: int) -> TestResult | None:
    """Returns how the entry test of a person ended; None if it has not."""
    row = connection.execute(
        select(qualifications).where(qualifications.c.project_id == project_id, qualifications.c.person_id == person_id)
    ).one_or_none()
    if row is None or row.state == "testing":
        return None
    return TestResult(state=row.state, correct=row.correct, of=row.answered)
