"""Statistics are kept for a while, and only one is computed at a time."""

import threading

import pytest

from annotation_ui.statistics.cache import LEAST_SECONDS, TIMES_COST, Cache


class Timer:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_result_is_kept_twenty_times_as_long_as_it_took() -> None:
    timer, made = Timer(), []

    def compute(seconds: float) -> int:
        timer.now += seconds
        made.append(timer.now)
        return len(made)

    cache = Cache(timer)
    assert cache.get(("quick",), lambda: compute(0.01)) == 1
    timer.now += LEAST_SECONDS - 0.1
    assert cache.get(("quick",), lambda: compute(0.01)) == 1
    timer.now += 0.2
    assert cache.get(("quick",), lambda: compute(3.0)) == 2
    timer.now += 3 * TIMES_COST - 1
    assert cache.get(("quick",), lambda: compute(3.0)) == 2
    timer.now += 2
    assert cache.get(("quick",), lambda: compute(3.0)) == 3
    cache.clear()
    assert cache.get(("quick",), lambda: compute(3.0)) == 4


def test_what_was_computed_while_the_results_were_dropped_is_not_kept() -> None:
    cache = Cache(Timer())

    def overtaken() -> str:
        cache.clear()
        return "before"

    assert cache.get(("x",), overtaken) == "before"
    assert cache.get(("x",), lambda: "after") == "after"


def test_an_error_is_not_kept() -> None:
    cache = Cache(Timer())
    with pytest.raises(ZeroDivisionError):
        cache.get(("x",), lambda: 1 / 0)
    assert cache.get(("x",), lambda: 5) == 5


def test_while_one_computes_others_get_the_earlier_result_or_wait() -> None:
    timer, going, go_on = Timer(), threading.Event(), threading.Event()
    cache = Cache(timer)
    cache.get(("x",), lambda: "old")
    timer.now += 1000

    def slow() -> str:
        going.set()
        assert go_on.wait(10)
        return "new"

    first = threading.Thread(target=cache.get, args=(("x",), slow))
    first.start()
    assert going.wait(10)
    assert cache.get(("x",), lambda: "never") == "old"
    found = []
    second = threading.Thread(target=lambda: found.append(cache.get(("y",), lambda: "other")))
    second.start()
    second.join(0.05)
    assert not found  # nothing is there to give, and another computation runs
    go_on.set()
    first.join(10)
    second.join(10)
    assert found == ["other"]
    assert cache.get(("x",), lambda: "never") == "new"
