"""Reading raw shards: every sample in order, and one image's bytes by place.

Shards are read as they lie, never unpacked or rewritten.
"""

import json
import os
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import StageError, UserError
from curation.keys import make_key, well_formed
from curation.recipe import Corpus

IMAGE_ENDINGS = {"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jfif", "mpo"}
SIDE_ENDINGS = {"txt", "json", "jsonl", "csv", "tsv", "md", "parquet", "yaml", "yml", "npy", "npz", "cls", "pth", "pt"}
"""Endings that never are an image. Anything else gets a row: whether it is one, its bytes say."""
MAX_BYTES = 1 << 30
"""Length above which a file is not read: no picture of the sizes that are decoded is as long."""

_DAMAGED_TAR = (tarfile.TarError, EOFError, ValueError, ArithmeticError, MemoryError, RecursionError)
_DAMAGED_PARQUET = (OSError, pa.ArrowException, UnicodeDecodeError)
"""What the two readers raise on headers that make no sense."""


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
                *(self._stat(f"{self.path}/{p}") for p in (m, _beside(m, "txt"), _beside(m, "json"))),
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
                table = _well_formed_texts(pq.read_table(file))
        except _DAMAGED_PARQUET as error:
            raise StageError(f"{path}: cannot be read: {_line(error)}") from None
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

    def _fill(self, sample: RawSample, key: str, parts: list["_Part"]) -> None:
        """Caption (the `.txt`, else the table's, else the `.json`'s), URL, and where the further columns are."""
        sample.row = self._rows.get(key)
        row = _json_row(parts) if sample.row is None else {c: t[sample.row] for c, t in self._texts.items()}
        text = next((p.data for p in parts if p.ending == "txt"), None)
        sample.caption = text.decode("utf-8", "replace").strip() if text is not None else _text(row.get("caption"))
        sample.url = _text(row.get("url"))
        if sample.row is None:
            sample.meta = {k: v for k, v in row.items() if k not in ("key", "caption", "url")}


class TarSource(Source):
    """A webdataset tar: members with one base name up to the first dot are one sample."""

    def samples(self) -> Iterator[RawSample]:
        """See Source."""
        seen: set[str] = set()
        names: set[str] = set()
        with self.fs.open(self.path, "rb") as file:
            for member, parts in self._groups(file):
                for sample in _images_of(member, parts):
                    self._fill(sample, member, parts)
                    name = make_key("", "", member)
                    if sample.error is None and name in names:
                        sample.error = "duplicate_member: an earlier member of this shard has the same name"
                    names.add(name)
                    seen.add(member)
                    yield sample
        self.without_image = len(self._rows.keys() - seen)

    def _groups(self, file: BinaryIO) -> Iterator[tuple[str, list["_Part"]]]:
        group: str | None = None
        parts: list[_Part] = []
        for name, offset, data, error in self._members(file):
            folder, _, base = name.rpartition("/")
            stem, _, ending = base.partition(".")
            key = well_formed(f"{folder}/{stem}" if folder else stem)
            if key != group and parts and group is not None:
                yield group, parts
                parts = []
            group = key
            parts.append(_Part(ending.lower(), offset, data, error))
        if parts and group is not None:
            yield group, parts

    def _members(self, file: BinaryIO) -> Iterator[tuple[str, int, bytes, str | None]]:
        """Name, offset of the data, data and error of each regular member."""
        end = _size(file)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # else every header of a shard stays in memory
                    if not info.isreg() or info.name.rpartition("/")[2].startswith("."):
                        continue  # folders, links, hidden files such as the "._" ones of macOS
                    if info.issparse():
                        yield info.name, info.offset_data, b"", "unreadable: stored as a sparse file"
                        continue
                    if info.offset_data + info.size > end:
                        yield info.name, min(info.offset_data, end), b"", "truncated: the tar ends within this file"
                        self.damage = f"the tar ends early, within {info.name}"
                        return
                    file.seek(info.offset_data)
                    data, error = _bounded(file, info.size)
                    yield info.name, info.offset_data, data, error
                self.damage = _end_of_tar(file, tar.offset)
        except _DAMAGED_TAR as error:
            self.damage = f"damaged tar: {_line(error)}"


class ParquetSource(Source):
    """img2dataset's Parquet output: one row an image, its bytes in a column named after the format."""

    def samples(self) -> Iterator[RawSample]:
        """See Source."""
        seen: set[str] = set()
        try:
            with self.fs.open(self.path, "rb") as file:
                parquet = pq.ParquetFile(file)
                column = image_column(parquet.schema_arrow)
                number = 0
                texts = [c for c in ("key", "caption", "url") if c in parquet.schema_arrow.names]
                for batch in parquet.iter_batches(batch_size=64, columns=[column, *texts]):
                    for row in _well_formed_texts(pa.Table.from_batches([batch])).to_pylist():
                        sample = self._sample(row, number, column)
                        number += 1
                        if sample is None:
                            continue
                        name = make_key("", "", sample.member)
                        if name in seen:
                            sample.error = "duplicate_member: an earlier row of this shard has the same key"
                        seen.add(name)
                        yield sample
        except _DAMAGED_PARQUET as error:
            self.damage = f"damaged Parquet file: {_line(error)}"

    def _sample(self, row: dict[str, Any], number: int, column: str) -> RawSample | None:
        data = row.pop(column)
        if data is None:
            self.without_image += 1
            return None
        key = row.get("key")
        sample = RawSample(str(number if key is None else key), number, data)
        sample.caption, sample.url = _text(row.get("caption")), _text(row.get("url"))
        sample.row = number
        return sample

    @cached_property
    def table(self) -> pa.Table | None:
        """The shard's own columns, without the image bytes; None if the file is damaged, which is then noted."""
        if self.damage:
            return None
        try:
            with self.fs.open(self.path, "rb") as file:
                parquet = pq.ParquetFile(file)
                image = image_column(parquet.schema_arrow)
                return _well_formed_texts(parquet.read(columns=[c for c in parquet.schema_arrow.names if c != image]))
        except _DAMAGED_PARQUET as error:
            self.damage = f"damaged Parquet file: {_line(error)}"
            return None

    def read(self, member: str, offset: int, length: int) -> bytes:
        """See Source. Reads the row group that holds the row, and keeps the last one read."""
        try:
            return self._row(offset)
        except _DAMAGED_PARQUET as error:
            if isinstance(error, OSError) and error.errno:  # the file is gone, or the disk is at fault
                raise
            raise OSError(_line(error)) from None

    def _row(self, offset: int) -> bytes:
        parquet = self._parquet()
        first = 0
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if offset < first + rows:
                if self._group != group:
                    column = image_column(parquet.schema_arrow)
                    self._column = parquet.read_row_group(group, columns=[column]).column(0)
                    self._group = group
                return self._column[offset - first].as_py() or b""  # null: the file has changed since the index
            first += rows
        raise OSError(f"{self.path} has no row {offset}")

    _group: int = -1
    _column: Any = None
    _parquet_file: pq.ParquetFile | None = None

    def _parquet(self) -> pq.ParquetFile:
        if self._parquet_file is None:
            self._parquet_file = pq.ParquetFile(self._file(self.path))
        return self._parquet_file


class FolderSource(Source):
    """Files of their own: a shard of a plain folder, or one folder of img2dataset's `files` output."""

    def samples(self) -> Iterator[RawSample]:
        """See Source. A file that is gone gives a sample with no bytes and the error `gone`."""
        seen: set[str] = set()
        names: set[str] = set()
        for member in self.members or []:
            path = f"{self.path}/{member}"
            try:
                with self.fs.open(path, "rb") as file:
                    data, error = _bounded(file, _size(file))
            except FileNotFoundError:
                bad_name = "\ufffd" in member  # what stands for bytes that are not UTF-8: the listing cannot hold them
                says = "bad_name: the file's name is not UTF-8" if bad_name else "gone: the file is no longer there"
                yield RawSample(member, 0, b"", error=says)
                continue
            except OSError as failure:
                yield RawSample(member, 0, b"", error=f"unreadable: {failure.strerror or failure}")
                continue
            sample = RawSample(member, 0, data, error=error)
            self._fill(sample, PurePosixPath(member).stem, self._side_parts(member))
            name = make_key("", "", member)
            if name in names:
                sample.error = "duplicate_member: an earlier file has the same name but for its Unicode form"
            names.add(name)
            seen.add(PurePosixPath(member).stem)
            yield sample
        self.without_image = len(self._rows.keys() - seen)

    def read(self, member: str, offset: int, length: int) -> bytes:
        """See Source."""
        with self.fs.open(f"{self.path}/{member}", "rb") as file:
            return file.read()

    def _side_parts(self, member: str) -> list["_Part"]:
        """The `.txt` and, where there is no table, the `.json` of the same name."""
        parts = []
        for ending in ("txt", "json") if self.table is None else ("txt",):
            try:
                with self.fs.open(f"{self.path}/{_beside(member, ending)}", "rb") as file:
                    parts.append(_Part(ending, 0, _bounded(file, _size(file))[0], None))
            except (FileNotFoundError, IsADirectoryError):
                continue
        return parts


@dataclass(slots=True)
class _Part:
    """One member of a sample: its ending, place and bytes."""

    ending: str
    offset: int
    data: bytes
    error: str | None


def image_column(schema: pa.Schema) -> str:
    """The column that holds image bytes. Raises UserError if there is none."""
    binary = [f.name for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
    for name in binary:
        if name in IMAGE_ENDINGS or name in ("image", "bytes"):
            return name
    raise UserError(f"no column of image bytes (jpg, png, webp, image); binary columns: {', '.join(binary) or 'none'}")


def _images_of(member: str, parts: list[_Part]) -> list[RawSample]:
    """The image of a group of members, by its ending; a second one of the same ending is a name used twice."""
    images = [p for p in parts if p.ending in IMAGE_ENDINGS]
    images = images or [p for p in parts if p.ending.rpartition(".")[2] not in SIDE_ENDINGS]
    endings = {images[0].ending} if images and images[0].ending in IMAGE_ENDINGS else {p.ending for p in images}
    return [RawSample(member, p.offset, p.data, error=p.error) for p in images if p.ending in endings]


def _json_row(parts: list[_Part]) -> dict[str, Any]:
    for part in parts:
        if part.ending == "json":
            try:
                row = json.loads(part.data)
            except (ValueError, RecursionError):
                return {}
            return row if isinstance(row, dict) else {}
    return {}


def _end_of_tar(file: BinaryIO, offset: int) -> str | None:
    """What is wrong with the end of a tar: tarfile takes a damaged header in its middle for the end."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        return "the tar ends early, without its end mark"
    return None if not block.strip(b"\0") else f"damaged tar: unreadable header at byte {offset}"


def _size(file: BinaryIO) -> int:
    """The file's length in bytes; 0 for a device, which has no end. Goes back to the start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _bounded(file: BinaryIO, size: int) -> tuple[bytes, str | None]:
    """The next `size` bytes; where they are too many, none and the error."""
    if size > MAX_BYTES:
        return b"", f"too_large: {size:,} bytes; at most {MAX_BYTES:,} are read"
    return file.read(size), None


def _well_formed_texts(table: pa.Table) -> pa.Table:
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


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _beside(member: str, ending: str) -> str:
    """The file of the same name with another ending."""
    return str(PurePosixPath(member).with_suffix(f".{ending}"))
