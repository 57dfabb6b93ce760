"""Imports human votes on images, and decides each image's level, 1 to 5, by usually three votes.

Level 5 is an excellent image and goes into the quality phase; Level 1 must not be used (Kolors, section 2.2).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.annotation.revisions import latest, revised
from curation.errors import UserError
from curation.keys import composed, make_key, split_key
from curation.recipe import Recipe
from curation.scoring.opened import Opened
from curation.workspace import Workspace
from curation.workspace.files import read_table, write_table
from curation.workspace.schemas import LEVELS, VOTES
from curation.workspace.user_tables import cell_text, read_user_table, whole_number

UNIQUE_BY = ("key", "annotator", "round")
"""A vote replaces the earlier one with the same values in these columns."""
UNSAFE_LEVEL = 1
"""The level of an image that must not be used."""
Level = dict[str, Any]
"""A row of `levels.parquet`, with the columns of LEVELS."""


def decide(levels: Sequence[int], asked: int = 3) -> tuple[int | None, str, str | None]:
    """Decides the level of one image; returns the level, the status, and how it was decided.

    Any vote for Level 1 calls for a safety review, whatever the other votes are. Fewer votes than `asked` are
    incomplete. A level that more than half of the votes name becomes the image's; without one, there is a tie.

    Args:
        levels: the level that each vote names, 1 to 5.
        asked: number of votes that each image needs.

    Returns:
        the level (None if it is not decided), the status (a value of the column `status` of LEVELS), and "majority" for
        a decided level, otherwise None.
    """
    if UNSAFE_LEVEL in levels:
        return None, "safety_review", None
    if len(levels) < asked:
        return None, "incomplete", None
    level, count = Counter(levels).most_common(1)[0]
    if 2 * count > len(levels):
        return level, "decided", "majority"
    return None, "tie", None


def agreement(levels: Sequence[int]) -> float | None:
    """Returns the share of pairs of votes that name the same level, 0 to 1; None for fewer than two votes."""
    pairs = len(levels) * (len(levels) - 1)
    return sum(n * (n - 1) for n in Counter(levels).values()) / pairs if pairs else None


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
    stored = read_table(workspace.votes).to_pylist() if workspace.votes.exists() else []
    added = revised(stored, votes, UNIQUE_BY, content=("level", "at"))
    write_table(workspace.votes, pa.Table.from_pylist(stored + added, schema=VOTES))
    levels = decide_levels(opened)
    statuses = Counter(row["status"] for row in levels)
    return {"votes": len(added), "images": len(levels)} | {
        s: statuses[s] for s in ("decided", "tie", "safety_review", "incomplete")
    }


def decide_levels(opened: Opened) -> list[Level]:
    """Decides every image's level from the votes, writes the levels if they have changed, and returns them."""
    workspace = opened.workspace
    if not workspace.votes.exists():
        return []
    votes = latest(read_table(workspace.votes).to_pylist(), UNIQUE_BY).values()
    levels = [_level(key, own, opened.recipe.annotation.votes) for key, own in sorted(_by_key(votes).items())]
    table = pa.Table.from_pylist(levels, schema=LEVELS)
    if not workspace.levels.exists() or not read_table(workspace.levels).equals(table):
        write_table(workspace.levels, table)
    return levels


def read_levels(workspace: Workspace) -> dict[str, Level]:
    """Returns the rows of `levels.parquet` by key; empty if nobody has voted."""
    if not workspace.levels.exists():
        return {}
    return {row["key"]: row for row in read_table(workspace.levels).to_pylist()}


def _by_key(votes: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for vote in votes:
        groups.setdefault(vote["key"], []).append(vote)
    return groups


def _level(key: str, votes: list[dict[str, Any]], asked: int) -> Level:
    levels = [vote["level"] for vote in votes]
    level, status, by = decide(levels, asked)
    return {
        "key": key,
        "level": level,
        "status": status,
        "decided_by": by,
        "votes": len(levels),
        "agreement": agreement(levels),
    }


def _vote(where: str, row: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """Converts a row of the table, which stands at the place `where`, to a vote. Raises UserError."""
    key, annotator = composed(str(row["key"] or "")), cell_text(row["annotator"])
    if key not in known:
        try:
            split_key(key)
        except ValueError as error:
            raise UserError(f"{where}: key: {error}") from None
        raise UserError(f'{where}: key: there is no image "{key}" in this workspace')
    if not annotator:
        raise UserError(f"{where}: annotator: it is empty; write who has voted")
    level = whole_number(where, "level", row["level"], 1, 5)
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
