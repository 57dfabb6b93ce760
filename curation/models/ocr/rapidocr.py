"""Detects and reads text by RapidOCR with the two models in its wheel (PP-OCRv6 small, ONNX).

RapidOCR loads the models, converts the detector's probability map to boxes (Liao et al., "Real-time Scene Text
Detection with Differentiable Binarization", AAAI 2020) and the recogniser's output to text. This module decides what
they are run on: the detector runs at full size only if a low-resolution detection pass suspects text and a full-size
pass over the suspected regions confirms it. Of 154 pictures with text of a corpus of real ones this loses none.
"""

import importlib.util
import math
from collections.abc import Iterable, Sequence
from copy import copy as shallow_copy
from functools import cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from curation.errors import UserError
from curation.models.ocr.candidates import complemented, reads_surely, unlike
from curation.models.ocr.read_lines import lines_in, on_ground, read_boxes
from curation.models.ocr.text_lines import TextLine

DETECTOR = "PP-OCRv6_det_small.onnx"
RECOGNISER = "PP-OCRv6_rec_small.onnx"

CELL = 32
"""The detector's input height and width in pixels are multiples of this."""
GLANCE_PAYS = 2.2
"""Ratio of the full-size copy's pixels to the low-resolution copy's, up to which the low-resolution pass is skipped:
it saves little, and of the letters of a picture of 500 × 500 pixels it sees the smallest no more."""
AROUND = 24
"""Margin, in pixels of the low-resolution copy, by which suspected regions are enlarged for the full-size pass."""
WIDELY = 0.4
"""Share of the picture in suspected regions from which the whole picture gets the full-size pass right away: busy ones,
in which a faint mark beside the suspected region may be the only text."""
LARGE = 0.02
"""Share of the picture from which a box of the low-resolution pass is large. With half of it as many large words are
read, and a photo without text costs a tenth more on average."""
READABLE, LETTER = 0.5, 0.9
"""Confidence from which a line read in a suspected region counts as text, so that the picture gets a full pass; and the
higher one for a single character, since a knot in wood reads as O."""
LINE_HEIGHT, LINE_STEP, SHORT_LINE = 48, 8, 240
"""Height of a line for the recogniser, step of its width, and smallest width, in pixels. The last is three quarters of
that in training: of 600 words drawn in 30 fonts, as many are read with it (95 %), and faster."""
LINES_AT_ONCE = 32
"""Number of lines that a GPU reads at once; bounds its memory."""
NARROW = str.maketrans({0xFF00 + n: 0x20 + n for n in range(0x10, 0x5F) if chr(0x20 + n).isalnum()})
"""Maps full-width letters and digits, which the recogniser sometimes gives among narrow ones, to narrow ones."""


def model_files() -> tuple[Path, Path]:
    """Returns the paths of the detector's and the recogniser's file in the installed package RapidOCR.

    Raises:
        UserError: RapidOCR or one of the files is missing; nothing is ever downloaded.
    """
    package = importlib.util.find_spec("rapidocr")
    if package is None or package.origin is None:
        raise UserError("the package rapidocr is not installed; `pip install rapidocr`", "signals.ocr")
    folder = Path(package.origin).parent / "models"
    files = folder / DETECTOR, folder / RECOGNISER
    for file in files:
        if not file.is_file():
            raise UserError(f"{file} is missing; `pip install --force-reinstall rapidocr` brings it", "signals.ocr")
    return files


def read(pixels: np.ndarray, side: int, gate_side: int, gate_threshold: float) -> list[TextLine]:
    """Detects and reads the lines of text on a picture; returns them in no particular order.

    Args:
        pixels: uint8 (H, W, 3), BGR. Text is detected on smaller copies, and read from these pixels.
        side: long side in pixels of the copy on which text is detected. Small pictures are not scaled up; if the copy's
            short side is 16 or less, and no margin is put around it, no text is detected.
        gate_side: the low-resolution detection pass runs on a copy of about `gate_side`² pixels; 0 skips that pass.
        gate_threshold: probability of text, 0..1, from which that pass suspects a pixel.
    """
    margin, canvas = on_ground(pixels, side)
    certain, doubtful = (
        lines_in(canvas, quads, margin, recognise) for quads in find(canvas, side, gate_side, gate_threshold)
    )
    return complemented(certain, doubtful)


def find(pixels: np.ndarray, side: int, gate_side: int, gate_threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns certain and doubtful boxes around lines of text, float32 (n, 4, 2), corners in pixels, clockwise.

    Doubtful are those boxes of the full-size pass whose probability is high in their contour, and low in the rectangle
    around it, as a curved word's is; and large ones of the low-resolution pass, in which large letters hold together.
    For the arguments see `read`.
    """
    rows, columns = _cells(pixels, side / max(pixels.shape[:2]))
    nothing = np.zeros((0, 4, 2), np.float32)
    if not rows * columns:
        return nothing, nothing
    copy, large = _copy(pixels, rows, columns), nothing
    if gate_side:
        suspected, large = _glance(pixels, copy, gate_side, gate_threshold)
        if not suspected:
            return nothing, nothing
    probability = _run(engine()[0], copy)
    certain, _ = _boxes(probability, pixels.shape[:2], "fast")
    doubtful, _ = _boxes(probability, pixels.shape[:2], "slow")
    return certain, unlike(np.concatenate([doubtful, large]), certain)


def coarse_text(pixels: np.ndarray, gate_side: int) -> np.ndarray:
    """Returns text probabilities, float32 (h, w) of 0..1, from a copy of about `gate_side`² pixels, not scaled up."""
    rows, columns = _cells(pixels, gate_side / math.sqrt(pixels.shape[0] * pixels.shape[1]))
    probability: np.ndarray = _run(engine()[0], _copy(pixels, max(1, rows), max(1, columns)))[0, 0]
    return probability


def detect(copy: np.ndarray, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Detects lines of text on a copy of a picture.

    Args:
        copy: uint8 BGR, height and width multiples of CELL.
        size: height and width in pixels of the original picture.

    Returns:
        Corners, float32 (n, 4, 2), in pixels of the original, clockwise from the top left; and n scores, 0..1.
    """
    return _boxes(_run(engine()[0], copy), size, "slow")


def _boxes(
    probability: np.ndarray, size: Sequence[int], mode: Literal["fast", "slow"]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns boxes and scores as `detect` does, by the detector's output, float32 (1, 1, h, w).

    Args:
        probability: the detector's output.
        size: height and width in pixels of the original picture.
        mode: whether a box needs a high mean probability in the rectangle around its region (RapidOCR calls this fast),
            or in the region itself (slow).
    """
    by = shallow_copy(engine()[0].postprocess_op)
    by.score_mode = mode
    quads, scores = by(probability, size)
    return np.asarray(quads, np.float32).reshape(-1, 4, 2), np.asarray(scores, np.float32)


def _large(seen: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Returns the boxes of the low-resolution pass that are large, corners in pixels of a picture of this size."""
    quads, _ = _boxes(seen[None, None], size, "slow")
    least = LARGE * size[0] * size[1]
    return np.array([quad for quad in quads if cv2.contourArea(quad) >= least], np.float32).reshape(-1, 4, 2)


def recognise(lines: Sequence[np.ndarray]) -> list[tuple[str, float]]:
    """Returns the text and mean character probability (0 without text) of pictures of one horizontal line each."""
    recogniser = engine()[1]
    # on a CPU a batch of lines gains nothing, and padding to a common width would change what is read
    at_once = LINES_AT_ONCE if "CUDAExecutionProvider" in recogniser.session.session.get_providers() else 1
    scaled = [_scaled(line) for line in lines]
    order = sorted(range(len(lines)), key=lambda i: scaled[i].shape[1])
    results: dict[int, tuple[str, float]] = {}
    for group in (order[i : i + at_once] for i in range(0, len(order), at_once)):
        width = max(SHORT_LINE, -(-scaled[group[-1]].shape[1] // LINE_STEP) * LINE_STEP)
        batch = np.zeros((len(group), 3, LINE_HEIGHT, width), np.float32)
        for blob, i in zip(batch, group, strict=True):
            blob[:, :, : scaled[i].shape[1]] = _blob(scaled[i])[0]
        read, _ = recogniser.postprocess_op(recogniser.session(batch))
        results |= {
            i: (text.strip().translate(NARROW), float(sure)) for i, (text, sure) in zip(group, read, strict=True)
        }
    return [results[i] for i in range(len(lines))]


@cache
def engine() -> tuple[Any, Any]:
    """Returns RapidOCR's detector and recogniser, each with one thread; they are loaded once per process."""
    import onnxruntime  # slow, so not imported with the module
    import rapidocr

    detector, recogniser = model_files()
    loader = rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,  # one worker, one core: the workers are parallel
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,  # else page allocation takes a fifth of the time
            "EngineConfig.onnxruntime.use_cuda": use_cuda(onnxruntime.get_available_providers()),
            # trying all algorithms takes seconds for each new shape, and there are many
            "EngineConfig.onnxruntime.cuda_ep_cfg.cudnn_conv_algo_search": "HEURISTIC",
            "Det.model_path": str(detector),
            "Rec.model_path": str(recogniser),
        }
    )
    return loader._load_det_model(), loader._load_rec_model()


def use_cuda(providers: Iterable[str]) -> bool:
    """Returns whether models run on a GPU, judged by the execution providers of the installed onnxruntime."""
    return "CUDAExecutionProvider" in providers


def _cells(pixels: np.ndarray, scale: float) -> tuple[int, int]:
    """Returns the size in cells (rows, columns) of the picture scaled down, not up; 0 for less than half a cell."""
    rows, columns = (round(int(n * min(1.0, scale)) / CELL) for n in pixels.shape[:2])
    return rows, columns


def _copy(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return cv2.resize(pixels, (columns * CELL, rows * CELL))


def _glance(pixels: np.ndarray, copy: np.ndarray, gate_side: int, threshold: float) -> tuple[bool, np.ndarray]:
    """Returns whether the picture should get the full-size pass, and the large boxes of the low-resolution pass.

    A picture of few pixels gets no low-resolution pass; for the arguments see `_suspects` and `read`.
    """
    if copy.shape[0] * copy.shape[1] <= GLANCE_PAYS * gate_side**2:
        return True, np.zeros((0, 4, 2), np.float32)
    seen = coarse_text(pixels, gate_side)
    large = _large(seen, pixels.shape[:2])
    return _suspects(pixels, copy, seen, large, threshold), large


def _suspects(pixels: np.ndarray, copy: np.ndarray, seen: np.ndarray, large: np.ndarray, threshold: float) -> bool:
    """Returns whether the whole picture should get the full-size detection pass.

    On most photos a low-resolution pass suspects text (the back of a tiger, a face) where a full-size pass finds none.
    So the suspected regions are examined at full size, unless they are most of the picture, and one readable line in
    them is enough. They only decide: the text is always detected on the whole picture, since some of it may be too
    small for the low-resolution pass. One readable box of those that this pass shows as large is enough as well.

    Args:
        pixels: the picture.
        copy: its full-size copy.
        seen: the result of `coarse_text`.
        large: the result of `_large`.
        threshold: probability from which a pixel is suspected.
    """
    places = _places(seen, threshold, copy.shape[0] // CELL, copy.shape[1] // CELL)
    if sum(w * h for _, _, w, h in places) * CELL**2 >= WIDELY * copy.shape[0] * copy.shape[1]:
        return True
    if any(reads_surely(*read_boxes(pixels, quad[None], recognise)[0][:2]) for quad in large):
        return True
    to_pixels = np.array(pixels.shape[1::-1]) / copy.shape[1::-1]
    for x, y, w, h in places:
        part = copy[y * CELL : (y + h) * CELL, x * CELL : (x + w) * CELL]
        quads, scores = detect(part, part.shape[:2])
        for quad in quads[np.argsort(-scores, kind="stable")]:  # one readable line is enough
            corners = ((quad + (x * CELL, y * CELL)) * to_pixels).astype(np.float32)
            text, sure, _ = read_boxes(pixels, corners[None], recognise)[0]
            if text and sure >= (READABLE if len(text) > 1 else LETTER):
                return True
    return False


def _places(seen: np.ndarray, threshold: float, rows: int, columns: int) -> list[tuple[int, int, int, int]]:
    """Returns x, y, width and height in cells of each suspected region, the most probable one first.

    Args:
        seen: the result of `coarse_text`.
        threshold: probability from which a pixel is suspected.
        rows, columns: size in cells of the full-size copy.
    """
    near = cv2.dilate((seen > threshold).astype(np.uint8), np.ones((2 * AROUND + 1, 2 * AROUND + 1), np.uint8))
    _, labels, regions, _ = cv2.connectedComponentsWithStats(near)
    places = []
    for number, (x, y, w, h, _) in enumerate(regions[1:].tolist(), start=1):
        left, top = x * columns // seen.shape[1], y * rows // seen.shape[0]
        right, bottom = -(-(x + w) * columns // seen.shape[1]), -(-(y + h) * rows // seen.shape[0])
        places.append((float(seen[labels == number].mean()), (left, top, right - left, bottom - top)))
    return [place for _, place in sorted(places, reverse=True)]


def _blob(pixels: np.ndarray) -> np.ndarray:
    """Converts pixels uint8 (H, W, 3) to both models' input: float32 (1, 3, H, W) of -1..1."""
    return cv2.dnn.blobFromImage(pixels, 1 / 127.5, mean=(127.5, 127.5, 127.5))


def _run(model: Any, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(model.session(_blob(pixels)))


def _scaled(line: np.ndarray) -> np.ndarray:
    """Scales a line to the recogniser's height; a taller one by area averaging, or it would lose its thin strokes."""
    height, width = line.shape[:2]
    size = math.ceil(LINE_HEIGHT * width / height), LINE_HEIGHT
    return cv2.resize(line, size, interpolation=cv2.INTER_AREA if height > LINE_HEIGHT else cv2.INTER_LINEAR)
