"""Tells images from other files by their first bytes."""

from curation.decoding.formats import format_of

HEAD = 64
"""Bytes by which `looks_like_an_image` tells an image."""
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_AVIF = frozenset(b"avif avis mif1 msf1".split())
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""Lengths of the header that follows a BMP's file header, by its versions."""


def looks_like_an_image(head: bytes) -> bool:
    """Returns whether a file is an image of a known format, whole or not, by its first `HEAD` bytes."""
    if head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF:
        return True
    if head[:2] == b"BM":
        return int.from_bytes(head[14:18], "little") in _BMP_HEADERS
    return format_of(head) is not None
