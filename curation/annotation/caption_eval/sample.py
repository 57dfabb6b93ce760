"""Draws the images whose captions are compared: a sample of the kept images that does not depend on the sharding."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from curation.counts import counted
from curation.errors import UserError
from curation.keys import key_hash
from curation.recipe.sections import Corpus
from curation.scoring.opened import Opened
from curation.selection.kept import kept_rows
from curation.workspace.files import read_table

SALT = "caption-eval"


@dataclass(frozen=True, slots=True)
class ShardSample:
    """The images of the sample that lie in one raw shard."""

    corpus: Corpus
    shard: str
    rows: tuple[int, ...]
    """Row numbers of the images within the shard, ascending."""
    keys: tuple[str, ...]
    """Keys of the images, in the order of `rows`."""
    sources: tuple[str, ...]
    """Source of each image in the selection (see `kept_rows`); images of the text-rich subset get another prompt."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The images of an evaluation, drawn from those that the selection keeps."""

    keys: list[str]
    """Keys of the images, in the order of their hashes."""
    parts: list[ShardSample]
    asked: int
    """Number of images that the recipe asks for."""
    kept: int
    """Number of images that the selection keeps."""

    @property
    def notices(self) -> list[str]:
        """Notices for the user: one if fewer images are kept than the recipe asks for."""
        if self.asked <= self.kept:
            return []
        return [
            f"caption_eval.sample asks for {counted(self.asked, 'images')}, kept: {self.kept:,}; all of them are taken"
        ]


def draw(opened: Opened) -> Sample:
    """Draws the kept images with the lowest hashes: as many as the recipe asks for, or all if there are fewer.

    Raises:
        UserError: nothing is indexed, or no image is kept.
        StageError: a shard has no selection, or a selection made by other rules.
    """
    recipe, shards = opened.recipe, opened.indexed_shards()
    drawn = heapq.nsmallest(recipe.caption_eval.sample, counted := _Counted(_kept(opened, shards)))
    if not drawn:
        raise UserError(
            f"{opened.workspace.root}: the selection keeps no image; loosen `select` and run `curate select RECIPE`"
        )
    by_shard: dict[tuple[int, str], list[tuple[int, str, str]]] = {}
    for _hash, key, corpus, shard, row, source in drawn:
        by_shard.setdefault((corpus, shard), []).append((row, key, source))
    parts = []
    for (corpus, shard), rows in sorted(by_shard.items()):
        numbers, keys, sources = zip(*sorted(rows), strict=True)
        parts.append(ShardSample(recipe.corpora[corpus], shard, numbers, keys, sources))
    return Sample([key for _hash, key, *_ in drawn], parts, recipe.caption_eval.sample, counted.count)


Kept = tuple[int, str, int, str, int, str]
"""Hash, key, number of the corpus, shard, row, and source of a kept image."""


def _kept(opened: Opened, shards: list[tuple[str, str]]) -> Iterator[Kept]:
    numbers = {corpus.name: number for number, corpus in enumerate(opened.recipe.corpora)}
    for corpus, shard in shards:
        samples = read_table(opened.workspace.samples(corpus, shard), columns=["key"])
        sources = kept_rows(opened, corpus, shard, samples)
        for row, (key, source) in enumerate(zip(samples["key"].to_pylist(), sources, strict=True)):
            if source is not None:
                yield key_hash(key, SALT), key, numbers[corpus], shard, row, source


class _Counted:
    """An iterator that counts the items taken from it."""

    def __init__(self, items: Iterator[Kept]) -> None:
        self.items, self.count = items, 0

    def __iter__(self) -> Iterator[Kept]:
        for item in self.items:
            self.count += 1
            yield item
