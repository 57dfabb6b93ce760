"""Embeddings out of Parquet files, as matrices of float16."""

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
    """The vectors of some rows of sidecars, in any order: float16 (n, width), zeros where there is none.

    Takes 5 µs for each row that the files have, asked for or not.

    Args:
        paths: the sidecars.
        files: int (n,), which of them.
        rows: int (n,), row within it.
        column: of fixed-size lists of `width` numbers.

    Raises:
        StageError: a file is damaged.
    """
    found = np.empty((len(files), width), np.float16)
    order = np.argsort(files, kind="stable")
    numbers, starts = np.unique(files[order], return_index=True)
    for number, part in zip(numbers, np.split(order, starts)[1:], strict=True):
        found[part] = matrix(read_table(paths[number], [column])[column])[rows[part]]
    return found


def matrix(column: pa.ChunkedArray) -> Vectors:
    """A column of fixed-size lists as float16 (n, width), zeros where it is null."""
    whole = column.combine_chunks()
    width = whole.type.list_size
    values = whole.values.to_numpy(zero_copy_only=False).reshape(-1, width)[whole.offset : whole.offset + len(whole)]
    if not whole.null_count:
        return values.astype(np.float16, copy=False)
    return np.where(whole.is_valid().to_numpy(zero_copy_only=False)[:, None], values, 0).astype(np.float16)


def directions(column: pa.ChunkedArray, width: int) -> Vectors:
    """A column of lists of numbers as float16 (n, width), each made of length 1; zeros where it is null.

    Raises:
        ValueError: it is no column of lists of numbers, or a list is of another width or holds no finite numbers.
    """
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not (is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))):
        raise ValueError(f"lists of {width} numbers are expected; it is of type {kind}")
    given = column.filter(column.is_valid()).combine_chunks()
    widths = np.unique(pc.list_value_length(given).to_numpy(zero_copy_only=False))
    if list(widths) not in ([], [width]):
        odd = next(int(w) for w in widths if w != width)
        raise ValueError(f"{width} numbers are expected, as the signal embedding gives them; found {odd}")
    numbers = given.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False).reshape(-1, width)
    if not np.isfinite(numbers).all():  # a null among the numbers is NaN here
        raise ValueError("a list holds what is no finite number")
    vectors = np.zeros((len(column), width), np.float16)
    lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
    vectors[column.is_valid().to_numpy(zero_copy_only=False)] = numbers / np.where(lengths == 0, 1, lengths)
    return vectors
