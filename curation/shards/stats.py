"""What a product consists of, counted: `stats.json`, from which the card is written."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def product_stats(phase: str, tables: list[pa.Table]) -> dict[str, Any]:
    """Counts over the Parquet tables of a product's shards.

    Returns:
        images, shards, images_per_shard [least, most], bytes, captions by source, flag and language, buckets, levels,
        sources, licenses; and quartiles of width, height and caption length (characters).
    """
    sizes = [t.num_rows for t in tables]
    columns = ("caption_source", "caption_language", "bucket", "level", "source", "license")
    counts = {name: Counter(str(v) for t in tables for v in t[name].to_pylist()) for name in columns}
    lengths = [pc.utf8_length(t["text"]).combine_chunks() for t in tables]
    return {
        "phase": phase,
        "images": sum(sizes),
        "shards": len(tables),
        "images_per_shard": [min(sizes, default=0), max(sizes, default=0)],
        "bytes": sum(sum(t["length"].to_pylist()) for t in tables),
        "captions": _sorted(counts["caption_source"]),
        "flags": _sorted(Counter(flag for t in tables for flags in t["flags"].to_pylist() for flag in flags or ())),
        "languages": _sorted(counts["caption_language"]),
        "buckets": _sorted(counts["bucket"]),
        "levels": _sorted(counts["level"]),
        "sources": _sorted(counts["source"]),
        "licenses": _sorted(counts["license"]),
        "width": _quartiles([t["width"].combine_chunks() for t in tables]),
        "height": _quartiles([t["height"].combine_chunks() for t in tables]),
        "text_length": _quartiles(lengths),
    }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _quartiles(chunks: list[pa.Array]) -> list[float]:
    """Least, quartiles and most."""
    if not chunks:
        return []
    return pc.quantile(pa.chunked_array(chunks), q=[0, 0.25, 0.5, 0.75, 1]).to_pylist()
