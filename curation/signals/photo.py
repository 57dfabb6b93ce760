"""The signal `photo`: classical photo statistics, from one reduced decode and its gray image of long side 512.

They are never computed at native size: the Laplacian variance of a 20-megapixel image says more about its sensor noise
than about its focus.
"""

from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from curation.images import fit
from curation.metadata import jpeg
from curation.signals._colour import cast_and_gray, colourfulness, mean_deviation, saturation, small_copy
from curation.signals.base import PerImage, Row, Scores

TILE = 128
GROUND, RIM = 0.3, 0.4
"""Share of pixels in the bars' colour inside the bars, and along the rim of that area, above which the bars are the
plain ground around an object and not the frame of an image. A night shot in black bars has up to 0.3 along the rim, a
logo 0.6."""
BAR, PICTURE = 0.9, 0.5
"""Share of a line's pixels in the bar's colour: at least this in a bar, allowing for ringing and specks, and at most
this where the image begins, with at most one line between them. A vignette fades over more lines."""

FLAT = 0.2
"""Mean amplitude of the lowest frequencies, in gray levels, below which an image is too plain for a perceptual hash."""
NOTHING = 1 / 16
"""A frequency counts as positive if it exceeds this share of the mean amplitude: the signs of smaller ones are noise,
which any re-encoding would flip at random."""
TIE = 1 / 12
"""Weight of a frequency's neighbours in its bit. Half of all frequencies of a symmetrical image are noise, and three
quarters of a doubly symmetrical one; the rest does not distinguish such images, so there the bit says which neighbour
is larger. For other images this weight hardly flips a bit."""


class Photo(PerImage):
    """Sharpness, exposure, colour, borders, seams, the perceptual hash, and how strongly the file is compressed.

    It has no parameters: the definition is fixed, so that scores of different runs can be compared.

    Columns:
        sharpness: square root of the 90th percentile, over whole 128-pixel tiles, of the variance of the 3×3
            Laplacian on the 8-bit scale; 0 is flat, about 10 soft, 30 and more sharp.
        brightness, contrast: mean and standard deviation of gray, 0..1.
        clip_low, clip_high: share of pixels with gray ≤ 2 and ≥ 253.
        luma_p1, luma_p99: 1st and 99th percentile of gray, 0..255: the lowest level that as many pixels do not exceed.
        colourfulness: Hasler and Süsstrunk 2003, 0 (gray) to about 110, on a 128-pixel copy.
        saturation: mean saturation in HSV, weighted by value, 0 (gray) to 1, on the same copy; see `saturation`.
        colour_cast: how far all colours lie to one side of neutral, over their spread, on the same copy: 0 is none, a
            sepia print has 3 and more; see `cast_and_gray`.
        gray_share: share of pixels that are near neutral, 0..1, on the same copy; a black-and-white photo has about 1.
        entropy: of the gray histogram, 0..8 bits.
        border_share: share of the area covered by plain bars around the image, 0..1.
        seam_score: 0..1, the largest share of a straight line from edge to edge along which the gray level steps: 1 for
            two images pasted side by side.
        phash: 64-bit perceptual hash, see `phash`; null for a plain image. Copies differ in a few bits, unrelated
            images in 31 on average.
        bits_per_pixel: bits of the whole file, its metadata too, over the pixels of its picture.
        jpeg_quality: quality with which a JPEG was saved last, 1..100, estimated from its quantisation tables (see
            `metadata.jpeg.quality`); null for other formats.
    """

    name = "photo"
    version = 3
    side = 512
    cost = 6.0
    columns = {
        "sharpness": pa.float32(),
        "brightness": pa.float32(),
        "contrast": pa.float32(),
        "clip_low": pa.float32(),
        "clip_high": pa.float32(),
        "luma_p1": pa.int16(),
        "luma_p99": pa.int16(),
        "colourfulness": pa.float32(),
        "saturation": pa.float32(),
        "colour_cast": pa.float32(),
        "gray_share": pa.float32(),
        "entropy": pa.float32(),
        "border_share": pa.float32(),
        "seam_score": pa.float32(),
        "phash": pa.uint64(),
        "bits_per_pixel": pa.float32(),
        "jpeg_quality": pa.int16(),
    }

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        assert row.picture is not None
        colour = row.picture.bgr(512)
        gray, small = gray_512(colour), small_copy(colour)
        header, data = row.picture.header, row.picture.data
        return {
            "sharpness": sharpness(gray),
            **exposure(gray),
            "colourfulness": colourfulness(small),
            "saturation": saturation(small),
            **cast_and_gray(small),
            "border_share": border_share(gray),
            "seam_score": seam_score(gray),
            "phash": phash(gray),
            "bits_per_pixel": len(data) * 8 / (header.width * header.height),
            "jpeg_quality": jpeg.quality(data),
        }


def gray_512(colour: np.ndarray) -> np.ndarray:
    """Converts uint8 (H, W, 3) BGR to gray uint8 (h, w), scaled to long side 512 (bilinear); never scaled up."""
    gray = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    return fit(gray, 512, cv2.INTER_LINEAR)


def sharpness(gray: np.ndarray) -> float:
    """Returns the sharpness of a gray image (uint8 (H, W)), see Photo. One without a whole tile counts as one tile."""
    laplacian = cv2.Laplacian(gray, cv2.CV_16S, ksize=1)
    rows, columns = gray.shape[0] // TILE, gray.shape[1] // TILE
    if rows == 0 or columns == 0:
        return mean_deviation(laplacian)[1]
    variances = [
        mean_deviation(laplacian[y : y + TILE, x : x + TILE])[1] ** 2
        for y in range(0, rows * TILE, TILE)
        for x in range(0, columns * TILE, TILE)
    ]
    return _percentile_90(variances) ** 0.5


def exposure(gray: np.ndarray) -> dict[str, float]:
    """Returns brightness, contrast, clipping, percentiles and entropy of a gray image (uint8 (H, W)); see Photo."""
    counts = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    share, up_to = counts / gray.size, np.cumsum(counts)
    mean = float(share @ _LEVELS)
    deviation = float(share @ (_LEVELS - mean) ** 2) ** 0.5
    used = share[share > 0]
    return {
        "brightness": mean / 255,
        "contrast": deviation / 255,
        "clip_low": float(share[:3].sum()),
        "clip_high": float(share[253:].sum()),
        "luma_p1": int(np.searchsorted(up_to, 0.01 * gray.size)),
        "luma_p99": int(np.searchsorted(up_to, 0.99 * gray.size)),
        "entropy": float(-(used * np.log2(used)).sum()) + 0.0,
    }


def border_share(gray: np.ndarray) -> float:
    """Returns the share of the area of a gray image (uint8 (H, W)) that is plain bars, 0..1; see `bars`."""
    height, width = gray.shape
    top, bottom, left, right = bars(gray)
    return 1 - (height - top - bottom) * (width - left - right) / gray.size


def bars(gray: np.ndarray) -> tuple[int, int, int, int]:
    """Returns the numbers of rows at the top and bottom and of columns at the left and right that are plain bars.

    A bar has one gray level, up to an edge along most of its length. That edge tells a framed or letterboxed image from
    an object on a plain ground, whose outline is uneven; and so does the content within, most of all along its rim: an
    image hardly has the bars' colour there, while around an object it continues.

    Args:
        gray: uint8 (H, W).
    """
    height, width = gray.shape
    top, bottom = _bar(gray), _bar(gray[::-1])
    left, right = _bar(gray.T), _bar(gray.T[::-1])
    inner = gray[top : height - bottom, left : width - right]
    if inner.size in (0, gray.size):
        return 0, 0, 0, 0
    level = int(gray[0, 0] if top or left else gray[-1, -1])
    y, x = (min(2, (n - 1) // 2) for n in inner.shape)  # beyond the lines that scaling has blended
    rim = [_share_near(line, level) for line in (inner[y], inner[-1 - y], inner[:, x], inner[:, -1 - x])]
    if _share_near(inner, level) > GROUND or sum(rim) / len(rim) > RIM:
        return 0, 0, 0, 0
    return top, bottom, left, right


def seam_score(gray: np.ndarray) -> float:
    """Returns the seam score of a gray image (uint8 (H, W)), over all straight lines of a copy of long side 256.

    See Photo.
    """
    small = fit(gray, 256, cv2.INTER_AREA)
    return max(_strongest_step(small), _strongest_step(np.ascontiguousarray(small.T)))


def phash(gray: np.ndarray) -> int | None:
    """Returns the 64-bit perceptual hash of a gray image: the signs of the 8×8 lowest DCT frequencies at 64×64 pixels.

    It follows Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010, which compares with
    the median instead of zero; see NOTHING and TIE. Bit 63 is the mean, and always set; the others follow row by row.

    Args:
        gray: uint8 (H, W).

    Returns:
        The hash, 0..2⁶⁴-1; None for a plain image.
    """
    for axis in (1, 0):  # separately: if one side grows, OpenCV would not average along the other
        gray = _resized(gray, 64, axis)
    spectrum = cv2.dct(gray.astype(np.float32))
    size = np.abs(spectrum[:9, :9])
    size[0, 0] = 0
    mean = float(size[:8, :8].sum()) / 63
    if mean / 32 < FLAT:  # 64/2 converts a coefficient to an amplitude
        return None
    bits = spectrum[:8, :8] - TIE * (size[_LOWER] - size[_UPPER]) > NOTHING * mean
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


_LEVELS = np.arange(256, dtype=np.float64)
_EVEN = np.arange(8) & ~1
_LOWER, _UPPER = np.ix_(_EVEN, _EVEN), np.ix_(np.arange(8) + 1 & ~1, np.arange(8) + 1 & ~1)
"""Indices of the even frequencies just below and above each frequency: those that remain under every symmetry."""
_PLAIN = 10
"""Largest difference in gray levels between the pixels of a row that still counts as one plain bar (JPEG ringing)."""


def _percentile_90(values: list[float]) -> float:
    """Returns the 90th percentile with linear interpolation, as numpy's, which takes longer than all tiles together."""
    values = sorted(values)
    at = 0.9 * (len(values) - 1)
    low = int(at)
    return values[low] + (at - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def _bar(gray: np.ndarray) -> int:
    """Returns the number of rows of the plain bar at the top; 0 if there is none or it has no straight edge."""
    level = int(gray[0, 0])
    first = gray[0]
    if int(first.max()) - int(first.min()) > _PLAIN:
        return 0
    share = cv2.reduce(_near(gray, level), 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel() / 255
    inside = np.flatnonzero(share <= PICTURE)
    bar = int(inside[0]) if len(inside) else 0
    return bar if bar >= 2 and float(share[: max(2, bar - 1)].min()) >= BAR else 0


def _near(gray: np.ndarray, level: int) -> Any:
    """Returns 255 where the gray level is close to that of a bar, else 0."""
    lines = gray if gray.flags.c_contiguous else np.ascontiguousarray(gray)
    return cv2.inRange(lines, max(0, level - _PLAIN), level + _PLAIN)


def _share_near(gray: np.ndarray, level: int) -> float:
    return float(_near(gray, level).mean()) / 255


def _resized(gray: np.ndarray, side: int, axis: int) -> Any:
    """Scales along one axis: by averaging if that reduces the size, else bilinearly."""
    size = [gray.shape[1], gray.shape[0]]
    size[1 - axis] = side
    shrinks = gray.shape[axis] >= side
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _strongest_step(gray: np.ndarray) -> float:
    """Returns the largest share of rows, at one boundary between columns, with a step far above those beside it."""
    if gray.shape[1] < 16:
        return 0.0
    step = cv2.absdiff(gray[:, 1:], gray[:, :-1])
    beside = cv2.max(cv2.max(step[:, 1:-3], step[:, 3:-1]), cv2.max(step[:, :-4], step[:, 4:]))
    here = step[:, 2:-2]
    sharp = cv2.compare(here, cv2.add(cv2.add(beside, beside), 8), cv2.CMP_GT)
    return float(cv2.reduce(sharp, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F).max()) / 255
