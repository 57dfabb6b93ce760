"""Draws a small project from a seed: people, images, gold items and settings."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from sqlalchemy import Connection, insert

from annotation_ui.database.tables import ANNOTATOR, GOLD, GOLD_ASKED, items, people, projects
from annotation_ui.queue.rules import MINUTE, Rules
from tests.queue_simulator.requests import PROJECT

START = 1_800_000_000_000
"""The time at which every run begins."""


@dataclass(frozen=True)
class Scenario:
    """A project, and how much goes wrong in it."""

    rules: Rules
    task: str
    asked: int
    people: int
    reviewers: tuple[int, ...]
    images: int
    gold: int
    steps: int
    trouble: float
    """Share of requests that get lost, doubled or late, 0 to 1."""
    rows: list[dict[str, Any]] = field(default_factory=list)


def draw(random: Random) -> Scenario:
    """Draws a project; most are small, so that people meet on the same images."""
    asked = random.choice((1, 3, 3, 3, 3, 5))
    people = random.randint(max(3, asked), random.choice((6, 6, 6, 16)))
    gold = random.choice((0, 0, 3, 6))
    qualify = random.choice((0, 2, 3)) if gold else 0
    rules = Rules(
        gold=random.choice((0.0, 0.3)) if gold else 0.0,
        qualify_items=qualify,
        qualify_pass=0.5,
        lease_ms=10 * MINUTE,
        grace_ms=random.choice((MINUTE, MINUTE, 0)),
    )
    images = random.randint(3, 9)
    rows = [image(random, number, asked) for number in range(images)]
    rows += [image(random, number, asked, known=random.randint(2, 5)) for number in range(100, 100 + gold)]
    return Scenario(
        rules=rules,
        task=random.choice(("levels", "levels", "levels", "captions")),
        asked=asked,
        people=people,
        reviewers=(people, people + 1),  # one of them annotates as well
        images=images,
        gold=gold,
        steps=random.randint(30, 70),
        trouble=random.choice((0.0, 0.1, 0.3, 0.5)),
        rows=rows,
    )


def image(random: Random, number: int, asked: int, known: int | None = None) -> dict[str, Any]:
    """Returns the row of an image, or of a gold item if its level is known."""
    return {
        "project_id": PROJECT,
        "kind": "image" if known is None else GOLD,
        "key": f"c/s/{number}",
        "known": known,
        "asked": asked if known is None else GOLD_ASKED,
        "tier": random.randint(0, 1),
        "shuffle": random.randrange(2**31),
    }


def populate(scenario: Scenario, connection: Connection) -> None:
    """Fills an empty database."""
    project = {"id": PROJECT, "task": scenario.task, "asked": scenario.asked, "paused": False, "created_at": START}
    connection.execute(insert(projects), project)
    everyone = [
        {"id": number, "name": f"p{number}", "role": ANNOTATOR, "preferences": {}, "created_at": START}
        for number in range(1, scenario.people + 2)
    ]
    connection.execute(insert(people), everyone)
    connection.execute(insert(items), scenario.rows)
