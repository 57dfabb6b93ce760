"""Pictures of the page: they are chosen first, then all loaded shard by shard, within a limit of bytes."""

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq

from curation.corpora.thumbnails import Thumbnails
from curation.scoring.opened import Opened

SIDE = 144
"""Long side of a thumbnail in pixels."""
MOST_BYTES = 7_000_000
"""Limit in bytes for all thumbnails together, before base64 makes them a third larger."""


@dataclass
class ShownPicture:
    """One picture and the text below it."""

    index: int | None
    """The row's index in `Fates`; None for a picture that is not in the corpus."""
    columns: tuple[str, ...] = ()
    """Columns whose values are shown below the picture."""
    note: str = ""
    """A remark shown below the picture."""
    key: str = ""
    values: dict[str, str] = field(default_factory=dict)
    source: str | None = None
    """The thumbnail as a data URI; None if there is no thumbnail."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The values of `FACTS` in the samples file."""


FACTS = ("caption", "width", "height", "status", "error")
"""Columns of the samples file that are shown with a picture."""


@dataclass
class Sheet:
    """A sheet that shows some of many pictures."""

    title: str
    pictures: list[ShownPicture]
    total: int
    """Number of pictures from which these were chosen."""


class Gallery:
    """Collects pictures of rows, and loads all of them at the end.

    Args:
        opened: recipe and workspace.
        shards: corpus and name of each shard.
        files: path of each shard's wide file.
        place: returns, for the index of a row, the number of its shard, and the row's number within the shard.
    """

    def __init__(
        self, opened: Opened, shards: list[tuple[str, str]], files: list[str], place: Callable[[int], tuple[int, int]]
    ) -> None:
        self._opened, self._shards, self._files, self._place = opened, shards, files, place
        self._made: list[ShownPicture] = []
        self.left_out = 0
        """Number of pictures left out because the page would have grown too large."""

    def picture(self, index: int | None, columns: Sequence[str] = (), note: str = "", key: str = "") -> ShownPicture:
        """Adds a picture, which `load` fills in, and returns it."""
        made = ShownPicture(index, tuple(columns), note, key)
        self._made.append(made)
        return made

    def sheet(self, title: str, indices: Sequence[int], total: int, columns: Sequence[str] = ()) -> Sheet:
        """Adds a picture for each of these rows, and returns them as a sheet."""
        return Sheet(title, [self.picture(index, columns) for index in indices], total)

    def load(self) -> None:
        """Fills in keys, values and thumbnails of all pictures."""
        sources: dict[int, str | None] = {}
        thumbnails = Thumbnails(self._opened.recipe, self._opened.workspace)
        used = 0
        try:
            for shard, pictures in self._by_shard():
                self._fill(shard, pictures)
                for picture in pictures:
                    index = picture.index or 0
                    if index not in sources:
                        row = self._place(index)[1]
                        data = thumbnails.jpeg(*self._shards[shard], row, SIDE)
                        sources[index] = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" if data else None
                    used += len(sources[index] or "") * 3 // 4
                    picture.source = sources[index] if used <= MOST_BYTES else None
                    self.left_out += used > MOST_BYTES
        finally:
            thumbnails.close()

    def _by_shard(self) -> Iterator[tuple[int, list[ShownPicture]]]:
        def shard(picture: ShownPicture) -> int:
            return self._place(picture.index or 0)[0]

        pictures_of_rows = sorted((p for p in self._made if p.index is not None), key=lambda p: p.index or 0)
        for number, pictures in groupby(pictures_of_rows, shard):
            yield number, list(pictures)

    def _fill(self, shard: int, pictures: list[ShownPicture]) -> None:
        rows = [self._place(p.index or 0)[1] for p in pictures]
        columns = sorted({c for p in pictures for c in p.columns})
        wide = pq.read_table(self._files[shard], columns=["key", *columns]).take(rows).to_pylist()
        path = self._opened.workspace.samples(*self._shards[shard])
        samples = pq.read_table(path, columns=list(FACTS)).take(rows).to_pylist()
        for picture, values, facts in zip(pictures, wide, samples, strict=True):
            picture.key, picture.facts = values["key"], facts
            picture.values = {c: value_text(values[c]) for c in picture.columns}


def value_text(value: Any) -> str:
    """Formats a column's value for people, without rounding it across a nearby threshold."""
    if value is None:
        return "not known"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}".rstrip("0").rstrip(".")
