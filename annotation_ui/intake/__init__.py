"""Fills the queue: images of the selection, captions to compare, generated images to rate, votes given elsewhere."""

from typing import TYPE_CHECKING

from curation.workspace import Workspace

if TYPE_CHECKING:
    from curation.recipe import Recipe


def has_items(source: str, recipe: "Recipe") -> bool:
    """Returns whether a source has anything to ask; the images of the selection always have their project."""
    if source == "caption_sheet":  # `EvalFiles` has this path too, and imports pyarrow, which the server does without
        return (Workspace(recipe.workspace).root / "caption_eval" / "sheet.parquet").exists()
    return source == "selection" or recipe.annotation.ratings is not None
