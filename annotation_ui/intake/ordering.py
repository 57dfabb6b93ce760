"""Puts the images of the queue into tiers by what the model of levels predicts; the first tier is asked first."""

from sqlalchemy import bindparam, select, update

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import IMAGE, items, projects
from curation.annotation.level_model.files import read_predictions
from curation.annotation.level_model.queue_order import TIERS, tiers
from curation.workspace import Workspace
from curation.workspace.files import stamps

AT_ONCE = 5_000
"""Number of images whose tier one transaction changes."""
UNKNOWN = TIERS // 2
"""Tier of images that the model has not seen, where it orders the others."""


def reorder(database: Database, workspace: Workspace, project_id: int) -> int:
    """Brings the tiers to the project's order and the present predictions; returns the number of images that moved.

    Raises:
        StageError: the predictions are damaged.
    """
    order = database.read(lambda c: c.execute(_PROJECT, {"project": project_id}).one())
    wanted = f"{order.ordering} {stamps([str(workspace.predictions)])[0]}"
    if order.ordered == wanted:
        return 0
    predictions = read_predictions(workspace)
    ranks: dict[str, int] = {}
    if predictions.num_rows and order.ordering != "random":
        ranks = dict(zip(predictions["key"].to_pylist(), tiers(predictions, order.ordering).tolist(), strict=True))
    other = UNKNOWN if ranks else 0
    present = database.read(lambda c: c.execute(_TIERS, {"project": project_id}).all())
    changes = [
        {"the_item": item_id, "new_tier": ranks.get(key, other)}
        for item_id, key, tier in present
        if tier != ranks.get(key, other)
    ]
    for start in range(0, len(changes), AT_ONCE):
        database.write(lambda c: c.execute(_MOVE, changes[start : start + AT_ONCE]) and None)  # noqa: B023
    done = update(projects).where(projects.c.id == project_id).values(ordered=wanted)
    database.write(lambda c: c.execute(done) and None)
    return len(changes)


_PROJECT = select(projects.c.ordering, projects.c.ordered).where(projects.c.id == bindparam("project"))
_TIERS = select(items.c.id, items.c.key, items.c.tier).where(
    items.c.project_id == bindparam("project"), items.c.kind == IMAGE
)
_MOVE = update(items).where(items.c.id == bindparam("the_item")).values(tier=bindparam("new_tier"))
