"""Writes what people gave in the tool into the workspace's own files, from which every later stage reads it.

Votes are exported as `votes.parquet` and `decisions.parquet`, from which the levels are decided anew, scores of
captions as `caption_eval/scores.parquet`, and ratings of generated images as `ratings.parquet`.
"""

from collections import Counter
from typing import Any

import filelock
from sqlalchemy import Connection, select

from annotation_ui.clock import Clock
from annotation_ui.database.engine import Database
from annotation_ui.database.tables import projects
from annotation_ui.intake.votes import mark_current, take_in
from annotation_ui.queue.settling import LEVELS
from annotation_ui.task import Task, read_tasks
from annotation_ui.transfer.answers import write_ratings, write_scores
from annotation_ui.transfer.verdicts import write_verdicts
from annotation_ui.transfer.votes import write_votes
from curation.annotation.levels import STATUSES, decide_levels
from curation.recipe import Recipe
from curation.workspace import Workspace
from curation.workspace.lock import lock

Counts = dict[str, int]


def export(database: Database, clock: Clock, recipe: Recipe) -> dict[str, Counts]:
    """Writes all that the database holds into the workspace's files; a server may go on meanwhile.

    What lies in the files already and not in the database stays there: see `curation.annotation.votes` for votes given
    elsewhere. What the files hold of people's votes is taken into the database before.

    Returns:
        the numbers of what was written, by the name of the task. The workspace has no file for the answers of a task of
            the user's own on the images of the selection; they stay in the database.

    Raises:
        StageError: a stage is writing in the workspace, or one of its files is damaged or cannot be written.
        StorageFailed: the database cannot be read.
    """
    workspace = Workspace(recipe.workspace)
    written: dict[str, Counts] = {}
    with lock(workspace, "annotate export"):
        for project_id, task in _projects(database):
            if task.name == LEVELS:
                written[task.name] = _export_levels(database, clock, recipe, workspace, project_id)
            elif task.source == "caption_sheet":
                written[task.name] = {"scores": _reading(database, write_scores, workspace, project_id)}
            elif task.source == "rating_list":
                written[task.name] = {"ratings": _reading(database, write_ratings, workspace, project_id)}
    return written


def _projects(database: Database) -> list[tuple[int, Task]]:
    """Returns the id and the task of each project whose task is still declared."""
    tasks = read_tasks()
    rows = database.read(lambda c: c.execute(select(projects.c.id, projects.c.task).order_by(projects.c.id)).all())
    return [(row.id, tasks[row.task]) for row in rows if row.task in tasks]


def _export_levels(
    database: Database, clock: Clock, recipe: Recipe, workspace: Workspace, project_id: int
) -> dict[str, int]:
    # A server must not take in the files while they are replaced: it would note the new ones as known.
    with filelock.FileLock(workspace.root / "annotation" / ".intake.lock"):
        take_in(database, clock, workspace, project_id)

        def write(connection: Connection, workspace: Workspace, project_id: int) -> dict[str, int]:
            counts = {"votes": write_votes(connection, workspace, project_id)}
            return counts | {"decisions": write_verdicts(connection, workspace, project_id)}

        counts = _reading(database, write, workspace, project_id)
        mark_current(database, workspace, project_id)
    levels = decide_levels(workspace, recipe.annotation.votes)
    statuses = Counter(levels["status"].to_pylist())
    return counts | {"images": len(levels)} | {status: statuses[status] for status in STATUSES}


def _reading(database: Database, write: Any, workspace: Workspace, project_id: int) -> Any:
    """Runs a writer of files in one transaction that reads, so that what it writes is the state of one moment."""
    with database.reading() as connection:
        return write(connection, workspace, project_id)
