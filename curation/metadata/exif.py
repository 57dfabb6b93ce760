"""Reads a few tags of a TIFF structure, which EXIF is (TIFF 6.0, section 2; Exif 2.32), with bounds on everything."""

import struct
from collections.abc import Iterator

DESCRIPTION, MAKE, MODEL, ORIENTATION, SOFTWARE, ARTIST = 0x010E, 0x010F, 0x0110, 0x0112, 0x0131, 0x013B
COPYRIGHT, USER_COMMENT = 0x8298, 0x9286
XMP, IPTC, PHOTOSHOP, C2PA = 0x02BC, 0x83BB, 0x8649, 0xCD41
"""Tags of a TIFF file that hold other metadata."""
MOST_ENTRIES = 1_000
"""Entries of one directory that are looked at; the tags stand in ascending order, and few have over fifty."""
MOST_BYTES = 4 << 20
"""Bytes above which a value is passed over."""

_EXIF_DIRECTORY = 0x8769
_READ = frozenset((DESCRIPTION, MAKE, MODEL, ORIENTATION, SOFTWARE, ARTIST, COPYRIGHT, USER_COMMENT)) | frozenset(
    (XMP, IPTC, PHOTOSHOP, C2PA, _EXIF_DIRECTORY)
)
_SHORT, _LONG = 3, 4
_SIZES = {1: 1, 2: 1, _SHORT: 2, _LONG: 4, 6: 1, 7: 1, 13: 4}
"""Bytes of one value of the types that are read: bytes, text, short, long, signed byte, undefined, directory."""


def tags(block: bytes) -> dict[int, bytes]:
    """Returns the tags named above of the first and the EXIF directory, as bytes; numbers are big-endian.

    Args:
        block: the TIFF structure, without the `Exif\\0\\0` before it. What is damaged in it is left out.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return {}
    found = dict(_directory(block, _number(block[4:8], order), order))
    if inner := found.pop(_EXIF_DIRECTORY, b""):
        found = dict(_directory(block, int.from_bytes(inner[:4]), order)) | found
    return found


def orientation(found: dict[int, bytes]) -> int | None:
    """Returns the orientation, 1..8, that the tags tell; None if they tell none."""
    value = int.from_bytes(found.get(ORIENTATION, b"")[:2])
    return value if 1 <= value <= 8 else None


def text(value: bytes) -> str:
    """Returns a text value, decoded from UTF-8 or, where it is no UTF-8, Latin-1, up to its first NUL."""
    value = value.split(b"\0", 1)[0]
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def user_comment(value: bytes) -> str:
    """Returns the text of a UserComment, whose first eight bytes name its encoding (Exif 2.32, 4.6.5 D)."""
    code, content = value[:8], value[8:]
    if code == b"UNICODE\0":  # of the structure's byte order or not: writers do not agree
        little = content[1::2].count(0) > content[::2].count(0)
        return content.decode("utf-16-le" if little else "utf-16-be", "replace").rstrip("\0")
    return text(content if code in (b"ASCII\0\0\0", bytes(8)) else value)


def _directory(block: bytes, at: int, order: str) -> Iterator[tuple[int, bytes]]:
    """Yields the tags of the directory at an offset, the first value of each."""
    count = _number(block[at : at + 2], order)
    seen = set()
    for entry in range(at + 2, at + 2 + 12 * min(count, MOST_ENTRIES), 12):
        if entry + 12 > len(block):
            return
        tag, kind, number = struct.unpack_from(f"{order}HHI", block, entry)
        size = _SIZES.get(kind, 0) * number
        if not size or size > MOST_BYTES or tag not in _READ or tag in seen:
            continue
        start = entry + 8 if size <= 4 else _number(block[entry + 8 : entry + 12], order)
        value = block[start : start + size]
        if len(value) < size:
            continue
        seen.add(tag)
        swapped = kind in (_SHORT, _LONG, 13) and order == "<"
        yield tag, value[: _SIZES[kind]][::-1] if swapped else value


def _number(value: bytes, order: str) -> int:
    return int.from_bytes(value, "little" if order == "<" else "big")
