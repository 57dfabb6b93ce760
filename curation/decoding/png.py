"""Takes the text and the colour profile out of a PNG, so that neither is unpacked by the decoder.

Editors of node graphs write megabytes of text into their pictures, and Pillow refuses a file whose text is longer than
its limits. A scan of the chunks' headers costs next to nothing, and no text is unpacked.
"""

import zlib

MAX_PROFILE = 1 << 22
"""Bytes of an ICC profile that are unpacked at most; a longer one is ignored. The largest in use have about 3 MB."""
MAX_PROFILE_OF_PILLOW = 1 << 20
"""Bytes of an ICC profile above which Pillow refuses a PNG (`PngImagePlugin.MAX_TEXT_CHUNK`)."""
MAX_EXIF_TEXT = 1 << 18
"""Bytes of EXIF written as text that are looked into at most, for the orientation alone."""

_TEXT = frozenset((b"tEXt", b"zTXt", b"iTXt"))
_EXIF_AS_TEXT = b"Raw profile type exif\0"
"""Keyword with which ImageMagick wrote EXIF before PNG had a chunk for it."""


def without_text(data: bytes) -> tuple[bytes, bytes | None]:
    """Returns the file without its text and its ICC profile, and the profile; None if it has none that can be used.

    EXIF that is written as text stays, up to `MAX_EXIF_TEXT` bytes of it. What follows a damaged chunk is left as it
    is: the decoder says what is wrong with it.
    """
    kept: list[bytes] = []
    profile: bytes | None = None
    start, at, kind, has_exif = 0, 8, b"", False
    while kind != b"IEND":
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        if end > len(data) or not kind.isalpha():
            break
        if (
            kind in _TEXT
            and not has_exif
            and _is_short_exif(kind, data[at + 8 : min(end - 4, at + 8 + MAX_EXIF_TEXT + 1)])
        ):
            has_exif = True
        elif kind in _TEXT or kind == b"iCCP":
            if kind == b"iCCP" and profile is None:
                profile = unpacked_profile(data[at + 8 : end - 4])
            kept.append(data[start:at])
            start = end
        at = end
    return b"".join([*kept, data[start:]]) if kept else data, profile


def unpacked_profile(chunk: bytes) -> bytes | None:
    """Returns the profile in the content of an `iCCP` chunk; None if it is damaged or over `MAX_PROFILE` bytes."""
    _, _, packed = chunk.partition(b"\0")  # the profile's name
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], MAX_PROFILE + 1)  # the first byte is the method
    except zlib.error:
        return None
    return profile if unpacker.eof and 0 < len(profile) <= MAX_PROFILE else None


def _is_short_exif(kind: bytes, content: bytes) -> bool:
    """Returns whether a chunk of text, of which up to `MAX_EXIF_TEXT` + 1 bytes are given, is EXIF within the limit."""
    if not content.startswith(_EXIF_AS_TEXT) or len(content) > MAX_EXIF_TEXT:
        return False
    if kind == b"iTXt":
        return not content[len(_EXIF_AS_TEXT) : len(_EXIF_AS_TEXT) + 1].strip(b"\0")  # 0: it is not packed
    if kind == b"tEXt":
        return True
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(content[len(_EXIF_AS_TEXT) + 1 :], MAX_EXIF_TEXT)
    except zlib.error:
        return False
    return unpacker.eof
