from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.captions.backends.describe import COLOURS, MANY, MAX_COLOURS, SHAPES, STYLES, TONES, Description, quotable
from curation.captions.backends.describe_zh import ZH_COLOURS, ZH_NUMBERS, ZH_SHAPES, ZH_TONES, chinese, join, parse
from curation.captions.base import make_translator
from curation.captions.checks.check import check_translation

WORDS = [
    *COLOURS,
    *SHAPES.values(),
    *TONES,
    "the text",
    "begins with",
    "faces",
    "two",
    "black-and-white",
    "picture.",
]


@st.composite
def descriptions(draw):
    black_and_white = draw(st.booleans())
    colours = st.lists(st.sampled_from(list(COLOURS)), max_size=MAX_COLOURS, unique=True)
    # Words of the grammar inside the quotes are the text most likely to mislead a parser.
    text = quotable(draw(st.one_of(st.just(""), st.text(max_size=90), st.lists(st.sampled_from(WORDS)).map(" ".join))))
    return Description(
        shape=draw(st.sampled_from(list(SHAPES))),
        tone=draw(st.sampled_from([None, *TONES])),
        black_and_white=black_and_white,
        colours=() if black_and_white else tuple(draw(colours)),
        faces=draw(st.integers(0, MANY)),
        text=text,
        text_goes_on=bool(text) and draw(st.booleans()),
        style=draw(st.integers(0, STYLES - 1)),
    )


def translate(text):
    return make_translator({"backend": "describe_zh"}).translate([text])[0].text


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(descriptions())
def test_every_caption_is_read_back(description):
    found = parse(description.english())
    assert found == description
    assert found.english() == description.english()


def test_every_caption_without_text_is_read_back():
    colours = [(), *[(a,) for a in COLOURS], *[(a, b) for a in COLOURS for b in COLOURS if a != b]]
    for shape in SHAPES:
        for tone in (None, *TONES):
            for faces in (0, 1, 7, MANY):
                for named in colours[:: 7 if faces else 1]:
                    for style in range(STYLES):
                        description = Description(shape, tone, False, named, faces, style=style)
                        assert parse(description.english()) == description


@settings(max_examples=500, deadline=None)
@given(descriptions())
def test_the_chinese_passes_the_checks_of_a_translation(description):
    text = chinese(description)
    assert "  " not in text and "，，" not in text and "。。" not in text.replace(description.text, "")
    if description.text:
        assert f"“{description.text}”" in text
    flags = check_translation(description.english(), text)
    assert not set(flags) - {"repetition", "quotes_lost"}  # what stands between the quotes may be anything


@settings(max_examples=500, deadline=None)
@given(descriptions(), st.data())
def test_a_changed_caption_is_never_translated_as_another(description, data):
    words = description.english().split(" ")
    del words[data.draw(st.integers(0, len(words) - 1))]
    found = parse(" ".join(words))
    assert found is None or found.english() == " ".join(words)


@given(st.text())
def test_no_other_text_is_translated(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A man rides a horse on the beach.",
        "A square picture of a cat.",
        "A square picture",
        " A square picture.",
        "A square picture. A square picture.",
        "a square picture.",
        "A bright dark square picture.",
        "A square picture in red and red.",
        "A square picture in red, white, blue and black.",
        "A square picture with two face.",
        "A square picture with eleven faces.",
        "A square picture with two faces and one face.",
        'A square picture with the text "".',
        'A square picture with the text "a" and the text "b".',
        'A square picture with the text "a\nb".',
        "Red dominate a square picture.",
        "A square picture.\n",
    ],
)
def test_captions_that_only_look_alike_are_not_translated(text):
    assert translate(text) == ""


@pytest.mark.parametrize(
    "description, wordings",
    [
        (
            Description("landscape", "bright", colours=("dark blue", "white", "red"), faces=2, text="开业大吉"),
            [
                "一张明亮的横向图片，以深蓝色、白色和红色为主，画面中有两张人脸和文字“开业大吉”。",
                "一张横向图片，以深蓝色、白色和红色为主，整体明亮。画面中可以看到两张人脸。文字内容为“开业大吉”。",
                "两张人脸和文字“开业大吉”出现在一张明亮的横向图片中，主要颜色为深蓝色、白色和红色。",
                "一张以深蓝色、白色和红色为主色调的明亮横向图片，图中有两张人脸和文字“开业大吉”。",
            ],
        ),
        (
            Description("portrait", "dark", black_and_white=True, faces=1),
            [
                "一张昏暗的竖向黑白图片，画面中有一张人脸。",
                "一张竖向黑白图片，整体偏暗。画面中可以看到一张人脸。",
                "一张人脸出现在一张昏暗的竖向黑白图片中。",
                "一张昏暗的竖向黑白图片，画面中有一张人脸。",
            ],
        ),
        (
            Description("panorama", colours=("orange",), faces=MANY, text="SALE", text_goes_on=True),
            [
                "一张宽幅图片，以橙色为主，画面中有超过十张人脸和以“SALE”开头的文字。",
                "一张宽幅图片，以橙色为主。画面中可以看到超过十张人脸。文字开头为“SALE”。",
                "超过十张人脸和以“SALE”开头的文字出现在一张宽幅图片中，主要颜色为橙色。",
                "一张以橙色为主色调的宽幅图片，图中有超过十张人脸和以“SALE”开头的文字。",
            ],
        ),
    ],
)
def test_chinese(description, wordings):
    captions = [replace(description, style=style).english() for style in range(STYLES)]
    assert [translate(caption) for caption in captions] == wordings


def test_every_word_has_its_chinese():
    assert list(ZH_COLOURS) == list(COLOURS) and len(set(ZH_COLOURS.values())) == len(COLOURS)
    assert list(ZH_SHAPES) == list(SHAPES)
    assert list(ZH_TONES) == list(TONES)
    assert ZH_NUMBERS[2] == "两" and len(ZH_NUMBERS) == MANY


def test_join():
    assert [join("甲乙丙"[:n]) for n in range(4)] == ["", "甲", "甲和乙", "甲、乙和丙"]
