"""Holds what a running server works with: the database, the pictures, the tasks, and the rules of their queues."""

import contextlib
import threading
import time
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any

import anyio.to_thread
import filelock
from sqlalchemy import Connection, func, insert, select, update

from annotation_ui.clock import Clock, system_clock
from annotation_ui.database.engine import Database
from annotation_ui.database.opening import open_database
from annotation_ui.database.tables import GOLD, IMAGE, OPEN, VOTED, items, projects, slots
from annotation_ui.intake import has_items
from annotation_ui.queue.clock_set_back import bring_near
from annotation_ui.queue.rules import Rules
from annotation_ui.queue.settling import settle
from annotation_ui.rate_limit import RateLimit
from annotation_ui.settings import rules_of, votes_asked
from annotation_ui.statistics.cache import Cache
from annotation_ui.task import Task, read_tasks
from annotation_ui.worker import PictureWorker, changes_in, run_aside
from curation.counts import counted
from curation.errors import StageError, UserError, in_one_line
from curation.printing import tell
from curation.recipe import Recipe
from curation.workspace import Workspace

COUNTED_MS = 20_000
"""Milliseconds for which counts that the page shows are kept."""
SETTLE_SECONDS, LOOK_SECONDS = 5.0, 60.0
"""Seconds between two times that closed votes are counted, and that the workspace is looked at for what is new."""


@dataclass
class Tool:
    """A recipe's annotation, opened for a server or for a verb of the command line.

    Args:
        recipe: the recipe.
        database: its database, of the current version.
        clock: the time.
        random: the chance by which items are drawn.
    """

    recipe: Recipe
    database: Database
    clock: Clock = system_clock
    random: Random = field(default_factory=SystemRandom)
    tasks: dict[int, Task] = field(default_factory=dict)
    """The task of each project, by the project's id."""
    rules: dict[int, Rules] = field(default_factory=dict)
    """The rules of each project's queue, by the project's id."""

    def __post_init__(self) -> None:
        self.workspace = Workspace(self.recipe.workspace)
        self.pictures = PictureWorker(self.recipe)
        self.filled = threading.Event()
        self.sign_ins = RateLimit(1, 60, self.clock)  # by address, which a whole office may share
        self.passwords = RateLimit(10 / 60, 10, self.clock)  # by name
        self.submits = RateLimit(40, 120, self.clock)
        self.statistics = Cache()
        self._counts: dict[tuple[int, int], tuple[int, int]] = {}
        self._open_projects()

    def take_in(self) -> None:
        """Brings the queues to the state of the workspace; only one process does so at a time.

        Raises:
            StageError, UserError: a file of the workspace or a list is damaged; the other projects' queues are brought
                up to date before.
        """
        from annotation_ui.intake import sources  # imports pyarrow, which the server does without

        folder = self.workspace.root / "annotation"
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".intake.lock"):
            self._open_projects()
            failed: Exception | None = None
            for project_id, task in self.tasks.items():
                asked, source = votes_asked(self.recipe, task), sources.SOURCES[task.source]
                try:
                    source(self.database, self.clock, self.random, self.recipe, project_id, asked)
                except (StageError, UserError) as error:
                    failed = failed or error
            if failed is not None:
                raise failed

    def keep_up(self, stopped: threading.Event) -> None:
        """Closes votes and takes in what is new in the workspace, until the event is set; an error is told once."""
        told, known, looked, again = "", None, 0.0, 0.0
        changes: tuple[Any, ...] = ()
        lists = [self.recipe.annotation.ratings] if self.recipe.annotation.ratings else []
        while not stopped.is_set():
            try:
                for rules in list(self.rules.values())[:1]:  # leases are as long in all projects
                    self.database.write(lambda c: bring_near(c, self.clock, rules))  # noqa: B023
                while self.database.write(lambda c: settle(c, self.clock)):
                    pass
                if not changes or time.monotonic() - looked >= LOOK_SECONDS:
                    changes, looked = changes_in(self.workspace.root, *lists), time.monotonic()
                state = changes, self.database.read(lambda c: c.execute(_ORDERS).all())
                if state != known and time.monotonic() >= again:
                    again = time.monotonic() + LOOK_SECONDS  # should it fail
                    run_aside(take_in_aside, self.recipe)
                    self._open_projects()
                    known, again = state, 0.0
                told = ""
            except Exception as error:  # whatever it is: votes are closed and the queue is filled as soon as it is over
                line = in_one_line(getattr(error, "orig", None) or error, 300)  # without SQL and its values
                if line != told:
                    tell(f"curate: {line}")
                told = line
            self.filled.set()
            stopped.wait(SETTLE_SECONDS)

    def lacking_gold(self) -> str:
        """Returns what to do if an entry test asks for more gold items than there are, in one line; "" if none does."""
        for project_id, rules in self.rules.items():
            here = self.database.read(lambda c: c.execute(_gold_of(project_id)).scalar_one())  # noqa: B023
            if here < rules.qualify_items:
                return (
                    f"annotation.qualify: it asks for {counted(rules.qualify_items, 'gold images')}, and there are "
                    f"{here:,}: nobody is given other images; add some by `curate annotate import RECIPE FILE --gold`"
                )
        return ""

    async def counts(self, project_id: int, person_id: int) -> tuple[int, int]:
        """Returns the number of items that still need votes, and of this person's votes, as of some seconds ago."""
        return await self._count(project_id, 0), await self._count(project_id, person_id)

    def is_empty(self) -> bool:
        """Returns whether there is nothing to ask."""
        return self.database.read(lambda c: c.execute(select(items.c.id).limit(1)).first()) is None

    def close(self) -> None:
        """Closes the raw shards and the database's connections."""
        self.pictures.close()
        self.database.close()

    def _open_projects(self) -> None:
        """Adds a project for each task that has something to ask, and learns the ids of all projects."""
        found = {}
        for name, task in read_tasks().items():
            if has_items(task.source, self.recipe):
                asked, order = votes_asked(self.recipe, task), self.recipe.annotation.order
                found[self.database.write(lambda c: _project(c, name, asked, order, self.clock()))] = task  # noqa: B023
        self.tasks = found
        self.rules = {project_id: rules_of(self.recipe, task) for project_id, task in found.items()}

    async def _count(self, project_id: int, person_id: int) -> int:
        now, key = self.clock(), (project_id, person_id)
        count, counted_at = self._counts.get(key, (0, -COUNTED_MS))
        if not 0 <= now - counted_at < COUNTED_MS:
            question = _votes_of(project_id, person_id) if person_id else _needing_votes(project_id)
            self._counts[key] = (count, now)  # others are answered with the earlier count meanwhile
            count = await anyio.to_thread.run_sync(self.database.read, lambda c: c.execute(question).scalar_one())
            if len(self._counts) > 10_000:
                self._counts.clear()
            self._counts[key] = (count, now)
        return count


def open_tool(recipe: Recipe, clock: Clock = system_clock, create: bool = True) -> Tool:
    """Opens a recipe's annotation and brings its database to the current version.

    Args:
        recipe: the recipe.
        clock: the time.
        create: whether to make the SQLite file if it is not there.

    Raises:
        UserError: the database's address is wrong, or there is no annotation yet.
        StorageFailed: the database cannot be reached.
    """
    database = open_database(recipe, create)
    with contextlib.ExitStack() as stack:
        stack.callback(database.close)
        tool = Tool(recipe, database, clock)
        stack.pop_all()
    return tool


def _project(connection: Connection, task: str, asked: int, order: str, now: int) -> int:
    """Returns the id of a task's project, which is added if new and follows the recipe otherwise."""
    known = connection.execute(select(projects.c.id, projects.c.asked).where(projects.c.task == task)).one_or_none()
    if known is not None:
        if known.asked != asked:
            connection.execute(update(projects).where(projects.c.id == known.id).values(asked=asked))
        return known.id
    values = {"task": task, "asked": asked, "paused": False, "created_at": now, "ordering": order}
    return connection.execute(insert(projects).returning(projects.c.id), values).scalar_one()


_ORDERS = select(projects.c.id, projects.c.ordering)


def _gold_of(project_id: int):  # type: ignore[no-untyped-def]
    return select(func.count()).where(items.c.project_id == project_id, items.c.kind == GOLD, items.c.status == OPEN)


def _needing_votes(project_id: int):  # type: ignore[no-untyped-def]
    return select(func.count()).where(items.c.project_id == project_id, items.c.kind == IMAGE, items.c.status == OPEN)


def _votes_of(project_id: int, person_id: int):  # type: ignore[no-untyped-def]
    return (
        select(func.count())
        .select_from(slots)
        .join(items, items.c.id == slots.c.item_id)
        .where(slots.c.person_id == person_id, slots.c.state == VOTED, items.c.project_id == project_id)
    )


def take_in_aside(recipe: Recipe) -> None:
    """Brings the queues of a recipe to the state of its workspace, in a process that ends afterwards."""
    with contextlib.closing(open_tool(recipe)) as tool:
        tool.take_in()
