"""Many people at the same moment, through several servers: each image gets exactly its votes, and nobody an error."""

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from annotation_ui.clock import system_clock
from annotation_ui.database.engine import Database
from annotation_ui.database.tables import items, slots, votes
from annotation_ui.queue import claiming, leases, reassigning, settling, voting
from annotation_ui.queue.rules import Refused, Rules
from tests.queue_project import Project

IMAGES, PEOPLE = 50, 8
Answers = dict[str, tuple[voting.Vote, voting.Saved]]


class Person:
    """Somebody who votes as fast as the server answers.

    Args:
        wild: whether this person also skips, withdraws, changes, and lets leases run out.
    """

    def __init__(self, number: int, database: Database, rules: Rules, wild: bool = False) -> None:
        self.number, self.database, self.rules, self.wild = number, database, rules, wild
        self.random = Random(number)
        self.answers: Answers = {}
        self.sent = 0

    def work(self) -> Answers:
        """Votes until nothing is left; returns what was acknowledged, by key."""
        with ThreadPoolExecutor(2) as twice:
            idle = 0
            while idle < 20:
                claimed = self.run(claiming.claim, system_clock, self.random, self.rules, 1, self.number, 4)
                idle = 0 if claimed.claims else idle + 1  # others may still give something back
                for claim in claimed.claims:
                    try:
                        self.vote_on(claim, twice)
                    except Refused as refused:
                        assert self.wild and refused.code in ("lease_lost", "no_item", "no_vote", "decided"), refused
        return self.answers

    def vote_on(self, claim: claiming.Claim, twice: ThreadPoolExecutor) -> None:
        chance = self.random.random() if self.wild else 1
        if chance < 0.05:
            return self.run(voting.skip, system_clock, self.number, claim.item_id, claim.lease, "unclear")
        if chance < 0.15:
            self.run(leases.release, system_clock, self.number, [claim.lease])
            return None
        vote = self.next_vote(claim, claim.revision)
        # The same request twice at the same moment, as when its first answer does not come.
        first, second = twice.map(lambda _: self.run(voting.cast, system_clock, self.rules, self.number, vote), "ab")
        assert first == second
        self.answers[vote.request] = vote, first
        if chance < 0.4:
            kind = voting.withdraw if chance < 0.25 else voting.cast
            change = self.next_vote(claim, first.revision)
            saved = self.run(kind, system_clock, self.rules, self.number, change)
            if kind is voting.cast:
                self.answers[change.request] = change, saved
        return None

    def next_vote(self, claim: claiming.Claim, revision: int) -> voting.Vote:
        self.sent += 1
        key = f"{self.number}-{self.sent}"
        return voting.Vote(claim.item_id, claim.lease, key, revision, self.random.choice((2, 3, 3, 4)))

    def run(self, function: Any, *arguments: Any) -> Any:
        return self.database.write(lambda connection: function(connection, *arguments))


def hammer(url: str, numbers: list[int], rules: Rules, wild: bool = False) -> Answers:
    """Lets people work at once, each in a thread; returns all that was acknowledged. Raises what any of them did."""
    database = Database(url)
    together = threading.Barrier(len(numbers))

    def begin(number: int) -> Answers:
        together.wait()
        return Person(number, database, rules, wild).work()

    with ThreadPoolExecutor(len(numbers)) as pool:
        answers: Answers = {}
        for own in pool.map(begin, numbers):
            answers |= own
    database.close()
    return answers


def check(database: Database, answers: Answers) -> None:
    """Every image has three votes, and everything that was acknowledged is stored once."""
    with database.reading() as connection:
        stored = connection.execute(select(votes)).all()
        parts = connection.execute(select(slots)).all()
        images = connection.execute(select(items)).all()
    by_key = {vote.request: vote for vote in stored if vote.request}
    assert len(by_key) == sum(vote.request is not None for vote in stored)
    for key, (vote, saved) in answers.items():
        row = by_key[key]
        assert (row.item_id, row.level, row.revision, row.at) == (vote.item_id, vote.level, saved.revision, saved.at)
    standing = Counter(part.item_id for part in parts if part.state == "voted")
    held = Counter(part.item_id for part in parts if part.slot is not None)
    for image in images:
        assert (image.voted, image.taken) == (standing[image.id], held[image.id])
        assert standing[image.id] == 3 and image.status in ("closing", "decided", "tie"), image


def test_eight_people_on_two_servers_give_each_image_three_votes(empty: Project, database_url: str) -> None:
    empty.fill(images=IMAGES, persons=PEOPLE)
    with ThreadPoolExecutor(2) as servers:
        halves = servers.map(hammer, [database_url] * 2, [[1, 2, 3, 4], [5, 6, 7, 8]], [Rules()] * 2)
        answers = {key: answer for half in halves for key, answer in half.items()}
    assert len(answers) == 3 * IMAGES
    check(empty.database, answers)


@pytest.mark.slow
def test_two_processes_give_each_image_three_votes(empty: Project, database_url: str) -> None:
    empty.fill(images=IMAGES, persons=PEOPLE)
    empty.database.close()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        halves = pool.starmap(hammer, [(database_url, [1, 2, 3, 4], Rules()), (database_url, [5, 6, 7, 8], Rules())])
    answers = halves[0] | halves[1]
    assert len(answers) == 3 * IMAGES
    check(empty.database, answers)


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Does things at the same moment; returns what each returned, or Refused."""
    together = threading.Barrier(len(works))

    def begin(work: Callable[[], Any]) -> Any:
        together.wait()
        try:
            return work()
        except Refused as refused:
            return refused

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(begin, works))


def test_two_pages_of_one_person_hold_together_what_one_may_hold(empty: Project) -> None:
    empty.asked = 12
    empty.fill(images=30, persons=12)
    for person in range(1, 13):
        first, second = at_once(*[lambda person=person: empty.claim(person, 4)] * 2)
        assert first.claims == second.claims and len(first.claims) == 4


def test_two_pages_do_not_lengthen_the_entry_test(empty: Project) -> None:
    empty.with_rules(qualify_items=5, qualify_pass=0.5).fill(images=3, gold=40, persons=10)
    for person in range(1, 11):
        while (first := at_once(*[lambda person=person: empty.claim(person, 3)] * 2)[0]).claims[0].item_id > 3:
            votes = [empty.vote(claim, 4, key=f"{person}-{claim.item_id}") for claim in first.claims[:2]]
            beside = [lambda person=person: empty.claim(person, 3)] * 2
            at_once(*beside, *[lambda vote=vote, person=person: empty.send(person, vote) for vote in votes])
        assert len(empty.votes(person)) == 5
        empty.return_leases(person)


def test_of_two_verdicts_at_once_one_counts_and_the_same_one_twice_has_one_answer(empty: Project) -> None:
    empty.fill(images=16)
    for person, level in ((1, 2), (2, 3), (3, 4)):
        for _ in range(2):
            for claim in empty.claim(person, 10).claims:
                empty.cast(person, claim, level)
    assert empty.settle() == 16
    for item in range(1, 17):
        works = [lambda item=item: empty.decide(5, item, 2, f"a{item}")] * 2
        works.append(lambda item=item: empty.decide(6, item, 4, f"b{item}"))
        first, again, other = at_once(*works)
        assert first == again or {type(first), type(again)} == {Refused}
        assert isinstance(first, Refused) != isinstance(other, Refused)
        assert empty.item(item).level == (other if isinstance(first, Refused) else first).level


@pytest.mark.slow
def test_leases_that_run_out_at_once_and_a_lead_who_retracts_break_nothing(
    empty: Project, database_url: str, request: pytest.FixtureRequest
) -> None:
    """Many transactions lock the same rows here, and never wait for each other in a circle."""
    empty.fill(images=IMAGES, persons=PEOPLE + 4)
    rules = Rules(lease_ms=15, grace_ms=0)
    over = threading.Event()

    def lead() -> int:
        done = 0
        while not over.wait(0.01):
            for work in (reassigning.retract_votes, reassigning.return_leases):
                done += empty.database.write(lambda c, work=work: work(c, system_clock, 1))
        return done

    def clerk() -> int:
        done = 0
        while not over.wait(0.005):
            done += empty.database.write(lambda c: settling.settle(c, system_clock))
        return done

    with ThreadPoolExecutor(4) as pool:
        beside = [pool.submit(lead), pool.submit(clerk)]
        halves = [pool.submit(hammer, database_url, numbers, rules, True) for numbers in ([1, 2, 3, 4], [5, 6, 7, 8])]
        try:
            answers = {key: answer for half in halves for key, answer in half.result().items()}
        finally:
            over.set()
        assert beside[1].result() > 0
    # Whoever skipped or was retracted is not asked again: others fill what is missing.
    answers |= hammer(database_url, [9, 10, 11, 12], Rules())
    check(empty.database, answers)
    if not empty.database.is_sqlite:
        assert "deadlock" not in request.getfixturevalue("cluster").log()
