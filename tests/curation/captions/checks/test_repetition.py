import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.captions.checks.repetition import LOOP_TIMES, LOOP_UNITS, TAIL, TAIL_RUN, repeats, says_again


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


SENTENCE = "A tall man with a grey beard and a long black coat stands beside the open door of a small shop"


@pytest.mark.parametrize(
    "text",
    [
        f"{SENTENCE}. " * 3,
        (f"{SENTENCE}. " * 6).strip(),
        f"A street. {SENTENCE}. A dog. {SENTENCE}! A cat. {SENTENCE}",
        f"- {SENTENCE}\n- {SENTENCE}\n- {SENTENCE}",
        "A man opens a door. " * 3,
        "一名老人站在门边。" * 3,
        "街上有一只狗。一名老人站在门边。天空很蓝。一名老人站在门边！一名老人站在门边",
    ],
)
def test_a_sentence_said_three_times_is_a_loop(text):
    assert says_again(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        f"{SENTENCE}. " * 2,
        "It is very small. " * 3,  # four words
        "天空非常的蓝。" * 3,  # six characters
        f"{SENTENCE}. {SENTENCE} at noon. {SENTENCE} at night.",
        "Row 1.5 of 2.5. Row 3.5 of 4.5.",
    ],
)
def test_what_is_said_less_often_or_is_short_is_no_loop(text):
    assert not says_again(text)


@given(st.lists(st.sampled_from("abcdef"), max_size=12))
def test_sentences_are_counted(letters):
    text = " ".join(f"The sign has the letter {letter}." for letter in letters)
    assert says_again(text) == any(letters.count(letter) >= 3 for letter in letters)
