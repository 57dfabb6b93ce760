"""The recipe: one YAML file with the corpora, the rules and the settings of the whole job."""

from curation.recipe.load import load_recipe
from curation.recipe.sections import Recipe

__all__ = ["Recipe", "load_recipe"]
