"""HEIC and JPEG XL, which Pillow reads with packages of the extra `formats` alone.

They are recognized by their first bytes; a package is imported only when such a file is met.
"""

import importlib
from functools import cache
from typing import Any

from curation.errors import ImageError

PACKAGES = {"heic": "pillow_heif", "jxl": "pillow_jxl"}
"""Formats: the module that adds them to Pillow."""
OPENED_AS = {"heic": "HEIF", "jxl": "JXL"}
"""Formats: their names in Pillow."""
REMEDY = "pip install 'curate[formats]'"

_HEVC = frozenset(b"heic heix hevc hevx heim heis hevm hevs".split())
_AV1 = frozenset(b"avif avis".split())
_ANY_CODEC = frozenset(b"mif1 msf1".split())
"""Brands of ISO/IEC 23008-12 and of AVIF; with the last, the codec stands among the compatible brands."""
_JXL_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_JXL_CODESTREAM = b"\xff\x0a"


def format_of(data: bytes) -> str | None:
    """Returns `heic` or `jxl` if the first bytes are of such a file, else None."""
    if data.startswith((_JXL_CODESTREAM, _JXL_CONTAINER)):
        return "jxl"
    if data[4:8] != b"ftyp":
        return None
    major, end = data[8:12], min(int.from_bytes(data[:4]), 1024)
    others = {data[at : at + 4] for at in range(16, end - 3, 4)}
    if major in _HEVC or (major in _ANY_CODEC and not others & _AV1):
        return "heic"
    return None


def is_readable(format: str) -> bool:
    """Returns whether the package for `heic` or `jxl` is installed and can be imported; imports it."""
    return _load(format)


def load_plugin(format: str) -> None:
    """Adds `heic` or `jxl` to the formats that Pillow opens in this process.

    Raises:
        ImageError: the reason is the format, and the detail the remedy.
    """
    if not _load(format):
        raise ImageError("jxl" if format == "jxl" else "heic", f"reading it takes the extra `formats`: {REMEDY}")


@cache
def _load(format: str) -> bool:
    try:
        module = importlib.import_module(PACKAGES[format])
    except ImportError:
        return False
    if format == "heic":
        module.register_heif_opener(decode_threads=1)  # one worker, one core
    else:
        plugin: Any = importlib.import_module("pillow_jxl.JpegXLImagePlugin")
        plugin.DECODE_THREADS = 0  # the same
    return True


def is_cut(data: bytes) -> bool:
    """Returns whether a file of boxes (ISO/IEC 14496-12, 4.2) ends before its last box does.

    A JPEG XL file without boxes counts as cut: nothing else in it tells that it ends early from other damage.
    """
    if data.startswith(_JXL_CODESTREAM):
        return True
    at = 0
    while 0 <= at < len(data):
        size, head = _box_size(data, at)
        if size < head or at + size > len(data):
            return True
        at += size
    return False


def jxl_header(data: bytes) -> tuple[int, int, int]:
    """Reads the header of a JPEG XL file (ISO/IEC 18181-1, D.2 SizeHeader, D.3 ImageMetadata).

    The package decodes all pixels when it opens a file, so that the size must be known before.

    Returns:
        width and height in pixels before they are turned, and the orientation, 1..8.

    Raises:
        ImageError: reason `truncated`.
    """
    stream = _codestream(data)
    if len(stream) < _LEAST:
        raise ImageError("truncated", "the header of the JPEG XL file is cut off")
    bits = _Bits(stream[2:34])
    small = bits.take(1)
    height = (bits.take(5) + 1) * 8 if small else bits.size()
    ratio = bits.take(3)
    if ratio:
        up, down = _RATIOS[ratio - 1]
        width = height * up // down
    else:
        width = (bits.take(5) + 1) * 8 if small else bits.size()
    all_default = bits.take(1)
    orientation = 1 + bits.take(3) if not all_default and bits.take(1) else 1
    return width, height, orientation


_LEAST = 5
"""Bytes of the shortest header: signature, size, and the bits up to the orientation."""
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class _Bits:
    """Bits of a codestream, the lowest of a byte first; zeros behind the end."""

    def __init__(self, data: bytes) -> None:
        self.left = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self.left & ((1 << count) - 1)
        self.left >>= count
        return value

    def size(self) -> int:
        return 1 + self.take((9, 13, 18, 30)[self.take(2)])


def _codestream(data: bytes) -> bytes:
    """Returns the beginning of the codestream, from the first box that holds a part of it."""
    if data.startswith(_JXL_CODESTREAM):
        return data[:64]
    at = 0
    while at < len(data):
        size, head = _box_size(data, at)
        kind = data[at + 4 : at + 8]
        if kind in (b"jxlc", b"jxlp"):
            start = at + head + (4 if kind == b"jxlp" else 0)  # a part begins with its number
            return data[start : start + 64]
        if size < head:
            break
        at += size
    return b""


def _box_size(data: bytes, at: int) -> tuple[int, int]:
    """Returns the sizes in bytes of a box and of its header; a box of size 0 reaches to the end of the file."""
    size = int.from_bytes(data[at : at + 4])
    if size == 1:
        return int.from_bytes(data[at + 8 : at + 16]), 16
    return (size or len(data) - at), 8
