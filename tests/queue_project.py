"""A small project in a database, under a clock and a chance of the test's own."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection, Row, insert, select

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import ANNOTATOR, GOLD, GOLD_ASKED, items, people, projects, slots, votes
from annotation_ui.queue import claiming, leases, qualifying, reassigning, reviewing, settling, voting
from annotation_ui.queue.claiming import Claim, Claimed
from annotation_ui.queue.rules import MINUTE, Refused, Rules

START = 1_800_000_000_000


@dataclass
class Project:
    """A project, in which people are known by their numbers."""

    database: Database
    asked: int = 3
    rules: Rules = Rules()
    now: int = START
    random: Random = field(default_factory=lambda: Random(1))
    _keys: Any = field(default_factory=count)

    def clock(self) -> int:
        return self.now

    def fill(self, images: int = 1, gold: int = 0, persons: int = 6, task: str = "levels") -> "Project":
        """Adds the project 1, people 1 to `persons`, images 1 to `images`, and gold items of Level 4 after them."""
        project = {"id": 1, "task": task, "asked": self.asked, "paused": False, "created_at": START}
        everyone = [
            {"id": number, "name": f"p{number}", "role": ANNOTATOR, "preferences": {}, "created_at": START}
            for number in range(1, persons + 1)
        ]

        def work(connection: Connection) -> None:
            connection.execute(insert(projects), project)
            connection.execute(insert(people), everyone)

        self.database.write(work)
        for number in range(images):
            self.add(f"c/s/{number}")
        for number in range(gold):
            self.add(f"g/s/{number}", kind=GOLD, known=4, asked=GOLD_ASKED)
        return self

    def add(self, key: str, **values: Any) -> int:
        """Adds an item and returns its number."""
        row = {"project_id": 1, "key": key, "asked": self.asked, "shuffle": self.random.randrange(2**31)} | values
        return self.write(lambda c: c.execute(insert(items).returning(items.c.id), row).scalar_one())

    def write(self, work: Callable[[Connection], Any]) -> Any:
        return self.database.write(work)

    def claim(self, person: int, wanted: int = 1) -> Claimed:
        return self.write(lambda c: claiming.claim(c, self.clock, self.random, self.rules, 1, person, wanted))

    def one(self, person: int) -> Claim:
        """Lets a person claim one item more, and returns it."""
        return self.claim(person, 1).claims[-1]

    def vote(
        self, claim: Claim, level: int | None = 3, revision: int = 0, key: str | None = None, **more: Any
    ) -> voting.Vote:
        return voting.Vote(claim.item_id, claim.lease, key or f"k{next(self._keys)}", revision, level, **more)

    def send(self, person: int, vote: voting.Vote) -> voting.Saved:
        return self.write(lambda c: voting.cast(c, self.clock, self.rules, person, vote))

    def cast(self, person: int, claim: Claim, level: int | None = 3, revision: int = 0, **more: Any) -> voting.Saved:
        return self.send(person, self.vote(claim, level, revision, **more))

    def withdraw(self, person: int, claim: Claim, revision: int = 1, key: str | None = None) -> voting.Saved:
        vote = self.vote(claim, None, revision, key)
        return self.write(lambda c: voting.withdraw(c, self.clock, self.rules, person, vote))

    def skip(self, person: int, claim: Claim, reason: str = "unclear") -> None:
        self.write(lambda c: voting.skip(c, self.clock, person, claim.item_id, claim.lease, reason))

    def unskip(self, person: int, claim: Claim) -> None:
        self.write(lambda c: voting.unskip(c, self.clock, self.rules, person, claim.item_id, claim.lease))

    def renew(self, person: int, *claims: Claim) -> list[str]:
        given = [claim.lease for claim in claims]
        return self.write(lambda c: leases.renew(c, self.clock, self.rules, person, given))

    def release(self, person: int, *claims: Claim) -> list[str]:
        given = [claim.lease for claim in claims]
        return self.write(lambda c: leases.release(c, self.clock, person, given))

    def settle(self, after: int = MINUTE, limit: int = 500) -> int:
        self.now += after
        return self.write(lambda c: settling.settle(c, self.clock, limit))

    def decide(self, person: int, item: int, level: int, key: str = "d") -> reviewing.Verdict:
        return self.write(lambda c: reviewing.decide_item(c, self.clock, person, item, level, key))

    def review(self, person: int, **options: Any) -> int | None:
        return self.write(lambda c: reviewing.next_review(c, self.random, 1, person, **options))

    def retract(self, person: int) -> int:
        return self.write(lambda c: reassigning.retract_votes(c, self.clock, person))

    def return_leases(self, person: int) -> int:
        return self.write(lambda c: reassigning.return_leases(c, self.clock, person))

    def try_again(self, person: int) -> None:
        self.write(lambda c: qualifying.let_try_again(c, 1, person))

    def rated(self, *levels: int, item_of: int = 1) -> dict[int, Claim]:
        """Lets people `item_of` and on vote on what they are given; returns what each of them held."""
        held = {}
        for person, level in enumerate(levels, item_of):
            held[person] = self.one(person)
            self.cast(person, held[person], level)
        return held

    def item(self, number: int = 1) -> Row[Any]:
        return self.database.read(lambda c: c.execute(select(items).where(items.c.id == number)).one())

    def part(self, person: int, item: int = 1) -> Row[Any]:
        own = select(slots).where(slots.c.item_id == item, slots.c.person_id == person)
        return self.database.read(lambda c: c.execute(own).one())

    def votes(self, person: int | None = None) -> list[Row[Any]]:
        found = select(votes).order_by(votes.c.id)
        found = found if person is None else found.where(votes.c.person_id == person)
        return list(self.database.read(lambda c: c.execute(found).all()))

    def with_rules(self, **values: Any) -> "Project":
        self.rules = replace(self.rules, **values)
        return self


def refusal(of: Callable[[], object]) -> str:
    """Returns the code with which the queue refuses what is tried."""
    with pytest.raises(Refused) as refused:
        of()
    assert str(refused.value)
    return refused.value.code
