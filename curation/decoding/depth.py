"""Scales samples of more than eight bits to eight, so that no picture comes out black or white.

The rule:

* Unsigned integers of up to 16 bits are scaled by the range of their type, as every viewer does.
* Signed integers, integers of 32 bits and floating point have no range of which all writers make full use. They are
  scaled by SMinSampleValue and SMaxSampleValue (TIFF 6.0, section 19) where the file gives them, else by the least and
  the greatest value of the picture.
* NaN, infinities, and a picture of one single value without a range given, fail.
"""

from typing import Any

import numpy as np
from PIL import Image

from curation.errors import ImageError

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _SMIN, _SMAX = 258, 262, 339, 340, 341
"""Tags of TIFF 6.0."""
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
_BAND = 256
"""Rows that are scaled at once, which bounds the memory."""


def is_deep(image: Image.Image) -> bool:
    """Returns whether an image, as Pillow has opened it, has samples that Pillow would clip to eight bits."""
    return image.mode == "F" or image.mode.startswith("I")


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Returns a gray picture (mode I, I;16… or F, loaded) in eight bits, mode L.

    Raises:
        ImageError: reason `no_range`: nothing says what is black and what is white.
    """
    tags: Any = getattr(image, "tag_v2", {})
    values = np.asarray(image)
    bits = int(np.ravel(tags.get(_BITS, 16))[0])
    if image.format == "TIFF" and bits == 16 and image.mode.startswith("I;16") and int(values.max()) < 1 << 12:
        bits = 12  # as cameras and microscopes store it: as 16 bits it would be nearly black
    if image.mode.startswith("I;16") or image.format == "PNG":
        shown = np.clip(values >> (bits - 8), 0, 255).astype(np.uint8)
    else:
        if image.mode == "I" and bits == 32 and int(np.ravel(tags.get(_SAMPLE_FORMAT, _UNSIGNED))[0]) == _UNSIGNED:
            values = values.view(np.uint32)  # Pillow has read it as signed
        shown = _scaled(values, *((0.0, 1.0) if image.format == "JXL" else _range(values, tags)))
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow turns it round for eight bits alone
        np.subtract(255, shown, out=shown)
    return Image.fromarray(shown)


def _range(values: np.ndarray, tags: Any) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())  # NaN if any value is NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("no_range", "the samples are floating point with NaN or infinities")
    given = [np.ravel(tags.get(tag, ())).astype(np.float64) for tag in (_SMIN, _SMAX)]
    if all(len(values) and np.isfinite(values[0]) for values in given) and given[0][0] < given[1][0]:
        return float(given[0][0]), float(given[1][0])
    if low == high:
        raise ImageError(
            "no_range", f"all samples are {low:g}, and no SMinSampleValue and SMaxSampleValue say what that is"
        )
    return low, high


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    shown = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _BAND):
        band = (values[top : top + _BAND].astype(np.float64) - low) * (255 / (high - low))
        shown[top : top + _BAND] = np.clip(np.rint(np.nan_to_num(band)), 0, 255)
    return shown
