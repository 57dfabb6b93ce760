"""Converts pixels to sRGB by the ICC profile that their file carries, with LittleCMS.

A profile that is damaged or does not fit the pixels (such as one for RGB in a gray picture) is ignored, as browsers do.
Whether a profile differs from sRGB is found by what it does to a lattice of colours, not by its name: most pictures of
the web carry some edition of sRGB, and need no conversion.
"""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from curation.decoding.png import MAX_PROFILE

SAME = 2
"""Largest difference, of 255, between a lattice of colours and what a profile makes of it, for a profile of sRGB."""

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}
"""Modes of Pillow: the colour space that a profile for such pixels is of (ICC.1:2022, table 19)."""
_SRGB = ImageCms.createProfile("sRGB")


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """Returns the picture in sRGB, mode RGB, and whether its profile has changed any colour.

    Args:
        image: mode RGB, L or CMYK.
        profile: the ICC profile in its file, or None. Without one that fits, RGB and gray are taken for sRGB, and CMYK
            is inverted as Pillow does.
    """
    transform = _conversion(profile, image.mode) if profile else None
    if transform is None:
        return image.convert("RGB"), False
    return ImageCms.applyTransform(image, transform) or image, True


def bgr_to_srgb(pixels: np.ndarray, profile: bytes | None) -> tuple[np.ndarray, bool]:
    """Converts pixels in the order B, G, R, uint8 (H, W, 3), as `to_srgb` does; gray may have a profile for gray."""
    if profile and _conversion(profile, "RGB"):
        colours = pixels[:, :, ::-1]
    elif profile and _conversion(profile, "L") and all((pixels[:, :, 0] == pixels[:, :, n]).all() for n in (1, 2)):
        colours = pixels[:, :, 0]
    else:
        return pixels, False
    shown, _ = to_srgb(Image.fromarray(np.ascontiguousarray(colours)), profile)
    return np.ascontiguousarray(np.asarray(shown)[:, :, ::-1]), True


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Returns a picture in CIE L*a*b* (mode LAB) in sRGB, mode RGB."""
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), _SRGB, "LAB", "RGB")
    return ImageCms.applyTransform(image, transform) or image


@lru_cache(8)
def _conversion(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the conversion to sRGB; None if it changes nothing, and if the profile is damaged or does not fit."""
    if len(profile) > MAX_PROFILE:
        return None
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if opened.profile.xcolor_space != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(opened, _SRGB, mode, "RGB")
        lattice = _lattice(mode)
        there = ImageCms.applyTransform(lattice, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # what the bindings of LittleCMS raise
        return None
    change = np.asarray(there, np.int16) - np.asarray(lattice.convert("RGB"), np.int16)
    return transform if np.abs(change).max() > SAME else None


def _lattice(mode: str) -> Image.Image:
    """Returns colours spread evenly over all that a mode can show."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.arange(0, 256, 15 if mode == "RGB" else 51, dtype=np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * len(mode)), axis=-1)
    return Image.fromarray(grid.reshape(len(levels), -1, len(mode)), mode)
