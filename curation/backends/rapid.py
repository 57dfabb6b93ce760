"""Finding and reading lines of text with the two models that RapidOCR's wheel carries (PP-OCRv6 small, ONNX).

RapidOCR itself is never imported: it would download a model that is missing, log to the terminal, and normalise in
float64. What is around the models is small: a picture on a plain ground, boxes from the text map (Liao et al. 2020,
"Real-time Scene Text Detection with Differentiable Binarization"), and greedy CTC decoding (Graves et al. 2006).
Thresholds are those of RapidOCR's own configuration.
"""

import importlib.util
import math
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
STEP = 32
"""The detector wants sides that are multiples of this."""
TEXT, BOX = 0.3, 0.5
"""Text probability of a pixel, and its mean in a box, from which they count."""
GROWTH = 1.6
"""The text map shows lines shrunk; a box is grown by GROWTH x area / perimeter on every side (Liao et al., eq. 10)."""
SMALLEST = 3
"""Pixels of the short side of a box in the text map, below which it is no text."""
MOST = 300
"""Lines that are read; of more boxes, the largest."""
HEIGHT = 48
"""The recogniser sees lines of this height."""
NARROWEST, WIDEST = 80, 3200
"""The width of a line of that height is brought between these. RapidOCR fills up to 320: three times the work for a
short word, and of 39 pictures one is read otherwise, by a space."""
TALL = 1.5
"""Height over width of a box from which it is read as a line that stands upright."""
ONE_LETTER = 3.0
"""The same up to which a box may also be a single letter, an I or a 1."""
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
    for name in (DETECTOR, RECOGNISER):
        if not (folder / name).is_file():
            raise UserError(
                f"signals.ocr: {folder / name} is missing; `pip install --force-reinstall rapidocr` brings it"
            )
    return folder / DETECTOR, folder / RECOGNISER


def read(pixels: np.ndarray, side: int) -> list[Line]:
    """The lines of text on a picture (uint8 BGR), in no order; the recogniser runs only if the detector finds some.

    Args:
        pixels: the picture. Text is looked for on a smaller copy, and read from this one.
        side: long side of that copy. Small pictures are not scaled up.
    """
    lines = []
    for quad in detect(pixels, side):
        text, confidence = _recognise_box(pixels, quad)
        if text:
            lines.append(Line(text, confidence, _inside(quad, pixels)))
    return lines


def detect(pixels: np.ndarray, side: int) -> list[np.ndarray]:
    """Corners of the text boxes in pixels of the picture, from the top left on; they may reach beyond its edge."""
    canvas, scale, corner = _for_detector(pixels, side)
    text_map = _run(model_files()[0], _blob(canvas))[0, 0]
    mask = cv2.dilate((text_map > TEXT).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours:
        centre, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < SMALLEST:
            continue
        if _mean_inside(text_map, cv2.boxPoints((centre, (width, height), angle))) < BOX:
            continue
        grow = GROWTH * width * height / (width + height)  # twice area / perimeter: both sides at once
        quad = cv2.boxPoints((centre, (width + grow, height + grow), angle))
        found.append((width * height, _clockwise((quad - corner) / scale)))
    found.sort(key=lambda item: -item[0])
    return [quad for _, quad in found[:MOST]]


def recognise(line: np.ndarray) -> tuple[str, float]:
    """Text and mean character probability (0 if there is no text) of a picture of one horizontal line."""
    height, width = line.shape[:2]
    width = min(WIDEST, max(1, math.ceil(HEIGHT * width / height)))
    batch = np.zeros((1, 3, HEIGHT, max(NARROWEST, width)), np.float32)  # the model knows padding as zeros
    batch[..., :width] = _blob(cv2.resize(line, (width, HEIGHT)))
    file = model_files()[1]
    steps = _run(file, batch)[0]
    best = steps.argmax(axis=1)
    kept = np.flatnonzero((best != 0) & (np.diff(best, prepend=-1) != 0))  # 0 is CTC's blank
    if not len(kept):
        return "", 0.0
    letters = _letters(file)
    text = "".join(letters[i] for i in best[kept])
    if not text.strip():
        return "", 0.0
    return text.strip(), float(steps[kept, best[kept]].mean())


@cache
def _session(file: Path) -> Any:
    import onnxruntime  # here, so that the command line need not wait for it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one worker, one core: the workers are the parallelism
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # every picture has another shape; the arena would keep room for each
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _run(file: Path, batch: np.ndarray) -> np.ndarray:
    session = _session(file)
    return session.run(None, {session.get_inputs()[0].name: batch})[0]


@cache
def _letters(file: Path) -> list[str]:
    """The characters by class: CTC's blank, those in the model's own list, and the space."""
    return ["", *_session(file).get_modelmeta().custom_metadata_map["character"].splitlines(), " "]


def _blob(pixels: np.ndarray) -> np.ndarray:
    return cv2.dnn.blobFromImage(pixels, 1 / 127.5, mean=(127.5, 127.5, 127.5))


def _for_detector(pixels: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The picture as the detector wants it; its scale in x and y, and where its corner lies."""
    height, width = pixels.shape[:2]
    if min(height, width) * min(1.0, side / max(height, width)) <= SMALL:
        colour = _plain_border(pixels)
        if colour is not None:
            return _on_ground(pixels, side, colour)
    scale = min(1.0, side / max(height, width))
    size = tuple(max(STEP, round(n * scale / STEP) * STEP) for n in (width, height))
    return _scaled(pixels, size), np.array(size) / (width, height), np.zeros(2)


def _on_ground(pixels: np.ndarray, side: int, colour: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width = pixels.shape[:2]
    scale = min(1.0, (side - 2 * MARGIN) / max(height, width))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    spare_x = -(width + 2 * MARGIN) % STEP + 2 * MARGIN
    spare_y = -(height + 2 * MARGIN) % STEP + 2 * MARGIN
    left, top = spare_x // 2, spare_y // 2
    canvas = cv2.copyMakeBorder(
        _scaled(pixels, (width, height)),
        top,
        spare_y - top,
        left,
        spare_x - left,
        cv2.BORDER_CONSTANT,
        value=colour,
    )
    return canvas, np.array([scale, scale]), np.array([left, top])


def _plain_border(pixels: np.ndarray) -> list[float] | None:
    """Median colour of the outermost pixels if most of them are near it; else None."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).astype(np.int16)
    colour = np.median(border, axis=0)
    near = (np.abs(border - colour) <= NEAR).all(axis=1)
    return colour.tolist() if near.mean() >= PLAIN else None


def _scaled(pixels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bilinear, as the detector saw its pictures in training; area averaging reads a little worse."""
    height, width = pixels.shape[:2]
    return pixels if size == (width, height) else cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)


def _mean_inside(text_map: np.ndarray, quad: np.ndarray) -> float:
    x, y, width, height = cv2.boundingRect(quad)
    x, y = max(0, x), max(0, y)
    part = text_map[y : y + height, x : x + width]
    mask = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(mask, [(quad - (x, y)).astype(np.int32)], 1)
    return float(cv2.mean(part, mask)[0])


def _clockwise(quad: np.ndarray) -> np.ndarray:
    """Corners of a rectangle from its top left on: the two left ones by height, then the two right ones."""
    quad = quad[np.argsort(quad[:, 0], kind="stable")]
    top_left, bottom_left = sorted(quad[:2], key=lambda corner: corner[1])
    top_right, bottom_right = sorted(quad[2:], key=lambda corner: corner[1])
    return np.array([top_left, top_right, bottom_right, bottom_left], np.float32)


def _recognise_box(pixels: np.ndarray, quad: np.ndarray) -> tuple[str, float]:
    """Reads one box; of several ways to hold it, the one that is read with most confidence."""
    line = _cut(pixels, quad)
    tall = line.shape[0] / line.shape[1]
    if tall < TALL:
        return recognise(line)
    found = [recognise(cv2.rotate(line, cv2.ROTATE_90_COUNTERCLOCKWISE))]
    if tall < ONE_LETTER:
        found.append(recognise(line))
    if max(confidence for _, confidence in found) < SURE:
        found.append(recognise(cv2.rotate(line, cv2.ROTATE_90_CLOCKWISE)))
    return max(found, key=lambda item: item[1])


def _cut(pixels: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """The box's content, turned straight; beyond the picture's edge its border is repeated."""
    top_left, top_right, _, bottom_left = quad
    width = max(1, round(float(np.linalg.norm(top_right - top_left))))
    height = max(1, round(float(np.linalg.norm(bottom_left - top_left))))
    corners = np.array([[0, 0], [width, 0], [0, height]], np.float32)
    turn = cv2.getAffineTransform(np.array([top_left, top_right, bottom_left], np.float32), corners)
    return cv2.warpAffine(pixels, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _inside(quad: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.clip(quad, 0, np.array([width, height], np.float32))
