import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.captions.backends.describe import STYLES, Describe, DescribeParams, Description, quotable
from curation.captions.base import Request
from curation.captions.checks.check import check_caption, check_translation, quoted, unquoted
from curation.captions.checks.wording import trimmed
from curation.recipe.sections import CaptionChecks

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
        (
            "A tall man with a grey beard and a long black coat stands beside the open door of a small shop on a quiet "
            "street. " * 6,
            ["repetition"],
        ),
        ("".join(f'The next button in the row reads "{name}". ' for name in ("Open", "Save", "Exit")), []),
        ('A typed page reads "All work is no play here. All work is no play here. All work is no play here."', []),
        ("A dog and a cat and a dog and a cat and a dog.", []),
        ("a dog and a cat, a dog and a cat, a dog and a cat, a dog and a cat, by a lake", ["repetition"]),
        ("I'm sorry, but there is nothing here to see.", ["refusal"]),
        ("I’m sorry, but there is nothing here to see.", ["refusal"]),
        ("As an AI language model, pictures are beyond me.", ["refusal"]),
        ("Unfortunately I cannot see the picture.", ["refusal"]),
        ('A card with the text "I\'m sorry".', []),
        ("A wall that a child cannot climb.", []),
        ("A man on a ski cannot be seen well.", []),
        ("The text is too small. Unable to assist.", ["refusal"]),
        ("A sign about the history of a language model.", []),
        ("A card with the text 'Please provide the image'.", []),
        ("The image shows a cat on a mat.", ["boilerplate"]),
        ("This black and white photograph captures a cat.", []),  # it says what kind of picture
        ("The image is dark and blurry.", []),
        ("In the picture frame on the wall, a child smiles.", []),
        ("The image shows that it is raining.", ["boilerplate"]),
        ("We can see a cat on a mat.", ["boilerplate"]),
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
        ("رجل يركب حصانا على الشاطئ", ["not_english"]),
        ("Ein Mann in einer roten Jacke reitet auf einem braunen Pferd am Strand.", ["not_english"]),
        ('Un homme est assis dans un café avec un journal "The Times".', ["not_english"]),
        ("Red apple, green pear, two plates, white table, grey wall, lamp", []),
        ("Two cats 🐱🐱 on a mat 🙂.", []),
        ("😀😀😀 😀😀😀 😀😀😀", []),
    ],
)
def test_check_caption(text, flags):
    assert check_caption(text) == flags


def test_bounds_are_arguments():
    assert check_caption("A cat sits.", limits=CaptionChecks(min_words=4)) == ["too_short"]
    assert check_caption("A cat sits.", limits=CaptionChecks(min_characters=12)) == ["too_short"]
    assert check_caption("A cat sits.", limits=CaptionChecks(max_words=2)) == ["too_long"]
    assert check_caption("A cat sits.", limits=CaptionChecks(max_characters=10)) == ["too_long"]


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
        (f"{GOOD} {GOOD}", f"{GOOD_ZH}一名男子沿着海滩前行。" + "一名男子沿着海滩前行。" * 2, ["repetition"]),
        (
            "A shop of the 1990s, 100 years old, sold for $10,000.",
            "一家20世纪90年代的商店，有一百年历史，以1万美元售出。",
            [],
        ),
    ],
)
def test_check_translation(english, chinese, flags):
    assert check_translation(english, chinese) == flags


@pytest.mark.parametrize(
    "chinese, english, flags",
    [
        (GOOD_ZH, GOOD, []),
        ("垫子上有一只猫。", None, ["empty"]),
        ("垫子上有一只猫。", "A cat on a mat.", []),
        ("三只猫坐在垫子上。", "Two cats sit on a mat.", ["digits_lost"]),
        ("三只猫坐在垫子上。", "Three cats sit on a mat.", []),
        ("牌子上写着“开业大吉”。", "The sign reads “Good luck”.", ["quotes_lost"]),
        ("牌子上写着“开业大吉”。", 'The sign reads "开业大吉".', []),
        ("垫子上有一只猫。", "Кошка на коврике", ["not_english"]),
        ("垫子上有一只猫。", "A cat on a mat 垫子.", ["not_english", "han_left"]),
        (
            "一座属于李白的古老房子，位于湖边。",
            "An old house by the lake that belonged to Li Bai (李白).",
            ["han_left"],
        ),
        ("垫子上有一只猫。", "垫子上有一只猫。", ["not_english", "han_left"]),
        ("一名男子骑马沿着海滩前行，身后有两只狗跑过浅水，天空飘着薄云。", "Two dogs.", ["length_ratio"]),
        ("一只猫。", "A very lovely little cat that sits on a mat beside a table.", ["length_ratio"]),
        (
            "一只猫在垫子上，旁边是一张桌子和一把椅子。",
            "Eine Katze auf einer Matte neben dem Tisch und einem Stuhl.",
            ["not_english"],
        ),
        (
            "一只猫坐在垫子上，旁边是一张桌子。",
            "A cat, a cat and a cat and a cat and a cat and a table.",
            ["repetition"],
        ),
    ],
)
def test_check_translation_into_english(chinese, english, flags):
    assert check_translation(chinese, english, into="en") == flags


def test_bounds_of_translations_are_arguments():
    assert check_translation("A cat.", "猫", min_ratio=0.2) == ["length_ratio"]
    assert check_translation("A cat.", "一只小猫", max_ratio=0.5) == ["length_ratio"]
    assert check_translation("A Nike T-shirt.", "Nike T恤", min_chinese_share=0.3) == []
    assert check_translation("一只猫在岸边。", "A cat at the Волга.", into="en", max_foreign_share=0.5) == []


def test_a_caption_that_was_cut_is_truncated():
    assert check_caption("A cat sits on a", complete=False) == ["truncated"]
    assert check_caption("", complete=False) == ["empty"]


@pytest.mark.parametrize(
    "text, seen, flags",
    [
        ('A sign reads "Grand Opening".', None, []),
        ('A sign reads "Grand Opening".', "", ["unconfirmed_quote"]),
        ('A sign reads "Grand Opening".', "SHOE\nSHOP", ["unconfirmed_quote"]),
        ('A sign reads "Grand Opening".', "GRAND\nOPENlNG today", []),
        ('A sign reads "Grand Opening" and "closed".', "GRAND OPENING", ["unconfirmed_quote"]),
        ("A sign reads 'Grand Opening'.", "", ["unconfirmed_quote"]),
        ("The dogs' bowl isn't the cats' bowl.", "", []),
        ("A shop sign reads “欢迎光临”.", "欢迎光临", []),
        ("A shop sign reads “欢迎光临”.", "谢谢惠顾", ["unconfirmed_quote"]),
        ('A poster with the marks "?!" on it.', "", []),
    ],
)
def test_quotes_are_confirmed_by_ocr_where_it_has_looked(text, seen, flags):
    assert check_caption(text, seen=seen) == flags


def test_likeness_asked_for_is_an_argument():
    given = 'A sign reads "Grand Opening".', True, "GRAMD 0PENING"
    assert check_caption(*given) == [] and check_caption(*given, limits=CaptionChecks(min_quote_match=0.9)) == [
        "unconfirmed_quote"
    ]


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


ANY_TEXT = st.text(max_size=80) | st.text("\"'“”‘’「」『』 ab一三个只1,.\n\u202eא😀\ud800*#:", max_size=80)


@given(ANY_TEXT, ANY_TEXT, st.sampled_from(["zh", "en"]))
def test_any_text_can_be_checked(one, other, into):
    assert check_caption(one, seen=other) == check_caption(one, seen=other)
    assert check_translation(one, other, into=into) == check_translation(one, other, into=into)


def test_a_lone_surrogate_is_no_reason_to_fail():
    assert "not_chinese" in check_translation("A cat.", "\ud800 abc")


SIZE = 10_000
HARD = [
    "plain words ", "一只猫坐在垫子上", '"', "'", "“", "「", "'a", "'a 'b ", "'\n", "a ", "(", ")", "1", "1,", "3只", "十", "\n", " ",
    "a-", "**", "# ", "A photo of ", "The image shows ", "Sure, ", "Caption: ", "In this image, ", "a sense ", "a a mood ",
    "is very ", "may ", "adds to the ", "https://a.b/", "\u202eא", "😀", "\ud800", "e\u0301", "a.", "你\"",
]  # fmt: skip


def seconds(work):
    """CPU, the best of three."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def of_size(unit, size=SIZE):
    return (unit * (size // len(unit) + 1))[:size]


@pytest.mark.parametrize("unit", HARD)
def test_a_text_of_10_000_characters_takes_no_longer_than_plain_words(unit):
    letters = random.Random(0).choices("abcdefghijklmnopqrstuvwxyz    ", k=SIZE)
    plain, text = "".join(letters), of_size(unit)

    def work(text):
        check_caption(text, seen=plain)
        check_translation(text, plain, into="en")
        check_translation(plain, text)
        trimmed(text)

    assert seconds(lambda: work(text)) < 20 * seconds(lambda: work(plain)) + 0.005


def descriptions():
    """Every wording, with whatever text."""
    texts = [
        "",
        "OPEN 24 h",
        "It's 5 o'clock",
        "SALE SALE SALE SALE SALE SALE",
        "I'm sorry",
        "欢迎光临",
        "'",
        "?!",
        "This image shows",
    ]
    for style in range(STYLES):
        for text in texts:
            for faces in (0, 1, 11):
                for colours in ((), ("red",), ("dark blue", "white", "light green")):
                    for tone in (None, "bright"):
                        yield Description("landscape", tone, False, colours, faces, quotable(text), bool(text), style)
        yield Description("square", "dark", True, style=style)


def test_the_offline_captions_have_no_flag_and_nothing_to_trim():
    for description in descriptions():
        caption = description.english()
        assert check_caption(caption, seen=description.text) == []
        assert trimmed(caption) == caption


def test_an_offline_caption_of_a_row_is_confirmed_by_the_text_of_the_row():
    row = {"width": 640, "height": 480, "text": "Say “hello”\n\tand\u2028“good bye”", "ocr_confidence": 0.99}
    caption = Describe(DescribeParams()).caption([Request("c/s/m", None, row)])[0].text
    assert "hello" in caption and check_caption(caption, seen=row["text"]) == []
