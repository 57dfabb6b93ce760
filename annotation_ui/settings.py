"""Says what a server needs to know of a recipe: the database's address, and the rules of each project's queue."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from annotation_ui.queue.rules import MINUTE, Rules

if TYPE_CHECKING:
    from annotation_ui.task import Task
    from curation.recipe import Recipe

VARIABLE = "CURATE_ANNOTATION_DATABASE"


def named_database(recipe: "Recipe") -> str | None:
    """Returns the address of a database that the recipe or else the environment names; None if neither does."""
    return recipe.annotation.database or os.environ.get(VARIABLE) or None


def database_url(recipe: "Recipe") -> str:
    """Returns the address of the recipe's database: the one that is named, or a file of its own."""
    return named_database(recipe) or f"sqlite:///{sqlite_file(recipe)}"


def sqlite_file(recipe: "Recipe") -> Path:
    """Returns the path of the SQLite file that is used if no other database is named."""
    return Path(recipe.workspace) / "annotation" / "votes.sqlite"


def address_file(recipe: "Recipe") -> Path:
    """Returns the path of the file in which a server notes how people reach it, for the links of invitations."""
    return Path(recipe.workspace) / "annotation" / "address"


def noted_address(recipe: "Recipe", other: str) -> str:
    """Returns how people reach the server that was started last; `other` if none has noted that."""
    try:
        return address_file(recipe).read_text(encoding="utf-8").strip() or other
    except (OSError, UnicodeDecodeError):
        return other


def rules_of(recipe: "Recipe", task: "Task") -> Rules:
    """Returns the rules of a task's queue. Only levels can be tested: other answers are right or wrong by no one."""
    annotation, lease_ms = recipe.annotation, round(recipe.annotation.lease_minutes * MINUTE)
    if task.answer != "level":
        return Rules(lease_ms=lease_ms)
    qualify = annotation.qualify
    return Rules(
        gold=annotation.gold,
        qualify_items=qualify.items if qualify else 0,
        qualify_pass=qualify.share if qualify else 0.0,
        lease_ms=lease_ms,
    )


def votes_asked(recipe: "Recipe", task: "Task") -> int:
    """Returns the number of votes that a task asks on each item."""
    return task.votes or recipe.annotation.votes
