"""Base class of the readers of raw shards: samples in order, one image's bytes by place, captions, further columns."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import RowError, StageError, in_one_line
from curation.recipe.sections import Corpus

IMAGE_ENDINGS = {"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jfif", "mpo"}
SIDE_ENDINGS = {"txt", "json", "jsonl", "csv", "tsv", "md", "parquet", "yaml", "yml", "npy", "npz", "cls", "pth", "pt"}
"""Endings of files that are no images. Any other file gets a row, and its bytes decide whether it is an image."""
GONE = "gone"
"""Reason for which a row of a listed file that no longer exists has no image; any other reason is a failure."""
MAX_BYTES = 1 << 30
"""Size in bytes above which a file is not read: no image within the limits of decoding is as large."""

DAMAGED_PARQUET = (OSError, pa.ArrowException, UnicodeDecodeError)
"""Exceptions that pyarrow raises on a damaged Parquet file."""


@dataclass(slots=True)
class RawSample:
    """One image as stored in the corpus, with the caption and metadata that belong to it."""

    member: str
    """The image's name within the shard."""
    offset: int
    """Byte offset in a tar, row number in a Parquet file, 0 for a file of its own."""
    data: bytes
    caption: str | None = None
    url: str | None = None
    row: int | None = None
    """The image's row in the shard's table (`Source.table`); None if no table lists it."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Further columns, if they come from a `.json` file and not from the table."""
    error: RowError | None = None
    """The error by which the row fails, because its bytes are incomplete or its name is taken; None if it is good."""


class Source(ABC):
    """The reader of one raw shard.

    Args:
        corpus: the corpus.
        shard: the shard's name.
        path: the shard's file or folder, as fsspec names it.
        members: for the formats `folder` and `files`, the shard's files in order, relative to `path`; None otherwise.

    Attributes:
        name: the name of a user's own reader: that of its file, and the corpus's `format` in the recipe.
        version: an integer of a user's own reader, raised when it reads other samples from the same file.
        ending: the ending of the names of files each of which is a shard, such as ".tar".
    """

    name: str = ""
    version: int = 0
    ending: str = ""

    def __init__(self, corpus: Corpus, shard: str, path: str, members: list[str] | None = None) -> None:
        self.corpus, self.shard, self.path, self.members = corpus, shard, path, members
        self.fs, _ = fsspec.core.url_to_fs(corpus.path)
        self.damage: str | None = None
        """The damage in the shard's file, behind which nothing can be read; None if it has none. Set by `samples`."""
        self.without_image = 0
        """Number of rows of the shard's table without an image, because the download failed; counted by `samples`."""
        self._open: dict[str, BinaryIO] = {}

    @property
    def relative_path(self) -> str:
        """The shard's path relative to the corpus's folder."""
        root = self.fs._strip_protocol(self.corpus.path).rstrip("/")
        return self.path[len(root) :].lstrip("/")

    def stamp(self) -> list[Any]:
        """Returns sizes and modification times of the shard's files; a shard with the same stamp is not read again."""
        if self.members is None:
            paths = [self.path, self._table_path()]
            return [self._stat(p) for p in paths if p] + ([self.version] if self.version else [])
        return [
            [
                m,
                *(self._stat(f"{self.path}/{p}") for p in (m, beside(m, "txt"), beside(m, "json"))),
            ]
            for m in self.members
        ]

    @abstractmethod
    def samples(self) -> Iterator[RawSample]:
        """Yields every image of the shard, in order; the second of two of one name has the error `duplicate_member`."""

    def read(self, member: str, offset: int, length: int) -> bytes:
        """Returns the bytes of one image from the place that the index recorded.

        Args:
            member: the image's name within the shard.
            offset: byte offset in a tar, row number in a Parquet file; unused for files of their own.
            length: number of bytes.

        Raises:
            OSError: the shard or file cannot be read.
        """
        file = self._file(self.path)
        file.seek(offset)
        return file.read(length)

    def close(self) -> None:
        """Closes the files that `read` opened."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _file(self, path: str) -> BinaryIO:
        if path not in self._open:
            self._open[path] = self.fs.open(path, "rb")
        return self._open[path]

    def _stat(self, path: str) -> list[Any] | None:
        try:
            info = self.fs.info(path)
        except FileNotFoundError:
            return None
        return [info["size"], str(info.get("mtime") or info.get("ETag") or info.get("LastModified"))]

    def _table_path(self) -> str | None:
        if self.corpus.format == "folder":
            return None
        path = f"{os.path.dirname(self.path)}/{self.shard}.parquet"
        return path if path != self.path and self.fs.exists(path) else None

    @cached_property
    def table(self) -> pa.Table | None:
        """img2dataset's table beside the shard, one row for each URL; None if there is none. Raises StageError."""
        path = self._table_path()
        if path is None:
            return None
        try:
            with self.fs.open(path, "rb") as file:
                table = well_formed_texts(pq.ParquetFile(file).read(use_threads=False))
        except DAMAGED_PARQUET as error:
            raise StageError(f"{path}: cannot be read: {in_one_line(error)}") from None
        return table if "key" in table.column_names else None

    @cached_property
    def _rows(self) -> dict[str, int]:
        """The table's row number by key."""
        return {} if self.table is None else {str(k): i for i, k in enumerate(self.table["key"].to_pylist())}

    @cached_property
    def _texts(self) -> dict[str, list[Any]]:
        """The table's columns `caption` and `url`, as lists by row."""
        if self.table is None:
            return {}
        return {c: self.table[c].to_pylist() for c in ("caption", "url") if c in self.table.column_names}

    def _fill(self, sample: RawSample, key: str, parts: list["Part"]) -> None:
        """Sets a sample's caption (of the `.txt`, else the table, else the `.json`), URL, table row and metadata."""
        sample.row = self._rows.get(key)
        row = _json_row(parts) if sample.row is None else {c: t[sample.row] for c, t in self._texts.items()}
        text = next((p.data for p in parts if p.ending == "txt"), None)
        sample.caption = text.decode("utf-8", "replace").strip() if text is not None else as_text(row.get("caption"))
        sample.url = as_text(row.get("url"))
        if sample.row is None:
            sample.meta = {k: v for k, v in row.items() if k not in ("key", "caption", "url")}


@dataclass(slots=True)
class Part:
    """One file of a sample, such as its image or its `.txt`: ending, place, bytes and reading error."""

    ending: str
    offset: int
    data: bytes
    error: RowError | None


def _json_row(parts: list[Part]) -> dict[str, Any]:
    for part in parts:
        if part.ending == "json":
            try:
                row = json.loads(part.data)
            except (ValueError, RecursionError):
                return {}
            return row if isinstance(row, dict) else {}
    return {}


def size_of(file: BinaryIO) -> int:
    """Returns the file's length in bytes (0 for a device, which has no end) and moves back to the start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def bounded(file: BinaryIO, size: int) -> tuple[bytes, RowError | None]:
    """Reads the next `size` bytes; above `MAX_BYTES` it reads none and returns the error instead."""
    if size > MAX_BYTES:
        return b"", RowError("too_large", f"{size:,} bytes; at most {MAX_BYTES:,} are read")
    return file.read(size), None


def well_formed_texts(table: pa.Table) -> pa.Table:
    """Returns the table with invalid UTF-8 in its text columns replaced, as in a `.txt`.

    Raises:
        pa.ArrowInvalid: a column other than plain text, such as a list of texts, holds invalid UTF-8.
    """
    for at, column in enumerate(table.schema):
        try:
            table.column(at).validate(full=True)
        except pa.ArrowInvalid:
            if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
                raise
            values = table.column(at).cast(pa.large_binary()).to_pylist()
            texts = [None if v is None else v.decode("utf-8", "replace") for v in values]
            table = table.set_column(at, column, pa.array(texts, column.type))
    return table


def as_text(value: Any) -> str | None:
    """Converts a table's value to text; null stays None."""
    return None if value is None else str(value)


def beside(member: str, ending: str) -> str:
    """Returns the path with another ending: `a.jpg` and `txt` give `a.txt`."""
    return str(PurePosixPath(member).with_suffix(f".{ending}"))
