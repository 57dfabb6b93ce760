"""Classical photo statistics, all from one reduced colour decode and its gray picture of long side 512.

Never at native size: Laplacian variance of a 20-megapixel picture says more about its sensor noise than its focus.
"""

import math
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curation.signals.base import PerImage, Row, Scores

TILE = 128
FLAT = 4.0
"""Gray standard deviation below which a picture is too plain to have a perceptual hash."""

GROUND = 0.3
"""Share of the bars' colour inside them, above which they are the ground of a graphic and no frame of a picture."""


class Photo(PerImage):
    """Sharpness, exposure, colour, borders, seams and the perceptual hash.

    No parameters: the definition is fixed, so that scores of different runs compare.

    Columns:
        sharpness: square root of the 90th percentile, over whole 128-pixel tiles, of the variance of the 3×3
            Laplacian on the 8-bit scale; 0 is flat, about 10 soft, 30 and more crisp.
        brightness, contrast: mean and standard deviation of gray, 0..1.
        clip_low, clip_high: share of pixels with gray ≤ 2 and ≥ 253.
        colourfulness: Hasler and Süsstrunk 2003, 0 (gray) to about 110, on a 128-pixel copy.
        entropy: of the gray histogram, 0..8 bits.
        border_share: share of the area that is plain bars around a picture.
        seam_score: 0..1, the share of the length of the strongest straight line, from edge to edge, along which
            the picture steps: 1 for two pictures pasted side by side.
        phash: 64-bit perceptual hash (DCT of the 32×32 gray, its 8×8 lowest frequencies against their median);
            null for a plain picture.
    """

    name: ClassVar[str] = "photo"
    version: ClassVar[int] = 1
    side: ClassVar[int | None] = 512
    cost: ClassVar[float] = 6.0
    columns: ClassVar[dict[str, pa.DataType]] = {
        "sharpness": pa.float32(),
        "brightness": pa.float32(),
        "contrast": pa.float32(),
        "clip_low": pa.float32(),
        "clip_high": pa.float32(),
        "colourfulness": pa.float32(),
        "entropy": pa.float32(),
        "border_share": pa.float32(),
        "seam_score": pa.float32(),
        "phash": pa.uint64(),
    }

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        assert row.picture is not None
        colour = row.picture.bgr(512)
        gray = gray_512(colour)
        return {
            "sharpness": sharpness(gray),
            **exposure(gray),
            "colourfulness": colourfulness(colour),
            "border_share": border_share(gray),
            "seam_score": seam_score(gray),
            "phash": phash(gray),
        }


def gray_512(colour: np.ndarray) -> np.ndarray:
    """Gray uint8 of long side 512 (bilinear); a smaller picture keeps its size."""
    gray = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    return _to_side(gray, 512, cv2.INTER_LINEAR)


def sharpness(gray: np.ndarray) -> float:
    """See Photo. A picture without one whole tile counts as one tile."""
    laplacian = cv2.Laplacian(gray, cv2.CV_16S, ksize=1)
    rows, columns = gray.shape[0] // TILE, gray.shape[1] // TILE
    if rows == 0 or columns == 0:
        return _mean_deviation(laplacian)[1]
    variances = [
        _mean_deviation(laplacian[y : y + TILE, x : x + TILE])[1] ** 2
        for y in range(0, rows * TILE, TILE)
        for x in range(0, columns * TILE, TILE)
    ]
    return _percentile_90(variances) ** 0.5


def exposure(gray: np.ndarray) -> dict[str, float]:
    """Brightness, contrast, clipping and entropy from the gray histogram."""
    share = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel().astype(np.float64) / gray.size
    mean = float(share @ _LEVELS)
    deviation = float(share @ (_LEVELS - mean) ** 2) ** 0.5
    used = share[share > 0]
    return {
        "brightness": mean / 255,
        "contrast": deviation / 255,
        "clip_low": float(share[:3].sum()),
        "clip_high": float(share[253:].sum()),
        "entropy": float(-(used * np.log2(used)).sum()) + 0.0,
    }


def colourfulness(colour: np.ndarray) -> float:
    """Hasler and Süsstrunk, "Measuring colourfulness in natural images", 2003."""
    blue, green, red = (c.astype(np.float32) for c in cv2.split(_small(colour, 128)))
    mean_rg, deviation_rg = _mean_deviation(red - green)
    mean_yb, deviation_yb = _mean_deviation((red + green) / 2 - blue)
    return math.hypot(deviation_rg, deviation_yb) + 0.3 * math.hypot(mean_rg, mean_yb)


def border_share(gray: np.ndarray) -> float:
    """Share of the area in plain bars: rows or columns of one gray, up to an edge that most of their length shares.

    The edge tells a framed or letterboxed picture from an object on a plain ground, whose outline is uneven; and so
    does what lies inside, which in a picture hardly has the colour of the bars, and around a logo has it everywhere.
    """
    height, width = gray.shape
    top, bottom = _bar(gray), _bar(gray[::-1])
    left, right = _bar(gray.T), _bar(gray.T[::-1])
    inner = gray[top : height - bottom, left : width - right]
    if inner.size in (0, gray.size):
        return 0.0
    level = int(gray[0, 0] if top or left else gray[-1, -1])
    if float(cv2.inRange(inner, max(0, level - _PLAIN), level + _PLAIN).mean()) / 255 > GROUND:
        return 0.0
    return 1 - inner.size / gray.size


def seam_score(gray: np.ndarray) -> float:
    """See Photo. Looks at every straight line between two rows or columns of a copy of long side 256."""
    small = _to_side(gray, 256, cv2.INTER_AREA)
    return max(_strongest_step(small), _strongest_step(np.ascontiguousarray(small.T)))


def phash(gray: np.ndarray) -> int | None:
    """See Photo. Bit 63 is the lowest frequency, row by row."""
    if _mean_deviation(gray)[1] < FLAT:
        return None
    small = cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8].ravel()
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


_LEVELS = np.arange(256, dtype=np.float64)
_PLAIN = 10
"""Gray levels between the darkest and the lightest pixel of a row that still is one plain bar (JPEG ringing)."""


def _mean_deviation(values: np.ndarray) -> tuple[float, float]:
    mean, deviation = cv2.meanStdDev(values)
    return float(mean[0, 0]), float(deviation[0, 0])


def _percentile_90(values: list[float]) -> float:
    """With linear interpolation, as numpy's, which takes longer than all tiles together."""
    values = sorted(values)
    at = 0.9 * (len(values) - 1)
    low = int(at)
    return values[low] + (at - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def _small(pixels: np.ndarray, side: int) -> Any:
    """Scaled to a long side: halved by averaging while that is far, then bilinear; a fifth of the cost of one step."""
    while max(pixels.shape[:2]) >= 2 * side and min(pixels.shape[:2]) >= 2:
        height, width = pixels.shape[0] & ~1, pixels.shape[1] & ~1
        pixels = cv2.resize(pixels[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return _to_side(pixels, side, cv2.INTER_LINEAR)


def _to_side(pixels: np.ndarray, side: int, interpolation: int) -> Any:
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    return cv2.resize(
        pixels, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=interpolation
    )


def _bar(gray: np.ndarray) -> int:
    """Rows of the plain bar at the top of a picture; 0 if there is none or it does not end in a straight edge."""
    rows = gray.shape[0]
    level = int(gray[0, 0])
    first = gray[0]
    if int(first.max()) - int(first.min()) > _PLAIN:
        return 0
    lines = gray if gray.flags.c_contiguous else np.ascontiguousarray(gray)
    lightest = cv2.reduce(lines, 1, cv2.REDUCE_MAX).ravel().astype(np.int16)
    darkest = cv2.reduce(lines, 1, cv2.REDUCE_MIN).ravel().astype(np.int16)
    plain = (lightest <= level + _PLAIN) & (darkest >= level - _PLAIN)
    if plain.all():
        return 0
    bar = int(np.argmin(plain))
    inside = lines[min(bar + 2, rows - 1)]  # past the rows that scaling has blended
    differs = np.abs(inside.astype(np.int16) - level) > _PLAIN
    return bar if bar >= 2 and differs.mean() >= 0.5 else 0


def _strongest_step(gray: np.ndarray) -> float:
    """Over the lines between columns: the largest share of rows with a step much above what is beside it."""
    if gray.shape[1] < 16:
        return 0.0
    step = cv2.absdiff(gray[:, 1:], gray[:, :-1])
    beside = cv2.max(cv2.max(step[:, 1:-3], step[:, 3:-1]), cv2.max(step[:, :-4], step[:, 4:]))
    here = step[:, 2:-2]
    sharp = cv2.compare(here, cv2.add(cv2.add(beside, beside), 8), cv2.CMP_GT)
    return float(cv2.reduce(sharp, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F).max()) / 255
