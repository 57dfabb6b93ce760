"""Reads raw shards that are Parquet files with image bytes."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.corpora.readers.base import DAMAGED_PARQUET, IMAGE_ENDINGS, RawSample, Source, as_text, well_formed_texts
from curation.errors import RowError, UserError, in_one_line
from curation.keys import make_key


class ParquetSource(Source):
    """img2dataset's Parquet output: one row for each image, with its bytes in a column named after the format."""

    ending = ".parquet"

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
                    for row in well_formed_texts(pa.Table.from_batches([batch])).to_pylist():
                        sample = self._sample(row, number, column)
                        number += 1
                        if sample is None:
                            continue
                        name = make_key("", "", sample.member)
                        if name in seen:
                            sample.error = RowError("duplicate_member", "an earlier row of this shard has the same key")
                        seen.add(name)
                        yield sample
        except DAMAGED_PARQUET as error:
            self.damage = f"damaged Parquet file: {in_one_line(error)}"

    def _sample(self, row: dict[str, Any], number: int, column: str) -> RawSample | None:
        data = row.pop(column)
        if data is None:
            self.without_image += 1
            return None
        key = row.get("key")
        sample = RawSample(str(number if key is None else key), number, data)
        sample.caption, sample.url = as_text(row.get("caption")), as_text(row.get("url"))
        sample.row = number
        return sample

    @cached_property
    def table(self) -> pa.Table | None:
        """The shard's columns without the image bytes; None if the file is damaged, and `damage` is then set."""
        if self.damage:
            return None
        try:
            with self.fs.open(self.path, "rb") as file:
                parquet = pq.ParquetFile(file)
                image = image_column(parquet.schema_arrow)
                return well_formed_texts(parquet.read(columns=[c for c in parquet.schema_arrow.names if c != image]))
        except DAMAGED_PARQUET as error:
            self.damage = f"damaged Parquet file: {in_one_line(error)}"
            return None

    def read(self, member: str, offset: int, length: int) -> bytes:
        """See Source. Reads the whole row group that holds the row, and keeps the last row group in memory."""
        try:
            return self._row(offset)
        except DAMAGED_PARQUET as error:
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


def image_column(schema: pa.Schema) -> str:
    """Returns the name of the column that holds the image bytes. Raises UserError if there is none."""
    binary = [f.name for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
    for name in binary:
        if name in IMAGE_ENDINGS or name in ("image", "bytes"):
            return name
    raise UserError(f"no column of image bytes (jpg, png, webp, image); binary columns: {', '.join(binary) or 'none'}")
