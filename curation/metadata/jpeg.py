"""Walks the segments of a JPEG file (ITU T.81, Annex B), and estimates the quality that it was saved with."""

import re
from collections.abc import Iterator
from functools import cache

import numpy as np

MOST_SEGMENTS = 2_000
"""Segments after which no more are looked at: metadata of 64 MB split into APP11 segments has 1,000."""
DQT, SOS = 0xDB, 0xDA
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})
"""TEM, RSTn, SOI and EOI: markers that no length follows."""


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields marker code and payload of every segment before the first scan; bytes between segments are skipped.

    It ends at whatever breaks the structure, and yields nothing for a file that is no JPEG.
    """
    if data[:3] != b"\xff\xd8\xff":
        return
    at = 2
    for _ in range(MOST_SEGMENTS):
        marker = _MARKER.search(data, at)
        if marker is None:
            return
        at, code = marker.end(), data[marker.end() - 1]
        if code in _WITHOUT_LENGTH:
            continue
        end = at + int.from_bytes(data[at : at + 2])
        if code == SOS or end < at + 2 or end > len(data):
            return
        yield code, data[at + 2 : end]
        at = end


def quality(data: bytes) -> int | None:
    """Returns the quality, 1..100 on the scale of the IJG's `cjpeg`, that a JPEG file's quantisation tables suggest.

    As ImageMagick's `identify` does (coders/jpeg.c), the sum of the file's tables is compared with those of the tables
    in ITU T.81, Annex K, scaled to each quality: the least quality whose tables are not coarser is meant. For tables
    that are scaled in this way it is exact; of others, such as Photoshop's or a camera's, it says how coarse they are.

    Returns:
        The quality; None for another format, and for a file without tables.
    """
    tables = _tables(data)
    if 0 not in tables:
        return None
    total = tables[0] + tables.get(1, 0)
    finer = np.flatnonzero(_sums(1 in tables) <= total)
    return int(finer[0]) + 1 if len(finer) else None


def _tables(data: bytes) -> dict[int, int]:
    """Returns the sum of each quantisation table by its number (B.2.4.1)."""
    sums: dict[int, int] = {}
    for code, payload in segments(data):
        at = 0
        while code == DQT and at < len(payload):
            size = 2 if payload[at] >> 4 else 1
            table = payload[at + 1 : at + 1 + 64 * size]
            if len(table) < 64 * size:
                break
            sums[payload[at] & 15] = sum(table) if size == 1 else 256 * sum(table[::2]) + sum(table[1::2])
            at += 1 + 64 * size
    return sums


@cache
def _sums(two: bool) -> np.ndarray:
    """Returns the sums of the tables of each quality, 1..100: of luminance, and of chrominance too if there are two."""
    table = np.array(_LUMINANCE + _CHROMINANCE if two else _LUMINANCE)
    scales = [5000 // quality if quality < 50 else 200 - 2 * quality for quality in range(1, 101)]
    return np.array([np.clip((table * scale + 50) // 100, 1, 255).sum() for scale in scales])


# fmt: off
_LUMINANCE = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
]
_CHROMINANCE = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
] + 32 * [99]
# fmt: on
