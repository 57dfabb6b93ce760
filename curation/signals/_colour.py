"""Measures of a picture's colour, all on one copy of long side 128: what they say of a picture lies in its areas."""

import math
from typing import Any

import cv2
import numpy as np

from curation.images import fit

SIDE = 128
NEUTRAL = 5.0
"""Chroma in CIELAB up to which a pixel counts as near neutral: gray that was saved as JPEG in colour stays below it."""
JUST_NOTICEABLE = 2.3
"""Difference in CIELAB that is just noticeable (Mahy, Van Eycken and Oosterlinck, "Evaluation of uniform color spaces
developed after the adoption of CIELAB and CIELUV", 1994). A smaller spread of the colours counts as this one, so that
the noise of a gray picture is no cast."""


def small_copy(colour: np.ndarray) -> Any:
    """Scales uint8 (H, W, 3) to a long side of 128: repeated halving by averaging, a fifth of the cost of one step."""
    while max(colour.shape[:2]) >= 2 * SIDE and min(colour.shape[:2]) >= 2:
        height, width = colour.shape[0] & ~1, colour.shape[1] & ~1
        colour = cv2.resize(colour[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return fit(colour, SIDE, cv2.INTER_LINEAR)


def colourfulness(small: np.ndarray) -> float:
    """Returns the measure of Hasler and Süsstrunk, "Measuring colourfulness in natural images", 2003.

    Args:
        small: uint8 (H, W, 3), channels B, G, R.
    """
    blue, green, red = (c.astype(np.float32) for c in cv2.split(small))
    mean_rg, deviation_rg = mean_deviation(red - green)
    mean_yb, deviation_yb = mean_deviation((red + green) / 2 - blue)
    return math.hypot(deviation_rg, deviation_yb) + 0.3 * math.hypot(mean_rg, mean_yb)


def saturation(small: np.ndarray) -> float:
    """Returns the mean saturation in HSV, 0..1, each pixel weighted by its value: Σ(max − min) / Σ max.

    The plain mean counts black, whose saturation is that of its noise (R, G, B = 1, 0, 0 has 1), as much as a bright
    red; the weights are proportional to what is seen, and an exposure that scales all values still changes nothing.

    Args:
        small: uint8 (H, W, 3).
    """
    first, second, third = cv2.split(small)
    highest = cv2.max(cv2.max(first, second), third)
    lowest = cv2.min(cv2.min(first, second), third)
    value = cv2.sumElems(highest)[0]
    return (value - cv2.sumElems(lowest)[0]) / value if value else 0.0


def cast_and_gray(small: np.ndarray) -> dict[str, float]:
    """Returns the columns `colour_cast` and `gray_share`, both from CIELAB.

    The cast is D/M of Li, Wu, Wang, Zhao and Zhang, "A color cast detection algorithm of robust performance", 2012: the
    distance D of the mean a*, b* from neutral, over the spread M, the length of the mean absolute deviations of a* and
    b*. Where all colours lie beside neutral in the same way, it is large; a colourful picture has a small one. M is at
    least JUST_NOTICEABLE. The share of gray is that of the pixels with a chroma √(a*² + b*²) up to NEUTRAL.

    Args:
        small: uint8 (H, W, 3), channels B, G, R.
    """
    lab = cv2.split(cv2.cvtColor(small, cv2.COLOR_BGR2Lab))  # of 8 bits: neutral is 128, and floats would cost twice
    a, b = (channel.astype(np.float32) - 128 for channel in lab[1:])
    mean_a, mean_b = cv2.mean(a)[0], cv2.mean(b)[0]
    spread = math.hypot(np.abs(a - mean_a).mean(), np.abs(b - mean_b).mean())
    return {
        "colour_cast": math.hypot(mean_a, mean_b) / max(spread, JUST_NOTICEABLE),
        "gray_share": float((cv2.magnitude(a, b) <= NEUTRAL).mean()),
    }


def mean_deviation(values: np.ndarray) -> tuple[float, float]:
    """Returns the mean and the standard deviation of an image of one channel."""
    mean, deviation = cv2.meanStdDev(values)
    return float(mean[0, 0]), float(deviation[0, 0])
