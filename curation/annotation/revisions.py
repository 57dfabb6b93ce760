"""What people give and may give again, such as a vote: the newest counts, and the earlier ones stay on record."""

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]


def latest(rows: Iterable[Row], slot: Sequence[str]) -> dict[tuple[Any, ...], Row]:
    """The rows that count: the last of each slot, by the slot's values.

    Args:
        rows: in the order in which they were given.
        slot: the columns that say who has spoken of what; a later row with the same values replaces the earlier.
    """
    return {tuple(row[column] for column in slot): row for row in rows}


def revised(stored: Sequence[Row], given: Iterable[Row], slot: Sequence[str], said: Sequence[str]) -> list[Row]:
    """The rows that must be added to those on record, each with its revision.

    The first of a slot has revision 1, and each later one has one more than the row that it replaces. A row
    that says what the latest of its slot says already is not added again.

    Args:
        stored: the rows on record, with their revisions, in the order in which they were given.
        given: the new rows; one of them may replace another that comes before it.
        slot: see `latest`.
        said: the columns that hold what was said.
    """
    now, added = latest(stored, slot), []
    for row in given:
        place = tuple(row[column] for column in slot)
        before = now.get(place)
        if before and all(before[column] == row[column] for column in said):
            continue
        now[place] = row | {"revision": before["revision"] + 1 if before else 1}
        added.append(now[place])
    return added
