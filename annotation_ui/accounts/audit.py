"""Writes the audit log: who signed in, was invited or revoked, and what the lead and reviewers did."""

from typing import Any

from sqlalchemy import Connection, insert

from annotation_ui.database.tables import audit


def record(
    connection: Connection, at: int, person_id: int | None, action: str, address: str | None = None, **detail: Any
) -> None:
    """Adds a line to the audit log in the transaction of what it tells.

    Args:
        at: milliseconds since 1970.
        person_id: who did it; None on the command line and for a failed sign-in.
        action: one word, such as `invite`.
        address: the client's address.
        detail: anything that JSON can hold; no secret.
    """
    row = {"at": at, "person_id": person_id, "action": action, "detail": detail or None, "address": address}
    connection.execute(insert(audit), row)
