"""Sets and checks passwords, which are stored as Argon2id hashes.

The cost is OWASP's first recommendation (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
"""

from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select, update

from annotation_ui.accounts import audit
from annotation_ui.accounts.people import begin_session
from annotation_ui.clock import Clock
from annotation_ui.database.tables import people

if TYPE_CHECKING:
    from argon2 import PasswordHasher

LEAST = 10
"""Smallest number of characters of a password."""
MOST = 200
"""Largest number of characters of a password."""


def hashed(password: str) -> str:
    """Returns the hash by which a password is stored; it takes some 20 ms, so it is made outside of transactions."""
    return _hasher().hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Returns whether a password is the one that a hash was made of.

    It takes the same time for a person without a password, so that nobody learns by the clock who has one.
    """
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(stored or _nobody(), password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def stored_hash(connection: Connection, name: str) -> tuple[int, str | None] | None:
    """Returns the id and the password's hash of a person who may sign in; None for a name that nobody has."""
    known = select(people.c.id, people.c.password_hash).where(people.c.name == name, people.c.revoked_at.is_(None))
    row = connection.execute(known).one_or_none()
    return None if row is None else (row.id, row.password_hash)


def sign_in(connection: Connection, clock: Clock, person_id: int, stored: str, address: str | None) -> str | None:
    """Begins a session for a person whose password has matched; None if the password was changed or ended meanwhile."""
    current = select(people.c.password_hash).where(people.c.id == person_id)
    if connection.execute(current).scalar_one_or_none() != stored:
        return None
    return begin_session(connection, clock(), person_id, address)


def set_hash(connection: Connection, clock: Clock, person_id: int, new: str) -> None:
    """Stores the hash of a person's new password."""
    connection.execute(update(people).where(people.c.id == person_id).values(password_hash=new))
    audit.record(connection, clock(), person_id, "password")


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@cache
def _nobody() -> str:
    return hashed("no password is this one")
