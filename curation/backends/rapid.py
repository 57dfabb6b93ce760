"""Finding and reading lines of text with RapidOCR and the two models in its wheel (PP-OCRv6 small, ONNX).

RapidOCR finds the lines, cuts them out and reads them. Here is what it leaves to its caller: plain ground around a
picture that is little more than its letters, and several ways to hold an upright line.
"""

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curation.errors import UserError

DETECTOR = "PP-OCRv6_det_small.onnx"
RECOGNISER = "PP-OCRv6_rec_small.onnx"

MARGIN = 16
"""Pixels of plain ground put around a small picture: letters that touch the edge are missed without it (of 40 words
cut out tightly, a fifth; 12 is enough). Around a photo it does harm: a hard edge hides the text beside it."""
SMALL = 320
"""Pixels of the short side up to which a picture is taken for a cut-out word or line, if its border is plain."""
PLAIN, NEAR = 0.5, 32
"""A border is plain if this share of it is this near to its median colour (levels of 255, in every channel)."""
ONE_LETTER = 3.0
"""RapidOCR turns a tall box left, as an upright line. Up to this height over width it may be a single I or 1 too."""
SURE = 0.8
"""Confidence of an upright line below which it is tried upside down too."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text as it was read."""

    text: str
    confidence: float
    """Mean probability of its characters, 0..1."""
    quad: np.ndarray
    """float32 (4, 2): its corners in pixels of the picture, clockwise from the top left."""


def model_files() -> tuple[Path, Path]:
    """The detector's and the recogniser's file, wherever RapidOCR is installed.

    Raises:
        UserError: one of them is missing; nothing is ever downloaded.
    """
    found = importlib.util.find_spec("rapidocr")
    if found is None or found.origin is None:
        raise UserError("signals.ocr: the package rapidocr is not installed; `pip install rapidocr`")
    folder = Path(found.origin).parent / "models"
    files = folder / DETECTOR, folder / RECOGNISER
    for file in files:
        if not file.is_file():
            raise UserError(f"signals.ocr: {file} is missing; `pip install --force-reinstall rapidocr` brings it")
    return files


def read(pixels: np.ndarray, side: int) -> list[Line]:
    """The lines of text on a picture (uint8 BGR), in no order; the recogniser runs only if the detector finds some.

    Args:
        pixels: the picture. Text is looked for on a smaller copy, and read from this one.
        side: long side of that copy. Small pictures are not scaled up; where the short side of it is 16 or less, and
            no ground is put around it, nothing is looked for.
    """
    margin, canvas = _on_ground(pixels, side)
    quads = engine(side)(canvas).boxes
    if quads is None:
        return []
    edge = np.array(pixels.shape[1::-1], np.float32)
    found = [(*_read_box(canvas, quad), np.clip(quad - margin, 0, edge)) for quad in quads]
    return [Line(text, confidence, quad) for text, confidence, quad in found if text]


def recognise(line: np.ndarray) -> tuple[str, float]:
    """Text and mean character probability (0 if there is no text) of a picture of one horizontal line."""
    found = engine(None)(line)
    return found.txts[0].strip(), float(found.scores[0])


@cache
def engine(side: int | None) -> Any:
    """RapidOCR as a detector at this long side, or (None) as a recogniser; one of each, as it keeps state."""
    import rapidocr  # here, so that the command line need not wait for it

    detector, recogniser = model_files()
    params = {
        "Global.log_level": "critical",
        "Global.use_det": side is not None,
        "Global.use_cls": False,
        "Global.use_rec": side is None,
        "Global.use_preprocess_img": False,  # would scale before it scales
        "Global.use_vertical_padding": False,  # in black, and of any size
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,  # one worker, one core: the workers are parallel
        "Det.model_path": str(detector),
        "Det.limit_type": "max",
        "Det.limit_side_len": side,
        "Rec.model_path": str(recogniser),
    }
    return rapidocr.RapidOCR(params=params)


def _read_box(pixels: np.ndarray, quad: np.ndarray) -> tuple[str, float]:
    """Reads one box; of several ways to hold it, the one that is read with most confidence."""
    from rapidocr.utils.process_img import get_rotate_crop_image

    line = get_rotate_crop_image(pixels, quad)
    found = [recognise(line)]
    top, left = (float(np.linalg.norm(quad[0] - quad[i])) for i in (1, 3))
    long = line.shape[1] / line.shape[0]
    if left > top and long > 1:  # it has been turned
        if long < ONE_LETTER:
            found.append(recognise(np.rot90(line, -1)))
        if max(confidence for _, confidence in found) < SURE:
            found.append(recognise(np.rot90(line, 2)))
    return max(found, key=lambda item: item[1])


def _on_ground(pixels: np.ndarray, side: int) -> tuple[int, np.ndarray]:
    """The width of the plain ground put around the picture (0: none), and both together."""
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
