"""Decodes a baseline or progressive JPEG, in gray or YCbCr, strictly and at a reduced size."""

import re

import cv2
import numpy as np
import simplejpeg

from curation.errors import ImageError, in_one_line

_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_SOS, _APP2 = 0xDA, 0xE2
"""JPEG markers (ITU T.81, table B.1): start of a scan, and the segment of an ICC profile."""


def decode_jpeg(data: bytes, factor: int, height: int, width: int) -> np.ndarray:
    """Decodes a JPEG strictly: areas that libjpeg would fill with gray are an error, junk between segments is none.

    Args:
        data: the bytes of the file.
        factor: 1, 2, 4 or 8, by which both sides are divided.
        height, width: size in pixels before the EXIF orientation is applied.

    Returns:
        uint8 array, shape (ceil(height / factor), ceil(width / factor), 3), channels B, G, R, not turned upright.

    Raises:
        ImageError: reason `truncated` or `corrupt`.
    """
    least = {"min_height": -(-height // factor), "min_width": -(-width // factor)}
    for part in (data, _without_junk(data)):  # a first warning, of junk, hides those of damage behind it
        try:
            return simplejpeg.decode_jpeg(part, colorspace="BGR", strict=True, **least)
        except ValueError as error:
            if not _is_junk(str(error)):
                raise ImageError("truncated" if "remature" in str(error) else "corrupt", in_one_line(error)) from None
    return _decode_with_junk(data, factor)


def _without_junk(data: bytes) -> bytes:
    """Returns the JPEG without the bytes between its segments, and without its ICC profile, up to its first scan."""
    segments, at = [data[:2]], 2
    while marker := _MARKER.search(data, at):
        start, code = marker.start(), data[marker.end() - 1]
        if code == _SOS:
            return b"".join(segments) + data[start:]
        at = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if code != _APP2:
            segments.append(data[start:at])
    return data


def _is_junk(warning: str) -> bool:
    """Returns whether libjpeg's warning is harmless: extra bytes between segments, or a broken ICC profile.

    Extra bytes before the end-of-image marker (0xd9) are not harmless: they are left over from a damaged scan.
    """
    return "bad ICC" in warning or ("extraneous bytes" in warning and "0xd9" not in warning)


def _decode_with_junk(data: bytes, factor: int) -> np.ndarray:
    """Decodes a JPEG with OpenCV, which goes on where the strict decoder stops at a warning. Refuses data cut short."""
    flags = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[factor]
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):  # no end mark after the last scan
        raise ImageError("truncated", "the JPEG data ends early or is damaged")
    return pixels
