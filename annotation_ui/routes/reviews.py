"""Answers requests of reviewers and leads, who decide ties and images with a Level 1 vote."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from annotation_ui.accounts import audit
from annotation_ui.accounts.people import Person
from annotation_ui.database.tables import SAFETY_REVIEW, TIE, items
from annotation_ui.items import Item, described
from annotation_ui.queue import reviewing
from annotation_ui.queue.claiming import Claim
from annotation_ui.routes.calling import ERRORS, Refusal, address_of, reading, task_of, tool_of, writing
from annotation_ui.routes.fields import Body, ItemId, ProjectId, RequestKey, Score

router = APIRouter(prefix="/api/projects/{project_id}", responses=ERRORS, tags=["reviews"])
_STATUSES = {"any": (SAFETY_REVIEW, TIE), "adjudication": (TIE,), "safety_review": (SAFETY_REVIEW,)}


class Waiting(BaseModel):
    """Number of items that wait for each kind of verdict."""

    adjudication: int
    safety_review: int


class Review(BaseModel):
    """An item that waits for a verdict."""

    item: Item | None
    kind: Literal["adjudication", "safety_review"] | None
    waiting: Waiting


class VerdictBody(Body):
    """A verdict on an item."""

    item: ItemId
    level: Score
    request: RequestKey
    note: str | None = Field(None, max_length=2000)


class Verdict(BaseModel):
    """A verdict as it is stored."""

    item: int
    level: int
    kind: str
    at: int


@router.get("/reviews/next")
def next_review(
    project_id: ProjectId,
    request: Request,
    kind: Annotated[Literal["any", "adjudication", "safety_review"], Query()] = "any",
    but: Annotated[
        tuple[ItemId, ...], Query(max_length=100, description="Items that the person does not want now")
    ] = (),
) -> Review:
    """Gives an item that waits for a verdict which this person may give: one on which the person has never voted."""
    tool = tool_of(request)
    task_of(request, project_id)

    def work(connection: Connection, person: Person) -> Review:
        waiting = Waiting(**reviewing.waiting(connection, project_id))
        found = reviewing.next_review(connection, tool.random, project_id, person.id, _STATUSES[kind], but)
        if found is None:
            return Review(item=None, kind=None, waiting=waiting)
        now = tool.clock()
        blur_from = tool.recipe.annotation.blur_from
        shown = described(connection, [Claim(found, "", now)], person.id, now, blur_from)[0]
        status = connection.execute(select(items.c.status).where(items.c.id == found)).scalar_one()
        return Review(item=shown, kind=reviewing.KINDS[status], waiting=waiting)

    return reading(request, work, role="reviewer")


@router.post("/decisions")
async def decide(project_id: ProjectId, body: VerdictBody, request: Request) -> Verdict:
    """Decides an item. The same request again gets the same answer."""
    tool = tool_of(request)
    if task_of(request, project_id).answer != "level":
        raise Refusal(404, "no_project", "this project has nothing to decide")

    def work(connection: Connection, person: Person) -> Verdict:
        made = reviewing.decide_item(connection, tool.clock, person.id, body.item, body.level, body.request, body.note)
        audit.record(connection, made.at, person.id, "decide", address_of(request), item=body.item, level=body.level)
        return Verdict(item=made.item_id, level=made.level, kind=made.kind, at=made.at)

    return await writing(request, work, role="reviewer")
