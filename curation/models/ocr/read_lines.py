"""Reads lines of text with any detector and recogniser, by the steps that both leave to their caller.

A plain margin is put around a picture that is little more than its letters, so that they are detected; and a line is
read in several rotations (upright, vertical, upside down), of which the recogniser's confidence selects one.
"""

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from curation.models.ocr.text_lines import Rotation, TextLine

MARGIN = 16
"""Pixels of plain margin put around a small picture: without it, letters that touch the edge are missed (a fifth of 40
words cut out tightly; 12 is enough). Around a photo it does harm: a hard edge hides the text beside it."""
SMALL = 320
"""Short side in pixels up to which a picture with a plain border is taken for a cut-out word or line."""
PLAIN, NEAR = 0.5, 32
"""A border is plain if at least this share of its pixels differs from its median colour by at most this many levels of
255 in every channel."""
ONE_LETTER = 3.0
"""RapidOCR rotates every tall box to the left, as a vertical line. Up to this height over width it may also be a single
upright I or 1, and is read both ways."""
SURE = 0.9
"""Confidence below which a line is also tried upside down, and from which the upside-down reading is accepted. Of 132
lines on 39 pictures turned upside down, 98 % read with less, and 99 % with this or more once they are turned back."""
TRIED = 16
"""Number of doubtful lines tried upside down at a time, the longest first; if none of them is accepted, the others are
not tried. A page too small to read has hundreds."""

Find = Callable[[np.ndarray], np.ndarray]
"""A detector: maps a picture (uint8 BGR) to boxes around lines, float32 (n, 4, 2), corners in pixels, clockwise from
the top left."""
Recognise = Callable[[Sequence[np.ndarray]], list[tuple[str, float]]]
"""A recogniser: maps pictures of one horizontal line each to text and mean character probability (0 without text)."""


def read_lines(pixels: np.ndarray, side: int, find: Find, recognise: Recognise) -> list[TextLine]:
    """Detects and reads the lines of text on a picture; returns them in no particular order.

    Args:
        pixels: uint8 (H, W, 3), BGR.
        side: long side in pixels of the copy on which `find` detects text.
        find: the detector.
        recognise: the recogniser.
    """
    margin, canvas = on_ground(pixels, side)
    return lines_in(canvas, find(canvas), margin, recognise)


def lines_in(canvas: np.ndarray, quads: np.ndarray, margin: int, recognise: Recognise) -> list[TextLine]:
    """Reads boxes; returns those in which there is text, as lines on the picture without its margin.

    Args:
        canvas: uint8 (H, W, 3), BGR, the picture with its margin.
        quads: float32 (n, 4, 2), the corners of each box in pixels of the canvas, clockwise from the top left.
        margin: width of the margin in pixels.
        recognise: the recogniser.
    """
    edge = np.array(canvas.shape[1::-1], np.float32) - 2 * margin
    readings = zip(read_boxes(canvas, quads, recognise), quads, strict=True)
    return [
        TextLine(text, sure, np.clip(quad - margin, 0, edge), turn) for (text, sure, turn), quad in readings if text
    ]


def read_boxes(pixels: np.ndarray, quads: np.ndarray, recognise: Recognise) -> list[tuple[str, float, Rotation]]:
    """Returns text, confidence and rotation of each box; of several rotations, the one that reads best.

    Args:
        pixels: uint8 (H, W, 3), BGR.
        quads: float32 (n, 4, 2), the corners of each box in pixels, clockwise from the top left.
        recognise: the recogniser.
    """
    from rapidocr.utils.process_img import get_rotate_crop_image

    if not len(quads):
        return []
    lines = [get_rotate_crop_image(pixels, quad) for quad in quads]
    tall = [np.linalg.norm(quad[0] - quad[3]) > np.linalg.norm(quad[0] - quad[1]) for quad in quads]
    turns: list[Rotation] = [
        90 if t and line.shape[1] > line.shape[0] else 0 for t, line in zip(tall, lines, strict=True)
    ]
    best = [(*reading, turn) for reading, turn in zip(recognise(lines), turns, strict=True)]

    def again(which: Iterable[int], quarters: int, better: Callable[[float, float], bool]) -> None:
        """Reads some lines again, rotated left by `quarters` × 90°; `better(new, old)` compares the confidences."""
        which = list(which)
        for i, reading in zip(which, recognise([np.rot90(lines[i], quarters) for i in which]), strict=True):
            if better(reading[1], best[i][1]):
                best[i] = (*reading, (turns[i] + 90 * quarters) % 360)  # type: ignore[assignment]

    letters = [i for i, line in enumerate(lines) if turns[i] and line.shape[1] < ONE_LETTER * line.shape[0]]
    again(letters, -1, lambda new, old: new > old)
    doubtful = [i for i, (_, sure, _) in enumerate(best) if sure < SURE]
    doubtful.sort(key=lambda i: -lines[i].shape[1])
    for at in range(0, len(doubtful), TRIED):
        again(tried := doubtful[at : at + TRIED], 2, lambda new, old: new >= SURE)
        if all(best[i][2] < 180 for i in tried):
            break
    over = sum(len(text) for text, _, turn in best if turn >= 180)
    if 2 * over > sum(len(text) for text, *_ in best):  # then short ones such as 96 are upside down too
        again([i for i in range(len(best)) if best[i][2] < 180 and i not in doubtful], 2, lambda new, old: new >= SURE)
    return best


def on_ground(pixels: np.ndarray, side: int) -> tuple[int, np.ndarray]:
    """Puts a margin of plain ground around a small picture with a plain border; see MARGIN, SMALL and PLAIN.

    Args:
        pixels: uint8 (H, W, 3).
        side: long side in pixels of the copy on which text is detected.

    Returns:
        The width of the margin in pixels, 0 for none, and the picture with its margin.
    """
    short, long = sorted(pixels.shape[:2])
    scale = min(1.0, side / long)
    if short * scale > SMALL:
        return 0, pixels
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).astype(np.int16)
    colour = np.median(border, axis=0)
    if (np.abs(border - colour) <= NEAR).all(axis=1).mean() < PLAIN:
        return 0, pixels
    n = min(short, round(MARGIN / scale))  # not more: a hair's breadth would become a field
    return n, cv2.copyMakeBorder(pixels, n, n, n, n, cv2.BORDER_CONSTANT, value=colour.tolist())
