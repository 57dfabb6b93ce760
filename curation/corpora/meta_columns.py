"""The further columns of a corpus, as `meta_*` columns of its samples files: scalars keep their type, the rest is text.

SQL reads the shards as one table, so that lists and objects, whose types differ from shard to shard, are JSON text.
"""

from typing import Any

import pyarrow as pa

from curation.corpora.readers import RawSample, Source
from curation.keys import well_formed
from curation.workspace.sql import as_json

PREFIX = "meta_"


def metadata_columns(source: Source, samples: list[RawSample]) -> dict[str, pa.Array]:
    """Returns the source's further columns, aligned with the samples.

    The columns come from the source's table, or else from the JSON beside the images.
    """
    table = source.table
    if table is not None:
        used = set(source.columns.of(table.column_names).values())
        indices = pa.array([sample.row for sample in samples], pa.int64())
        taken = [name for name in table.column_names if name not in used]
        columns = {name: _scalar(table[name].take(indices).combine_chunks()) for name in taken}
    else:
        names = sorted({name for sample in samples for name in sample.meta})
        columns = {name: _array([_clean(sample.meta.get(name)) for sample in samples]) for name in names}
    return {PREFIX + well_formed(name): _finite(column) for name, column in columns.items()}


def _array(values: list[Any]) -> pa.Array:
    """Returns the values of one JSON field as an Arrow array; values of mixed types become text."""
    try:
        return _scalar(pa.array(values))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([as_json(value) for value in values], pa.string())


def _scalar(column: pa.Array) -> pa.Array:
    """Returns the column; lists and structs as JSON text."""
    nested = pa.types.is_nested(column.type)
    return pa.array([as_json(value) for value in column.to_pylist()], pa.string()) if nested else column


def _finite(column: pa.Array) -> pa.Array:
    """Replaces NaN and infinities by null: in SQL, NaN is greater than any number."""
    if not pa.types.is_floating(column.type):
        return column
    import pyarrow.compute as pc  # slow to import, and a rerun with nothing to do does not need it

    return pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))


def _clean(value: Any) -> Any:
    """Returns a JSON value in which every string is valid Unicode, so that it can be written."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, list):
        return [_clean(v) for v in value]
    return {_clean(k): _clean(v) for k, v in value.items()} if isinstance(value, dict) else value
