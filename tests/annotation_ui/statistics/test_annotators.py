"""How each person works, from votes made by hand."""

import pytest
from sqlalchemy import insert, update

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import GOLD, qualifications, slots, votes
from annotation_ui.queue import reassigning
from annotation_ui.statistics.agreement import pairs
from annotation_ui.statistics.annotators import Work, annotators, quantile
from tests.annotation_ui.made_up import NOW, by_hand


def work_of(database: Database, ids: dict[str, int]) -> dict[str, Work]:
    found = database.read(lambda c: annotators(c, 1, pairs(c, 1)))
    return {name: found[ids[name]] for name in ids if ids[name] in found}


def test_the_table_of_people(database: Database) -> None:
    ids = by_hand(database, {"a": {"ann": 5, "bob": 5}, "b": {"ann": 4, "bob": 3}, "c": {"ann": 2}})
    by_hand(database, {"g": {"ann": 5, "bob": 4}, "h": {"ann": 5, "bob": 5}}, kind=GOLD, known=5)
    skip = {"item_id": ids["c"], "person_id": ids["bob"], "slot": None, "asked": 1, "state": "skipped", "lease": "y"}
    skip |= {"reason": "unsure", "changed_at": NOW + 5}
    test = {"project_id": 1, "person_id": ids["bob"], "state": "failed", "correct": 1, "answered": 2}
    revisions = [
        {"item_id": ids["a"], "person_id": ids["ann"], "revision": 2, "level": None, "at": NOW, "shown_ms": 1},
        {"item_id": ids["a"], "person_id": ids["ann"], "revision": 3, "level": 5, "at": NOW, "shown_ms": 1},
    ]
    database.write(
        lambda c: (
            c.execute(insert(slots), skip), c.execute(insert(qualifications), test), c.execute(insert(votes), revisions)
        )
    )  # fmt: skip
    found = work_of(database, ids)
    assert (found["ann"].votes, found["bob"].votes) == (3, 2)
    assert (found["ann"].corrections, found["ann"].withdrawals, found["bob"].corrections) == (1, 1, 0)
    assert (found["ann"].gold, found["ann"].gold_right, found["bob"].gold_right) == (2, 2, 1)
    assert found["bob"].skips == {"unsure": 1} and found["bob"].last_at == NOW + 5
    assert (found["bob"].test, found["bob"].test_correct, found["bob"].test_answered) == ("failed", 1, 2)
    assert found["ann"].agreement == found["bob"].agreement == 0.5
    assert found["ann"].median_ms == pytest.approx(1000, abs=50)


def test_votes_set_aside_by_the_lead_are_no_withdrawals(database: Database) -> None:
    ids = by_hand(database, {"a": {"ann": 5, "bob": 5}, "b": {"ann": 4}})
    database.write(lambda c: reassigning.retract_votes(c, lambda: NOW, ids["ann"]))
    found = work_of(database, ids)["ann"]
    assert (found.votes, found.set_aside, found.withdrawals, found.corrections) == (0, 2, 0, 0)


def test_scores_are_no_withdrawals(database: Database) -> None:
    ids = by_hand(database, {"a": {"ann": 5}})
    scores = {"item_id": ids["a"], "person_id": ids["ann"], "revision": 2, "answer": {"x": {"y": 3}}, "at": NOW}
    none = {"item_id": ids["a"], "person_id": ids["ann"], "revision": 3, "answer": None, "at": NOW}
    database.write(lambda c: (c.execute(insert(votes), scores), c.execute(insert(votes), none)))
    found = work_of(database, ids)["ann"]
    assert (found.corrections, found.withdrawals) == (1, 1)


def test_times_are_those_of_first_votes(database: Database) -> None:
    ids = by_hand(database, {f"i{n:02d}": {"ann": 5} for n in range(10)})
    for n in range(10):
        own = update(votes).where(votes.c.item_id == ids[f"i{n:02d}"]).values(shown_ms=1000 * (n + 1))
        database.write(lambda c: c.execute(own))  # noqa: B023
    found = work_of(database, ids)["ann"]
    assert found.median_ms == pytest.approx(5000, abs=50) and found.p10_ms == pytest.approx(1000, abs=50)


def test_quantiles_of_counted_times() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({4: 2}, 0.5) == 225  # the middle of the bin from 200 to 250 ms
    assert quantile({0: 1, 10: 8, 400: 1}, 0.1) == 50
    assert quantile({12_000: 3}, 0.5) == 600_025
