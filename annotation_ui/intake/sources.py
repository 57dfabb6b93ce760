"""Lists the sources of items, by the name that a task's declaration gives."""

import random as chance
from collections.abc import Callable

from annotation_ui.clock import Clock
from annotation_ui.database.engine import Database
from annotation_ui.intake import caption_sheet, gold, ordering, rating_list, selection, votes
from curation.recipe import Recipe
from curation.workspace import Workspace

Source = Callable[[Database, Clock, chance.Random, Recipe, int, int], int]
"""Brings the queue of a project to the state of its source; returns the number of items added."""


def take_in_selection(
    database: Database, clock: Clock, random: chance.Random, recipe: Recipe, project_id: int, asked: int
) -> int:
    """Takes in the kept images of the selection and the votes given elsewhere, and sets what is asked first."""
    added = selection.take_in(database, clock, random, recipe, project_id, asked)
    workspace = Workspace(recipe.workspace)
    votes.take_in(database, clock, workspace, project_id, anew=added > 0)
    gold.follow(database, project_id)
    ordering.reorder(database, workspace, project_id)
    return added


SOURCES: dict[str, Source] = {
    "selection": take_in_selection,
    "caption_sheet": caption_sheet.take_in,
    "rating_list": rating_list.take_in,
}
