"""Reading order of lines that stand any way up, and how much of a text a caption repeats."""

from itertools import permutations

import numpy as np
import pytest

from curation.models.ocr.text_lines import Rotation, TextLine, in_reading_order
from curation.signals.ocr import agreement


def line(text: str, x: float, y: float, width: float, height: float, turn: Rotation = 0) -> TextLine:
    """A level box by its left top corner and size, in pixels of the picture."""
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return TextLine(text, 1.0, np.array(corners, np.float32), turn)


def turned(lines: list[TextLine], quarters: int, side: float = 1000) -> list[TextLine]:
    """The lines of a square picture turned clockwise by so many quarters; corners still from the picture's top left."""
    for _ in range(quarters):
        lines = [
            TextLine(
                one.text,
                one.confidence,
                np.roll(np.stack([side - one.quad[:, 1], one.quad[:, 0]], 1), 1, axis=0),
                (one.turn + 90) % 360,  # type: ignore[arg-type]
            )
            for one in lines
        ]
    return lines


def texts(lines: list[TextLine]) -> str:
    return " ".join(one.text for one in in_reading_order(lines))


PAGE = [
    line("Alpha", 60, 80, 200, 40),
    line("Bravo", 400, 90, 200, 40),
    line("Charlie", 60, 190, 240, 40),
    line("Delta", 400, 182, 200, 60),
    line("Echo", 60, 290, 160, 40),
]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_rows_whichever_way_the_picture_is_held(quarters: int) -> None:
    for shuffled in permutations(PAGE):
        assert texts(turned(list(shuffled), quarters)) == "Alpha Bravo Charlie Delta Echo"


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_the_corners_stay_those_of_the_picture(quarters: int) -> None:
    given = turned(PAGE, quarters)
    assert {id(one) for one in in_reading_order(given)} == {id(one) for one in given}
    for one in given:
        assert one.quad[0].tolist() == [one.quad[:, 0].min(), one.quad[:, 1].min()]


def test_chinese_columns_come_from_the_right() -> None:
    columns = [line(text, x, 60, 40, 300, 90) for text, x in (("四", 100), ("二", 300), ("一", 400), ("三", 200))]
    assert texts(columns) == "一 二 三 四"


def test_lines_read_upwards_come_from_the_left() -> None:
    assert texts([line("b", 200, 60, 40, 300, 270), line("a", 100, 80, 40, 300, 270)]) == "a b"


def test_an_upright_title_stands_where_its_top_does() -> None:
    title = line("TITLE", 700, 70, 60, 600, 90)
    assert texts([*PAGE, title]) == "TITLE Alpha Bravo Charlie Delta Echo"
    lower = line("AUTHOR", 700, 150, 60, 600, 90)
    assert texts([*PAGE, lower]) == "Alpha Bravo AUTHOR Charlie Delta Echo"


def test_lines_of_one_turn_stay_together() -> None:
    columns = [line("一", 900, 300, 40, 300, 90), line("二", 800, 70, 40, 500, 90)]
    assert texts([*PAGE, *columns]) == "一 二 Alpha Bravo Charlie Delta Echo"


def test_a_slanted_row_stays_one_row() -> None:
    def slanted(text: str, x: float, y: float) -> TextLine:
        level = line(text, x, y, 300, 40)
        return TextLine(text, 1.0, level.quad + np.float32(0.15) * level.quad[:, :1] * np.array([0, 1], np.float32))

    lines = [slanted("West", 500, 200), slanted("North", 50, 150), slanted("East", 50, 200), slanted("South", 500, 150)]
    assert texts(lines) == "North South East West"


def test_no_lines() -> None:
    assert in_reading_order([]) == []


@pytest.mark.parametrize(
    ("text", "caption", "share"),
    [
        ("HAPPY\nBIRTHDAY", "Happy birthday, to you", 1.0),
        ("HAPPY\nBIRTHDAY", "a happy dog", 5 / 13),
        ("ＳＡＬＥ！", "sale", 1.0),
        ("art", "a birthday party", 0.0),
        ("Summer of2012", "Lee & Chris Summer of 2012", 1.0),
        ("café", "at the CAFE\u0301", 1.0),
        ("可图", "一张写着“可图”的图片", 1.0),
        ("多语言视觉文字", "视觉与语言", 4 / 7),
        ("韩国小馆 MENU", "Menu of 小馆", 6 / 8),
        ("茶", "茶园", 1.0),
        ("茶", "咖啡", 0.0),
        ("Straße 12", "STRASSE", 7 / 9),
        ("Café Noir\n2.40", "café menu", 4 / 11),
        ("hello", None, None),
        ("hello", " ", None),
        ("hello", "?!", None),
        ("", "hello", None),
        ("---", "hello", None),
    ],
)
def test_agreement(text: str, caption: str | None, share: float | None) -> None:
    assert agreement(text, caption) == (None if share is None else pytest.approx(share))
