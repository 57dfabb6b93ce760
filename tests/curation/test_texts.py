"""Text from the web: whatever its encoding, and whatever it would do to a terminal."""

import pytest

from curation.texts import decode, printable, without_controls

CHINESE = ["一只猫坐在窗台上，看着外面的雨", "红色的裙子", "一座雪山倒映在湖面上，天空中有几朵白云"]
TRADITIONAL = ["一隻貓坐在窗台上，看著外面的雨", "紅色的裙子", "一座雪山倒映在湖面上，天空中有幾朵白雲"]
JAPANESE = ["窓辺に座って雨を眺める猫", "赤いドレス", "東京タワーの夜景", "カタカナ"]
WESTERN = [
    "price: £5",
    "un café à la crème sur une table en bois",
    "L’été à Paris – une fenêtre ouverte",
    "“quoted” text",
]
TEXTS = {"gb18030": CHINESE, "big5": TRADITIONAL, "shift_jis": JAPANESE, "cp1252": WESTERN}
ALL = [(encoding, text) for encoding, texts in TEXTS.items() for text in texts]


def is_utf8(data: bytes) -> bool:
    try:
        return bool(data.decode())
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("encoding, text", ALL)
def test_a_text_of_some_words_is_read_in_whatever_encoding(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", [CHINESE[0], JAPANESE[1], WESTERN[0], "plain", ""])
def test_a_byte_order_mark_decides_and_is_no_text(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    "text",
    [
        "«Чёрный квадрат»",
        "Кошка на окне, 25°",
        "Ελληνικά «καφές»",
        "مرحبا «بك»",
        "שלום · עולם",
        "Україна · Київ",
        "Їжа ´",
    ],
)
def test_utf8_of_every_script_is_utf8(text: str) -> None:
    assert decode(text.encode()) == text


def test_damaged_utf8_is_no_other_encoding() -> None:
    assert decode("一只猫坐在窗台上".encode()[:-1]) is None and decode("你好，世界".encode() + b"\xff") is None


@pytest.mark.parametrize("encoding, text", ALL)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_is_not_sure_is_no_text_and_never_another(encoding: str, text: str, count: int) -> None:
    data = text[:count].encode(encoding)
    if not is_utf8(data):  # as two letters of GB18030 may be
        assert decode(data) in (text[:count], None)


@pytest.mark.parametrize("data", ["一只猫".encode("gb18030"), b"\xff\xfea", b"\xef\xbb\xbf\xff", bytes(range(256))])
def test_bytes_of_which_nobody_can_be_sure_are_none(data: bytes) -> None:
    assert decode(data) is None


@pytest.mark.parametrize(
    "text, clean",
    [
        ("a \x1b[31mred\x1b[0m dress", "a red dress"),
        ("a\x1b]0;title\x07 b\x1b]52;c;cm0gLXJm\x1b\\ c", "a b c"),
        ("\x9b2Jgone", "gone"),
        ("evil \u202egnp.exe\u202c \u2066x\u2069", "evil gnp.exe x"),
        ("one\r\ntwo\rthree\tfour\x00\x08", "one\ntwo\nthree\tfour"),
        ("一只猫 👩‍👩‍👧 naïve", "一只猫 👩‍👩‍👧 naïve"),
    ],
)
def test_nothing_stays_in_a_text_that_changes_how_it_is_shown(text: str, clean: str) -> None:
    assert without_controls(text) == clean
    assert without_controls(clean) == clean


def test_a_terminal_is_shown_what_stands_there() -> None:
    assert printable("a\x1b[2Jb\u202ec\rd\ne猫") == "a\\x1b[2Jb\\u202ec\\rd\ne猫"
