import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.captions.checks import (
    TAIL,
    TAIL_RUN,
    check_caption,
    check_translation,
    quoted,
    repeats,
    unquoted,
)

GOOD = (
    "A man in a red jacket rides a brown horse along the beach at sunset. Behind him two dogs run through "
    'the shallow water, and a wooden sign reads "Private Beach, 1920". The sky is orange and purple, with a '
    "few thin clouds."
)
GOOD_ZH = (
    "一名身穿红色夹克的男子在日落时分骑着一匹棕色的马沿着海滩前行。"
    "他身后有两只狗跑过浅水，一块木牌上写着“Private Beach, 1920”。"
    "天空呈橙色和紫色，飘着几朵薄云。"
)


def test_a_good_caption_and_its_translation_have_no_flags():
    assert check_caption(GOOD) == []
    assert check_translation(GOOD, GOOD_ZH) == []


@pytest.mark.parametrize(
    "text, flags",
    [
        (None, ["empty"]),
        ("  \n", ["empty"]),
        ("Cat.", ["too_short"]),
        ("Incomprehensibilities", ["too_short"]),
        ('The text "开业大吉".', []),
        ("word " * 3 + "different " * 2 + "ending " * 400, ["too_long", "repetition"]),
        (" ".join(f"w{i}" for i in range(401)), ["too_long"]),
        ("A cat sits on a mat. " + "It is a very nice cat. " * 6, ["repetition"]),
        ("A cat, very, very, very, very nice.", []),
        ("A red red red red red car.", ["repetition"]),
        ("A dog and a cat and a dog and a cat and a dog.", []),
        ("a dog and a cat, a dog and a cat, a dog and a cat, a dog and a cat, by a lake", ["repetition"]),
        ("I'm sorry, but there is nothing here to see.", ["refusal"]),
        ("I’m sorry, but there is nothing here to see.", ["refusal"]),
        ("As an AI language model, pictures are beyond me.", ["refusal"]),
        ("Unfortunately I cannot see the picture.", ["refusal"]),
        ('A card with the text "I\'m sorry".', []),
        ("A wall that a child cannot climb.", []),
        ("The image shows a cat on a mat.", ["boilerplate"]),
        ("This black and white photograph captures a cat.", ["boilerplate"]),
        ("In this image, a cat sits on a mat.", ["boilerplate"]),
        ("This is a picture of a cat.", ["boilerplate"]),
        ("Sure, a cat on a mat.", ["boilerplate"]),
        ("A square picture, bright overall.", []),
        ("A cat beside a picture of a dog.", []),
        ("一只猫坐在 垫子上 the cat sits", ["not_english"]),
        ("Кошка сидит на коврике", ["not_english"]),
        ("A café named Señor Müller's in Kraków.", []),
        ('A sign reads "欢迎光临本店请进" in red.', []),
        ("A sign reads '欢迎光临本店请进' in red.", []),
    ],
)
def test_check_caption(text, flags):
    assert check_caption(text) == flags


def test_bounds_are_arguments():
    assert check_caption("A cat sits.", min_words=4) == ["too_short"]
    assert check_caption("A cat sits.", min_characters=12) == ["too_short"]
    assert check_caption("A cat sits.", max_words=2) == ["too_long"]
    assert check_caption("A cat sits.", max_characters=10) == ["too_long"]


@pytest.mark.parametrize(
    "english, chinese, flags",
    [
        ("Three cats on a mat.", None, ["empty"]),
        ("Three cats on a mat.", " ", ["empty"]),
        ("There are 3 cats on 12 mats.", "12张垫子上有3只猫。", []),
        ("There are 3 cats on 12 mats.", "十二张垫子上有三只猫。", []),
        ("There are 2 cats.", "有两只猫。", []),
        ("There are 3 cats on 12 mats.", "垫子上有三只猫。", ["digits_lost"]),
        ("A house of 1920 by a lake.", "湖边一座192年的房子。", ["digits_lost"]),
        ("About 1,500 cats.", "大约1500只猫。", []),
        ("From 1920 to 1930.", "起于1920，1930止。", []),
        ("About 1.5 tons of sand.", "大约１．５吨沙子。", []),
        ('A sign reads "OPEN 24 H".', "牌子上写着“OPEN 24 H”。", []),
        ('A sign reads "OPEN 24 H".', "牌子上写着“二十四小时营业”。", ["quotes_lost"]),
        ("A sign reads 'Don't walk' there.", "那里的牌子上写着“Don't walk”。", []),
        ("A sign reads 'Don't walk' there.", "那里的牌子上写着“请勿通行”。", ["quotes_lost"]),
        ("The dogs' bowls and the cats' toys.", "狗的碗和猫的玩具。", []),
        ("A cat on a mat.", "A cat on a mat.", ["not_chinese", "latin_left"]),
        ("A cat on a mat.", "Un chat est là", ["not_chinese", "latin_left"]),
        ("A cat with a kippah on a mat.", "垫子上有一只戴着kippah的猫。", ["latin_left"]),
        ("A Nike T-shirt and an LED lamp, 30 cm high.", "一件Nike的T恤和一盏30 cm高的LED灯。", []),
        ("The site example.com on a wall.", "墙上有网址 www.example.com 的字样。", []),
        (GOOD, "一名男子。“Private Beach, 1920”", ["length_ratio"]),
        ("A cat.", "一只非常可爱的小猫坐在垫子上。", ["length_ratio"]),
        ("A cat on a mat, and nothing else is there to be seen.", "一只猫" * 6, ["repetition"]),
    ],
)
def test_check_translation(english, chinese, flags):
    assert check_translation(english, chinese) == flags


@pytest.mark.parametrize(
    "text, strings, rest",
    [
        ('a "b" c', ["b"], "a   c"),
        ("甲“乙”丙", ["乙"], "甲 丙"),
        ("a ‘b’ 「c」 『d』", ["b", "c", "d"], "a      "),
        ("it's the dogs' bowl", [], "it's the dogs' bowl"),
        ("it says 'don't go' here", ["don't go"], "it says   here"),
        ('an open " quote', [], 'an open " quote'),
        ('""', [], " "),
    ],
)
def test_quotes(text, strings, rest):
    assert quoted(text) == tuple(strings)
    assert unquoted(text) == rest


def brute_force(tail):
    """The longest run that occurs at two places, by definition."""
    pairs = itertools.combinations(range(len(tail)), 2)
    return any(tail[i : i + TAIL_RUN] == tail[j : j + TAIL_RUN] and j + TAIL_RUN <= len(tail) for i, j in pairs)


@settings(deadline=None)
@given(st.text("ab", max_size=9), st.text("ab ", min_size=1, max_size=70), st.text("ab", max_size=60))
def test_the_tail_rule_is_what_it_says(head, unit, end):
    text = (head + unit * 130)[: 140 - len(end)] + end
    assert repeats(text, ()) == brute_force(text[-TAIL:])


def test_a_loop_right_at_the_bound():
    unit = "abcdefghijklmnopqrstuvwxyz0123456789"
    looped = (unit * 4)[: TAIL_RUN + len(unit)]
    assert repeats(looped, ()) and not repeats(looped[:-1], ())


def loops(units):
    """Two or more units said four times in a row, or one said five times, by definition."""
    for period in range(1, 13):
        length = period * 4 + (period == 1)
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
    text = head + unit * times + end
    if len(text) <= TAIL_RUN:
        assert repeats(text, []) is False
        assert repeats(text) == loops(text)
        assert repeats(text, list(text)) == loops(list(text))


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_can_be_checked(english, chinese):
    check_caption(english)
    check_translation(english, chinese)


def test_a_lone_surrogate_is_no_reason_to_fail():
    assert "not_chinese" in check_translation("A cat.", "\ud800 abc")
