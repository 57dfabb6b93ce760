"""The requests that pages, reviewers, leads and the server itself make, and how the queue answers them."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import Connection, insert, update

from annotation_ui.database.tables import OPEN, UNAVAILABLE, items, projects
from annotation_ui.queue import claiming, leases, qualifying, reassigning, reviewing, settling, voting
from annotation_ui.queue.rules import Rules

PROJECT = 1
WITH_KEY = ("cast", "withdraw", "decide")
"""The kinds of requests that carry a key: sent again, they have the same answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request, as it may be on its way to the server several times."""

    kind: str
    person: int = 0
    item: int = 0
    lease: str = ""
    key: str = ""
    revision: int = 0
    level: int | None = None
    answer: dict[str, Any] | None = None
    wanted: int = 0
    rows: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        told = {name: getattr(self, name) for name in ("person", "item", "key", "revision", "level")}
        return f"{self.kind} " + " ".join(f"{name}={value}" for name, value in told.items() if value)


def perform(connection: Connection, clock: Callable[[], int], random: Random, rules: Rules, request: Request) -> Any:
    """Lets the queue do what a request asks for, and returns its answer."""
    r = request
    match r.kind:
        case "claim":
            return claiming.claim(connection, clock, random, rules, PROJECT, r.person, r.wanted)
        case "renew":
            return leases.renew(connection, clock, rules, r.person, [r.lease])
        case "release":
            return leases.release(connection, clock, r.person, [r.lease])
        case "cast" | "withdraw":
            vote = voting.Vote(r.item, r.lease, r.key, r.revision, r.level, r.answer)
            return (voting.cast if r.kind == "cast" else voting.withdraw)(connection, clock, rules, r.person, vote)
        case "skip":
            return voting.skip(connection, clock, r.person, r.item, r.lease, "unclear")
        case "unskip":
            return voting.unskip(connection, clock, rules, r.person, r.item, r.lease)
        case "settle":
            return settling.settle(connection, clock)
        case "review":
            return reviewing.next_review(connection, random, PROJECT, r.person)
        case "decide":
            return reviewing.decide_item(connection, clock, r.person, r.item, r.level or 0, r.key)
        case "retract":
            return reassigning.retract_votes(connection, clock, r.person)
        case "return_leases":
            return reassigning.return_leases(connection, clock, r.person)
        case "try_again":
            return qualifying.let_try_again(connection, PROJECT, r.person)
        case "pause" | "resume":
            return connection.execute(update(projects).values(paused=r.kind == "pause")).rowcount
        case "import":
            return connection.execute(insert(items), list(r.rows)).rowcount
        case "lose_image":
            lost = update(items).where(items.c.id == r.item, items.c.status == OPEN)
            return connection.execute(lost.values(status=UNAVAILABLE, reason="gone")).rowcount
    raise AssertionError(r.kind)
