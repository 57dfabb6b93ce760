"""Base class of the readers of raw shards: samples in order, one image's bytes by place, captions, further columns."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from curation.corpora.captions import caption_of, read_json, text_file, url_of
from curation.corpora.readers.columns import Columns
from curation.corpora.readers.members import Side
from curation.errors import RowError, in_one_line
from curation.recipe.sections import Corpus

_UNREAD = {"ico", "icns", "psd", "svg", "ppm", "pgm", "pbm", "pnm", "j2k", "jp2", "jpx", "sgi", "dds", "blp", "tga",
           "pcx", "fli", "flc", "exr", "hdr", "eps", "xcf", "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2",
           "raf"}  # fmt: skip
"""Endings of images of formats that are not read: they are rows that fail, so that nobody misses them."""
IMAGE_ENDINGS = {"jpg", "jpeg", "png", "apng", "webp", "gif", "bmp", "tif", "tiff", "avif", "avifs", "jfif", "mpo",
                 "heic", "heif", "jxl"} | _UNREAD  # fmt: skip
"""Endings that make a file an image, whatever its bytes are."""
SIDE_ENDINGS = {"txt", "caption", "cap", "json", "jsonl", "csv", "tsv", "md", "parquet", "yaml", "yml", "npy", "npz",
                "cls", "pth", "pt"}  # fmt: skip
"""Endings of files that are expected beside images. Of a file with any other ending, the first bytes decide whether it
is an image; what is none is counted apart."""
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
    note: str | None = None
    """Why there is no caption, or what was changed in it, in a word of `CAPTION_NOTES`; None if nothing was wrong."""


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
        self.notes: list[str] = []
        """Messages about what is wrong beside the images, such as in a table of metadata; set by `samples`."""
        self.others: Counter[str] = Counter()
        """Number of files that are neither images nor belong to one, by ending; counted by `samples`."""
        self._open: dict[str, BinaryIO] = {}

    @property
    def relative_path(self) -> str:
        """The shard's path relative to the corpus's folder."""
        root = self.fs._strip_protocol(self.corpus.path).rstrip("/")
        return self.path[len(root) :].lstrip("/")

    def stamp(self) -> list[Any]:
        """Returns sizes and modification times of the shard's files; a shard with the same stamp is not read again."""
        paths = [self.path, self._table_path()]
        return [self._stat(path) for path in paths if path] + ([self.version] if self.version else [])

    @abstractmethod
    def samples(self) -> Iterator[RawSample]:
        """Yields every image of the shard, in order; the second of two of one name has the error `duplicate_member`.

        A sample's bytes are there when it is yielded. Its other fields may be set only when all samples have been
        yielded, since a caption may stand far behind its image.
        """

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

    def image(self, place: Mapping[str, Any]) -> bytes:
        """Returns the bytes of one image, which are those that the index saw.

        Args:
            place: the image's columns `member`, `offset`, `length` and `sha256` of the samples file.

        Raises:
            RowError: `changed`, if the raw shard has changed since, or is shorter.
            OSError: the shard or file cannot be read.
        """
        data = self.read(place["member"], place["offset"], place["length"])
        if hashlib.sha256(data).hexdigest() != place["sha256"]:
            raise RowError("changed", "changed since the index; run `curate index` and the stages after it again")
        return data

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
        """img2dataset's table beside the shard, one row for each URL; None if there is none, or it is damaged."""
        path = self._table_path()
        if path is None:
            return None
        try:
            with self.fs.open(path, "rb") as file:
                table = well_formed_texts(pq.ParquetFile(file).read(use_threads=False))
        except DAMAGED_PARQUET as error:
            lost = "captions and metadata that only it has are missing"
            self.damage = self.damage or f"{path}: cannot be read: {in_one_line(error)}; {lost}"
            return None
        return table if self.columns.of(table.column_names).get("key") else None

    @cached_property
    def columns(self) -> Columns:
        """The names by which the corpus's tables and JSON files call key, caption and URL."""
        return Columns(self.corpus.columns)

    @cached_property
    def _rows(self) -> dict[str, int]:
        """The table's row number by key."""
        return {str(key): row for row, key in enumerate(self._texts.get("key", []))}

    @cached_property
    def _texts(self) -> dict[str, list[Any]]:
        """The table's columns of keys, captions and URLs, as lists by row."""
        if self.table is None:
            return {}
        names = self.columns.of(self.table.column_names)
        return {use: self.table[name].to_pylist() for use, name in names.items() if use != "image"}

    def _describe(
        self, sample: RawSample, keys: Iterable[str], sides: list[Side], row: dict[str, Any] | None = None
    ) -> str | None:
        """Sets a sample's caption, URL, table row and metadata; returns the key of its row in the table, if it has one.

        The caption is that of its own file, else of the table, else of the JSON.

        Args:
            sample: the sample.
            keys: names by which the table may list it, the likeliest first.
            sides: the texts that belong to it; see `members.sides_of`.
            row: its row in a table of metadata, which counts in place of a JSON; None if it has none.
        """
        key = next((key for key in keys if key in self._rows), None)
        own = next((side.data for side in sides if side.kind == "caption"), None)
        if key is not None:
            sample.row = self._rows[key]
            values = {use: column[sample.row] for use, column in self._texts.items()}
        else:
            if row is None:
                row, sample.note = read_json(next((side.data for side in sides if side.kind == "json"), None))
            names = self.columns.of(row)
            values = {use: row[name] for use, name in names.items()}
            sample.meta = {name: value for name, value in row.items() if name not in names.values()}
        caption, note = text_file(own) if own is not None else caption_of(values.get("caption"))
        sample.caption, sample.note = caption, note or sample.note
        sample.url = url_of(values.get("url"))
        return key


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


def _without_views(kind: pa.DataType) -> pa.DataType:
    """Returns a type whose views of text and bytes are plain: few of Arrow's functions take views."""
    if pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(kind) else kind


def well_formed_texts(table: pa.Table) -> pa.Table:
    """Returns the table with invalid UTF-8 in its text columns replaced, as in a `.txt`.

    Raises:
        pa.ArrowInvalid: a column other than plain text, such as a list of texts, holds invalid UTF-8.
    """
    for at, column in enumerate(table.schema):
        if (kind := _without_views(column.type)) != column.type:
            table = table.set_column(at, column.name, table.column(at).cast(kind))
            column = table.schema.field(at)
        try:
            table.column(at).validate(full=True)
        except pa.ArrowInvalid:
            if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
                raise
            values = table.column(at).cast(pa.large_binary()).to_pylist()
            texts = [None if v is None else v.decode("utf-8", "replace") for v in values]
            table = table.set_column(at, column, pa.array(texts, column.type))
    return table
