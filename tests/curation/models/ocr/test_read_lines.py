"""Reading boxes with any recogniser: which way each is held, and how many tries that costs."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from curation.models.ocr.read_lines import SURE, TRIED, read_boxes, read_lines

WIDE, TALL, SHORT = (120, 20), (20, 120), (20, 40)
"""Width and height in pixels of a line, an upright line, and what may be an upright line or a single letter."""
Reader = Callable[[Sequence[np.ndarray]], list[tuple[str, float]]]


def marked(sizes: Sequence[tuple[int, int]], corners: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """A gray picture with boxes side by side, each white in the corner of its picture in which its text begins."""
    pixels = np.full((140, 140 * len(sizes), 3), 128, np.uint8)
    quads = []
    for number, ((width, height), corner) in enumerate(zip(sizes, corners, strict=True)):
        left, top = 140 * number + 5, 5
        x, y = left + ("right" in corner) * (width - 10), top + ("bottom" in corner) * (height - 10)
        pixels[y : y + 10, x : x + 10] = 255
        quads.append([(left, top), (left + width, top), (left + width, top + height), (left, top + height)])
    return pixels, np.array(quads, np.float32).reshape(-1, 4, 2)


def reader(reads: list[int], wrong: float = 0.3, right: float = 0.95) -> Reader:
    """A recogniser that is sure of a line if its left top is white; it notes how many it was given at a time."""

    def recognise(lines: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        reads.append(len(lines))
        sure = [bool(line[:8, :8].mean() > 200) for line in lines]
        return [("right", right) if one else ("wrong", wrong) for one in sure]

    return recognise


@pytest.mark.parametrize(
    ("size", "corner", "turn", "lines_read"),
    [
        (WIDE, "left top", 0, 1),
        (WIDE, "right bottom", 180, 2),
        (TALL, "right top", 90, 1),
        (TALL, "left bottom", 270, 2),
        (SHORT, "left top", 0, 2),
        (SHORT, "right top", 90, 2),
        (SHORT, "left bottom", 270, 3),
    ],
)
def test_the_way_that_reads_surely(size: tuple[int, int], corner: str, turn: int, lines_read: int) -> None:
    reads: list[int] = []
    assert read_boxes(*marked([size], [corner]), reader(reads)) == [("right", 0.95, turn)]
    assert sum(reads) == lines_read


def test_what_reads_badly_any_way_is_taken_as_it_stands() -> None:
    found = read_boxes(*marked([WIDE, TALL], ["right top", "left top"]), reader([]))
    assert found == [("wrong", 0.3, 0), ("wrong", 0.3, 90)]
    turned_over = read_boxes(*marked([WIDE], ["right bottom"]), reader([], right=SURE - 0.01))
    assert turned_over == [("wrong", 0.3, 0)]


def test_most_lines_upside_down_take_along_those_that_read_both_ways() -> None:
    corners = ["right bottom"] * 3
    pixels, quads = marked([WIDE] * 4, [*corners, "right bottom"])
    pixels[5:15, 140 * 3 + 5 : 140 * 3 + 15] = 255  # the last one reads either way
    assert [turn for *_, turn in read_boxes(pixels, quads, reader([]))] == [180] * 4
    pixels, quads = marked([WIDE] * 4, ["left top", "left top", "right bottom", "left top"])
    pixels[15:25, 140 * 3 + 115 : 140 * 3 + 125] = 255
    assert [turn for *_, turn in read_boxes(pixels, quads, reader([]))] == [0, 0, 180, 0]


def test_a_page_of_hopeless_lines_is_not_read_twice() -> None:
    reads: list[int] = []
    read_boxes(*marked([WIDE] * 100, ["right top"] * 100), reader(reads))
    assert sum(reads) == 100 + TRIED


def test_a_page_upside_down_is_read_to_its_end() -> None:
    found = read_boxes(*marked([WIDE] * 100, ["right bottom"] * 100), reader([]))
    assert found == [("right", 0.95, 180)] * 100


def test_no_boxes_and_boxes_without_text() -> None:
    pixels, quads = marked([WIDE], ["left top"])
    assert read_lines(pixels, 736, lambda _: np.zeros((0, 4, 2), np.float32), reader([])) == []
    assert read_lines(pixels, 736, lambda _: quads, lambda lines: [("", 0.0)] * len(lines)) == []


def test_boxes_on_the_ground_put_around_are_given_on_the_picture() -> None:
    word = np.full((30, 100, 3), 200, np.uint8)
    seen: list[tuple[int, ...]] = []

    def find(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels.shape)
        height, width = pixels.shape[:2]
        return np.array([[(10, 10), (width - 10, 10), (width - 10, height - 10), (10, height - 10)]], np.float32)

    line, = read_lines(word, 736, find, lambda lines: [("word", 1.0)] * len(lines))  # fmt: skip
    assert seen[0][0] > 30 and seen[0][1] > 100
    assert line.quad.tolist() == [[0, 0], [100, 0], [100, 30], [0, 30]]
