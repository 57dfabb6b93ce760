"""What all raw shards have in common: samples in order, one image's bytes by place, captions and further columns."""

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

from curation.errors import StageError, in_one_line
from curation.recipe.sections import Corpus

IMAGE_ENDINGS = {"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jfif", "mpo"}
SIDE_ENDINGS = {"txt", "json", "jsonl", "csv", "tsv", "md", "parquet", "yaml", "yml", "npy", "npz", "cls", "pth", "pt"}
"""Endings that never are an image. Anything else gets a row: whether it is one, its bytes say."""
MAX_BYTES = 1 << 30
"""Length above which a file is not read: no picture of the sizes that are decoded is as long."""

DAMAGED_PARQUET = (OSError, pa.ArrowException, UnicodeDecodeError)
"""What the reader raises on files that make no sense."""


@dataclass(slots=True)
class RawSample:
    """One image as it lies in the corpus."""

    member: str
    """Its name within the shard."""
    offset: int
    """Byte offset in a tar, row number in a Parquet file, 0 for a file of its own."""
    data: bytes
    caption: str | None = None
    url: str | None = None
    row: int | None = None
    """Its row in the shard's table (`Source.table`), if there is one that knows it."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Further columns, where they come from a `.json` and not from a table."""
    error: str | None = None
    """Why the bytes could not be had whole, or the row cannot stand; else None."""


class Source(ABC):
    """One raw shard. `members` is set for a plain folder only: the files dealt to this shard, in order."""

    def __init__(self, corpus: Corpus, shard: str, path: str, members: list[str] | None = None) -> None:
        self.corpus, self.shard, self.path, self.members = corpus, shard, path, members
        self.fs, _ = fsspec.core.url_to_fs(corpus.path)
        self.damage: str | None = None
        """Set by `samples` when the shard's container itself is broken: what follows could not be read."""
        self.without_image = 0
        """Rows of the shard's table without an image, because the download failed; counted by `samples`."""
        self._open: dict[str, BinaryIO] = {}

    @property
    def relative_path(self) -> str:
        """Its path within the corpus."""
        root = self.fs._strip_protocol(self.corpus.path).rstrip("/")
        return self.path[len(root) :].lstrip("/")

    def stamp(self) -> list[Any]:
        """Identity of the source as it lies now (names, sizes, times): an unchanged shard is not read again."""
        if self.members is None:
            paths = [self.path, self._table_path()]
            return [self._stat(p) for p in paths if p]
        return [
            [
                m,
                *(self._stat(f"{self.path}/{p}") for p in (m, beside(m, "txt"), beside(m, "json"))),
            ]
            for m in self.members
        ]

    @abstractmethod
    def samples(self) -> Iterator[RawSample]:
        """Every image of the shard, in order."""

    def read(self, member: str, offset: int, length: int) -> bytes:
        """The bytes of one image, by the place that the index noted. Raises OSError."""
        file = self._file(self.path)
        file.seek(offset)
        return file.read(length)

    def close(self) -> None:
        """Closes what `read` opened."""
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
        """img2dataset's table beside the shard, one row a URL; None if there is none. Raises StageError."""
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
        """Row number of each key of the table."""
        return {} if self.table is None else {str(k): i for i, k in enumerate(self.table["key"].to_pylist())}

    @cached_property
    def _texts(self) -> dict[str, list[Any]]:
        """Captions and URLs of the table, by row."""
        if self.table is None:
            return {}
        return {c: self.table[c].to_pylist() for c in ("caption", "url") if c in self.table.column_names}

    def _fill(self, sample: RawSample, key: str, parts: list["Part"]) -> None:
        """Caption (the `.txt`, else the table's, else the `.json`'s), URL, and where the further columns are."""
        sample.row = self._rows.get(key)
        row = _json_row(parts) if sample.row is None else {c: t[sample.row] for c, t in self._texts.items()}
        text = next((p.data for p in parts if p.ending == "txt"), None)
        sample.caption = text.decode("utf-8", "replace").strip() if text is not None else as_text(row.get("caption"))
        sample.url = as_text(row.get("url"))
        if sample.row is None:
            sample.meta = {k: v for k, v in row.items() if k not in ("key", "caption", "url")}


@dataclass(slots=True)
class Part:
    """One member of a sample: its ending, place and bytes."""

    ending: str
    offset: int
    data: bytes
    error: str | None


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
    """The file's length in bytes; 0 for a device, which has no end. Goes back to the start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def bounded(file: BinaryIO, size: int) -> tuple[bytes, str | None]:
    """The next `size` bytes; where they are too many, none and the error."""
    if size > MAX_BYTES:
        return b"", f"too_large: {size:,} bytes; at most {MAX_BYTES:,} are read"
    return file.read(size), None


def well_formed_texts(table: pa.Table) -> pa.Table:
    """The table, its texts read as those of a `.txt`: what is no UTF-8 is replaced. Raises ArrowInvalid in lists."""
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
    """A table's value as text; null stays null."""
    return None if value is None else str(value)


def beside(member: str, ending: str) -> str:
    """The file of the same name with another ending."""
    return str(PurePosixPath(member).with_suffix(f".{ending}"))
