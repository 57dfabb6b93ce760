"""The signal `ocr`: text in the image, its confidence and boxes, and whether the caption repeats it."""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from pydantic import Field

from curation.images import Picture
from curation.models.checkpoints import Origin
from curation.models.ocr import rapidocr
from curation.models.ocr.paddleocr import Engine, PaddleOcr
from curation.models.ocr.read_lines import read_lines
from curation.models.ocr.text_lines import TextLine, in_reading_order
from curation.models.ocr.text_regions import character_height, count_regions
from curation.models.plugin import PluginParams
from curation.signals.base import PerImage, Row, Scores

SIDE = 736
SHORTEST = 16
"""Short side in pixels below which no letter can be read, so that no text is detected."""


class OcrParams(PluginParams):
    """Parameters of the text signal."""

    max_side: int = Field(SIDE, ge=64, le=2048, description="long side in pixels at which text is looked for")
    min_confidence: float = Field(0.5, ge=0, le=1, description="a line read with less is noise and not counted")


class RapidParams(OcrParams):
    """Parameters of RapidOCR."""

    gate_side: int = Field(
        352,
        ge=0,
        le=2048,
        description="side of a square of as many pixels as the low-resolution detection pass takes; 0: no such pass",
    )
    gate_threshold: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="probability of text that some pixel must have in that pass for a closer look",
    )


class PaddleParams(OcrParams):
    """Parameters of PaddleOCR."""

    engine: Engine = Field("onnxruntime", description="what runs the models: onnxruntime, or paddle (PaddlePaddle)")
    detection: str = Field(description="folder of the detector, below the folder of models")
    recognition: str = Field(description="folder of the recogniser, below the folder of models")


class _Reader(PerImage, ABC):
    """Base of the backends.

    Text is detected and then read, also text that is vertical, upside down, or in Chinese columns. A line is one text
    box; a row of several boxes, such as a menu's dish and its price, gives several lines. Images with a short side
    under 16 pixels have no text. A transparent image of which nothing is visible on white is read on black, since it
    may hold white letters.

    Columns:
        ocr_confidence: mean confidence of the lines, weighted by their characters, 0..1; null without text.
        ocr_min_confidence: confidence of the least confident line, 0..1; null without text.
        text_area_share: area of the boxes over that of the image, 0..1.
        text_lines: number of lines; 0 if none were found.
        text_regions: number of blocks that the lines form; 0 if none were found. Two lines are of one block if their
            boxes touch once each is grown on every side by half its own height.
        min_char_px: height of the lowest line's box (of a column, the width), in pixels of the original picture; null
            without text. It is about the size of the font, see `character_height`.
        text: the lines in reading order, joined by a line feed; empty, not null, without text.
        text_boxes: for each line x and y of its corners, clockwise from the top left, as shares of width and height,
            and its confidence: nine numbers.
        ocr_caption_agreement: share of the text that the original caption repeats, 0..1, see `agreement`; null without
            text or caption.
    """

    name = "ocr"
    side = SIDE
    inputs = ("caption",)
    columns = {
        "ocr_confidence": pa.float32(),
        "ocr_min_confidence": pa.float32(),
        "text_area_share": pa.float32(),
        "text_lines": pa.int16(),
        "text_regions": pa.int16(),
        "min_char_px": pa.float32(),
        "text": pa.string(),
        "text_boxes": pa.list_(pa.list_(pa.float32())),
        "ocr_caption_agreement": pa.float32(),
    }
    Params: type[PluginParams] = OcrParams
    params: OcrParams

    @abstractmethod
    def read(self, pixels: np.ndarray) -> list[TextLine]:
        """Returns the lines of text on an image (uint8 (H, W, 3), BGR) in no particular order."""

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        assert row.picture is not None
        pixels = row.picture.bgr(self.params.max_side)
        lines: list[TextLine] = []
        if min(row.picture.header.width, row.picture.header.height) >= SHORTEST:
            lines = self.read(_seen(row.picture, pixels))
        lines = in_reading_order([line for line in lines if line.confidence >= self.params.min_confidence])
        scale = row.picture.header.width / pixels.shape[1]
        return describe(lines, pixels.shape[1], pixels.shape[0], row.sample.get("caption"), scale)


class Ocr(_Reader):
    """Text by PP-OCRv6 small: Chinese (simplified and traditional), Japanese and Latin script. Columns: see _Reader.

    A low-resolution detection pass decides whether the full-size pass is worthwhile, and finds words so large that they
    fall apart at full size.
    """

    backend = "rapidocr"
    version = 3
    cost = 80.0
    origins = (Origin("PP-OCRv6 small, in the package rapidocr", "Apache-2.0", "pip install rapidocr"),)
    Params = RapidParams
    params: RapidParams

    def files(self) -> dict[str, Path]:
        """See Signal."""
        return {file.name: file for file in rapidocr.model_files()}

    def load(self) -> None:
        """See Signal."""
        rapidocr.engine()

    def read(self, pixels: np.ndarray) -> list[TextLine]:
        """See _Reader."""
        return rapidocr.read(pixels, self.params.max_side, self.params.gate_side, self.params.gate_threshold)


class Paddle(_Reader):
    """Text by PaddleOCR's models, in the scripts that they were trained for. Columns: see _Reader."""

    backend = "paddleocr"
    version = 2
    cost = 150.0
    origins = tuple(
        Origin(
            f"PP-OCRv6 small, {use}, for engine onnxruntime (engine paddle: without _onnx; any other size or language)",
            "Apache-2.0",
            f"hf download PaddlePaddle/PP-OCRv6_small_{kind}_onnx --local-dir MODELS/ppocrv6-small-{kind}",
        )
        for use, kind in (("detection", "det"), ("recognition", "rec"))
    )
    Params = PaddleParams
    params: PaddleParams

    @cached_property
    def pair(self) -> PaddleOcr:
        """The detector and the recogniser. Raises UserError if a folder is missing."""
        key, params = f"signals.{self.name}", self.params
        detection = self.models.find(f"{key}.detection", params.detection)
        return PaddleOcr(key, params.engine, detection, self.models.find(f"{key}.recognition", params.recognition))

    def files(self) -> dict[str, Path]:
        """See Signal."""
        return self.pair.files()

    def check(self) -> None:
        """See Signal."""
        super().check()
        self.pair.check()

    def load(self) -> None:
        """See Signal."""
        self.pair.load(self.params.max_side)

    def read(self, pixels: np.ndarray) -> list[TextLine]:
        """See _Reader."""
        return read_lines(pixels, self.params.max_side, self.pair.find, self.pair.recognise)


def describe(lines: Sequence[TextLine], width: int, height: int, caption: str | None, scale: float = 1.0) -> Scores:
    """Returns the columns of the signal for lines that are already filtered and in reading order.

    Args:
        lines: the lines of text.
        width: width of the image, in the pixels of the lines' corners.
        height: height of the image, in the same pixels.
        caption: the image's original caption; None if it has none.
        scale: pixels of the original image for one of these pixels.
    """
    text = "\n".join(line.text for line in lines)
    characters = [len("".join(line.text.split())) for line in lines]
    weighted = sum(line.confidence * n for line, n in zip(lines, characters, strict=True))
    shares = [(line.quad / (width, height)).astype(np.float32) for line in lines]
    return {
        "ocr_confidence": weighted / sum(characters) if lines else None,
        "ocr_min_confidence": min(line.confidence for line in lines) if lines else None,
        "text_area_share": min(1.0, float(sum(cv2.contourArea(quad) for quad in shares))),
        "text_lines": len(lines),
        "text_regions": count_regions(lines, width, height),
        "min_char_px": scale * min(map(character_height, lines)) if lines else None,
        "text": text,
        "text_boxes": [
            [round(float(v), 4) for v in (*quad.ravel(), line.confidence)]
            for line, quad in zip(lines, shares, strict=True)
        ],
        "ocr_caption_agreement": agreement(text, caption),
    }


def _seen(picture: Picture, pixels: np.ndarray) -> np.ndarray:
    """Returns the pixels, except for a transparent image of which nothing is visible on white: its pixels on black."""
    if picture.header.reducible or picture.header.orientation != 1 or pixels.min() < 255:
        return pixels
    raw: Any = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim != 3 or raw.shape[2] != 4 or raw.dtype != np.uint8:
        return pixels
    black = cv2.multiply(raw[..., :3], cv2.cvtColor(raw[..., 3], cv2.COLOR_GRAY2BGR), scale=1 / 255)
    return cv2.resize(black, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_AREA)


LONG_WORD = 4
"""Number of letters from which a word counts as repeated even if the caption joins it with others."""


def agreement(text: str, caption: str | None) -> float | None:
    """Returns the share of the text's letters and digits that are in words which the caption repeats, 0..1.

    Both are brought to NFKC and case-folded; punctuation and white space do not count. A word in letters is repeated if
    it is one of the caption's words, or has at least LONG_WORD letters and occurs in the caption without its spaces.
    Chinese, which is written without spaces, is compared by pairs of characters: a character is repeated if a pair that
    contains it is; a single character, if the caption contains it.

    Returns:
        The share; None if there is no text or no caption, or one of them has no letter or digit.
    """
    text_words, caption_words = _words(text), _words(caption or "")
    if not text_words or not caption_words:
        return None
    known, together = set(caption_words), "".join(caption_words)
    repeated = sum(_repeated(word, known, together) for word in text_words)
    return repeated / sum(map(len, text_words))


_HAN_KANA = "\\u3040-\\u30ff\\u3400-\\u9fff\\U00020000-\\U000323af"
_WORD = re.compile(rf"[{_HAN_KANA}]+|[^\W_{_HAN_KANA}]+")
_UNSPACED = re.compile(rf"[{_HAN_KANA}]")


def _words(text: str) -> list[str]:
    """Splits a text into runs of Chinese or Japanese characters, and words of other scripts."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _repeated(word: str, known: set[str], together: str) -> int:
    """Returns the number of the word's letters that are repeated."""
    if not _UNSPACED.match(word):
        return len(word) if word in known or (len(word) >= LONG_WORD and word in together) else 0
    if len(word) == 1:
        return int(word in together)
    pairs = [word[i : i + 2] in together for i in range(len(word) - 1)]
    return sum(before or after for before, after in zip([False, *pairs], [*pairs, False], strict=True))
