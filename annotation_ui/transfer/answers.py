"""Writes scores of captions and ratings of images, which people gave in the tool, into the workspace's files.

Both files are append-only: what was given since the last time is added, with the next revision of its item and person.
An answer that was taken back is a revision without a score.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, select

from annotation_ui.database.tables import IMAGE, items, people, votes
from curation.annotation.caption_eval.files import CRITERIA, SCORES, EvalFiles
from curation.annotation.caption_eval.scores import UNIQUE_BY, read_scores
from curation.annotation.rating import RATING_CRITERIA, RATINGS
from curation.annotation.revisions import revised
from curation.workspace import Workspace
from curation.workspace.files import GIVEN, read_table, write_table

Record = dict[str, Any]
RATED_BY = ("item", "annotator")
"""A rating replaces the earlier one with the same values in these columns."""


def write_scores(connection: Connection, workspace: Workspace, project_id: int) -> int:
    """Adds the scores of captions to those on file; returns the number that is added."""
    files = EvalFiles(workspace)
    given = (
        {"item": part["item"], "evaluator": row.name, **_scores(row, part, CRITERIA)}
        for row in _answers(connection, project_id)
        for part in row.content["parts"]
    )
    stored: list[Record] = [dict(score) for score in read_scores(files)]
    added = _added(stored, list(given), UNIQUE_BY, CRITERIA)
    if added:
        write_table(files.scores, pa.Table.from_pylist([*stored, *added], schema=SCORES))
    return len(added)


def write_ratings(connection: Connection, workspace: Workspace, project_id: int) -> int:
    """Adds the ratings of generated images to those on file; returns the number that is added."""
    given = (
        {"item": part["item"], "image": part["image"], "prompt": row.content["prompt"], "model": part["model"],
         "annotator": row.name, **_scores(row, part, RATING_CRITERIA), "at": datetime.fromtimestamp(row.at / 1000, UTC)}
        for row in _answers(connection, project_id)
        for part in row.content["parts"]
    )  # fmt: skip
    path = workspace.ratings
    stored = read_table(path, remedy=GIVEN).to_pylist() if path.exists() else []
    added = _added(stored, list(given), RATED_BY, (*RATING_CRITERIA, "at"))
    if added:
        write_table(path, pa.Table.from_pylist([*stored, *added], schema=RATINGS))
    return len(added)


def _answers(connection: Connection, project_id: int) -> Iterator[Any]:
    """Yields all answers to a project's items in the order in which they were given."""
    rows = connection.execute(
        select(votes.c.answer, votes.c.at, people.c.name, items.c.content)
        .join(items, items.c.id == votes.c.item_id)
        .join(people, people.c.id == votes.c.person_id)
        .where(items.c.project_id == project_id, items.c.kind == IMAGE)
        .order_by(votes.c.id)
        .execution_options(yield_per=1000)
    )
    yield from rows


def _scores(row: Any, part: Mapping[str, Any], criteria: Sequence[str]) -> dict[str, int | None]:
    """Returns the scores of a part in an answer; all are None if it was taken back or answers other criteria."""
    own = (row.answer or {}).get(part["id"], {})
    return {name: own[name] for name in criteria} if set(criteria) <= own.keys() else dict.fromkeys(criteria)


def _added(
    stored: Sequence[Record], given: Sequence[Record], unique_by: Sequence[str], content: Sequence[str]
) -> list[Record]:
    """Returns the records that are not on file yet, with their revisions.

    The file may hold others between those given in the tool, such as scores that were imported. So the records of each
    item and person are looked for on file in their order, and those from the first on that is not found are new.
    """
    on_file: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for record in stored:
        on_file[_values(record, unique_by)].append(_values(record, content))
    left = {subject: iter(own) for subject, own in on_file.items()}
    new = []
    last: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for record in given:
        subject, own = _values(record, unique_by), _values(record, content)
        if last.get(subject, ()) == own:
            continue  # given twice, which `revised` would not add either
        last[subject] = own
        if own not in left.get(subject, ()):  # goes on in the iterator, up to the record
            new.append(record)
    return revised(stored, new, unique_by, content)


def _values(record: Mapping[str, Any], columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(record[name] for name in columns)
