"""The two phases of the product: their names, their files, and what they are made of."""

from typing import Any, Literal

from curation.scoring.opened import Opened
from curation.workspace import Workspace
from curation.workspace.files import stamps

Phase = Literal["concept", "quality"]
PHASES: tuple[Phase, ...] = ("concept", "quality")


def product_files(workspace: Workspace, phase: str, shard: str) -> list[str]:
    """The files that a product shard's line in the ledger speaks of."""
    folder = workspace.product(phase)
    return [f"{folder}/{shard}.{ending}" for ending in ("parquet", "tar")]


def made_of(opened: Opened) -> dict[str, Any]:
    """What the product depends on: parts of the recipe, and the folders of the stages before, and the levels."""
    recipe, workspace = opened.recipe, opened.workspace
    folders = [
        place(corpus.name, "x").parent
        for corpus in recipe.corpora
        for place in (workspace.selection, workspace.captions)
    ]
    parts = recipe.model_dump(mode="json", include={"shards", "card", "annotation"})
    parts["captions"] = recipe.captions.model_dump(mode="json", include={"synthetic_share", "language", "tolerate"})
    return parts | {"selection and captions": stamps(map(str, folders)), "levels": stamps([str(workspace.levels)])}
