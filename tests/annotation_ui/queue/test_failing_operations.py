"""The first, second, … and last database operation of every request fails, and nothing of it is half done.

As SQLite's own tests do, each loop ends with the number at which nothing fails any more.
"""

from dataclasses import replace
from random import Random

import pytest

from annotation_ui.queue.rules import MINUTE, Rules
from tests.queue_simulator.checking import Checker
from tests.queue_simulator.requests import Request, perform
from tests.queue_simulator.scenario import START, Scenario, image, populate
from tests.queue_simulator.storage import Crashed, Storage

CAST = Request("cast", 1, 1, key="a", level=3)
CHANGE = Request("cast", 1, 1, key="b", revision=1, level=4)
CLOSED = [Request("claim", person, wanted=1) for person in (1, 2, 3)]
CLOSED += [Request("cast", person, 1, key=f"v{person}", level=person + 1) for person in (1, 2, 3)]
AFTER: dict[str, tuple[list[Request], Request, int]] = {
    "claim": ([], Request("claim", 1, wanted=3), 10),
    "claim that takes an expired lease back": ([Request("claim", 2, wanted=3)], Request("claim", 1, wanted=3), 10),
    "cast": ([Request("claim", 1, wanted=1)], CAST, 6),
    "change": ([Request("claim", 1, wanted=1), CAST], CHANGE, 6),
    "withdraw": ([Request("claim", 1, wanted=1), CAST], Request("withdraw", 1, 1, key="w", revision=1), 6),
    "skip": ([Request("claim", 1, wanted=1)], Request("skip", 1, 1), 5),
    "unskip": ([Request("claim", 1, wanted=1), Request("skip", 1, 1)], Request("unskip", 1, 1), 5),
    "release": ([Request("claim", 1, wanted=1)], Request("release", 1, 1), 4),
    "last vote": (CLOSED[:-1], CLOSED[-1], 6),
    "settle": (CLOSED, Request("settle"), 4),
    "decide": ([*CLOSED, Request("settle")], Request("decide", 4, 1, key="d", level=2), 5),
    "retract": (CLOSED, Request("retract", 2), 6),
    "return_leases": ([Request("claim", 1, wanted=1)], Request("return_leases", 1), 5),
}


@pytest.mark.parametrize("name", AFTER)
def test_every_operation_of_a_request_may_fail(name: str) -> None:
    before, request, least = AFTER[name]
    storage, random = Storage(), Random(1)
    rows = [image(random, 0, 3)]
    scenario = Scenario(Rules(), "levels", 3, 4, (), 1, 0, 0, 0.0, rows)
    storage.transact(lambda connection: populate(scenario, connection))
    checker = Checker(storage.rows, "levels")
    now = START

    def execute(request: Request, fail_at: int = 0) -> None:
        nonlocal now
        now += 11 * MINUTE if request.kind in ("settle", "claim") else 0
        if part := checker.slots.get((request.item or 1, request.person)):
            request = replace(request, lease=part.lease)
        answer = storage.transact(lambda c: perform(c, lambda: now, random, Rules(), request), fail_at)
        checker.committed(request, now, answer)

    for earlier in before:
        execute(earlier)
    nth = 0
    while True:
        nth += 1
        state = storage.dump()
        try:
            execute(request, nth)
            break
        except Crashed:
            assert storage.dump() == state, f"half done, as operation {nth} failed"
    assert nth > least, "fewer operations than the request has"
    assert storage.dump() != state
