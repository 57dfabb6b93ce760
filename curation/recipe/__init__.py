"""The recipe: what is to be done with which images."""

from curation.recipe.load import load_recipe
from curation.recipe.sections import Recipe

__all__ = ["Recipe", "load_recipe"]
