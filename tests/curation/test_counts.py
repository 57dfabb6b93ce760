"""Numbers of things in words."""

import pytest

from curation.counts import counted, per_second


@pytest.mark.parametrize(("number", "things", "says"), [
    (0, "images", "0 images"), (1, "images", "1 image"), (2, "images", "2 images"), (1234567, "rows", "1,234,567 rows"),
    (1, "raw shards", "1 raw shard"),
])  # fmt: skip
def test_a_number_agrees_with_its_noun(number: int, things: str, says: str) -> None:
    assert counted(number, things) == says


@pytest.mark.parametrize(("rate", "says"), [(1234.5, "1,234/s"), (9.96, "10.0/s"), (0.42, "0.4/s"), (0.042, "0.04/s")])
def test_a_slow_rate_is_not_nothing(rate: float, says: str) -> None:
    assert per_second(rate) == says
