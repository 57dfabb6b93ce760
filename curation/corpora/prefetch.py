"""The images of a shard, read and decoded in the order of scoring: each is read once, and decoded once for each size.

With a GPU, which would otherwise wait, threads decode the next images while it works.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from curation.corpora.readers import Source
from curation.errors import SignalError, StageError
from curation.images import ImageError, Picture


class Pictures:
    """The images of a shard that are being scored, held in memory until they are dropped.

    Args:
        source: the raw shard.
        samples: the shard's samples table; the columns `member`, `offset` and `length` are read.
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
        self._places = samples.select(["member", "offset", "length"]).to_pylist()
        self._held: dict[int, Picture | SignalError] = {}
        self._make = make
        self._made: dict[int, Any] = {}
        self._coming: dict[int, Future[None]] = {}
        self._threads = ThreadPoolExecutor(threads) if threads > 1 else None

    def of(self, row: int, side: int) -> Picture | SignalError:
        """Returns the row's image, decoded for a signal's `side` (pixels), or the error because of which there is none.

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
        """Returns `make` applied to the row's pixels, decoded at `side`, or the error because of which there are none.

        The pixels themselves are not kept. Raises StageError as `of` does.
        """
        found = self.of(row, side)
        return found if isinstance(found, SignalError) else self._made[row]

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
        if isinstance(picture, SignalError) or row in self._made:
            return
        try:
            pixels = picture.bgr(side)
            if self._make is not None:
                self._made[row] = self._make(pixels)
                picture.forget()
        except ImageError as error:
            self._held[row] = SignalError(error.reason, str(error).partition(": ")[2])

    def _read(self, row: int) -> Picture | SignalError:
        place = self._places[row]
        try:
            data = self._source.read(place["member"], place["offset"], place["length"])
        except FileNotFoundError as error:
            if self._source.corpus.format in ("webdataset", "parquet"):  # the whole shard is missing
                raise StageError(f"{self._source.path}: {error.strerror}") from None
            return SignalError("unreadable", "the file is no longer there; run `curate index` again")
        except OSError as error:
            raise StageError(f"{self._source.path}: cannot be read: {error.strerror or error}") from None
        if len(data) != place["length"]:
            return SignalError("unreadable", "the raw shard has changed; run `curate index` again")
        return Picture(data)
