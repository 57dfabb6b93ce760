import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.captions.checks.quotes import confirmed, folded, likeness

SIGN = "GRAND\nOPENING\nSaturday 14 June\n欢迎光临"


def edits(part: str, text: str) -> int:
    """The edits to the stretch of a text that is most like the part, cell by cell."""
    above = [0] * (len(text) + 1)
    for i, wanted in enumerate(part, 1):
        row = [i]
        for j, letter in enumerate(text, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (wanted != letter)))
        above = row
    return min(above)


@given(st.text("abc中", min_size=1, max_size=12), st.text("abc中", max_size=20))
def test_likeness_is_one_less_the_edits_a_character(part, text):
    assert likeness(part, text) == pytest.approx(1 - edits(part, text) / len(part))


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_what_stands_in_a_text_is_confirmed_there(head, part, end):
    assert confirmed([part], f"{head} {part} {end}", 0.7)


@pytest.mark.parametrize(
    "quote, seen",
    [
        ("Grand Opening", SIGN),
        ("GRAND OPENING SATURDAY", SIGN),
        ("grand-opening!", SIGN),
        ("Grand 0pening", SIGN),  # 12 letters, one wrong
        ("GRANDOPENING", SIGN),
        ("Saturday, 14 June: Grand Opening", SIGN),  # lines in another order
        ("欢迎光临", SIGN),
        ("欢迎光監", SIGN),
        ("ＧＲＡＮＤ", SIGN),
        ("OPEN", SIGN),
        ("!!!", ""),
        ("", ""),
    ],
)
def test_confirmed(quote, seen):
    assert confirmed([quote], seen, 0.7)


@pytest.mark.parametrize(
    "quote, seen",
    [
        ("Closed", SIGN),
        ("Grand Hotel Budapest", SIGN),
        ("Sunday 23 July", SIGN),
        ("谢谢惠顾", SIGN),
        ("GRAND OPENING", ""),
        ("GRAND OPENING", "  .  "),
    ],
)
def test_not_confirmed(quote, seen):
    assert not confirmed([quote], seen, 0.7)


def test_all_quotes_are_asked_and_the_bound_is_an_argument():
    assert confirmed(["Grand", "Opening"], SIGN, 0.7)
    assert not confirmed(["Grand", "Closed"], SIGN, 0.7)
    assert confirmed([], "", 0.7)
    assert confirmed(["Grand 0pening"], SIGN, 0.9) and not confirmed(["Grand 0pening"], SIGN, 0.95)
    assert confirmed(["anything"], "", 0)


def test_folded():
    assert folded(" Ｇrand—ÖPENING: 14 \ud800😀") == "grandöpening14"


def test_many_quotes_against_a_long_page_take_no_second():
    quotes = [f"ab{i:04}xyw" for i in range(200)]
    page = " ".join(f"ab{i:04}xyz" for i in range(900))
    began = time.process_time()
    assert confirmed(quotes, page, 0.7)
    assert time.process_time() - began < 1
