"""What the lead's requests have in common: only a lead may make them, and whoever they concern must be there."""

from typing import Annotated

from fastapi import Path, Query, Request
from sqlalchemy import Connection, select

from annotation_ui.accounts.people import Person
from annotation_ui.database.tables import people
from annotation_ui.routes.calling import Refusal, reading

PersonNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
PersonQuery = Annotated[int, Query(ge=1, le=2**31 - 1)]
ItemNumber = Annotated[int, Path(ge=1, le=2**63 - 1)]


def lead_only(request: Request) -> Person:
    """Returns the lead who makes a request. Raises Refusal for anybody else, before the body is looked at."""
    return reading(request, lambda connection, person: person, role="lead")


def known_person(connection: Connection, person_id: int) -> str:
    """Returns the name of a person. Raises Refusal if there is none."""
    name = connection.execute(select(people.c.name).where(people.c.id == person_id)).scalar_one_or_none()
    if name is None:
        raise Refusal(404, "no_person", "there is no such person")
    return str(name)
