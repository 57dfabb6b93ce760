"""Brings times of the future near: a clock that was set back would else hold leases and closing items till then."""

from sqlalchemy import Connection, bindparam, literal_column, update

from annotation_ui.clock import Clock
from annotation_ui.database.tables import CLOSING, LEASED, items, slots
from annotation_ui.queue.rules import Rules


def bring_near(connection: Connection, clock: Clock, rules: Rules) -> None:
    """Shortens leases and minutes of closing that end later than twice their length from now.

    Servers whose clocks differ by less than that leave each other's times alone.
    """
    now = clock()
    for statement, length in ((_LEASES, rules.lease_ms), (_CLOSING, rules.grace_ms)):
        connection.execute(statement, {"far": now + 2 * length, "until": now + length})


_LEASES = (
    update(slots)
    .where(slots.c.state == literal_column(f"'{LEASED}'"), slots.c.expires_at > bindparam("far"))
    .values(expires_at=bindparam("until"))
)
_CLOSING = (
    update(items)
    .where(items.c.status == literal_column(f"'{CLOSING}'"), items.c.decide_at > bindparam("far"))
    .values(decide_at=bindparam("until"))
)
