"""Small pictures of raw images, for people to look at: for the report, and for pages that a server shows."""

import threading
from collections import OrderedDict

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from curation.corpora.listing import open_source
from curation.corpora.readers import Source
from curation.corpora.samples import raw_path
from curation.errors import StageError, UserError
from curation.images import ImageError, decode, fit
from curation.recipe import Recipe
from curation.workspace import Workspace

QUALITY = 70
"""JPEG quality, 0..100."""
SHARDS_KEPT = 8
"""Shards whose source stays open, and whose rows' places stay in memory."""
DECODED_AT_ONCE = 2
"""A picture that has no reduced decode takes up to 200 MB for a moment."""


class Thumbnails:
    """Small JPEGs of raw images, read by the place that the index noted. May be used by several threads."""

    def __init__(self, recipe: Recipe, workspace: Workspace) -> None:
        self._corpora = {corpus.name: corpus for corpus in recipe.corpora}
        self._workspace = workspace
        self._open: OrderedDict[tuple[str, str], tuple[Source, pa.Table]] = OrderedDict()
        self._reading = threading.Lock()
        self._decoding = threading.BoundedSemaphore(DECODED_AT_ONCE)

    def jpeg(self, corpus: str, shard: str, row: int, side: int = 160) -> bytes | None:
        """One image as a JPEG without metadata, upright, its long side at most `side` pixels.

        Args:
            row: its row in the shard's samples file, from 0.

        Returns:
            None if there is no such row, or if the image can no longer be read, or not be decoded.
        """
        try:
            with self._reading:
                data = self._read(corpus, shard, row)
            with self._decoding:
                pixels = fit(decode(data, side), side)
            written, buffer = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        except (ImageError, StageError, UserError, OSError, LookupError, pa.ArrowException, cv2.error):
            return None
        return buffer.tobytes() if written else None

    def close(self) -> None:
        """Closes the raw shards that are open."""
        with self._reading:
            for source, _ in self._open.values():
                source.close()
            self._open.clear()

    def _read(self, corpus: str, shard: str, row: int) -> bytes:
        """The image's bytes. Raises LookupError (no such row), ImageError (others lie there now), OSError and more."""
        source, places = self._shard(corpus, shard)
        if not 0 <= row < places.num_rows:
            raise IndexError(f"{corpus}/{shard} has no row {row}")
        place = places.slice(row, 1).to_pylist()[0]
        data = source.read(place["member"], place["offset"], place["length"])
        if len(data) != place["length"]:
            raise ImageError("unreadable", "the raw shard has changed since the index")
        return data

    def _shard(self, corpus: str, shard: str) -> tuple[Source, pa.Table]:
        """The source of a shard and the places of its rows."""
        name = (corpus, shard)
        if name not in self._open:
            given = self._corpora[corpus]
            places = pq.read_table(self._workspace.samples(corpus, shard), columns=["member", "offset", "length"])
            source = open_source(given, shard, raw_path(given, self._workspace, shard))
            self._open[name] = source, places.combine_chunks()
            if len(self._open) > SHARDS_KEPT:
                self._open.popitem(last=False)[1][0].close()
        self._open.move_to_end(name)
        return self._open[name]
