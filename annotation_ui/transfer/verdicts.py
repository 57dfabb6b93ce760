"""Writes the verdicts of the database into the workspace's decisions, beside those that are there."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, select

from annotation_ui.database.tables import IMAGE, decisions, items, people
from annotation_ui.intake.votes import milliseconds
from curation.annotation.levels import read_decisions
from curation.workspace import Workspace
from curation.workspace.files import write_table
from curation.workspace.schemas import DECISIONS


def write_verdicts(connection: Connection, workspace: Workspace, project_id: int) -> int:
    """Adds the verdicts on a project's images to those on file; returns the number of all.

    The order is that of key, time, person, kind and level, so that equal verdicts give equal bytes. Without any verdict
    no file is made.
    """
    stored = read_decisions(workspace).to_pylist()
    present = {_identity(verdict) for verdict in stored}
    given = [verdict for verdict in _given(connection, project_id) if _identity(verdict) not in present]
    rows = sorted([*stored, *given], key=_order)
    if rows:
        write_table(workspace.decisions, pa.Table.from_pylist(rows, schema=DECISIONS))
    return len(rows)


def _given(connection: Connection, project_id: int) -> list[dict[str, Any]]:
    own = decisions.c
    rows = connection.execute(
        select(items.c.key, own.level, own.kind, people.c.name.label("annotator"), own.at, own.note)
        .join(items, items.c.id == own.item_id)
        .join(people, people.c.id == own.person_id)
        .where(items.c.project_id == project_id, items.c.kind == IMAGE)
    )
    return [dict(row._mapping) | {"at": _time(row.at)} for row in rows]


def _time(at: int) -> datetime | None:
    """Returns the time of a verdict; the database has 0 for one that came without a time."""
    return datetime.fromtimestamp(at / 1000, UTC) if at else None


def _identity(verdict: Mapping[str, Any]) -> tuple[Any, ...]:
    return verdict["key"], verdict["kind"], verdict["annotator"], verdict["level"], milliseconds(verdict["at"])


def _order(verdict: Mapping[str, Any]) -> tuple[Any, ...]:
    texts = (verdict[name] or "" for name in ("annotator", "kind", "note"))
    return verdict["key"], milliseconds(verdict["at"]) or 0, *texts, verdict["level"] or 0
