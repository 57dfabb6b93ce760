"""Durations in words."""

import pytest

from curation.durations import in_words


@pytest.mark.parametrize(
    "seconds, words",
    [(0.2, "1 s"), (40, "40 s"), (91, "2 min"), (12 * 60, "12 min"), (5.2 * 3600, "5 h"), (100 * 3600, "4 days")],
)
def test_a_duration_has_one_unit(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
