"""Counts, for each of many items, how many people gave each value from 1 to 5."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.annotation.majority import HIGHEST, LOWEST, Integers
from curation.errors import StageError


def numbered(values: pa.ChunkedArray) -> tuple[Integers, pa.Array]:
    """Returns the number of each value among the distinct ones, int64, and the distinct ones."""
    chunks = pc.dictionary_encode(values, null_encoding="encode").chunks  # which share one dictionary
    if not chunks:
        return np.zeros(0, np.int64), pa.array([], values.type)
    numbers = [chunk.indices.to_numpy() for chunk in chunks]
    return np.concatenate(numbers, dtype=np.int64), chunks[-1].dictionary


def tally(item: Integers, value: NDArray[Any], items: int) -> Integers:
    """Counts how often each item was given each value.

    Args:
        item: int64 (judgements,), the number of the item that was judged.
        value: integers (judgements,), the value that it was given, from 1 to 5.
        items: number of items.

    Returns:
        int64 (items, 5).

    Raises:
        StageError: a value is not from 1 to 5.
    """
    outside = (value < LOWEST) | (value > HIGHEST)
    if outside.any():
        found = int(value[outside][0])
        raise StageError(f"a vote or rating on file has the value {found}, which is not from {LOWEST} to {HIGHEST}")
    places = item * HIGHEST
    places += value
    places -= LOWEST
    return np.bincount(places, minlength=items * HIGHEST).reshape(items, HIGHEST)
