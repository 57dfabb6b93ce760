"""Finds watermarks without a model: by a text line's words and place, and by repetition over the picture.

The lines of text come from an OCR reader; a mark that no reader can read is found only if it is repeated.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cv2
import numpy as np

NAMES = (
    "fotolia", "shutterstock", "gettyimages", "alamy", "istock", "dreamstime", "depositphotos", "123rf", "adobestock",
    "byadobe", "bigstock", "canstock", "stockphoto", "pngtree", "freepik", "vecteezy", "instagram", "tiktok",
    "watermark", "sample", "copyright", "photography",
    "视觉中国", "摄图网", "千图网", "昵图网", "包图网", "千库网", "全景网", "图虫", "站酷", "花瓣网", "小红书", "抖音",
    "快手", "大众点评", "知乎", "公众号", "微博", "微信号", "水印", "样图", "版权所有", "摄影",
)  # fmt: skip
"""Words that hardly occur except in marks, without spaces: agencies, networks, and words for marks."""

WEIGHTS = {"named": 0.9, "repeated": 0.9, "tiled": 0.9, "corner": 0.6, "middle": 0.6}
"""Probability of a mark, given one kind of evidence and no other. Set by hand on real pictures: four of five lines that
were `named` there were marks, and so were most `corner` lines and about half of the `middle` lines."""
OTHERS = 3
"""Number of lines of other text that halves the evidence: a poster too has its maker's address in the corner."""

LETTERS = 4
"""Smallest number of letters and digits of a line that counts as a mark by its place."""
SMALL, WIDE = 0.12, 0.5
"""Largest height and width, as shares of the picture's, of a line in a corner that counts as a mark."""
AT_EDGE, AT_SIDE = 0.08, 0.06
"""Largest distance from the upper or lower edge and from a side, as shares of height and width, of a corner's line."""
LONG, TALL = 0.2, 0.25
"""Smallest width and largest height, as shares of the picture's, of a line in the middle that counts as a mark."""

APART = 20
"""Smallest distance in pixels between a mark and its repetition; below it, the mark's own shape gives peaks."""
BLOCKS = 8
"""Number of rows and of columns of blocks in which a repetition is looked for, to see whether it is everywhere."""
FAINT, PLAIN_TO_SEE = 6.0, 10.0
"""Strength of a repetition (see `repetition`) at which the evidence begins and at which it is complete. Of 637 pictures
without tiled marks, 1 % reach the middle between the two: patterned wallpapers, diagrams."""


@dataclass(frozen=True, slots=True)
class PlacedText:
    """A line of text and its place on the picture, as an OCR reader gives them."""

    text: str
    quad: np.ndarray
    """(4, 2): the line's corners as shares of width and height."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The evidence for a watermark on one picture."""

    share: float
    """Probability that the picture is marked, 0..1."""
    kind: str | None = None
    """The strongest evidence, a key of WEIGHTS (the first of equally strong ones); None if there is none."""
    boxes: list[list[float]] = field(default_factory=list)
    """x0, y0, x1, y1 as shares of width and height, and the weight, of each line that is evidence."""


def find(lines: Sequence[PlacedText], gray: np.ndarray, bars: Sequence[int], names: Iterable[str] = ()) -> Mark:
    """Combines the evidence of text and repetition as independent probabilities.

    Args:
        lines: the lines of text on the picture, with their places as shares of its width and height.
        gray: uint8 (H, W), long side about 512.
        bars: numbers of rows and columns of plain bars at the top, bottom, left and right of `gray`. They are cut off,
            since a mark is in the corner of the picture and not of its frame, and the frame's edges are no repetition.
        names: further words like NAMES.
    """
    known = _known(tuple(names))
    evidence = [_evidence(line, bars, gray, known) for line in lines]
    for kinds, repeated in zip(evidence, _repeated(lines), strict=True):
        if repeated:
            kinds.add("repeated")
    others = sum(not kinds and len(_plain(line.text)) > 1 for kinds, line in zip(evidence, lines, strict=True))
    alone = 1 / (1 + others / OTHERS)
    top, bottom, left, right = bars
    inside = gray[top : gray.shape[0] - bottom, left : gray.shape[1] - right]
    tiled = min(1.0, max(0.0, (repetition(inside) - FAINT) / (PLAIN_TO_SEE - FAINT)))
    certainty = {kind: 1.0 for kind in set().union(*evidence)} | ({"tiled": tiled} if tiled else {})
    weights = {kind: weight * certainty[kind] * alone for kind, weight in WEIGHTS.items() if kind in certainty}
    if not weights:
        return Mark(0.0)
    boxes = [
        [*line.quad.min(0).tolist(), *line.quad.max(0).tolist(), alone * max(WEIGHTS[kind] for kind in kinds)]
        for line, kinds in zip(lines, evidence, strict=True)
        if kinds
    ]
    share = 1 - float(np.prod([1 - weight for weight in weights.values()]))
    return Mark(share, max(weights, key=lambda kind: weights[kind]), boxes)


def repetition(gray: np.ndarray) -> float:
    """Returns how strongly a pattern repeats in two directions over the whole picture: about 4 for none, 8 if clear.

    The autocorrelation of the sign of the finest detail, in which a faint mark weighs as much as a strong edge, has
    peaks at the offsets between repetitions. The lower of two peaks, the highest and the highest in another direction,
    counts, in standard deviations of the rest. It is limited by how evenly the repetition is found in all parts of the
    picture, since the parallel edges of a drawing also give peaks, from a few places.

    Args:
        gray: uint8 (H, W), long side about 512. A short side under 96 gives 0.
    """
    if min(gray.shape) < 96:
        return 0.0
    detail = gray.astype(np.float32)
    detail = np.clip(detail - cv2.GaussianBlur(detail, (0, 0), 1), -1, 1)
    peaks = _autocorrelation(detail - detail.mean())
    peaks -= cv2.blur(peaks, (7, 7))
    middle = peaks.shape[1] // 2
    down = np.arange(peaks.shape[0], dtype=np.float32)[:, None]
    across = np.arange(-middle, peaks.shape[1] - middle, dtype=np.float32)[None]
    far = down**2 + across**2 >= APART**2
    far[0, :middle] = False  # by symmetry the same as on the right
    deviation = float(peaks[far].std())
    if deviation < 1e-9:
        return 0.0
    first = _highest(peaks, far)
    length = float(np.hypot(*first))
    aside = far & (np.abs(across * first[0] - down * first[1]) >= 0.6 * APART * length)
    if not aside.any():
        return 0.0
    second = _highest(peaks, aside)
    height = float(peaks[second[0], second[1] + middle]) / deviation
    return min(height, 1.6 * _spread(detail, first), 1.6 * _spread(detail, second))


_MARK = re.compile(
    r"[©®]|\(c\)|(?<!\S)@\s?\w{3}|#\s?\d{5}|\bwww\.|\w\.(?:com|cn|net|org|example)\b|\bphotos?\b|\bphotograph",
    re.IGNORECASE,
)


_Known = dict[str, frozenset[str]]


def _evidence(line: PlacedText, bars: Sequence[int], gray: np.ndarray, known: _Known) -> set[str]:
    """Returns the kinds of evidence that a line gives by its words and its place."""
    kinds = set()
    if _is_named(line.text, known):
        kinds.add("named")
    if len(_plain(line.text)) < LETTERS:
        return kinds
    height, width = gray.shape
    top, bottom, left, right = bars
    inner = np.array([width - left - right, height - top - bottom], np.float32)
    corners = (line.quad * (width, height) - (left, top)) / inner
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
    if y1 - y0 <= SMALL and x1 - x0 <= WIDE and min(y0, 1 - y1) <= AT_EDGE and min(x0, 1 - x1) <= AT_SIDE:
        kinds.add("corner")
    centred = abs(x0 + x1 - 1) <= 0.1 and abs(y0 + y1 - 1) <= 0.3
    if centred and x1 - x0 >= LONG and y1 - y0 <= TALL and _over_a_picture(line.quad, gray):
        kinds.add("middle")
    return kinds


def _over_a_picture(quad: np.ndarray, gray: np.ndarray) -> bool:
    """Returns whether the ground above and below a line is more than plain: a logo's name is on plain ground."""
    height, width = gray.shape
    (x0, y0), (x1, y1) = (quad.min(0) * (width, height)).astype(int), np.ceil(quad.max(0) * (width, height)).astype(int)
    tall = y1 - y0
    bands = gray[max(0, y0 - tall) : y0, x0:x1], gray[y1 : y1 + tall, x0:x1]
    return all(band.size and float(band.std()) > 4 for band in bands)


def _plain(text: str) -> str:
    """Returns the letters and digits of a text, case-folded and in NFKC."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def _is_named(text: str, known: _Known) -> bool:
    """Returns whether a text has a copyright sign, account, address, agency's number, or (nearly) a known name."""
    if _MARK.search(unicodedata.normalize("NFKC", text)):
        return True
    plain = _plain(text)
    if any(name in plain for name in known):
        return True
    grams = _grams(plain)
    return any(
        len(whole) >= 5 and 2 * len(shared := grams & whole) > len(whole) and len(shared) >= 0.6 * len(grams)
        for whole in known.values()
    )


@cache
def _known(names: tuple[str, ...]) -> _Known:
    """Returns NAMES and the given names, reduced by `_plain`, with their trigrams."""
    return {plain: frozenset(_grams(plain)) for name in (*NAMES, *names) if (plain := _plain(name))}


def _repeated(lines: Sequence[PlacedText]) -> list[bool]:
    """Returns for each line whether two others have the same text or part of it; tiled marks are read in fragments."""
    grams = [_grams(_plain(line.text)) for line in lines]
    number = {gram: i for i, gram in enumerate(sorted(set().union(*grams)))}
    has = np.zeros((len(lines), len(number)), np.float32)
    for row, own in enumerate(grams):
        has[row, [number[gram] for gram in own]] = 1
    shared, count = has @ has.T, has.sum(1)
    alike = (shared >= 2) & (shared >= 0.6 * np.minimum.outer(count, count))
    np.fill_diagonal(alike, False)
    return [bool(others >= 2) for others in alike.sum(1)]


def _grams(plain: str) -> set[str]:
    """Returns the trigrams of a text."""
    return {plain[i : i + 3] for i in range(len(plain) - 2)}


def _autocorrelation(detail: np.ndarray) -> Any:
    """Returns the mean product of a pixel and the pixel at an offset, for each offset.

    The result is float32 (h + 1, 2 w + 1) for offsets of 0..h down and -w..w across, with h and w half the height and
    width.
    """
    height, width = detail.shape
    down, across = height // 2, width // 2
    rows, columns = cv2.getOptimalDFTSize(height + down), cv2.getOptimalDFTSize(width + across)
    padded = cv2.copyMakeBorder(detail, 0, rows - height, 0, columns - width, cv2.BORDER_CONSTANT, value=0)
    spectrum = cv2.dft(padded)
    product = cv2.mulSpectrums(spectrum, spectrum, 0, conjB=True)
    sums = cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)
    half = np.concatenate([sums[: down + 1, -across:], sums[: down + 1, : across + 1]], 1)
    pairs = (height - np.arange(down + 1))[:, None] * (width - np.abs(np.arange(-across, across + 1)))[None]
    return (half / pairs).astype(np.float32)


def _highest(peaks: np.ndarray, where: np.ndarray) -> tuple[int, int]:
    """Returns the offset (down, across) of the highest peak where `where` is True."""
    at = int(np.argmax(np.where(where, peaks, -np.inf)))
    return at // peaks.shape[1], at % peaks.shape[1] - peaks.shape[1] // 2


def _spread(detail: np.ndarray, offset: tuple[int, int]) -> float:
    """Returns how evenly a repetition is spread over the blocks of the picture.

    It is the mean over the standard deviation, times the root of their number, of the blocks' correlation at this
    offset less that at offsets beside it.
    """
    down, across = offset
    here = detail[: detail.shape[0] - down, max(0, -across) : detail.shape[1] - max(0, across)]
    there = detail[down:, max(0, across) : detail.shape[1] - max(0, -across)]

    def products(rows: int, columns: int) -> np.ndarray:
        moved = np.roll(there, (rows, columns), (0, 1)) if rows or columns else there
        return cv2.resize(here * moved, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)

    beside = sum(products(*by) for by in ((3, 0), (-3, 0), (0, 3), (0, -3)))
    more = products(0, 0) - beside / 4
    return float(more.mean() / (more.std() + 1e-6)) * BLOCKS
