"""Progress and pace, from votes made by hand."""

from collections.abc import Callable

import pytest
from sqlalchemy import insert, update

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import GOLD, items, slots
from annotation_ui.statistics.progress import DAY, HOUR, LEAST_VOTES, pace_of, progress, wilson
from tests.annotation_ui.made_up import NOW, by_hand


def test_images_and_votes_are_counted_by_status(database: Database) -> None:
    by_hand(database, {f"d{n}": {"ann": 4, "bob": 4, "cid": 5} for n in range(3)}, status="decided", level=4)
    by_hand(database, {"t": {"ann": 2, "bob": 4, "cid": 5}}, status="tie")
    by_hand(database, {"o": {"ann": 2}}, asked=3)
    by_hand(database, {"u": {"bob": 2}}, asked=3, status="unavailable")
    by_hand(database, {"g": {"bob": 2}}, kind=GOLD, known=2)
    found = database.read(lambda c: progress(c, 1, NOW, True))
    assert found.images == {
        "open": 1, "closing": 0, "decided": 3, "tie": 1, "safety_review": 0, "unavailable": 1, "withdrawn": 0,
    }  # fmt: skip
    assert (found.asked, found.cast, found.left) == (15, 13, 2)
    assert found.hours == {NOW // HOUR: 14}  # those on the image that is unavailable too, not the one on gold
    assert [(level.level, level.images, level.expected) for level in found.levels] == [
        (1, 0, None), (2, 0, None), (3, 0, None), (4, 3, None), (5, 0, None),
    ]  # fmt: skip


def test_what_is_expected_follows_from_images_drawn_at_random(database: Database) -> None:
    by_hand(database, {f"d{n}": {"ann": 5} for n in range(10)}, status="decided", level=5)
    by_hand(database, {f"e{n}": {"ann": 3} for n in range(20)}, status="decided", level=3)
    by_hand(database, {f"t{n}": {"ann": 3} for n in range(10)}, status="tie")
    by_hand(database, {f"o{n}": {} for n in range(60)})
    levels = database.read(lambda c: progress(c, 1, NOW, True)).levels
    assert levels[4].expected == 25  # a quarter of those that have all their votes, of 100
    assert levels[4].low is not None and levels[4].high is not None
    assert (levels[4].low, levels[4].high) == pytest.approx(wilson(10, 40))
    chosen = database.read(lambda c: progress(c, 1, NOW, False)).levels
    assert [level.expected for level in chosen] == [None] * 5  # the likely Level 5 came first


def test_votes_given_elsewhere_and_long_ago_set_no_pace(database: Database) -> None:
    ids = by_hand(database, {f"d{n}": {"ann": 5, "bob": 4} for n in range(4)})
    elsewhere = update(slots).where(slots.c.person_id == ids["bob"]).values(lease="")
    old = update(slots).where(slots.c.item_id == ids["d0"]).values(changed_at=NOW - 61 * DAY)
    database.write(lambda c: (c.execute(elsewhere), c.execute(old)))
    assert sum(database.read(lambda c: progress(c, 1, NOW, True)).hours.values()) == 3


def test_an_empty_project(database: Database) -> None:
    by_hand(database, {})
    found = database.read(lambda c: progress(c, 1, NOW, True))
    assert (found.asked, found.cast, found.left, found.pace) == (0, 0, 0, None)


def test_another_project_is_not_counted(database: Database) -> None:
    from annotation_ui.database.tables import projects

    by_hand(database, {"d": {"ann": 5}})
    other = {"id": 2, "task": "captions", "asked": 3, "paused": False, "created_at": NOW}
    row = {"project_id": 2, "key": "1", "asked": 3, "shuffle": 1}
    database.write(lambda c: (c.execute(insert(projects), other), c.execute(insert(items), row)))
    assert database.read(lambda c: progress(c, 2, NOW, True)).images["open"] == 1
    assert database.read(lambda c: progress(c, 1, NOW, True)).images["open"] == 1


HOUR_NOW = NOW // HOUR


@pytest.mark.parametrize(
    ("hours", "why"),
    [
        ({}, "no votes"),
        ({HOUR_NOW - 2: 5000}, "one evening's votes"),
        ({HOUR_NOW - 40: LEAST_VOTES - 1}, "too few"),
        ({HOUR_NOW - 24 * 30: 5000}, "none in the last days"),
    ],
)
def test_there_is_no_pace_before_there_is_one(hours: dict[int, int], why: str) -> None:
    assert pace_of(hours, NOW, 1000) is None, why


def test_the_pace_is_that_of_the_last_days() -> None:
    weeks: Callable[[int], dict[int, int]] = lambda days: {HOUR_NOW - 24 * day: 100 for day in range(days)}  # noqa: E731
    month = pace_of(weeks(30), NOW + HOUR // 2, 1400)
    assert month is not None and (month.days, month.votes_per_day, month.days_left) == (7, 100, 14)
    young = pace_of(weeks(3), NOW + HOUR // 2, 1400)  # three days' votes, in two days and what has gone of this hour
    assert young is not None and young.days == pytest.approx(2, abs=1 / 24)
    assert young.votes_per_day == pytest.approx(150, rel=0.03)


def test_wilson() -> None:
    low, high = wilson(8, 10)  # E. Wilson, 1927; as in A. Agresti and B. Coull, The American Statistician 52, 1998
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 50)[0] == 0 and wilson(50, 50)[1] == pytest.approx(1)
