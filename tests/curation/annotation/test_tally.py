"""Counts by item and value; a value off the scale is told, and never counted for the next item."""

import numpy as np
import pyarrow as pa
import pytest

from curation.annotation.tally import numbered, tally
from curation.errors import StageError


def test_values_are_counted_by_item() -> None:
    counts = tally(np.array([0, 2, 0, 2, 0]), np.array([1, 5, 1, 4, 3], np.int8), 4)
    assert counts.tolist() == [[2, 0, 1, 0, 0], [0] * 5, [0, 0, 0, 1, 1], [0] * 5]
    assert tally(np.zeros(0, np.int64), np.zeros(0, np.int8), 0).shape == (0, 5)


@pytest.mark.parametrize("value", [0, 6, -1])
def test_a_value_off_the_scale_is_told(value: int) -> None:
    with pytest.raises(StageError, match=f"has the value {value}, which is not from 1 to 5"):
        tally(np.array([0, 1]), np.array([5, value], np.int8), 2)


def test_distinct_values_are_numbered_in_the_order_in_which_they_occur() -> None:
    number, distinct = numbered(pa.chunked_array([["b", "a"], ["b", None, "é"]]))
    assert (number.tolist(), distinct.to_pylist()) == ([0, 1, 0, 2, 3], ["b", "a", None, "é"])
