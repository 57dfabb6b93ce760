"""Writes the votes of the database into the workspace's votes, together with the votes there that it does not hold.

The order is that of key, annotator, round and revision, texts by their bytes, in row groups of one size: equal votes
give equal bytes, whatever database they come from. Votes are read, joined and written some at a time.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Connection, case, collate, select

from annotation_ui.database.tables import IMAGE, items, people, votes
from annotation_ui.transfer.ordered_votes import AT_ONCE, IN_ORDER, OrderedVotes
from curation.annotation.tally import numbered
from curation.workspace import Workspace
from curation.workspace.files import ROWS, replacing
from curation.workspace.schemas import VOTES

ROW_GROUP = 250_000
"""Number of rows of a row group of the file."""
Numbers = np.ndarray[Any, np.dtype[np.int64]]
_OURS = VOTES.append(pa.field("own", pa.bool_()))
"""Columns of the votes of the database: those of VOTES, and whether a vote was given, or taken back, in the tool."""


def write_votes(connection: Connection, workspace: Workspace, project_id: int) -> int:
    """Writes the votes on a project's images, and those on file beside them; returns their number.

    A vote that was given in the tool is written as the database has it; one that was taken in from the file stays as
    the file has it. Where the file holds another vote under the number of a revision that the database has given, the
    database's revisions of that person and image are numbered on from it, so that nothing is lost.

    Args:
        connection: a transaction that reads.
        workspace: the workspace, which the caller has locked.
        project_id: the project.
    """
    return _write(workspace.votes, _merged(_ours(connection, project_id), OrderedVotes(workspace)))


def _ours(connection: Connection, project_id: int) -> Iterator[pa.Table]:
    """Yields the votes of the database, those on one image together, in the order of the keys' bytes."""
    names = {row.id: row.name for row in connection.execute(select(people.c.id, people.c.name))}
    places = {person: place for place, person in enumerate(names)}
    by_place = pa.array(list(names.values()), pa.string())
    streamed = connection.execution_options(yield_per=AT_ONCE).execute(_question(connection, project_id))
    rest: list[Any] = []
    for part in streamed.partitions():
        rows = [*rest, *part]
        last = len(rows)
        while last and rows[last - 1][0] == rows[-1][0]:
            last -= 1
        if last:
            yield _table(rows[:last], places, by_place)
        rest = rows[last:]
    if rest:
        yield _table(rest, places, by_place)


def _question(connection: Connection, project_id: int):  # type: ignore[no-untyped-def]
    """Builds the question for all votes. SQLite walks the index of keys, so that it need not sort."""
    key = items.c.key if connection.dialect.name == "sqlite" else collate(items.c.key, "C")
    own = votes.c
    return (
        select(
            items.c.key, own.person_id, own.level, own.round, own.at, own.revision, own.shown_ms, own.decided_ms,
            own.hidden_ms, own.device, case((own.request.is_(None) & own.level.is_not(None), 0), else_=1),
        )
        .join(votes, votes.c.item_id == items.c.id)
        .where(items.c.project_id == project_id, items.c.kind == IMAGE)
        .order_by(key)
    )  # fmt: skip


def _table(rows: list[Any], places: dict[int, int], names: pa.Array) -> pa.Table:
    key, person, level, number, at, *others, own = zip(*rows, strict=True)
    annotator = names.take(pa.array([places[one] for one in person], pa.int32()))
    when = pa.array(at, pa.timestamp("ms", "UTC")).cast(VOTES.field("at").type)
    columns = [pa.array(key, pa.string()), annotator, pa.array(level, pa.int8()), pa.array(number, pa.int16()), when]
    types = [field.type for field in VOTES][len(columns) :]
    columns += [pa.array(values, kind) for values, kind in zip(others, types, strict=True)]
    return pa.table([*columns, pa.array(own, pa.int8()).cast(pa.bool_())], schema=_OURS)


def _merged(ours: Iterator[pa.Table], stored: OrderedVotes) -> Iterator[pa.Table]:
    """Yields the votes of both, in order."""
    for table in ours:
        for earlier in stored.before(table["key"][0].as_py()):
            yield _joined(_OURS.empty_table(), earlier)
        yield _joined(table, stored.through(table["key"][-1].as_py()))
    for left in stored.before(None):
        yield _joined(_OURS.empty_table(), left)


def _joined(ours: pa.Table, stored: pa.Table) -> pa.Table:
    """Returns the votes of the database and of the file on the same images, in order; see `write_votes`."""
    both = pa.concat_tables([stored, ours.select(VOTES.names)])
    is_own = np.concatenate([np.zeros(len(stored), bool), ours["own"].to_numpy().astype(bool)])
    is_stored = np.arange(len(both)) < len(stored)
    (key, keys), (annotator, annotators) = numbered(both["key"]), numbered(both["annotator"])
    key, annotator = _rank(keys)[key], _rank(annotators)[annotator]
    number, revision = both["round"].to_numpy().astype(np.int64), both["revision"].to_numpy().astype(np.int64)
    keeps = np.ones(len(both), bool)
    if len(stored) and len(ours):
        subject = _combined(key, annotator, number)
        written = _combined(subject, both["at"].cast(pa.int64()).fill_null(-1).to_numpy(),
                            both["level"].fill_null(0).to_numpy().astype(np.int64))  # fmt: skip
        keeps[is_stored & np.isin(written, written[is_own])] = False
        numbers = _combined(subject, revision)
        keeps[~is_stored & ~is_own & np.isin(numbers, numbers[is_stored])] = False
        revision = _renumbered(subject, revision, numbers, is_own, is_stored & keeps)
    rows = np.flatnonzero(keeps)
    rows = rows[np.lexsort([column[rows] for column in (revision, number, annotator, key)])]
    table = both.take(pa.array(rows))
    return table.set_column(
        VOTES.names.index("revision"), VOTES.field("revision"), pa.array(revision[rows], pa.int32())
    )


def _renumbered(subject: Numbers, revision: Numbers, numbers: Numbers, is_own: Any, others: Any) -> Numbers:
    """Returns the revisions, where those given in the tool come after others of the file that have the same number."""
    clash = np.zeros(int(subject.max()) + 1, bool)
    clash[subject[is_own & np.isin(numbers, numbers[others])]] = True
    most = np.zeros(len(clash), np.int64)
    np.maximum.at(most, subject[others], revision[others])
    return np.where(is_own & clash[subject], revision + most[subject], revision)


def _combined(*columns: Numbers) -> Numbers:
    """Returns a number for each distinct row of some columns of whole numbers."""
    combined = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        distinct, place = np.unique(column, return_inverse=True)
        combined = np.unique(combined * max(len(distinct), 1) + place, return_inverse=True)[1]
    return combined


def _rank(values: pa.Array) -> Numbers:
    """Returns the rank of each of some distinct texts, by their bytes."""
    rank = np.empty(len(values), np.int64)
    rank[pc.sort_indices(values).to_numpy()] = np.arange(len(values))
    return rank


def _write(path: Path, tables: Iterator[pa.Table]) -> int:
    """Writes a Parquet file as `curation.workspace.files.write_table` does, some rows at a time; returns the rows."""
    with replacing(path) as temporary, pq.ParquetWriter(temporary, VOTES, **_LIKE_OTHER_FILES) as writer:
        count, waiting = 0, VOTES.empty_table()
        for table in tables:
            waiting = pa.concat_tables([waiting, table])
            while len(waiting) >= ROW_GROUP:
                writer.write_table(waiting.slice(0, ROW_GROUP).combine_chunks(), row_group_size=ROW_GROUP)
                count, waiting = count + ROW_GROUP, waiting.slice(ROW_GROUP)
        if len(waiting):
            writer.write_table(waiting.combine_chunks(), row_group_size=ROW_GROUP)
        count += len(waiting)
        writer.add_key_value_metadata({"fingerprint": "", ROWS: str(count), **IN_ORDER})
    return count


_LIKE_OTHER_FILES = {"compression": "zstd", "write_page_checksum": True}
