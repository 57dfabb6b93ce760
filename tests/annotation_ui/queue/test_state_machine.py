"""The rules of the simulator's checker hold for whatever Hypothesis thinks of, on real databases.

Where the simulator draws long runs with much trouble, this looks for the shortest run that breaks a promise.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import delete, text

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import metadata
from annotation_ui.queue import voting
from annotation_ui.queue.rules import MINUTE, Refused, Rules
from tests.queue_simulator.checking import Broken, Checker
from tests.queue_simulator.requests import WITH_KEY, Request, perform
from tests.queue_simulator.scenario import START, Scenario, image, populate
from tests.soak import rounds

PEOPLE = st.integers(1, 5)
ANY = st.integers(0, 1000)  # one of those that there are
LEVELS = st.sampled_from((3, 4, 1, 2, 5))


class QueueMachine(RuleBasedStateMachine):
    """Requests to a queue, in any order."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database, self.now, self.sent = database, START, 0
        self.held: dict[tuple[int, int], str] = {}  # by person and item
        self.known: dict[tuple[int, int], int] = {}
        self.keyed: list[Request] = []

    @initialize(
        seed=ANY, asked=st.sampled_from((1, 3, 1, 3, 5)), images=st.integers(1, 4), test=st.sampled_from((0, 2))
    )
    def begin(self, seed: int, asked: int, images: int, test: int) -> None:
        self.random = Random(seed)
        self.rules = Rules(gold=0.3 if test else 0.0, qualify_items=test, qualify_pass=0.5)
        rows = [image(self.random, number, asked) for number in range(images)]
        rows += [image(self.random, 100 + number, asked, known=3) for number in range(2 * test)]
        rows = [{"id": number, **row} for number, row in enumerate(rows, 1)]
        scenario = Scenario(self.rules, "levels", asked, 4, (), images, test, 0, 0.0, rows)

        def refill(connection: Any) -> None:
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))
            populate(scenario, connection)

        self.database.write(refill)
        self.checker = Checker(self.rows, "levels", test)
        self.checker.committed(Request("import"), START)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.database.read(lambda c: c.execute(text(query)).all())]

    def execute(self, request: Request) -> Any:
        if request.kind in WITH_KEY:
            self.checker.attempted.setdefault(request.key, request)
        try:
            answer = self.database.write(lambda c: perform(c, lambda: self.now, self.random, self.rules, request))
        except Refused as refused:
            self.checker.refused(request, refused.code, self.now)
            return None
        self.checker.committed(request, self.now, answer)
        if request.kind in WITH_KEY:
            self.checker.acknowledge(request, answer)
        return answer

    def some(self, which: int) -> tuple[tuple[int, int], Request]:
        """Returns one of the parts that people have, and a request about it without its kind."""
        part = list(self.held)[which % len(self.held)]
        return part, Request("", part[0], part[1], self.held[part])

    def send(self, kind: str, which: int, level: int | None, stale: int) -> None:
        part, plain = self.some(which)
        self.sent += 1
        revision = max(0, self.known[part] - stale)
        request = Request(kind, *part, plain.lease, f"k{self.sent}", revision, level)
        self.keyed.append(request)
        if saved := self.execute(request):
            self.known[part] = saved.revision

    @rule(person=PEOPLE, wanted=st.integers(1, 4))
    def claim(self, person: int, wanted: int) -> None:
        for claim in self.execute(Request("claim", person, wanted=wanted)).claims:
            self.held[person, claim.item_id] = claim.lease
            self.known[person, claim.item_id] = claim.revision

    @precondition(lambda self: self.held)
    @rule(which=ANY, level=LEVELS, stale=st.sampled_from((0, 0, 0, 1)))
    def cast(self, which: int, level: int, stale: int) -> None:
        self.send("cast", which, level, stale)

    @precondition(lambda self: self.held)
    @rule(which=ANY, stale=st.sampled_from((0, 0, 1)))
    def withdraw(self, which: int, stale: int) -> None:
        self.send("withdraw", which, None, stale)

    @precondition(lambda self: self.keyed)
    @rule(which=ANY)
    def send_again(self, which: int) -> None:
        self.execute(self.keyed[which % len(self.keyed)])

    @precondition(lambda self: self.held)
    @rule(which=ANY, kind=st.sampled_from(("skip", "unskip", "release", "renew")))
    def other(self, which: int, kind: str) -> None:
        part, plain = self.some(which)
        self.execute(Request(kind, *part, plain.lease))

    @rule(minutes=st.sampled_from((1, 5, 11, -30)))
    def wait(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @rule(minutes=st.sampled_from((1, 0)))
    def settle(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        self.execute(Request("settle"))

    @precondition(lambda self: any(item.status in ("tie", "safety_review") for item in self.checker.items.values()))
    @rule(person=PEOPLE, which=ANY, level=LEVELS)
    def decide(self, person: int, which: int, level: int) -> None:
        waiting = [item.id for item in self.checker.items.values() if item.status in ("tie", "safety_review")]
        self.sent += 1
        self.keyed.append(Request("decide", person, waiting[which % len(waiting)], key=f"k{self.sent}", level=level))
        self.execute(self.keyed[-1])

    @rule(person=PEOPLE, kind=st.sampled_from(("retract", "return_leases", "try_again", "pause", "resume")))
    def lead(self, person: int, kind: str) -> None:
        self.execute(Request(kind, person))

    def teardown(self) -> None:
        if self.held:
            self.checker.totals()


def hunt(database: Database, examples: int, phases: Iterable[Phase] = tuple(Phase)) -> None:
    """Lets Hypothesis look for a run that breaks a promise."""
    options = settings(max_examples=examples, stateful_step_count=30, deadline=None, database=None, phases=phases,
                       suppress_health_check=list(HealthCheck))  # fmt: skip
    run_state_machine_as_test(lambda: QueueMachine(database), settings=options)


@pytest.mark.slow
@pytest.mark.soak
def test_no_order_of_requests_breaks_a_promise(database: Database) -> None:
    hunt(database, rounds(40, 1000))


@pytest.mark.parametrize("broken", ["_check_revision", "_earlier"])
def test_a_promise_that_is_broken_on_purpose_is_found(
    database: Database, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database.is_sqlite:
        pytest.skip("one is enough")
    monkeypatch.setattr(voting, broken, _nothing)
    with pytest.raises((Broken, ExceptionGroup)):
        hunt(database, 1000, [Phase.generate])  # as it is found, without looking for the shortest


_nothing: Callable[..., None] = lambda *_: None  # noqa: E731
