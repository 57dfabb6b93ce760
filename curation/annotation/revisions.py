"""Keeps records that people may revise, such as votes: the newest counts, and the earlier ones stay on record."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Record = TypeVar("Record", bound=Mapping[str, Any])


def latest(records: Iterable[Record], unique_by: Sequence[str]) -> dict[tuple[Any, ...], Record]:
    """Returns the records that count: the last one for each combination of values in the columns `unique_by`.

    Args:
        records: the records, in the order in which they were given.
        unique_by: the columns that tell who judged what; a later record with the same values replaces the earlier one.

    Returns:
        the records by their values in `unique_by`.
    """
    return {tuple(record[column] for column in unique_by): record for record in records}


def revised(
    stored: Sequence[Mapping[str, Any]],
    new: Iterable[Mapping[str, Any]],
    unique_by: Sequence[str],
    content: Sequence[str],
) -> list[dict[str, Any]]:
    """Returns the new records that must be added to the stored ones, each with its revision.

    The first record has revision 1, and each later one has one more than the record that it replaces. A record whose
    content equals that of the latest one is not added again.

    Args:
        stored: the records on file, with their revisions, in the order in which they were given.
        new: the new records; one of them may replace another that comes before it.
        unique_by: the columns that tell who judged what; see `latest`.
        content: the columns that hold the judgement itself.
    """
    current: dict[tuple[Any, ...], Mapping[str, Any]] = latest(stored, unique_by)
    added = []
    for record in new:
        subject = tuple(record[column] for column in unique_by)
        previous = current.get(subject)
        if previous and all(previous[column] == record[column] for column in content):
            continue
        revision = {**record, "revision": previous["revision"] + 1 if previous else 1}
        current[subject] = revision
        added.append(revision)
    return added


def newest(subject: NDArray[np.int64], revision: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells which records of a table count: for each subject the one with the highest revision.

    Args:
        subject: int64 (records,), a number for who judged what.
        revision: integers (records,); of equal ones, the last record counts.

    Returns:
        bool (records,).
    """
    order = np.argsort(subject)
    ordered = subject[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    revised = order[np.union1d(same, same + 1)]  # few, so that only these are put in the order of their revisions
    revised = revised[np.lexsort((revised, revision[revised], subject[revised]))]
    counting = np.ones(len(subject), bool)
    counting[revised[:-1][subject[revised[1:]] == subject[revised[:-1]]]] = False  # all but the last of each subject
    return counting
