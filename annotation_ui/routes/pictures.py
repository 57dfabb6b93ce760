"""Answers requests for pictures, and takes items out of the queue whose picture cannot be shown."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection, select

from annotation_ui.accounts.people import Person
from annotation_ui.database.tables import items, slots
from annotation_ui.queue.unavailable import take_out
from annotation_ui.routes.calling import ERRORS, Error, Refusal, reading, tool_of
from annotation_ui.worker import Unavailable

router = APIRouter(responses=ERRORS, tags=["pictures"])
Number = Annotated[int, Path(ge=0, le=100)]


@router.get(
    "/pictures/{item_id}/{number}/{size}.jpg",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}}, "description": "The picture, without metadata."},
        410: {"model": Error, "description": "The picture is gone or damaged; the item has left the queue."},
    },
)
def picture(
    item_id: Annotated[int, Path(ge=1, le=2**53 - 1)],
    number: Number,
    size: Literal["thumbnail", "preview", "full"],
    request: Request,
) -> Response:
    """Returns a picture of an item that the person holds or has voted on; a reviewer and a lead see all."""
    tool = tool_of(request)
    person, place = reading(request, lambda c, person: (person, _place(c, person, item_id, number)))
    try:
        jpeg = tool.pictures.jpeg(place, size)
    except Unavailable as error:
        reason = str(error)
        tool.database.write(lambda c: take_out(c, tool.clock, item_id, reason))
        told = reason if person.is_lead else "its file is gone or damaged"  # a reason may name files
        raise Refusal(410, "unavailable", f"this picture cannot be shown: {told}") from None
    headers = {"Cache-Control": "private, max-age=604800, immutable"}
    return Response(jpeg, media_type="image/jpeg", headers=headers)


def _place(connection: Connection, person: Person, item_id: int, number: int) -> dict[str, Any]:
    """Returns the place of a picture that the person may see. Raises Refusal otherwise."""
    wanted = select(items.c.place, items.c.content).where(items.c.id == item_id)
    if not person.may_review:
        wanted = wanted.join(slots, slots.c.item_id == items.c.id).where(slots.c.person_id == person.id)
    row = connection.execute(wanted).one_or_none()
    pictures = [] if row is None else (row.content or {}).get("pictures", [row.place])
    if number >= len(pictures):
        raise Refusal(404, "no_item", "there is no such picture")
    return dict(pictures[number])
