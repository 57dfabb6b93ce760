"""Opens a recipe, once where a command begins: creates its workspace, models and cascade.

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
    """A recipe with its workspace, models and cascade; whatever takes time to create is created on first use."""

    recipe: Recipe
    workspace: Workspace
    meta_known: bool
    """Whether the index has run; see `Cascade.of`."""

    @cached_property
    def models(self) -> Models:
        """The folder of checkpoints."""
        return Models.of(self.recipe, self.workspace)

    @cached_property
    def cascade(self) -> Cascade:
        """The recipe's predicates and signals, with the `meta_*` columns that are indexed on first use.

        Raises:
            UserError: for the reasons of `Cascade.of`.
        """
        return Cascade.of(self.recipe, self.models, self.meta(), self.meta_known)

    def meta(self) -> pa.Schema:
        """Returns the `meta_*` columns of all shards that are indexed now."""
        return meta_schema(self.workspace, [corpus.name for corpus in self.recipe.corpora])

    def shards(self) -> list[tuple[str, str]]:
        """Returns the corpus and name of every shard indexed now, in the recipe's order of corpora, then by name."""
        return [(corpus.name, shard) for corpus in self.recipe.corpora for shard in self.workspace.shards(corpus.name)]

    def indexed_shards(self) -> list[tuple[str, str]]:
        """Returns the same as `shards`. Raises UserError if there are none."""
        if shards := self.shards():
            return shards
        raise UserError(f"{self.workspace.root}: nothing is indexed yet; run `curate index RECIPE`")

    def with_captions(self, captions: Captions) -> "Opened":
        """Returns the recipe with another section `captions`, on which no part of the cascade depends."""
        other = Opened(self.recipe.model_copy(update={"captions": captions}), self.workspace, self.meta_known)
        other.models, other.cascade = self.models, self.cascade
        return other


def open_recipe(recipe: Recipe, meta_known: bool = True) -> Opened:
    """Opens a recipe.

    Args:
        recipe: the recipe.
        meta_known: whether the index has run; before that, predicates may name `meta_*` columns yet to come.
    """
    return Opened(recipe, Workspace(recipe.workspace), meta_known)


_kept: dict[str, tuple[Opened, object]] = {}


def opened_in_worker(recipe: Recipe) -> Opened:
    """Opens the recipe of a task; returns the one kept from the last task of this process if nothing has changed."""
    key = recipe.model_dump_json()
    known = _kept.get(key)
    if known is None or known[1] != _made_of(known[0]):
        _kept.clear()
        opened = open_recipe(recipe)
        known = _kept[key] = opened, _made_of(opened)
    return known[0]


def _made_of(opened: Opened) -> tuple[pa.Schema, list[Stamp]]:
    """Returns all that a cascade is made of besides its recipe: the `meta_*` columns, and stamps of the model files."""
    files: list[str] = []
    for signal in opened.cascade.signals.values():
        with suppress(UserError):  # one that is missing is told when it is to be loaded
            files += map(str, signal.files().values())
    return opened.meta(), stamps(files)
