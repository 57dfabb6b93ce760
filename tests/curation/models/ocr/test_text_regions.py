"""Heights of characters and regions of text, on boxes whose values are known."""

import numpy as np
import pytest

from curation.models.ocr.text_lines import Rotation, TextLine
from curation.models.ocr.text_regions import character_height, count_regions


def line(x: float, y: float, width: float, height: float, turn: Rotation = 0, degrees: float = 0) -> TextLine:
    """A line whose box has its middle at x, y, rotated clockwise by some degrees."""
    corners = np.array([(-width, -height), (width, -height), (width, height), (-width, height)]) / 2
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return TextLine("text", 1.0, (corners @ rotation + (x, y)).astype(np.float32), turn)


@pytest.mark.parametrize(
    ("made", "height"),
    [
        (line(100, 50, 90, 12), 12),
        (line(100, 50, 8, 12), 12),  # a single I
        (line(100, 50, 90, 12, 180), 12),
        (line(100, 100, 14, 90, 90), 14),  # a column
        (line(100, 100, 14, 90, 270), 14),
        (line(100, 100, 90, 12, 0, 30), 12),
    ],
)
def test_height_is_measured_across_the_reading_direction(made: TextLine, height: float) -> None:
    assert character_height(made) == pytest.approx(height, rel=1e-4)


@pytest.mark.parametrize(
    ("lines", "regions"),
    [
        ([], 0),
        ([line(100, 50, 90, 20)], 1),
        ([line(100, 50, 90, 20), line(100, 88, 90, 20)], 1),  # 18 apart
        ([line(100, 50, 90, 20), line(100, 95, 90, 20)], 2),  # 25 apart
        ([line(100, 50, 90, 20), line(208, 50, 90, 20)], 1),  # two words of a row
        ([line(100, 50, 90, 20), line(220, 50, 90, 20)], 2),
        ([line(100, 50, 90, 60), line(100, 100, 90, 6)], 1),  # small print close below a title
        ([line(100, y, 90, 20) for y in (40, 75, 110, 145)] + [line(300, 40, 90, 20)], 2),  # through others
        ([line(200, 200, 200, 20, 0, 45), line(225, 175, 200, 20, 0, 45)], 1),  # 15 apart across the slope
        ([line(200, 200, 200, 20, 0, 45), line(235, 165, 200, 20, 0, 45)], 2),  # 29 apart, though not upright boxes
        ([line(0, 0, 90, 20), line(399, 399, 0, 0)], 2),  # at the edge, and of no size
    ],
)
def test_regions(lines: list[TextLine], regions: int) -> None:
    assert count_regions(lines, 400, 400) == count_regions(lines[::-1], 400, 400) == regions
