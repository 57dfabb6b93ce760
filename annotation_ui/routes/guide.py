"""Answers requests for the level guide's examples: images of the team's own on which all votes were alike."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection, bindparam, exists, func, select

from annotation_ui.database.tables import DECIDED, GOLD, IMAGE, VOTED, decisions, items, slots
from annotation_ui.routes.calling import ERRORS, Refusal, reading, task_of, tool_of
from annotation_ui.routes.fields import ProjectId
from annotation_ui.worker import Unavailable

router = APIRouter(prefix="/api/projects/{project_id}/guide", responses=ERRORS, tags=["voting"])
EXAMPLES = 3
"""Number of examples of each level."""
SHOWN = (5, 4, 3, 2)
"""Levels that have examples; unsafe images are no examples."""


class Example(BaseModel):
    """An image that shows what a level means."""

    level: int
    url: str


class Guide(BaseModel):
    """The team's own examples."""

    examples: list[Example]


@router.get("")
def guide(project_id: ProjectId, request: Request) -> Guide:
    """Lists the newest images of each level but 1 that were decided by votes all alike."""
    task_of(request, project_id)
    found = reading(request, lambda c, person: examples(c, project_id, tool_of(request).recipe.annotation.blur_from))
    base = f"/api/projects/{project_id}/guide"
    return Guide(examples=[Example(level=row.level, url=f"{base}/{row.id}.jpg") for row in found])


@router.get(
    "/{item_id}.jpg",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "The picture, at most 320 pixels wide."}},
)
def example(project_id: ProjectId, item_id: Annotated[int, Path(ge=1, le=2**53 - 1)], request: Request) -> Response:
    """Returns the picture of an example."""
    tool = tool_of(request)
    task_of(request, project_id)
    found = reading(request, lambda c, person: examples(c, project_id, tool.recipe.annotation.blur_from))
    place = next((row.place for row in found if row.id == item_id), None)
    if place is None:
        raise Refusal(404, "no_item", "this is no example")
    try:
        jpeg = tool.pictures.jpeg(place, "thumbnail")
    except Unavailable as error:
        raise Refusal(404, "no_item", str(error)) from None
    return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def examples(connection: Connection, project_id: int, blur_from: float) -> list[Any]:
    """Returns the id, level and place of each example."""
    given = {"project": project_id, "blur_from": blur_from}
    return [row for level in SHOWN for row in connection.execute(_ALIKE, given | {"level": level, "limit": EXAMPLES})]


_votes = select(func.count(func.distinct(slots.c.level))).where(slots.c.item_id == items.c.id, slots.c.state == VOTED)
_twin = items.alias("twin")
_ALIKE = (
    select(items.c.id, items.c.level, items.c.place)
    .where(items.c.project_id == bindparam("project"), items.c.kind == IMAGE, items.c.level == bindparam("level"))
    .where(items.c.status == DECIDED, items.c.voted > 1, _votes.scalar_subquery() == 1)
    .where((items.c.unsafe.is_(None)) | (items.c.unsafe <= bindparam("blur_from")))
    .where(~exists().where(decisions.c.item_id == items.c.id))
    .where(  # no gold image: who has not voted on it yet would learn its level here
        ~exists().where(_twin.c.project_id == items.c.project_id, _twin.c.kind == GOLD, _twin.c.key == items.c.key)
    )
    .order_by(items.c.id.desc())
    .limit(bindparam("limit"))
)
