"""Counts what a product consists of, for `stats.json` and for the card."""

from collections import Counter
from collections.abc import Iterable
from typing import NotRequired, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

COUNTED = ("caption_source", "caption_language", "bucket", "level", "source", "license")
STATS_COLUMNS = [*COUNTED, "length", "flags", "width", "height", "text"]
"""Columns of a product's Parquet tables that are counted."""


class ProductStats(TypedDict):
    """The counts of one phase of the product; `stats.json` holds them in this order."""

    phase: str
    images: int
    shards: int
    images_per_shard: list[int]
    """Minimum and maximum."""
    bytes: int
    """Sum of the sizes of all image files."""
    captions: dict[str, int]
    """Number of images by the source of the training text; this and the following counts begin with the largest."""
    flags: dict[str, int]
    """Number of images by flag of the caption's checks."""
    languages: dict[str, int]
    """Number of images by the language of the training text."""
    buckets: dict[str, int]
    """Number of images by aspect-ratio bucket, such as `1024x1024`."""
    levels: dict[str, int]
    sources: dict[str, int]
    licenses: dict[str, int]
    width: list[float]
    """Minimum, quartiles and maximum in pixels; empty if there are no shards."""
    height: list[float]
    """Minimum, quartiles and maximum in pixels; empty if there are no shards."""
    text_length: list[float]
    """Minimum, quartiles and maximum of the training texts' lengths in characters; empty if there are no shards."""
    left_out: NotRequired[dict[str, int]]
    """Number of kept images that are not in the product, by reason; the stage adds it."""


def product_stats(phase: str, tables: Iterable[pa.Table]) -> ProductStats:
    """Counts over the Parquet tables of a product's shards, with one table in memory at a time.

    Args:
        phase: `concept` or `quality`.
        tables: the tables of the shards, with the columns STATS_COLUMNS.
    """
    sizes: list[int] = []
    counts = {name: Counter[str]() for name in (*COUNTED, "flags")}
    numbers: dict[str, list[pa.Array]] = {name: [] for name in ("width", "height", "text_length")}
    total = 0
    for table in tables:
        sizes.append(table.num_rows)
        total += pc.sum(table["length"]).as_py() or 0
        for name, counter in counts.items():
            _count(table[name], counter)
        for name, values in numbers.items():
            column = pc.utf8_length(table["text"]) if name == "text_length" else table[name]
            values.append(column.combine_chunks())
    return {
        "phase": phase,
        "images": sum(sizes),
        "shards": len(sizes),
        "images_per_shard": [min(sizes, default=0), max(sizes, default=0)],
        "bytes": total,
        "captions": _sorted(counts["caption_source"]),
        "flags": _sorted(counts["flags"]),
        "languages": _sorted(counts["caption_language"]),
        "buckets": _sorted(counts["bucket"]),
        "levels": _sorted(counts["level"]),
        "sources": _sorted(counts["source"]),
        "licenses": _sorted(counts["license"]),
        "width": _quartiles(numbers["width"]),
        "height": _quartiles(numbers["height"]),
        "text_length": _quartiles(numbers["text_length"]),
    }


def _count(column: pa.ChunkedArray, counter: Counter[str]) -> None:
    """Counts each value by its text; values within lists are counted one by one."""
    flat = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    for entry in flat.value_counts().to_pylist():
        counter[str(entry["values"])] += entry["counts"]


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _quartiles(chunks: list[pa.Array]) -> list[float]:
    """Returns minimum, quartiles and maximum."""
    if not chunks:
        return []
    return pc.quantile(pa.chunked_array(chunks), q=[0, 0.25, 0.5, 0.75, 1]).to_pylist()
