"""Counts what a product consists of, for `stats.json`, from which the card is written."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

COUNTED = ("caption_source", "caption_language", "bucket", "level", "source", "license")
STATS_COLUMNS = [*COUNTED, "length", "flags", "width", "height", "text"]
"""Columns of a product's Parquet tables that are counted."""


def product_stats(phase: str, tables: Iterable[pa.Table]) -> dict[str, Any]:
    """Counts over the Parquet tables of a product's shards, with one table in memory at a time.

    Args:
        phase: `concept` or `quality`.
        tables: the tables of the shards, with the columns STATS_COLUMNS.

    Returns:
        phase, images, shards, images_per_shard [minimum, maximum], bytes, the numbers of images by captions (source of
        the training text), flags, languages, buckets, levels, sources and licenses; and minimum, quartiles and maximum
        of width, height (pixels) and text_length (characters).
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
        **{name: _quartiles(values) for name, values in numbers.items()},
    }


def _count(column: pa.ChunkedArray, counter: Counter[str]) -> None:
    """Counts each value by its text; values within lists are counted one by one."""
    flat = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    for found in flat.value_counts().to_pylist():
        counter[str(found["values"])] += found["counts"]


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _quartiles(chunks: list[pa.Array]) -> list[float]:
    """Returns minimum, quartiles and maximum."""
    if not chunks:
        return []
    return pc.quantile(pa.chunked_array(chunks), q=[0, 0.25, 0.5, 0.75, 1]).to_pylist()
