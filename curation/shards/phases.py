"""The two phases of the product: their names, their files, and the inputs on which they depend."""

from typing import Any, Literal

from curation.scoring.opened import Opened
from curation.workspace import Workspace
from curation.workspace.files import stamps

Phase = Literal["concept", "quality"]
PHASES: tuple[Phase, ...] = ("concept", "quality")


def product_files(workspace: Workspace, phase: str, shard: str) -> list[str]:
    """Returns the paths of the two files of a product shard, whose size and time the ledger notes."""
    folder = workspace.product(phase)
    return [f"{folder}/{shard}.{ending}" for ending in ("parquet", "tar")]


def made_of(opened: Opened) -> dict[str, Any]:
    """Returns what the product depends on: parts of the recipe, and stamps of the inputs."""
    recipe, workspace = opened.recipe, opened.workspace
    folders = [
        place(corpus.name, "x").parent
        for corpus in recipe.corpora
        for place in (workspace.selection, workspace.captions)
    ]
    parts = recipe.model_dump(mode="json", include={"shards", "card", "annotation"})
    parts["captions"] = recipe.captions.model_dump(mode="json", include={"synthetic_share", "language", "tolerate"})
    return parts | {"selection and captions": stamps(map(str, folders)), "levels": stamps([str(workspace.levels)])}
