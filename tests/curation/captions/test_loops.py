import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.captions.loops import LOOP_TIMES, LOOP_UNITS, TAIL, TAIL_RUN, repeats


def brute_force(tail):
    """The longest run that occurs at two places, by definition."""
    pairs = itertools.combinations(range(len(tail)), 2)
    return any(tail[i : i + TAIL_RUN] == tail[j : j + TAIL_RUN] and j + TAIL_RUN <= len(tail) for i, j in pairs)


@settings(deadline=None)
@given(st.text("ab", max_size=9), st.text("ab ", min_size=1, max_size=70), st.text("ab", max_size=60))
def test_the_tail_rule_is_what_it_says(head, unit, end):
    text = (head + unit * 130)[: 140 - len(end)] + end
    assert repeats(text, []) == brute_force(text[-TAIL:])


def test_a_loop_right_at_the_bound():
    unit = "abcdefghijklmnopqrstuvwxyz0123456789"
    looped = (unit * 4)[: TAIL_RUN + len(unit)]
    assert repeats(looped, []) and not repeats(looped[:-1], [])


def loops(units):
    """Two or more units said four times in a row, or one said five times, by definition."""
    for period in range(1, LOOP_UNITS + 1):
        length = period * LOOP_TIMES + (period == 1)
        for start in range(len(units) - length + 1):
            part = units[start : start + length]
            if part == (part[:period] * 5)[:length]:
                return True
    return False


@given(
    st.text("ab", max_size=6),
    st.text("abc中", min_size=1, max_size=14),
    st.integers(1, 6),
    st.text("ab", max_size=6),
)
def test_loops_are_found_in_words_and_in_characters(head, unit, times, end):
    units = head + unit * times + end
    assert repeats("", units) == loops(units)
    assert repeats("", list(units)) == loops(list(units))


@pytest.mark.parametrize("period", range(1, LOOP_UNITS + 1))
@pytest.mark.parametrize("script", [ord("a"), ord("中"), ord("😀")])
def test_every_period_is_found_and_not_a_shorter_run(period, script):
    units = "".join(map(chr, range(script, script + period)))
    times = LOOP_TIMES + (period == 1)
    assert repeats("", "始" + units * times + "终")
    assert not repeats("", "始" + (units * times)[:-1] + "终")


def test_characters_that_share_their_lower_byte_are_told_apart():
    assert not repeats("", "一\u4f00\u5000\u5100\u5200\u5300\u5400" * 2)
