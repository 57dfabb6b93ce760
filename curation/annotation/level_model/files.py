"""Tells what the predictions of levels are made from, so that it can be seen whether they are out of date."""

import pyarrow as pa

from curation.recipe import Recipe
from curation.workspace import Workspace
from curation.workspace.digests import digest, file_digest
from curation.workspace.files import fingerprint, read_table, stamps
from curation.workspace.schemas import PREDICTIONS

VERSION = 1
"""Raised when other predictions come out of the same votes and signals."""


def made_from(recipe: Recipe, workspace: Workspace) -> str:
    """Returns the fingerprint of the votes, the levels, the rules of the selection and all signals as they are now.

    Signals are told by the stamps of their files, which takes microseconds for each.
    """
    tables = [file_digest(path) if path.exists() else None for path in (workspace.votes, workspace.levels)]
    files = []
    for corpus in recipe.corpora:
        for shard in workspace.shards(corpus.name):
            files.append(workspace.samples(corpus.name, shard))
            files += [workspace.signal(name, corpus.name, shard) for name in recipe.signals]
    places = [str(path.relative_to(workspace.root)) for path in files]
    return digest([VERSION, recipe.annotation.votes, tables, recipe.select.rules, places, stamps(map(str, files))])


def up_to_date(recipe: Recipe, workspace: Workspace) -> bool:
    """Tells whether there are predictions, from the votes and signals as they are now."""
    return fingerprint(workspace.predictions) == made_from(recipe, workspace)


def read_predictions(workspace: Workspace) -> pa.Table:
    """Returns the predictions, with the columns of PREDICTIONS; no rows where there is no model."""
    return read_table(workspace.predictions) if workspace.predictions.exists() else PREDICTIONS.empty_table()
