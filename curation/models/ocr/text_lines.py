"""Sorts the lines of text on a picture into the order in which people read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

ONE_ROW = 0.5
"""Two boxes are in one row if their centres' heights differ by less than this share of the smaller box's height."""


Rotation = Literal[0, 90, 180, 270]


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text as the recogniser read it."""

    text: str
    confidence: float
    """Mean character probability, 0..1."""
    quad: np.ndarray
    """float32 (4, 2): the line's corners in pixels, clockwise from the corner at the top left of the picture."""
    turn: Rotation = 0
    """Reading direction, as degrees clockwise from upright: 0 to the right, 90 downwards (also a Chinese column, whose
    characters stand upright), 180 upside down, 270 upwards."""


def in_reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """Sorts lines into rows from top to bottom, each from left to right, with the picture held as the line is read.

    Chinese columns therefore go from right to left. A box belongs to the row in which some box has its centre at nearly
    the same height (ONE_ROW), measured along the slope of the writing; tops and bottoms are not compared, as they vary
    with every p and b. Upright rows are ordered by their tops; lines that share another rotation are placed among them
    as one block.
    """
    upright = _rows([line for line in lines if line.turn == 0])
    turned = [_rows([line for line in lines if line.turn == turn]) for turn in (90, 180, 270)]
    blocks = [*upright, *([line for row in rows for line in row] for rows in turned if rows)]
    blocks.sort(key=lambda block: min(float(line.quad[:, 1].min()) for line in block))  # by the highest corner
    return [line for block in blocks for line in block]


def _rows(lines: Sequence[TextLine]) -> list[list[TextLine]]:
    """Groups lines of one rotation into rows."""
    rows: list[list[tuple[np.ndarray, TextLine]]] = []
    for held, line in sorted(((_held(line), line) for line in lines), key=lambda item: _middle_height(item[0])):
        row = next((row for row in rows if any(_same_row(held, other) for other, _ in row)), None)
        if row is None:
            rows.append(row := [])
        row.append((held, line))
    rows.sort(key=lambda row: min(float(held[:, 1].min()) for held, _ in row))
    return [[line for _, line in sorted(row, key=lambda item: float(item[0][:, 0].mean()))] for row in rows]


def _held(line: TextLine) -> np.ndarray:
    """Returns the line's corners in the picture rotated so that the line is upright, from the line's own top left."""
    quarters = line.turn // 90
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters]
    return np.roll(line.quad @ np.array([[cos, -sin], [sin, cos]], np.float32), -quarters, axis=0)


def _middle_height(quad: np.ndarray) -> float:
    return float(quad[:, 1].mean())


def _same_row(a: np.ndarray, b: np.ndarray) -> bool:
    slope = (_slope(a) + _slope(b)) / 2
    across = float(b[:, 0].mean() - a[:, 0].mean())
    apart = abs(_middle_height(b) - _middle_height(a) - slope * across)
    return apart < ONE_ROW * min(_height(a), _height(b))


def _slope(quad: np.ndarray) -> float:
    """Returns how far the line's centre falls per pixel to the right; 0 for boxes too short to tell."""
    left, right = (quad[0] + quad[3]) / 2, (quad[1] + quad[2]) / 2
    run = float(right[0] - left[0])
    return float(right[1] - left[1]) / run if run > 1.5 * _height(quad) else 0.0


def _height(quad: np.ndarray) -> float:
    return float(quad[2:, 1].mean() - quad[:2, 1].mean())
