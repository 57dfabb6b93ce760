"""Makes thumbnails of raw images, for the report and for the pages that a server shows."""

import threading
from collections import OrderedDict

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
        self._open: OrderedDict[tuple[str, str], tuple[Source, pa.Table]] = OrderedDict()
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
                data = self._read(corpus, shard, row)
            with self._decoding:
                pixels = fit(decode(data, side), side)
            written, buffer = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        except (RowError, StageError, UserError, OSError, LookupError, pa.ArrowException, cv2.error):
            return None
        return buffer.tobytes() if written else None

    def close(self) -> None:
        """Closes the raw shards that are open."""
        with self._reading:
            for source, _ in self._open.values():
                source.close()
            self._open.clear()

    def _read(self, corpus: str, shard: str, row: int) -> bytes:
        """Reads an image's bytes.

        Raises:
            LookupError: there is no such row.
            RowError: the raw shard has changed since the index.
            OSError: the raw shard cannot be read; other errors are possible.
        """
        source, places = self._shard(corpus, shard)
        if not 0 <= row < places.num_rows:
            raise IndexError(f"{corpus}/{shard} has no row {row}")
        place = places.slice(row, 1).to_pylist()[0]
        return source.image(place)

    def _shard(self, corpus: str, shard: str) -> tuple[Source, pa.Table]:
        """Returns the reader of a shard, and the place of each row, see `Source.image`; the last few are kept."""
        name = (corpus, shard)
        if name not in self._open:
            recipe_corpus = self._corpora[corpus]
            places = pq.read_table(self._workspace.samples(corpus, shard), columns=_PLACE)
            source = open_source(recipe_corpus, shard, raw_path(recipe_corpus, self._workspace, shard))
            self._open[name] = source, places.combine_chunks()
            if len(self._open) > SHARDS_KEPT:
                self._open.popitem(last=False)[1][0].close()
        self._open.move_to_end(name)
        return self._open[name]
