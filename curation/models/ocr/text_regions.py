"""Measures lines of text on a picture: the height of their characters, and the regions that they form."""

from collections.abc import Sequence

import cv2
import numpy as np

from curation.models.ocr.text_lines import TextLine

REACH = 0.5
"""Share of its own height by which a line's box is grown on every side; lines whose grown boxes touch are one region.
So lines of equal height belong together up to a gap of one line, as those of a paragraph, and the words of a row do."""


def character_height(line: TextLine) -> float:
    """Returns the height of a line's box across its reading direction, in pixels; for a column, the box's width.

    It is about the size of the font: of Latin text in 10 to 80 pixels, boxes were 1.0 to 1.35 times as high, and the
    capitals two thirds of that.
    """
    first, second, third, fourth = line.quad
    ends = ((first, fourth), (second, third)) if line.turn in (0, 180) else ((first, second), (fourth, third))
    return sum(float(np.linalg.norm(a - b)) for a, b in ends) / 2


def count_regions(lines: Sequence[TextLine], width: int, height: int) -> int:
    """Returns the number of regions that the lines form by REACH, directly or through other lines.

    Args:
        lines: the lines of text.
        width: width of the picture, in the pixels of the lines' corners.
        height: height of the picture, in the same pixels.
    """
    mask = np.zeros((height, width), np.uint8)
    for line in lines:
        cv2.fillConvexPoly(mask, np.rint(_grown(line)).astype(np.int32), 1)
    return int(cv2.connectedComponents(mask)[0]) - 1


def _grown(line: TextLine) -> np.ndarray:
    """Returns the corners of the line's box, grown along its own sides."""
    first, second, third, fourth = line.quad
    along, across = _unit(second - first + third - fourth), _unit(fourth - first + third - second)
    reach = REACH * character_height(line)
    outward = [-along - across, along - across, along + across, across - along]
    return np.stack([corner + reach * way for corner, way in zip(line.quad, outward, strict=True)])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-6)
