"""Invites people and revokes them, and finds out who a request comes from.

Tokens are random; the database holds only their SHA-256, so that whoever reads it cannot sign in.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from annotation_ui.accounts import audit
from annotation_ui.clock import Clock
from annotation_ui.database.tables import ANNOTATOR, LEAD, REVIEWER, ROLES, links, people, sessions
from curation.annotation.names import person_name
from curation.errors import UserError, nearest

DAY = 86_400_000
SESSION_DAYS = 30
"""Days after which a person must sign in again."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in."""

    id: int
    name: str
    role: str
    preferences: dict[str, Any] = field(default_factory=dict)
    has_password: bool = False

    @property
    def is_lead(self) -> bool:
        """Whether the person leads the team."""
        return self.role == LEAD

    @property
    def may_review(self) -> bool:
        """Whether the person may decide ties and safety reviews."""
        return self.role in (LEAD, REVIEWER)


def token_hash(token: str) -> str:
    """Returns the form in which a token is stored."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def clean_name(name: str) -> str:
    """Returns a person's name without spaces around it. Raises UserError if it is empty, too long or not printable."""
    try:
        return person_name(name)
    except ValueError as error:
        raise UserError(f"name: {error}") from None


def invite(
    connection: Connection,
    clock: Clock,
    name: str,
    role: str | None = None,
    days: float = 30,
    by: int | None = None,
    keep: bool = False,
) -> tuple[int, str]:
    """Makes a personal sign-in link for a person, who is added if new; earlier links of the person end.

    Args:
        role: annotator, reviewer or lead; None keeps the role of a known person, and makes a new one an annotator.
        days: the time for which the link works.
        by: the person who invites; None on the command line.
        keep: whether earlier links go on to work.

    Returns:
        the person's id and the link's token.

    Raises:
        UserError: the name or the role is not admitted.
    """
    name, now = clean_name(name), clock()
    if role is not None and role not in ROLES:
        raise UserError(f'role: there is no "{role}"; expected one of {", ".join(ROLES)}')
    known = connection.execute(select(people.c.id, people.c.role).where(people.c.name == name)).one_or_none()
    if known is None:
        values = {"name": name, "role": role or ANNOTATOR, "created_at": now, "preferences": {}}
        person_id = connection.execute(insert(people).returning(people.c.id), values).scalar_one()
    else:
        person_id = known.id
        person = update(people).where(people.c.id == person_id)
        connection.execute(person.values(role=role or known.role, revoked_at=None))
        earlier = delete(links).where(links.c.person_id == person_id)
        connection.execute(earlier.where(links.c.expires_at <= now) if keep else earlier)
    token = secrets.token_urlsafe(24)
    link = {"token_hash": token_hash(token), "person_id": person_id, "created_at": now}
    connection.execute(insert(links), link | {"expires_at": now + round(days * DAY)})
    audit.record(connection, now, by, "invite", name=name, role=role)
    return person_id, token


def id_of(connection: Connection, name: str) -> int:
    """Returns the id of the person of a name. Raises UserError if there is none."""
    known = {row.name: row.id for row in connection.execute(select(people.c.id, people.c.name))}
    name = clean_name(name)
    if name not in known:
        raise UserError(f'name: there is no "{name}"{nearest(name, known)}')
    return known[name]


def link(base: str, token: str) -> str:
    """Returns a personal sign-in link. The token stands behind #, so that it is sent to no server and into no log."""
    return f"{base.rstrip('/')}/#join={token}"


def revoke(connection: Connection, clock: Clock, person_id: int, by: int | None = None) -> bool:
    """Ends a person's access at once: sessions, links and password; returns whether there is such a person."""
    now = clock()
    person = update(people).where(people.c.id == person_id)
    if not connection.execute(person.values(revoked_at=now, password_hash=None)).rowcount:
        return False
    for table in (sessions, links):
        connection.execute(delete(table).where(table.c.person_id == person_id))
    audit.record(connection, now, by, "revoke", person=person_id)
    return True


def change_role(connection: Connection, clock: Clock, person_id: int, role: str, by: int | None = None) -> bool:
    """Gives a person another role, which holds from the next request on; returns whether there is such a person."""
    if not connection.execute(update(people).where(people.c.id == person_id).values(role=role)).rowcount:
        return False
    audit.record(connection, clock(), by, "role", person=person_id, role=role)
    return True


def sign_in_by_link(connection: Connection, clock: Clock, token: str, address: str | None = None) -> str | None:
    """Begins a session for who holds a link's token; returns the session's token, or None if the link does not work."""
    now = clock()
    person_id = connection.execute(
        select(links.c.person_id)
        .join(people, people.c.id == links.c.person_id)
        .where(links.c.token_hash == token_hash(token), links.c.expires_at > now, people.c.revoked_at.is_(None))
    ).scalar_one_or_none()
    return None if person_id is None else begin_session(connection, now, person_id, address)


def begin_session(connection: Connection, now: int, person_id: int, address: str | None = None) -> str:
    """Begins a session and returns its token; sessions that have expired are removed."""
    token = secrets.token_urlsafe(24)
    connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
    row = {"token_hash": token_hash(token), "person_id": person_id, "created_at": now}
    connection.execute(insert(sessions), row | {"expires_at": now + SESSION_DAYS * DAY})
    audit.record(connection, now, person_id, "sign_in", address)
    return token


def end_session(connection: Connection, token: str) -> None:
    """Ends a session, if there is one."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash(token)))


def person_of(connection: Connection, now: int, token: str) -> Person | None:
    """Returns the person whose session a token belongs to; None if it has expired or the person is revoked."""
    row = connection.execute(_OF_SESSION, {"token": token_hash(token), "now": now}).one_or_none()
    return None if row is None else Person(row.id, row.name, row.role, row.preferences, row.password_hash is not None)


def set_preferences(connection: Connection, person_id: int, preferences: dict[str, Any]) -> None:
    """Stores what a person has chosen on the page."""
    connection.execute(update(people).where(people.c.id == person_id).values(preferences=preferences))


_OF_SESSION = (
    select(people.c.id, people.c.name, people.c.role, people.c.preferences, people.c.password_hash)
    .join(sessions, sessions.c.person_id == people.c.id)
    .where(sessions.c.token_hash == bindparam("token"), sessions.c.expires_at > bindparam("now"))
    .where(people.c.revoked_at.is_(None))
)
