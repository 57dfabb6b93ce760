"""Decides each image's level, 1 to 5, from its votes, usually three, and from decisions that stand above them.

Level 5 is an excellent image and goes into the quality phase; Level 1 must not be used (Kolors, section 2.2).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotation.majority import DECIDED, LOWEST, STATUSES, UNDECIDED_LEVEL, Integers, outcomes
from curation.annotation.revisions import newest
from curation.annotation.tally import numbered, tally
from curation.workspace import Workspace
from curation.workspace.files import GIVEN, read_table, write_table
from curation.workspace.schemas import DECISIONS, LEVELS, VOTES

UNIQUE_BY = ("key", "annotator", "round")
"""A vote replaces the earlier one with the same values in these columns."""


def levels_of(votes: pa.Table, decisions: pa.Table | None, asked: int) -> pa.Table:
    """Decides the level of every image that has a vote or a decision.

    The latest decision on an image counts, whatever its votes are. Without one, see `outcomes`.

    Args:
        votes: all votes ever given (columns: VOTES); see `counting_votes` for those that count.
        decisions: all decisions ever taken (columns: DECISIONS); None for none.
        asked: number of votes that each image needs.

    Returns:
        the levels (columns: LEVELS), sorted by key.

    Raises:
        StageError: a vote has a level that there is not.
    """
    decided = latest_decisions(DECISIONS.empty_table() if decisions is None else decisions)
    image, names = numbered(pa.chunked_array([*votes["key"].chunks, *decided["key"].chunks], pa.string()))
    image, own = image[: len(votes)], image[len(votes) :]
    counts = _counts(votes, image, len(names))
    level, status = outcomes(counts, asked)
    by = np.where(status == DECIDED, 0, -1)
    kinds = pc.dictionary_encode(decided["kind"].combine_chunks())
    level[own], status[own] = decided["level"].to_numpy(), DECIDED
    by[own] = kinds.indices.to_numpy() + 1
    known = (status == DECIDED) | counts.any(axis=1)  # not images all of whose votes were withdrawn
    order = pc.sort_indices(names).to_numpy()  # by UTF-8, which sorts as the code points do
    order = order[known[order]]
    level, by, counts = level[order], by[order], counts[order]
    return pa.table(
        [
            names.take(pa.array(order)),
            pa.array(level, pa.int8(), mask=level == UNDECIDED_LEVEL),
            pa.array(STATUSES).take(pa.array(status[order])),
            pa.array(["majority", *kinds.dictionary.to_pylist()], pa.string()).take(pa.array(by, mask=by < 0)),
            pa.array(counts.sum(axis=1)).cast(pa.int16()),
            _agreement(counts),
        ],
        schema=LEVELS,
    )


def counting_votes(votes: pa.Table) -> pa.Table:
    """Returns the votes that count: the latest of each key, annotator and round, unless it was withdrawn.

    The latest is the one with the highest revision; of equal ones, the last in the table.
    """
    return votes.take(pa.array(_counting_rows(votes, numbered(votes["key"])[0])))


def vote_counts(votes: pa.Table) -> Integers:
    """Counts the votes that count: int64 (images, 5), for each image that has one, by level."""
    image, names = numbered(votes["key"])
    counts = _counts(votes, image, len(names))
    return counts[counts.any(axis=1)]


def decide_levels(workspace: Workspace, asked: int) -> pa.Table:
    """Decides every image's level from the votes and decisions on file, and writes the levels if they have changed.

    Args:
        workspace: the workspace.
        asked: number of votes that each image needs.

    Returns:
        the levels (columns: LEVELS); where neither a vote nor a decision is on file, those that are there already.

    Raises:
        StageError: a file is damaged, or a vote on file has a level that there is not.
    """
    if not workspace.votes.exists() and not workspace.decisions.exists():
        return read_levels(workspace)
    levels = levels_of(read_votes(workspace), read_decisions(workspace), asked)
    if not workspace.levels.exists() or not read_table(workspace.levels).equals(levels):
        write_table(workspace.levels, levels)
    return levels


def read_levels(workspace: Workspace) -> pa.Table:
    """Reads the levels as last decided (columns: LEVELS); no rows if nobody has voted."""
    return read_table(workspace.levels) if workspace.levels.exists() else LEVELS.empty_table()


def read_votes(workspace: Workspace, **options: Any) -> pa.Table:
    """Reads all votes on file (columns: VOTES).

    Columns that the file does not have are null, as it may have been written before VOTES had all of them.

    Args:
        workspace: the workspace.
        options: see `pyarrow.parquet.read_table`, such as `filters` and `columns`.
    """
    return _read(workspace.votes, VOTES, options)


def read_decisions(workspace: Workspace, **options: Any) -> pa.Table:
    """Reads all decisions on file (columns: DECISIONS); see `read_votes`."""
    return _read(workspace.decisions, DECISIONS, options)


def _read(path: Path, schema: pa.Schema, options: dict[str, Any]) -> pa.Table:
    stored = read_table(path, remedy=GIVEN, **options) if path.exists() else schema.empty_table()
    return pa.concat_tables([schema.empty_table(), stored], promote_options="default").select(schema.names).cast(schema)


def _counting_rows(votes: pa.Table, image: Integers) -> Integers:
    """Returns the numbers of the rows that count, in the order of the table; `image` numbers the key of each row."""
    subject = image  # below 2 ** 63 for any table that fits into memory, as there are at most 2 ** 15 rounds
    for column in UNIQUE_BY[1:]:
        number, distinct = numbered(votes[column])
        subject = subject * len(distinct)
        subject += number
    return np.flatnonzero(newest(subject, votes["revision"].to_numpy()) & pc.is_valid(votes["level"]).to_numpy())


def latest_decisions(decisions: pa.Table) -> pa.Table:
    """Returns the decision of each image that counts: the last by time, unless it takes the earlier ones back.

    Args:
        decisions: all decisions ever taken (columns: DECISIONS).
    """
    order = pc.sort_indices(decisions, sort_keys=[("at", "ascending", "at_start")])
    ordered = decisions.take(order)
    number, _ = numbered(ordered["key"])
    _, from_behind = np.unique(number[::-1], return_index=True)
    latest = ordered.take(pa.array(len(number) - 1 - np.sort(from_behind)))
    return latest.filter(pc.is_valid(latest["level"]))


def _counts(votes: pa.Table, image: Integers, images: int) -> Integers:
    """Counts the votes that count: int64 (images, 5), by image and level."""
    rows = _counting_rows(votes, image)
    return tally(image[rows], votes["level"].fill_null(LOWEST).to_numpy()[rows], images)


def _agreement(counts: Integers) -> pa.Array:
    total = counts.sum(axis=1)
    pairs = total * (total - 1)
    equal = np.einsum("ij,ij->i", counts, counts) - total
    return pa.array((equal / np.maximum(pairs, 1)).astype(np.float32), mask=pairs == 0)
