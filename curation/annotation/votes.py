"""Imports human votes on images from a user's file, and has the levels decided anew."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.annotation.levels import UNIQUE_BY, decide_levels, read_votes
from curation.annotation.majority import HIGHEST, LOWEST, STATUSES
from curation.annotation.names import person_name
from curation.annotation.revisions import revised
from curation.errors import UserError
from curation.keys import composed, make_key, split_key
from curation.recipe import Recipe
from curation.scoring.opened import Opened
from curation.workspace import Workspace
from curation.workspace.files import read_table, write_table
from curation.workspace.schemas import VOTES
from curation.workspace.user_tables import cell_text, read_user_table, whole_number


def import_votes(opened: Opened, file: Path) -> dict[str, int]:
    """Adds the votes of a CSV or Parquet file and decides the levels anew.

    A vote by the same annotator on the same image in the same round replaces the earlier one, which stays on record
    with its lower revision; a vote that is there already is not added again.

    Args:
        file: a table with the columns key, annotator and level, and optionally at (ISO 8601) and round (from 1 on).

    Returns:
        `votes`, the number of votes newly added; `images`, the number of images with votes; and their number by
            status.

    Raises:
        UserError: nothing is indexed yet, or a row is wrong; the message names file, line and
            column, and nothing is imported.
    """
    opened.indexed_shards()
    workspace = opened.workspace
    table = read_user_table(file, ("key", "annotator", "level"), ("at", "round"))
    keys = {composed(str(key)) for key in table.table["key"].to_pylist() if key}
    known = _indexed(opened.recipe, workspace, keys)
    votes = [_vote(where, row, known) for where, row in table.rows()]
    stored = read_votes(workspace)
    of_these = stored.filter(pc.is_in(stored["key"], value_set=pa.array(keys, pa.string()))).to_pylist()
    added = revised(of_these, votes, UNIQUE_BY, content=("level", "at"))
    write_table(workspace.votes, pa.concat_tables([stored, pa.Table.from_pylist(added, schema=VOTES)]))
    levels = decide_levels(workspace, opened.recipe.annotation.votes)
    statuses = Counter(levels["status"].to_pylist())
    return {"votes": len(added), "images": len(levels)} | {status: statuses[status] for status in STATUSES}


def _vote(where: str, row: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """Converts a row of the table, which stands at the place `where`, to a vote. Raises UserError."""
    key = composed(str(row["key"] or ""))
    if key not in known:
        try:
            split_key(key)
        except ValueError as error:
            raise UserError(f"{where}: key: {error}") from None
        raise UserError(f'{where}: key: there is no image "{key}" in this workspace')
    try:
        annotator = person_name(cell_text(row["annotator"]))
    except ValueError as error:
        raise UserError(f"{where}: annotator: {error}; write who has voted") from None
    level = whole_number(where, "level", row["level"], LOWEST, HIGHEST)
    round_number = whole_number(where, "round", cell_text(row.get("round")) or 1, 1, 999)
    at = row.get("at")
    try:
        when = at if isinstance(at, datetime) else datetime.fromisoformat(str(at)) if at else None
    except ValueError:
        example = "2026-01-31T12:00:00Z"
        raise UserError(f"{where}: at: expected a time such as {example}, found {str(at)[:40]!r}") from None
    if when is not None:
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return {"key": key, "annotator": annotator, "level": level, "round": round_number, "at": when}


def _indexed(recipe: Recipe, workspace: Workspace, keys: set[str]) -> set[str]:
    """Returns the keys that are images of this workspace; only the samples of shards that a key names are read."""
    named: dict[str, list[str]] = {}
    for key in keys:
        named.setdefault(_shard_of(key), []).append(key)
    indexed: set[str] = set()
    for corpus in recipe.corpora:
        for shard in workspace.shards(corpus.name):
            if wanted := named.get(_shard_of(make_key(corpus.name, shard, ""))):
                own_keys = read_table(workspace.samples(corpus.name, shard), columns=["key"])["key"]
                indexed.update(own_keys.filter(pc.is_in(own_keys, value_set=pa.array(wanted))).to_pylist())
    return indexed


def _shard_of(key: str) -> str:
    return "/".join(key.split("/", 2)[:2])
