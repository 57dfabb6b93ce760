"""Text in the picture: what it says, how surely it was read, where it stands, and whether the caption repeats it."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import pyarrow as pa
from pydantic import Field

from curation.backends import rapid
from curation.backends.rapid import Line
from curation.images import Picture
from curation.signals.base import PerImage, Row, Scores, SignalParams
from curation.workspace import file_digest

SIDE = 736
SHORTEST = 16
"""Pixels of the short side below which no letter can be read and nothing is looked for."""
ONE_ROW = 0.5
"""Two boxes stand in one row if their middles differ by less than this share of the lower one's height."""
LONG_WORD = 4
"""Letters from which a word counts as repeated even where the caption runs it together with others."""


class OcrParams(SignalParams):
    """Parameters of the text signal."""

    backend: Literal["rapidocr"] = "rapidocr"
    max_side: int = Field(SIDE, ge=64, le=2048, description="long side in pixels at which text is looked for")
    min_confidence: float = Field(0.5, ge=0, le=1, description="a line read with less is noise and not counted")


class Ocr(PerImage):
    """Text as PP-OCRv6 small reads it: Chinese (simplified and traditional), Japanese and Latin script.

    Text is looked for first, and read only where it is found. A line is one text box; a row of several boxes, such
    as a menu's dish and its price, gives several lines. Pictures of a short side under 16 pixels have no text. Where
    a picture with transparency is quite plain on white, it is read on black: white letters are letters all the same.

    Columns:
        ocr_confidence: mean confidence of the lines, weighted by their characters, 0..1; null without text.
        ocr_min_confidence: that of the least sure line; null without text.
        text_area_share: area of the boxes over that of the picture, 0..1.
        text_lines: number of lines; 0 = looked and found none.
        text: the lines in reading order, joined by a line feed; empty, not null, without text.
        text_boxes: for each line x and y of its corners, clockwise from the top left, as shares of width and height,
            and its confidence: nine numbers.
        ocr_caption_agreement: how much of the text the original caption repeats, 0..1, see `agreement`; null
            without text or caption.
    """

    name: ClassVar[str] = "ocr"
    version: ClassVar[int] = 1
    side: ClassVar[int | None] = SIDE
    cost: ClassVar[float] = 150.0
    inputs: ClassVar[tuple[str, ...]] = ("caption",)
    columns: ClassVar[dict[str, pa.DataType]] = {
        "ocr_confidence": pa.float32(),
        "ocr_min_confidence": pa.float32(),
        "text_area_share": pa.float32(),
        "text_lines": pa.int16(),
        "text": pa.string(),
        "text_boxes": pa.list_(pa.list_(pa.float32())),
        "ocr_caption_agreement": pa.float32(),
    }
    Params: ClassVar[type[SignalParams]] = OcrParams
    params: OcrParams

    @classmethod
    def models(cls, params: SignalParams) -> dict[str, str]:
        """See Signal."""
        return {file.name: file_digest(file) for file in rapid.model_files()}

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        assert row.picture is not None
        pixels = row.picture.bgr(self.params.max_side)
        lines: list[Line] = []
        if min(row.picture.header.width, row.picture.header.height) >= SHORTEST:
            lines = rapid.read(_seen(row.picture, pixels), self.params.max_side)
        lines = in_reading_order([line for line in lines if line.confidence >= self.params.min_confidence])
        return describe(lines, pixels.shape[1], pixels.shape[0], row.sample.get("caption"))


def describe(lines: Sequence[Line], width: int, height: int, caption: str | None) -> Scores:
    """The columns of Ocr for lines already filtered and in order.

    Args:
        lines: what was read.
        width: of the picture in the pixels of the lines' corners.
        height: likewise.
        caption: the picture's original caption.
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
        "text": text,
        "text_boxes": [
            [round(float(v), 4) for v in (*quad.ravel(), line.confidence)]
            for line, quad in zip(lines, shares, strict=True)
        ],
        "ocr_caption_agreement": agreement(text, caption),
    }


def in_reading_order(lines: Sequence[Line]) -> list[Line]:
    """Rows from top to bottom, each from left to right.

    A box belongs to the row that has a box with its middle at nearly the same height (ONE_ROW), measured along
    the slope of the writing; tops and bottoms do not tell, as they move with every p and b.
    """
    rows: list[list[Line]] = []
    for line in sorted(lines, key=_middle_height):
        for row in rows:
            if any(_same_row(line, other) for other in row):
                row.append(line)
                break
        else:
            rows.append([line])
    rows.sort(key=lambda row: min(float(line.quad[:, 1].min()) for line in row))  # an upright title comes first
    return [line for row in rows for line in sorted(row, key=lambda line: float(line.quad[:, 0].mean()))]


def agreement(text: str, caption: str | None) -> float | None:
    """Share of the text's letters and digits that stand in words which the caption repeats, 0..1.

    Both are brought to NFKC and case-folded; punctuation and white space count for nothing. A word in letters is
    repeated if it is one of the caption's words, or has at least LONG_WORD letters and occurs in the caption with all
    spaces taken out. Chinese, written without spaces, is compared by pairs of characters: a character is repeated
    if a pair that it belongs to is; one that stands alone, if the caption has it.

    Returns:
        None if there is no text or no caption, or one of them has no letter or digit.
    """
    found, said = _words(text), _words(caption or "")
    if not found or not said:
        return None
    known, together = set(said), "".join(said)
    repeated = sum(_repeated(word, known, together) for word in found)
    return repeated / sum(map(len, found))


_HAN_KANA = "\\u3040-\\u30ff\\u3400-\\u9fff\\U00020000-\\U000323af"
_WORD = re.compile(rf"[{_HAN_KANA}]+|[^\W_{_HAN_KANA}]+")
_UNSPACED = re.compile(rf"[{_HAN_KANA}]")


def _words(text: str) -> list[str]:
    """Runs of Chinese or Japanese characters, and words of other scripts."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _repeated(word: str, known: set[str], together: str) -> int:
    """How many letters of the word are repeated."""
    if not _UNSPACED.match(word):
        return len(word) if word in known or (len(word) >= LONG_WORD and word in together) else 0
    if len(word) == 1:
        return int(word in together)
    pairs = [word[i : i + 2] in together for i in range(len(word) - 1)]
    return sum(before or after for before, after in zip([False, *pairs], [*pairs, False], strict=True))


def _middle_height(line: Line) -> float:
    return float(line.quad[:, 1].mean())


def _same_row(a: Line, b: Line) -> bool:
    slope = (_slope(a) + _slope(b)) / 2
    across = float(b.quad[:, 0].mean() - a.quad[:, 0].mean())
    apart = abs(_middle_height(b) - _middle_height(a) - slope * across)
    return apart < ONE_ROW * min(_height(a), _height(b))


def _slope(line: Line) -> float:
    """Fall of the line's middle per pixel to the right; 0 for boxes too short to tell."""
    left, right = (line.quad[0] + line.quad[3]) / 2, (line.quad[1] + line.quad[2]) / 2
    run = float(right[0] - left[0])
    return float(right[1] - left[1]) / run if run > 1.5 * _height(line) else 0.0


def _height(line: Line) -> float:
    return float(line.quad[2:, 1].mean() - line.quad[:2, 1].mean())


def _seen(picture: Picture, pixels: np.ndarray) -> np.ndarray:
    """The pixels; those of a transparent picture of which nothing is to be seen on white, on black."""
    if picture.header.reducible or picture.header.orientation != 1 or pixels.min() < 255:
        return pixels
    raw: Any = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim != 3 or raw.shape[2] != 4 or raw.dtype != np.uint8:
        return pixels
    black = cv2.multiply(raw[..., :3], cv2.cvtColor(raw[..., 3], cv2.COLOR_GRAY2BGR), scale=1 / 255)
    return cv2.resize(black, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_AREA)
