"""Makes thumbnails of raw images, for the report and for the pages that a server shows."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from curation.corpora.listing import open_source
from curation.corpora.readers import Source
from curation.corpora.samples import raw_path
from curation.errors import RowError, StageError, UserError
from curation.images import decode, fit
from curation.recipe import Recipe
from curation.workspace import Workspace

QUALITY = 70
"""JPEG quality, 0..100."""
SHARDS_KEPT = 8
"""Number of shards that stay open, with the places of their rows in memory."""
DECODED_AT_ONCE = 2
"""Number of images decoded at once: one that cannot be decoded at a reduced size takes up to 200 MB for a moment."""
_PLACE = ["member", "offset", "length", "sha256"]


class Thumbnails:
    """Makes thumbnails of raw images, whose bytes it reads from the place that the index recorded. Thread-safe."""

    def __init__(self, recipe: Recipe, workspace: Workspace) -> None:
        self._corpora = {corpus.name: corpus for corpus in recipe.corpora}
        self._workspace = workspace
        self._sources: OrderedDict[tuple[str, str], Source] = OrderedDict()
        self._places: OrderedDict[tuple[str, str], pa.Table] = OrderedDict()
        self._reading = threading.Lock()
        self._decoding = threading.BoundedSemaphore(DECODED_AT_ONCE)

    def jpeg(self, corpus: str, shard: str, row: int, side: int = 160) -> bytes | None:
        """Returns one image as a JPEG without metadata, upright, its long side at most `side` pixels.

        Args:
            corpus: the corpus's name.
            shard: the shard's name.
            row: the image's row in the shard's samples file, from 0.
            side: pixels.

        Returns:
            The bytes of the JPEG; None if there is no such row, or if the image can no longer be read or decoded.
        """
        try:
            with self._reading:
                place = self._place(corpus, shard, row)
            return self.picture(corpus, shard, place, side)
        except (RowError, StageError, UserError, OSError, LookupError, pa.ArrowException, cv2.error):
            return None

    def picture(self, corpus: str, shard: str, place: Mapping[str, Any], side: int, quality: int = QUALITY) -> bytes:
        """Returns one image as a JPEG without metadata, upright, its long side at most `side` pixels.

        Args:
            corpus, shard: the raw shard.
            place: where the image lies in it; see `Source.image`.
            side: pixels.
            quality: JPEG quality, 0..100.

        Raises:
            RowError: the raw shard has changed since the index, or the image cannot be decoded.
            OSError: the raw shard cannot be read.
            LookupError: the recipe has no such corpus.
            UserError, StageError, cv2.error: for the reasons of the corpus's reader and of OpenCV.
        """
        with self._reading:
            data = self._source(corpus, shard).image(place)
        with self._decoding:
            return jpeg_of(data, side, quality)

    def close(self) -> None:
        """Closes the raw shards that are open."""
        with self._reading:
            for source in self._sources.values():
                source.close()
            self._sources.clear()

    def _place(self, corpus: str, shard: str, row: int) -> dict[str, Any]:
        """Returns the place of an image; those of the last few shards are kept. Raises LookupError for no such row."""
        name = (corpus, shard)
        if name not in self._places:
            places = pq.read_table(self._workspace.samples(corpus, shard), columns=_PLACE)
            self._places[name] = places.combine_chunks()
            if len(self._places) > SHARDS_KEPT:
                self._places.popitem(last=False)
        self._places.move_to_end(name)
        if not 0 <= row < self._places[name].num_rows:
            raise IndexError(f"{corpus}/{shard} has no row {row}")
        return dict(self._places[name].slice(row, 1).to_pylist()[0])

    def _source(self, corpus: str, shard: str) -> Source:
        """Returns the reader of a shard; the last few stay open."""
        name = (corpus, shard)
        if name not in self._sources:
            recipe_corpus = self._corpora[corpus]
            raw = raw_path(recipe_corpus, self._workspace, shard)
            self._sources[name] = open_source(recipe_corpus, shard, raw)
            if len(self._sources) > SHARDS_KEPT:
                self._sources.popitem(last=False)[1].close()
        self._sources.move_to_end(name)
        return self._sources[name]


def jpeg_of(data: bytes, side: int, quality: int = QUALITY) -> bytes:
    """Encodes an image anew as a JPEG without metadata, upright, its long side at most `side` pixels.

    Raises:
        ImageError: as in `curation.images.decode`.
        cv2.error: it cannot be encoded.
    """
    pixels = fit(decode(data, side), side)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())
