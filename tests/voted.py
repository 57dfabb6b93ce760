"""Lets people vote in a small workspace, through the queue itself, without a server."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from annotation_ui.accounts.people import invite
from annotation_ui.database.tables import decisions, items, people
from annotation_ui.queue import claiming, voting
from annotation_ui.queue.settling import settle
from annotation_ui.tool import Tool, open_tool
from curation.recipe import Recipe
from curation.selection.stage import Selection
from tests import bench

START = 1_800_000_000_123
"""The time at which a test begins, in milliseconds since 1970."""
_requests = itertools.count()


def workspace(folder: Path, images: int = 6, **values: Any) -> Recipe:
    """Writes a recipe and its images, two raw shards of them; indexes and selects them all."""
    for shard in range(2):
        members = {f"{n}.jpg": bench.encoded(bench.picture(100 * shard + n, (48, 32))) for n in range(images // 2)}
        bench.write_tar(folder / "raw" / f"0000{shard}.tar", members)
    made = bench.recipe(folder, **({"signals": {}} | values))
    bench.index(made)
    Selection(bench.opened(made)).write()
    return made


class Time:
    """A clock that goes on by a millisecond each time that it is asked."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        self.now += 1
        return self.now


@contextmanager
def opened(made: Recipe, clock: Callable[[], int] | None = None) -> Iterator[Tool]:
    """Opens a recipe's tool with what is in its workspace."""
    with closing(open_tool(made, clock or Time())) as tool:
        tool.take_in()
        yield tool


def project(tool: Tool, task: str = "levels") -> int:
    """Returns the id of a task's project."""
    return next(number for number, found in tool.tasks.items() if found.name == task)


def person(tool: Tool, name: str) -> int:
    """Invites a person; returns the id."""
    return tool.database.write(lambda c: invite(c, tool.clock, name))[0]


def claim(tool: Tool, name: str, task: str = "levels", wanted: int = 10) -> list[claiming.Claim]:
    """Lets a person hold items."""
    number, who = project(tool, task), person(tool, name)
    rules = tool.rules[number]
    return tool.database.write(lambda c: claiming.claim(c, tool.clock, tool.random, rules, number, who, wanted)).claims


def item(tool: Tool, item_id: int) -> Any:
    """Returns the row of an item."""
    return tool.database.read(lambda c: c.execute(select(items).where(items.c.id == item_id)).one())


def cast(tool: Tool, name: str, claimed: claiming.Claim, revision: int = 0, task: str = "levels", **vote: Any) -> None:
    """Lets a person vote on an item: `level` or `answer`, and perhaps `times`."""
    who, rules = person(tool, name), tool.rules[project(tool, task)]
    ballot = voting.Vote(claimed.item_id, claimed.lease, f"request-{next(_requests)}", revision, **vote)
    tool.database.write(lambda c: voting.cast(c, tool.clock, rules, who, ballot))


def withdraw(tool: Tool, name: str, claimed: claiming.Claim, revision: int, task: str = "levels") -> None:
    """Lets a person take a vote back."""
    who, rules = person(tool, name), tool.rules[project(tool, task)]
    ballot = voting.Vote(claimed.item_id, claimed.lease, f"request-{next(_requests)}", revision)
    tool.database.write(lambda c: voting.withdraw(c, tool.clock, rules, who, ballot))


def vote_all(tool: Tool, names: list[str], level: Callable[[str, str], int]) -> None:
    """Lets people vote on all images; `level` says what a person votes on a key."""
    times = voting.Times(1200, 900, 0, "keyboard")
    for name in names:
        while claims := claim(tool, name):
            for claimed in claims:
                key = item(tool, claimed.item_id).key
                cast(tool, name, claimed, level=level(key, name), times=times)


def settle_all(tool: Tool) -> None:
    """Closes the images that have all their votes."""
    assert isinstance(tool.clock, Time)
    tool.clock.now += 120_000
    while tool.database.write(lambda c: settle(c, tool.clock)):
        pass


def decide(tool: Tool, key: str, level: int, name: str = "lead", kind: str = "adjudication") -> None:
    """Stores a verdict."""
    who = person(tool, name)
    found = select(items.c.id).where(items.c.key == key, items.c.kind == "image")

    def work(connection: Any) -> None:
        row = {"item_id": connection.execute(found).scalar_one(), "level": level, "kind": kind, "person_id": who}
        connection.execute(insert(decisions), row | {"at": tool.clock(), "note": "as I see it"})

    tool.database.write(work)


def names(tool: Tool) -> list[str]:
    """Returns the names of all people."""
    return list(tool.database.read(lambda c: c.execute(select(people.c.name)).scalars().all()))
