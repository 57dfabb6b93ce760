"""The opened recipe: a recipe with its workspace and its cascade, made once where a verb begins, then handed on.

Tasks that travel to workers carry the recipe alone, which is small; a worker process opens it once.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from curation.corpora.samples import meta_schema
from curation.errors import UserError
from curation.models.checkpoints import Models
from curation.recipe import Recipe
from curation.recipe.sections import Captions
from curation.scoring.cascade import Cascade
from curation.workspace import Workspace
from curation.workspace.files import Stamp, stamps


@dataclass(eq=False)
class Opened:
    """A recipe and what is made of it: see `open_recipe`. What takes time is made when it is first asked for."""

    recipe: Recipe
    workspace: Workspace
    meta_known: bool

    @cached_property
    def models(self) -> Models:
        """The folder of checkpoints."""
        return Models.of(self.recipe, self.workspace)

    @cached_property
    def cascade(self) -> Cascade:
        """The recipe's predicates and signals, with the `meta_*` columns of the index as it is when first asked for.

        Raises:
            UserError: as `Cascade.of`.
        """
        return Cascade.of(self.recipe, self.models, self.meta(), self.meta_known)

    def meta(self) -> pa.Schema:
        """The `meta_*` columns of all shards that are indexed now."""
        return meta_schema(self.workspace, [corpus.name for corpus in self.recipe.corpora])

    def shards(self) -> list[tuple[str, str]]:
        """Corpus and name of every shard that is indexed now, by the recipe's order of corpora, then by name."""
        return [(corpus.name, shard) for corpus in self.recipe.corpora for shard in self.workspace.shards(corpus.name)]

    def indexed_shards(self) -> list[tuple[str, str]]:
        """The same as `shards`. Raises UserError if there are none."""
        if found := self.shards():
            return found
        raise UserError(f"{self.workspace.root}: nothing is indexed yet; run `curate index RECIPE`")

    def with_captions(self, captions: Captions) -> "Opened":
        """The recipe with another section `captions`, on which no part of the cascade depends."""
        other = Opened(self.recipe.model_copy(update={"captions": captions}), self.workspace, self.meta_known)
        other.models, other.cascade = self.models, self.cascade
        return other


def open_recipe(recipe: Recipe, meta_known: bool = True) -> Opened:
    """Opens a recipe.

    Args:
        meta_known: False where the index may still bring `meta_*` columns that predicates name, see `Cascade.of`.
    """
    return Opened(recipe, Workspace(recipe.workspace), meta_known)


_kept: dict[str, tuple[Opened, object]] = {}


def opened_in_worker(recipe: Recipe) -> Opened:
    """The opened recipe of a task, kept for the next task of the same process while the cascade would be the same."""
    key = recipe.model_dump_json()
    known = _kept.get(key)
    if known is None or known[1] != _made_of(known[0]):
        _kept.clear()
        opened = open_recipe(recipe)
        known = _kept[key] = opened, _made_of(opened)
    return known[0]


def _made_of(opened: Opened) -> tuple[pa.Schema, list[Stamp]]:
    """What a cascade is made of beside its recipe: the `meta_*` columns of the index, and the model files."""
    files: list[str] = []
    for signal in opened.cascade.signals.values():
        with suppress(UserError):  # one that is missing is told when it is to be loaded
            files += map(str, signal.files().values())
    return opened.meta(), stamps(files)
