import numpy as np
import pytest

from curation.captions.backends.describe import (
    MANY,
    STYLES,
    Description,
    first_lines,
    join,
    measure,
    quotable,
    shape_of,
)
from curation.captions.base import Request, make_captioner
from curation.keys import key_hash

RED, WHITE, BLACK, NAVY = (30, 20, 200), (255, 255, 255), (0, 0, 0), (90, 30, 20)


def stripes(*parts, height=96):
    """A picture of upright stripes: (BGR colour, width) each."""
    return np.concatenate([np.full((height, width, 3), colour, np.uint8) for colour, width in parts], axis=1)


def keys_by_style():
    found = {}
    for i in range(1000):
        found.setdefault(key_hash(f"c/s/{i}", "style") % STYLES, f"c/s/{i}")
    return [found[style] for style in range(STYLES)]


def caption(pixels=None, key="c/s/0", params=None, **row):
    return make_captioner({"backend": "describe"} | (params or {})).caption([Request(key, pixels, row)])[0].text


@pytest.mark.parametrize(
    "description, wordings",
    [
        (
            Description("landscape", "bright", colours=("red", "gray", "white"), faces=2, text="SALE"),
            [
                'A bright horizontal picture in red, gray and white, with two faces and the text "SALE".',
                "A horizontal picture in red, gray and white, bright overall. Two faces are visible. "
                'The text reads "SALE".',
                'Two faces and the text "SALE" in a bright horizontal picture, mainly red, gray and white.',
                'Red, gray and white dominate a bright horizontal picture with two faces and the text "SALE".',
            ],
        ),
        (
            Description("portrait", "dark", black_and_white=True, faces=1),
            [
                "A dark vertical black-and-white picture with one face.",
                "A vertical black-and-white picture, dark overall. One face is visible.",
                "One face in a dark vertical black-and-white picture.",
                "A dark vertical black-and-white picture with one face.",
            ],
        ),
        (
            Description("panorama", colours=("orange",), faces=MANY, text="OPENING", text_goes_on=True),
            [
                'A wide picture in orange, with more than ten faces and text beginning with "OPENING".',
                'A wide picture in orange. More than ten faces are visible. The text begins with "OPENING".',
                'More than ten faces and text beginning with "OPENING" in a wide picture, mainly orange.',
                'Orange dominates a wide picture with more than ten faces and text beginning with "OPENING".',
            ],
        ),
        (Description("square"), ["A square picture."] * STYLES),
    ],
)
def test_english(description, wordings):
    fields = [getattr(description, name) for name in Description.__slots__[:-1]]
    assert [Description(*fields, style=style).english() for style in range(STYLES)] == wordings


@pytest.mark.parametrize(
    "wrong",
    [
        {"colours": ("red", "red")},
        {"colours": ("red", "white", "blue", "black")},
        {"colours": ("red",), "black_and_white": True},
        {"faces": -1},
        {"faces": MANY + 1},
        {"text": 'say "hi"'},
        {"text": "two\nlines"},
        {"text_goes_on": True},
    ],
)
def test_a_description_that_has_no_caption_cannot_be_made(wrong):
    with pytest.raises(ValueError):
        Description("square", **wrong)


def test_style_is_not_part_of_what_is_said():
    assert Description("square", style=1) == Description("square", style=2)


@pytest.mark.parametrize(
    "size, shape",
    [
        ((1000, 1000), "square"),
        ((1030, 1000), "square"),
        ((1040, 1000), "landscape"),
        ((600, 900), "portrait"),
        ((1999, 1000), "landscape"),
        ((2000, 1000), "panorama"),
        ((100, 9000), "portrait"),
    ],
)
def test_shape(size, shape):
    assert shape_of(*size) == shape


@pytest.mark.parametrize(
    "pixels, seen",
    [
        (stripes((RED, 60), (WHITE, 40)), (None, False, ("red", "white"))),
        (stripes((WHITE, 90), (RED, 10)), ("bright", False, ("white",))),
        (stripes((NAVY, 70), (BLACK, 30)), ("dark", False, ("dark blue", "black"))),
        (stripes((WHITE, 50), (BLACK, 50)), (None, True, ())),
        (stripes((WHITE, 100)), ("bright", False, ("white",))),
        (stripes((BLACK, 100)), ("dark", False, ("black",))),
        (stripes(((128, 128, 128), 100)), (None, False, ("gray",))),
    ],
)
def test_measure(pixels, seen):
    assert measure(pixels) == seen


def test_a_picture_of_every_colour_names_none():
    parts = [
        ((0, 0, 255), 11),
        ((0, 255, 255), 11),
        ((0, 200, 0), 11),
        ((255, 0, 0), 11),
        ((128, 0, 128), 11),
        (WHITE, 11),
        (BLACK, 11),
        ((120, 120, 120), 11),
        ((19, 69, 139), 12),
    ]
    assert measure(stripes(*parts))[2] == ()


@pytest.mark.parametrize(
    "rgb, name",
    [
        ("ff0000", "red"),
        ("00ff00", "green"),
        ("0000ff", "blue"),
        ("ffff00", "yellow"),
        ("00ffff", "turquoise"),
        ("87ceeb", "light blue"),
        ("0a1f44", "dark blue"),
        ("ffc0cb", "pink"),
        ("800080", "purple"),
        ("8b4513", "brown"),
        ("d2b48c", "beige"),
        ("f7f7f7", "white"),
        ("808080", "gray"),
        ("0a0a0a", "black"),
        ("228b22", "green"),
        ("123d12", "dark green"),
        ("98fb98", "light green"),
        ("ff8c00", "orange"),
        ("7b1113", "dark red"),
    ],
)
def test_colours_have_the_names_people_give_them(rgb, name):
    bgr = tuple(bytes.fromhex(rgb)[::-1])
    assert measure(stripes((bgr, 50)))[2] == (name,)


def test_pixels_of_any_size_and_no_size_in_the_row():
    assert "wide" in caption(stripes((RED, 2000), height=500))
    assert "square" in caption(np.zeros((1, 1, 3), np.uint8))


def test_the_rows_size_goes_before_that_of_the_reduced_pixels():
    assert "square" in caption(stripes((RED, 100)), width=1000, height=1000)


def test_unmeasured_is_unsaid():
    row = {"width": 1200, "height": 800, "face_count": None, "text": None, "ocr_confidence": None}
    assert caption(**row) == "A horizontal picture."
    assert caption(width=800, height=1200, face_count=0, text_lines=0, text="") == "A vertical picture."
    assert caption() == ""


def test_text_is_quoted_only_if_it_was_read_surely():
    row = {"width": 10, "height": 10, "text": "OPEN"}
    assert '"OPEN"' in caption(**row, ocr_confidence=0.95)
    assert "OPEN" not in caption(**row, ocr_confidence=0.89)
    assert '"OPEN"' in caption(**row, ocr_confidence=0.89, params={"min_ocr_confidence": 0.8})
    assert "OPEN" not in caption(**row)


def test_the_wording_depends_on_the_key_alone():
    row = {"width": 300, "height": 200, "face_count": 3, "text": "OPEN", "ocr_confidence": 1.0}
    captions = [caption(stripes((RED, 50)), key, **row) for key in keys_by_style()]
    assert len(set(captions)) == STYLES
    assert captions == [caption(stripes((RED, 50)), key, **row) for key in keys_by_style()]


@pytest.mark.parametrize(
    "text, limit, expected",
    [
        ("OPEN\nDAILY", 80, ("OPEN DAILY", False)),
        ("OPEN\n\n  \nDAILY", 80, ("OPEN DAILY", False)),
        ("开业大吉\n全场五折", 80, ("开业大吉 全场五折", False)),
        ("a" * 50 + "\n" + "b" * 50, 80, ("a" * 50, True)),
        ("a" * 81 + "\nb", 80, ("", False)),
        ("a" * 80, 80, ("a" * 80, False)),
        ("", 80, ("", False)),
    ],
)
def test_first_lines(text, limit, expected):
    assert first_lines(text, limit) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ('27" TV', "27' TV"),
        ("“新”品", "‘新’品"),
        ("a\tb\u200bc\x00d", "a b c d"),
        ("  x  ", "x"),
        ("don't", "don't"),
    ],
)
def test_quotable(text, expected):
    assert quotable(text) == expected


def test_join():
    assert [join("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_a_crowd_is_more_than_ten():
    assert "ten faces" in caption(width=1, height=1, face_count=10)
    assert "more than ten faces" in caption(width=1, height=1, face_count=57).lower()
