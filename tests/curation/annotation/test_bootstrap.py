"""Bootstrap intervals: they hold the truth as often as they say, and distinct rows stand for all that equal them."""

import numpy as np
import pytest

from curation.annotation.bootstrap import MeanEstimate, intervals, mean_estimates, mean_intervals

IMAGES = 60


def test_intervals_hold_the_true_mean_about_as_often_as_they_say() -> None:
    random, held = np.random.default_rng(7), []
    for _ in range(300):
        values = random.normal([4.0, 3.0], [0.3, 0.8], (IMAGES, 2))
        low, high = mean_intervals(values, resamples=1000)
        held.append((low <= [4.0, 3.0]) & (high >= [4.0, 3.0]))
    coverage = np.mean(held, axis=0)
    assert ((coverage > 0.90) & (coverage < 0.985)).all(), coverage
    normal = 2 * 1.96 * values.std(axis=0, ddof=1) / np.sqrt(IMAGES)
    assert high - low == pytest.approx(normal, rel=0.15)


def test_an_interval_is_over_images_that_have_a_value() -> None:
    values = np.array([[1.0, np.nan], [2.0, 5.0], [3.0, np.nan], [4.0, 7.0]])
    low, high = mean_intervals(values)
    assert (low[1], high[1]) == (5.0, 7.0) and 1 <= low[0] < 2.5 < high[0] <= 4


def test_distinct_values_with_their_numbers_stand_for_all_values() -> None:
    random = np.random.default_rng(1)
    values = random.integers(1, 6, 400)
    times = np.bincount(values, minlength=6)[1:]
    low, high = intervals(times, lambda drawn: (drawn @ np.arange(1.0, 6.0) / drawn.sum(axis=1))[:, None])
    one_by_one = mean_intervals(values[:, None].astype(float))
    assert (low[0], high[0]) == pytest.approx((one_by_one[0][0], one_by_one[1][0]), abs=0.01)
    assert low[0] < values.mean() < high[0]


def test_what_is_defined_for_no_resample_has_no_bounds() -> None:
    low, high = intervals(np.array([2, 3]), lambda drawn: np.stack([drawn[:, 0], drawn[:, 0] * np.nan], axis=1))
    assert np.isfinite([low[0], high[0]]).all() and np.isnan([low[1], high[1]]).all()


def test_estimates_of_one_image_have_no_bounds_and_an_empty_column_has_none() -> None:
    assert mean_estimates(np.array([[2.5, np.nan]])) == [MeanEstimate(2.5, None, None), None]
    (first, second) = mean_estimates(np.array([[1.0, np.nan], [1.0, np.nan]]))
    assert (first, second) == (MeanEstimate(1.0, 1.0, 1.0), None)
