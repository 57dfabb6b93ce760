"""A clock that ran ahead and was set back holds nobody's images."""

from sqlalchemy import func, select

from annotation_ui.database.tables import slots
from annotation_ui.queue.clock_set_back import bring_near
from annotation_ui.queue.rules import MINUTE
from tests.queue_project import Project

YEAR = 365 * 24 * 60 * MINUTE


def test_leases_and_closing_items_of_the_future_end_soon(empty: Project) -> None:
    empty.asked = 1
    empty.fill(images=2)
    empty.now += YEAR
    empty.cast(1, empty.one(1), 5)
    empty.one(2)
    empty.now -= YEAR
    empty.write(lambda c: bring_near(c, empty.clock, empty.rules))
    assert empty.settle(MINUTE) == 1
    empty.now += empty.rules.lease_ms
    assert len(empty.claim(3).claims) == 1


def test_times_of_servers_whose_clocks_differ_a_little_stay(empty: Project) -> None:
    empty.fill()
    empty.one(1)
    last = select(func.max(slots.c.expires_at))
    before = empty.database.read(lambda c: c.execute(last).scalar_one())
    empty.now -= MINUTE
    empty.write(lambda c: bring_near(c, empty.clock, empty.rules))
    assert empty.database.read(lambda c: c.execute(last).scalar_one()) == before
