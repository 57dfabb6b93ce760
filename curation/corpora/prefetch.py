"""Reads and decodes the images of a shard in the order of scoring: each is read once, and decoded once for each size.

With a GPU, threads decode the next images while it works, so that it need not wait.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from curation.corpora.readers import Source
from curation.errors import RowError, StageError
from curation.images import ImageError, Picture


class Pictures:
    """The images of a shard that are being scored, held in memory until they are dropped.

    Args:
        source: the raw shard.
        samples: the shard's samples table; the columns `member`, `offset`, `length` and `sha256` are read.
        threads: number of threads that decode ahead; with 1, nothing is decoded ahead.
        make: function applied to an image's pixels on the decoding thread; see `made`.
    """

    def __init__(
        self,
        source: Source,
        samples: pa.Table,
        threads: int = 1,
        make: Callable[[np.ndarray], Any] | None = None,
    ) -> None:
        self._source = source
        self._places = samples.select(["member", "offset", "length", "sha256"]).to_pylist()
        self._held: dict[int, Picture | RowError] = {}
        self._make = make
        self._made: dict[int, Any] = {}
        self._coming: dict[int, Future[None]] = {}
        self._threads = ThreadPoolExecutor(threads) if threads > 1 else None

    def of(self, row: int, side: int) -> Picture | RowError:
        """Returns the row's image, decoded for a signal's `side` (pixels), or the error by which the row has none.

        Raises:
            StageError: the raw shard as a whole cannot be read.
        """
        if coming := self._coming.pop(row, None):
            coming.result()
        if row not in self._held:
            self._held[row] = self._read(row)
        self._decode(row, side)
        return self._held[row]

    def made(self, row: int, side: int) -> Any:
        """Returns the result of `make` for the row's pixels, decoded at `side`; a RowError if the image has none.

        The pixels themselves are not kept. Raises StageError as `of` does.
        """
        picture = self.of(row, side)
        return picture if isinstance(picture, RowError) else self._made[row]

    def ahead(self, rows: Iterable[int], side: int) -> None:
        """Reads the images of these rows now, and lets the threads decode them in the background."""
        if self._threads is None or not side:
            return
        for row in rows:
            if row not in self._held:
                self._held[row] = self._read(row)
                self._coming[row] = self._threads.submit(self._decode, row, side)

    def drop(self, rows: Iterable[int]) -> None:
        """Frees the images of these rows."""
        for row in rows:
            if coming := self._coming.pop(row, None):
                coming.result()
            self._held.pop(row, None)
            self._made.pop(row, None)

    def close(self) -> None:
        """Stops the threads."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _decode(self, row: int, side: int) -> None:
        picture = self._held[row]
        if isinstance(picture, RowError) or row in self._made:
            return
        try:
            pixels = picture.bgr(side)
            if self._make is not None:
                self._made[row] = self._make(pixels)
                picture.forget()
        except ImageError as error:
            self._held[row] = error.with_traceback(None)  # its frames would hold the pixels until the row is dropped

    def _read(self, row: int) -> Picture | RowError:
        place = self._places[row]
        try:
            return Picture(self._source.image(place))
        except RowError as error:
            return error
        except FileNotFoundError as error:
            if self._source.corpus.format not in ("files", "folder"):  # the shard itself: nothing to note on rows
                raise StageError(f"{self._source.path}: {error.strerror}") from None
            return RowError("unreadable", "the file is no longer there; run `curate index` again")
        except OSError as error:
            raise StageError(f"{self._source.path}: cannot be read: {error.strerror or error}") from None
