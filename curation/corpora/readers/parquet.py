"""Reads raw shards that are Parquet files with image bytes."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.corpora.captions import caption_of, url_of
from curation.corpora.readers.base import DAMAGED_PARQUET, RawSample, Source, well_formed_texts
from curation.corpora.readers.columns import Columns
from curation.errors import RowError, UserError, in_one_line
from curation.keys import make_key
from curation.texts import decode

_DAMAGED = (*DAMAGED_PARQUET, UserError)
"""Errors that concern this file alone: it is damaged, or it is another table that lies among the shards."""


class ParquetSource(Source):
    """A Parquet file with image bytes in a column: img2dataset's output, or a dataset of the Hugging Face hub."""

    ending = ".parquet"

    def samples(self) -> Iterator[RawSample]:
        """See Source."""
        taken: set[str] = set()
        try:
            with self.fs.open(self.path, "rb") as file:
                parquet = pq.ParquetFile(file)
                names = table_columns(parquet.schema_arrow, self.columns)
                number = 0
                for batch in parquet.iter_batches(batch_size=64, columns=list(names.values())):
                    for row in well_formed_texts(pa.Table.from_batches([batch])).to_pylist():
                        sample = self._sample({use: row[name] for use, name in names.items()}, number)
                        number += 1
                        if sample is None:
                            continue
                        name = make_key("", "", sample.member)
                        if name in taken:
                            sample.error = RowError("duplicate_member", "an earlier row of this shard has the same key")
                        taken.add(name)
                        yield sample
        except _DAMAGED as error:
            self.damage = _told(error)

    def _sample(self, row: dict[str, Any], number: int) -> RawSample | None:
        """Returns the image of a row, given the row's values by use; None if it has no image."""
        data = _bytes(row["image"])
        if data is None:
            self.without_image += 1
            return None
        key = row.get("key")
        key = decode(key) if isinstance(key, bytes) else key
        sample = RawSample(str(number if key is None else key), number, data, row=number)
        sample.caption, sample.note = caption_of(row.get("caption"))
        sample.url = url_of(row.get("url"))
        return sample

    @cached_property
    def table(self) -> pa.Table | None:
        """The shard's columns without the image bytes; None if the file is damaged, which `damage` then says."""
        if self.damage:
            return None
        try:
            with self.fs.open(self.path, "rb") as file:
                parquet = pq.ParquetFile(file)
                used = table_columns(parquet.schema_arrow, self.columns)
                images = {field.name for field in parquet.schema_arrow if _holds_bytes(field.type)}
                if others := sorted(images - set(used.values())):
                    self.notes.append(f"{self.path}: not read, since they hold bytes: {', '.join(others)}")
                names = [name for name in parquet.schema_arrow.names if name not in images]
                return well_formed_texts(parquet.read(columns=names))
        except _DAMAGED as error:
            self.damage = _told(error)
            return None

    def read(self, member: str, offset: int, length: int) -> bytes:
        """See Source. Reads the whole row group that holds the row, and keeps the last row group in memory."""
        try:
            return self._row(offset)
        except _DAMAGED as error:
            if isinstance(error, OSError) and error.errno:  # the file is gone, or the disk is at fault
                raise
            raise OSError(in_one_line(error)) from None

    def _row(self, offset: int) -> bytes:
        parquet = self._parquet()
        first = 0
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if offset < first + rows:
                if self._group != group:
                    column = table_columns(parquet.schema_arrow, self.columns)["image"]
                    self._column = parquet.read_row_group(group, columns=[column]).column(0)
                    self._group = group
                return _bytes(self._column[offset - first].as_py()) or b""  # null: the file has changed since the index
            first += rows
        raise OSError(f"{self.path} has no row {offset}")

    _group: int = -1
    _column: Any = None
    _parquet_file: pq.ParquetFile | None = None

    def _parquet(self) -> pq.ParquetFile:
        if self._parquet_file is None:
            self._parquet_file = pq.ParquetFile(self._file(self.path))
        return self._parquet_file


def table_columns(schema: pa.Schema, columns: Columns) -> dict[str, str]:
    """Returns the table's columns by use: `image`, and those of `key`, `caption` and `url` that there are.

    Raises:
        UserError: there is no column of image bytes.
    """
    images = [field.name for field in schema if _holds_bytes(field.type)]
    image = columns.of(images).get("image")
    if image is None:
        binary = ", ".join(images) or "none"
        hint = "name it by `columns: {image: …}`"
        raise UserError(f"no column of image bytes (jpg, png, webp, image); binary columns: {binary}; {hint}")
    missing = [name for name in columns.given if name not in schema.names]
    if missing:
        raise UserError(f'no column "{missing[0]}", which the recipe names; columns: {", ".join(schema.names)}')
    return columns.of(name for name in schema.names if name != image) | {"image": image}


def _holds_bytes(kind: pa.DataType) -> bool:
    """Returns whether a column may hold image files: bytes, or the hub's struct of `bytes` and `path`."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _bytes(value: Any) -> bytes | None:
    """Returns the bytes of an image from a column's value; None if it has none."""
    return value.get("bytes") if isinstance(value, dict) else value


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"damaged Parquet file: {in_one_line(error)}"
