"""Answers requests of the lead about images: the gallery, an image's story, gold, and images that cannot be shown."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, StrictBool
from sqlalchemy import Connection

from annotation_ui.accounts import audit
from annotation_ui.accounts.people import Person
from annotation_ui.queue import gold, unavailable
from annotation_ui.routes.calling import Refusal, address_of, reading, task_of, tool_of, writing
from annotation_ui.routes.fields import Body, Nothing, ProjectId
from annotation_ui.routes.lead_calling import ItemNumber, PersonQuery
from annotation_ui.statistics import gallery, story

router = APIRouter()
AT_ONCE = 1_000
"""Number of images that one transaction puts back."""
Status = Literal["open", "closing", "decided", "tie", "safety_review", "unavailable", "withdrawn"]


class Marking(Body):
    """Whether an image serves as gold."""

    gold: StrictBool


class Reopened(BaseModel):
    """Number of images that were put back into the queue."""

    images: int


class Told(BaseModel):
    """The story of an image, and whether its picture is blurred for who wants that."""

    story: story.Story
    blurred: bool


class Gallery(BaseModel):
    """A page of the gallery."""

    items: list[gallery.Shown]
    next: str | None
    """The cursor of the next page; null at the end. A page may be short, or empty, though more follow."""
    looked_at: int
    blur_from: float
    """Pictures with `unsafe` above this are blurred for who wants that."""


@router.get("/projects/{project_id}/items")
def list_items(
    project_id: ProjectId,
    request: Request,
    status: Annotated[Status | None, Query()] = None,
    level: Annotated[int | None, Query(ge=1, le=5)] = None,
    spread: Annotated[int, Query(ge=0, le=4)] = 0,
    person: PersonQuery | None = None,
    gold: Annotated[bool, Query()] = False,
    after: Annotated[str | None, Query(max_length=40, pattern=r"^\d{1,18}(-\d{1,18})?$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 48,
) -> Gallery:
    """Lists images with the votes that stand, a page at a time."""
    task_of(request, project_id)
    wanted = gallery.Filter(status, level, spread, person, gold)
    if after is not None and ("-" in after) != (person is not None):
        raise Refusal(422, "body", "after: this cursor belongs to another list")
    found = reading(request, lambda c, p: gallery.page(c, project_id, wanted, after, limit), role="lead")
    blur_from = tool_of(request).recipe.annotation.blur_from
    return Gallery(items=found.items, next=found.next, looked_at=found.looked_at, blur_from=blur_from)


@router.get("/items/{item_id}")
def item_story(item_id: ItemNumber, request: Request) -> Told:
    """Tells the whole story of an image: who voted what and when."""
    told = reading(request, lambda c, p: story.story(c, item_id), role="lead")
    blur_from = tool_of(request).recipe.annotation.blur_from
    return Told(story=told, blurred=told.unsafe is not None and told.unsafe > blur_from)


@router.post("/items/{item_id}/gold")
async def mark_gold(item_id: ItemNumber, body: Marking, request: Request) -> Nothing:
    """Makes a decided image gold, with its level as the known one, or takes a gold image out of service.

    Who has voted on the image itself is not given it as gold.
    """
    tool = tool_of(request)

    def work(connection: Connection, lead: Person) -> Nothing:
        if body.gold:
            detail = {"item": item_id, "level": gold.mark(connection, tool.random, item_id)}
        else:
            gold.retire(connection, item_id)
            detail = {"item": item_id}
        action = "gold" if body.gold else "no_gold"
        audit.record(connection, tool.clock(), lead.id, action, address_of(request), **detail)
        return Nothing()

    return await writing(request, work, role="lead")


@router.post("/items/{item_id}/reopen")
async def reopen(item_id: ItemNumber, request: Request) -> Nothing:
    """Puts an image back into the queue that could not be shown; its picture is tried anew."""
    tool = tool_of(request)

    def work(connection: Connection, lead: Person) -> Nothing:
        unavailable.reopen(connection, tool.clock, item_id)
        audit.record(connection, tool.clock(), lead.id, "reopen", address_of(request), item=item_id)
        return Nothing()

    return await writing(request, work, role="lead")


@router.post("/projects/{project_id}/reopen")
async def reopen_all(project_id: ProjectId, request: Request) -> Reopened:
    """Puts all images of a project back that could not be shown, in transactions of a thousand each."""
    task_of(request, project_id)
    tool = tool_of(request)

    def work(connection: Connection, lead: Person) -> int:
        images = unavailable.reopen_all(connection, tool.clock, project_id, AT_ONCE)
        if images:
            detail = {"project": project_id, "images": images}
            audit.record(connection, tool.clock(), lead.id, "reopen", address_of(request), **detail)
        return images

    total = 0
    while images := await writing(request, work, role="lead"):
        total += images
        if images < AT_ONCE:
            break
    tool.statistics.clear()
    return Reopened(images=total)
