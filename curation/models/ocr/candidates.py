"""Adds what is read in doubtful boxes, such as those of large or curved words, to the lines that are certain.

Certain boxes have a high mean probability of text over their whole rectangle at full size. Many large words have none:
letters of a third of the picture fall apart at the resolution at which small lines are detected, and a curved word
fills too little of its rectangle. Doubtful boxes hold more than words, so that one counts only if it reads surely, and
only where it reads more than the certain lines in its place.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from curation.models.ocr.text_lines import TextLine

SURELY, SHORTEST_WORD = 0.8, 2
"""Confidence and number of characters from which the reading of a doubtful box counts. On 637 real pictures three
fifths of what is read with less is a single character, and little of the rest is a word."""
SAME = 0.8
"""Intersection over union from which a doubtful box adds nothing to a certain one."""
INSIDE = 0.5
"""Share of a line's box that lies in another box, from which the line is taken for a part of what that box holds."""
COVERED = 0.3
"""Share of a doubtful box that certain lines cover, from which both are readings of the same letters, so that only one
of them is kept."""
MORE = 0.5
"""Number of characters, weighted by confidence, by which the doubtful reading must be the longer one."""
TORN = 0.7
"""Share of the characters of several lines, weighted by confidence, that the reading of one doubtful box in their place
must have: a letter torn apart reads as more than one."""


def reads_surely(text: str, confidence: float) -> bool:
    """Returns whether the reading of a doubtful box counts."""
    return len(text) >= SHORTEST_WORD and confidence >= SURELY


def unlike(doubtful: np.ndarray, certain: np.ndarray) -> np.ndarray:
    """Returns the doubtful boxes that are not nearly the same as a certain one or as an earlier doubtful one.

    Args:
        doubtful: float32 (n, 4, 2), corners in pixels, clockwise.
        certain: float32 (m, 4, 2), in the same pixels.
    """
    kept: list[np.ndarray] = []
    for quad in doubtful:
        if all(_shared(quad, other) < SAME * _united(quad, other) for other in (*certain, *kept)):
            kept.append(quad)
    return np.array(kept, np.float32).reshape(-1, 4, 2)


def complemented(lines: Sequence[TextLine], doubtful: Sequence[TextLine]) -> list[TextLine]:
    """Returns the lines with those readings of doubtful boxes that add to them, instead of the lines they replace.

    The doubtful readings are taken in the order of their length, longest first. One that lines hardly cover is added,
    and replaces those lines in it that repeat a part of it. One that they cover replaces them if it reads more than a
    single line does, or nearly as much as several do (MORE, TORN).
    """
    found = list(lines)
    for new in sorted(doubtful, key=_weight, reverse=True):
        if not reads_surely(new.text, new.confidence):
            continue
        shared = [_shared(new.quad, line.quad) for line in found]
        parts = [
            area >= INSIDE * min(_area(new.quad), _area(line.quad)) for area, line in zip(shared, found, strict=True)
        ]
        inside = [line for line, part in zip(found, parts, strict=True) if part]
        if sum(shared) >= COVERED * _area(new.quad):
            if not _better(new, inside):
                continue
        else:
            parts = [part and line.text in new.text for line, part in zip(found, parts, strict=True)]
        found = [line for line, part in zip(found, parts, strict=True) if not part]
        found.append(new)
    return found


def _better(new: TextLine, old: Sequence[TextLine]) -> bool:
    """Returns whether the reading of one box is better than the readings of others in its place."""
    before = sum(map(_weight, old))
    return _weight(new) >= (TORN * before if len(old) > 1 else before + MORE)


def _weight(line: TextLine) -> float:
    return len("".join(line.text.split())) * line.confidence


def _area(quad: np.ndarray) -> float:
    return float(cv2.contourArea(quad))


def _shared(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the area of the intersection of two boxes."""
    return float(cv2.intersectConvexConvex(a, b)[0])


def _united(a: np.ndarray, b: np.ndarray) -> float:
    return max(1e-9, _area(a) + _area(b) - _shared(a, b))
