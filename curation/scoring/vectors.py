"""Reads embeddings from Parquet files as matrices of float16."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.workspace.files import read_table

Vectors = NDArray[np.float16]


def read_vectors(
    paths: Sequence[Path], files: NDArray[np.integer], rows: NDArray[np.integer], column: str, width: int
) -> Vectors:
    """Reads the vectors of some rows of sidecars, in any order: float16 (n, width), zeros where a row has no vector.

    It takes 5 µs for each row of the files that are read, whether or not the row is asked for.

    Args:
        paths: the sidecars.
        files: int (n,), for each row the index of its sidecar in `paths`.
        rows: int (n,), number of the row within the sidecar.
        column: name of a column of fixed-size lists of `width` numbers.
        width: number of values of a vector.

    Raises:
        StageError: a file is damaged.
    """
    vectors = np.empty((len(files), width), np.float16)
    order = np.argsort(files, kind="stable")
    numbers, starts = np.unique(files[order], return_index=True)
    for number, part in zip(numbers, np.split(order, starts)[1:], strict=True):
        vectors[part] = matrix(read_table(paths[number], [column])[column])[rows[part]]
    return vectors


def matrix(column: pa.ChunkedArray) -> Vectors:
    """Converts a column of fixed-size lists to float16 (n, width), with zeros for nulls."""
    whole = column.combine_chunks()
    width = whole.type.list_size
    values = whole.values.to_numpy(zero_copy_only=False).reshape(-1, width)[whole.offset : whole.offset + len(whole)]
    if not whole.null_count:
        return values.astype(np.float16, copy=False)
    return np.where(whole.is_valid().to_numpy(zero_copy_only=False)[:, None], values, 0).astype(np.float16)


def directions(column: pa.ChunkedArray, width: int) -> Vectors:
    """Converts a column of lists of numbers to vectors of length 1: float16 (n, width), with zeros for nulls.

    Raises:
        ValueError: the column does not hold lists of numbers, or a list has another width or a number that is not
            finite.
    """
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not (is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))):
        raise ValueError(f"lists of {width} numbers are expected; it is of type {kind}")
    present = column.filter(column.is_valid()).combine_chunks()
    widths = np.unique(pc.list_value_length(present).to_numpy(zero_copy_only=False))
    if list(widths) not in ([], [width]):
        odd = next(int(w) for w in widths if w != width)
        raise ValueError(f"{width} numbers are expected, as the signal embedding gives them; found {odd}")
    numbers = present.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False).reshape(-1, width)
    if not np.isfinite(numbers).all():  # a null among the numbers is NaN here
        raise ValueError("a list holds what is no finite number")
    vectors = np.zeros((len(column), width), np.float16)
    lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
    vectors[column.is_valid().to_numpy(zero_copy_only=False)] = numbers / np.where(lengths == 0, 1, lengths)
    return vectors
