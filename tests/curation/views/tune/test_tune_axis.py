"""The axis under a slider: the values, the threshold unless it is far away, and numbers of every size."""

import itertools

import duckdb
import pytest

from curation.recipe.thresholds import Threshold
from curation.views.tune.axis import BINS, axis_of


def sharp(value: float) -> Threshold:
    return Threshold("sharp", 0, "sharpness", ">=", value, 0, 0)


def test_a_threshold_nearby_is_on_the_axis_and_one_far_away_is_not() -> None:
    values = [66.0, 66.0, 71.0, 71.0]
    near, far = axis_of(sharp(60), values, False), axis_of(sharp(1e6), values, False)
    assert near.low <= 60 and near.high >= 71
    assert 65 <= far.low <= 66 and 71 <= far.high <= 72 and far.step < 0.1


def test_a_slider_can_be_moved_a_little_beyond_nearly_all_values_but_not_beyond_all() -> None:
    tailed = axis_of(sharp(5), [0, 0, 10, 1e9], False)
    assert tailed.low == 0 and 11 <= tailed.high <= 12


def test_whole_numbers_have_whole_bins() -> None:
    axis = axis_of(sharp(3), [0, 0, 9, 9], True)
    assert (axis.low, axis.high, axis.bins, axis.step) == (0, 10, 10, 1)


NUMBERS = (-1.7e308, -1e300, -1.0, 0.0, 5e-324, 1.0, 1.0 + 1e-15, 1e300, 1.7e308, float("inf"))


@pytest.mark.parametrize(("low", "high"), list(itertools.combinations_with_replacement(NUMBERS, 2)))
def test_numbers_of_every_size_have_an_axis(low: float, high: float) -> None:
    for value in (low, 0.0, 12.0, -1e308):
        if value == float("inf"):
            continue
        axis = axis_of(sharp(value), [low, low, high, high], False)
        assert axis.low < axis.high and axis.step > 0 and 1 <= axis.bins <= 2 * BINS
        sql = f"SELECT {axis.bin_sql} FROM (VALUES ({low!r}::DOUBLE), ('{high!r}'::DOUBLE), ('nan')) t(sharpness)"
        assert all(0 <= place <= axis.bins + 1 for (place,) in duckdb.sql(sql.replace("inf::", "'inf'::")).fetchall())
