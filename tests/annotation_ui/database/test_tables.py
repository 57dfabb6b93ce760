"""The schema alone refuses what must never be, whatever the code above it does."""

from typing import Any

import pytest
from sqlalchemy import Connection, insert, inspect, select, update
from sqlalchemy.exc import IntegrityError

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import (
    ANNOTATOR,
    GOLD,
    GOLD_ASKED,
    decisions,
    items,
    metadata,
    people,
    projects,
    slots,
    votes,
)  # fmt: skip

NOW = 1_800_000_000_000


@pytest.fixture(autouse=True)
def filled(database: Database) -> None:
    """A project with an image (1), a gold item (2), and eight people; the first of them holds the image."""

    def work(connection: Connection) -> None:
        project = {"id": 1, "task": "levels", "asked": 3, "paused": False, "created_at": NOW}
        connection.execute(insert(projects), project)
        person = {"role": ANNOTATOR, "preferences": {}, "created_at": NOW}
        connection.execute(insert(people), [person | {"id": n, "name": f"p{n}"} for n in range(1, 9)])
        item = {"project_id": 1, "shuffle": 0}
        connection.execute(insert(items), item | {"key": "c/s/1", "asked": 3, "taken": 1})
        connection.execute(insert(items), item | {"key": "c/s/2", "asked": GOLD_ASKED, "kind": GOLD, "known": 3})
        connection.execute(insert(slots), held(1, 1))

    database.write(work)


def held(person: int, slot: int | None, **values: Any) -> dict[str, Any]:
    row = {"item_id": 1, "person_id": person, "slot": slot, "asked": 3, "state": "leased", "lease": f"l{person}"}
    return row | {"expires_at": NOW, "changed_at": NOW} | values


def vote(**values: Any) -> dict[str, Any]:
    return {"item_id": 1, "person_id": 1, "revision": 1, "level": 3, "at": NOW} | values


def refused(database: Database, *statements: tuple[Any, dict[str, Any] | None]) -> bool:
    """Returns whether the last statement is refused; all before it must not be."""

    def work(connection: Connection) -> bool:
        for statement, row in statements[:-1]:
            connection.execute(statement, row)
        try:
            connection.execute(*statements[-1])
        except IntegrityError:
            return True
        return False

    with database.engine.connect() as connection:
        return work(connection)  # and is rolled back


@pytest.mark.parametrize(("refuses", "row"), [
    (True, held(2, 4)),  # a fourth slot of three
    (True, held(2, 0)),
    (True, held(2, 1)),  # a slot that is held
    (True, held(1, 2)),  # a second slot of one person
    (False, held(2, 2)),
    (True, held(2, 4, asked=5)),  # another number of votes than the item's
    (True, held(2, None)),  # a lease without a slot
    (True, held(2, 2, expires_at=None)),  # a lease without an end
    (True, held(2, 2, state="voted")),  # a vote that ends
    (False, held(2, 2, state="voted", expires_at=None, level=3)),
    (True, held(2, None, state="voted", expires_at=None, level=3)),  # a vote without a slot
    (True, held(2, 2, state="returned", expires_at=None)),  # a slot that nobody holds
    (True, held(99, 2)),
    (True, held(2, 2, item_id=99)),
])  # fmt: skip
def test_slots(database: Database, refuses: bool, row: dict[str, Any]) -> None:
    assert refused(database, (insert(slots), row)) is refuses


@pytest.mark.parametrize(("refuses", "rows"), [
    (False, [vote()]),
    (True, [vote(person_id=2)]),  # of someone who never held the item
    (True, [vote(item_id=2)]),
    (True, [vote(), vote()]),  # the same revision twice
    (False, [vote(), vote(revision=2), vote(revision=3, level=None)]),
    (True, [vote(request="a"), vote(revision=2, request="a")]),
    (True, [vote(level=6)]),
    (True, [vote(level=0)]),
])  # fmt: skip
def test_votes(database: Database, refuses: bool, rows: list[dict[str, Any]]) -> None:
    assert refused(database, *((insert(votes), row) for row in rows)) is refuses


@pytest.mark.parametrize(("refuses", "counts"), [
    (False, {"taken": 3, "voted": 3}),
    (True, {"taken": 4}),
    (True, {"taken": -1}),
    (True, {"taken": 1, "voted": 2}),
    (True, {"voted": -1}),
    (True, {"status": "lost"}),
    (True, {"asked": 0}),  # fewer than are held
])  # fmt: skip
def test_counts(database: Database, refuses: bool, counts: dict[str, Any]) -> None:
    assert refused(database, (update(items).where(items.c.id == 1).values(counts), None)) is refuses


def test_more_votes_may_be_asked_later_and_fewer_only_if_no_slot_is_held_above(database: Database) -> None:
    more = update(items).where(items.c.id == 1).values(asked=5)
    assert not refused(database, (more, None))
    assert not refused(database, (more, None), (insert(slots), held(2, 5, asked=5)))
    fewer = update(items).where(items.c.id == 1).values(asked=2)
    assert refused(database, (insert(slots), held(2, 3)), (fewer, None))


def test_an_image_has_one_decision_and_one_item(database: Database) -> None:
    decision = {"item_id": 1, "level": 3, "kind": "adjudication", "person_id": 1, "at": NOW}
    assert refused(database, (insert(decisions), decision), (insert(decisions), decision | {"level": 4}))
    item = {"project_id": 1, "key": "c/s/1", "asked": 3, "shuffle": 0}
    assert refused(database, (insert(items), item))
    assert not refused(database, (insert(items), item | {"kind": GOLD}))


def test_everyone_may_hold_a_gold_item(database: Database) -> None:
    rows = [held(n, n, item_id=2, asked=GOLD_ASKED) for n in range(1, 9)]
    assert not refused(database, *((insert(slots), row) for row in rows))


def test_no_answer_is_stored_as_null(database: Database) -> None:
    database.write(lambda c: c.execute(insert(votes), vote(answer=None)))
    assert database.read(lambda c: c.execute(select(votes.c.id).where(votes.c.answer.is_(None))).all()) == [(1,)]


def test_both_databases_have_the_same_tables(database: Database) -> None:
    seen = inspect(database.engine)
    assert set(seen.get_table_names()) == set(metadata.tables)
    for table in metadata.sorted_tables:
        wanted = {index.name for index in table.indexes}
        assert {index["name"] for index in seen.get_indexes(table.name)} >= wanted
