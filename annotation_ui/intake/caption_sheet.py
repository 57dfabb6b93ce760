"""Takes the captions of the evaluation's sheet into the queue: an item for each image, with all its captions.

The names of the captioners are not read; the sheet does not hold them. See `curation.annotation.caption_eval.sheet`.
"""

import random as chance
from collections import defaultdict
from typing import Any

from annotation_ui.clock import Clock
from annotation_ui.database.engine import Database
from annotation_ui.intake.listed import Listed, ListedPart, bring, is_current
from annotation_ui.intake.selection import images_of, place_of
from curation.annotation.caption_eval.files import EvalFiles
from curation.counts import counted
from curation.errors import StageError
from curation.keys import make_key
from curation.printing import tell
from curation.recipe import Recipe
from curation.workspace import Workspace
from curation.workspace.digests import digest
from curation.workspace.files import read_table, stamps

_COLUMNS = ["item", "image", "key", "position", "caption_zh", "caption_en"]


def take_in(
    database: Database, clock: Clock, random: chance.Random, recipe: Recipe, project_id: int, asked: int
) -> int:
    """Brings the queue to the state of the sheet; returns the number of images that were added.

    Raises:
        StageError: the sheet or a file of the index is damaged.
    """
    workspace = Workspace(recipe.workspace)
    sheet = EvalFiles(workspace).sheet
    if not sheet.exists():
        return 0
    shards = [(corpus.name, shard) for corpus in recipe.corpora for shard in workspace.shards(corpus.name)]
    indexed = [str(workspace.samples(*shard)) for shard in shards]
    scored = [str(workspace.signal("safety", *shard)) for shard in shards]
    fingerprint = digest([stamps([str(sheet)]), stamps(indexed), stamps(scored), asked])
    if is_current(database, project_id, fingerprint):
        return 0
    captions = _captions(sheet)
    images = _images(workspace, shards, set(captions))
    if missing := len(captions) - len(images):
        tell(f"curate: {sheet}: {counted(missing, 'images')} left out that the index no longer has")
    listed = [
        Listed(key, captions[key], place=images[key]["place"], unsafe=images[key]["unsafe"])
        for key in captions
        if key in images
    ]
    return bring(database, clock, random, project_id, asked, listed, fingerprint)


def _captions(sheet: Any) -> dict[str, list[ListedPart]]:
    """Returns the captions of each image of the sheet, by the image's key."""
    table = read_table(sheet)
    if lacking := [name for name in _COLUMNS if name not in table.column_names]:
        detail = f"it has no column {', '.join(lacking)}; delete it and run `curate caption-eval sheet RECIPE`"
        raise StageError(f"{sheet}: {detail}")
    captions: dict[str, list[ListedPart]] = defaultdict(list)
    for row in table.select(_COLUMNS).to_pylist():
        shown = {name: row[name] for name in ("caption_zh", "caption_en")}
        captions[row["key"]].append(ListedPart(row["item"], shown))
    return captions


def _images(workspace: Workspace, shards: list[tuple[str, str]], keys: set[str]) -> dict[str, dict[str, Any]]:
    """Returns the place and the signal `unsafe` of each image; only the files of shards that a key names are read."""
    named = {tuple(key.split("/", 2)[:2]) for key in keys}
    found = {}
    for corpus, shard in shards:
        if tuple(make_key(corpus, shard, "").split("/", 2)[:2]) in named:
            for row in images_of(workspace, corpus, shard).to_pylist():
                if row["key"] in keys:
                    found[row["key"]] = {"place": place_of(row, corpus, shard), "unsafe": row["unsafe"]}
    return found
