"""Removes private metadata from an image file without touching its coded pixels.

Removed: EXIF (position, camera serial, thumbnail), XMP, IPTC, comments, text, timestamps, and anything after the end of
the picture. Kept: what the pixels need to look the same, that is the ICC profile and colour chunks, JFIF density,
Adobe's colour transform, animation, and the orientation, rewritten as an EXIF block of this one tag. Each parser keeps
what it knows to be needed and drops the rest. A damaged file is refused, not repaired.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator

from curation.decoding.png import unpacked_profile
from curation.images import ImageError, probe


class StripError(ValueError):
    """The file's structure is damaged, so that it is not known what the file holds. The message is one line."""


def strip_metadata(data: bytes, format: str) -> bytes:
    """Returns the same picture, bit for bit, without private metadata.

    Args:
        data: the whole file.
        format: "jpeg", "png" or "webp".

    Raises:
        StripError: the file is damaged or of another format.
        ValueError: `format` is none of the three.
    """
    if format == "jpeg":
        return _strip_jpeg(data)
    if format == "png":
        return _strip_png(data)
    if format == "webp":
        return _strip_webp(data)
    raise ValueError(f'cannot strip metadata from "{format}"; known: jpeg, png, webp')


def _orientation_block(data: bytes) -> bytes:
    """Returns a TIFF header and one IFD with the tag Orientation (Exif 2.32, 4.6.4 A); empty if the orientation is 1.

    The orientation is the one with which the picture was scored, so that it is published the same way up.
    """
    try:
        orientation = probe(data).orientation
    except ImageError as error:
        raise StripError(f"metadata cannot be read: {error}") from None
    if orientation == 1:
        return b""
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


_APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_SOS, _EOI = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn; the three are DHT, JPG and DAC
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD})  # DHT, DAC, DQT, DNL, DRI
_METADATA = frozenset(range(_APP0, _APP15 + 1)) | {_COM}
_SEGMENTS = _FRAMES | _TABLES | _METADATA | {_SOS}
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_MARKER_IN_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # not FF00 (data), RSTn, fill bytes


def _strip_jpeg(data: bytes) -> bytes:
    """Strips a JPEG (ITU T.81 Annex B): SOI, marker segments, coded data after each SOS segment, EOI."""
    if not data.startswith(b"\xff\xd8\xff"):
        raise StripError("jpeg: no start-of-image marker")
    jfif = b""
    kept: list[bytes] = []
    has_exif = has_frame = has_scan = False
    at = 2
    while True:
        marker = _MARKER.search(data, at)
        if marker is None:
            raise StripError("jpeg: the file ends before the end-of-image marker")
        start, code = marker.start(), data[marker.end() - 1]
        if has_scan and data[at:start].strip(b"\xff"):  # before the first scan decoders skip such bytes
            raise StripError(f"jpeg: no marker at byte {at}")
        if code == _EOI:
            break
        if code not in _SEGMENTS:
            raise StripError(f"jpeg: unexpected marker FF{code:02X} at byte {start}")
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if end < start + 4 or end > len(data):
            raise StripError(f"jpeg: the segment at byte {start} has a wrong length")
        payload = data[start + 4 : end]
        if code in _METADATA:
            if not has_scan:  # no decoder reads metadata between scans
                has_exif |= code == _APP1 and payload.startswith(b"Exif\0")
                if code == _APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 14:
                    jfif = jfif or _segment(_APP0, payload[:12] + b"\0\0")  # no thumbnail
                elif code == _APP2 and payload.startswith(b"ICC_PROFILE\0"):
                    kept.append(_segment(code, payload))
                elif code == _APP14 and payload.startswith(b"Adobe") and len(payload) >= 12:
                    kept.append(_segment(code, payload[:12]))
        else:
            if code in _FRAMES and has_frame or code == _SOS and not has_frame:
                raise StripError(f"jpeg: frame and scan headers out of order at byte {start}")
            has_frame |= code in _FRAMES
            if code == _SOS:
                has_scan = True
                after = _MARKER_IN_SCAN.search(data, end)
                if after is None:
                    raise StripError("jpeg: the file ends before the end-of-image marker")
                end = after.start()
            kept.append(data[start:end])
        at = end
    if not has_scan:
        raise StripError("jpeg: no scan before the end-of-image marker")
    block = _orientation_block(data) if has_exif else b""
    exif = _segment(_APP1, b"Exif\0\0" + block) if block else b""
    return b"".join([b"\xff\xd8", jfif, exif, *kept, b"\xff\xd9"])


def _segment(code: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(payload) + 2) + payload


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP mDCV cLLI sBIT bKGD pHYs".split() + b"acTL fcTL fdAT".split()
)
_PNG_MAY_ORIENT = frozenset(b"eXIf tEXt zTXt iTXt".split())


def _strip_png(data: bytes) -> bytes:
    """Strips a PNG (PNG Specification, Third Edition, 5 "Datastream structure" and 11 "Chunk specifications")."""
    if not data.startswith(_PNG_SIGNATURE):
        raise StripError("png: no PNG signature")
    kept: list[bytes] = []
    may_orient = has_pixels = False
    at, kind = len(_PNG_SIGNATURE), b""
    while kind != b"IEND":
        before, kind = kind, data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if end > len(data):
            raise StripError(f"png: the file ends inside the chunk at byte {at}")
        if not kind.isalpha() or (kind == b"IHDR") != (not before):
            raise StripError(f"png: unexpected chunk at byte {at}")
        if kind == b"iCCP" and unpacked_profile(data[at + 8 : end - 4]) is None:
            pass  # damaged, or so long that nobody unpacks it: it says nothing of the colours
        elif kind in _PNG_KEPT:
            if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
                raise StripError(f"png: wrong checksum in the {kind.decode()} chunk at byte {at}")
            if kind == b"IDAT" and has_pixels and before != b"IDAT":
                raise StripError(f"png: pixels in two places, again at byte {at}")
            has_pixels |= kind == b"IDAT"
            kept.append(data[at:end])
        elif kind[:1].isupper():  # critical: no decoder can show the picture without knowing the chunk
            raise StripError(f"png: unknown critical chunk {kind.decode()} at byte {at}")
        may_orient |= kind in _PNG_MAY_ORIENT
        at = end
    if not has_pixels or len(kept[-1]) != 12:
        raise StripError("png: no pixels, or an end chunk that is not empty")
    block = _orientation_block(data) if may_orient else b""
    if block:
        chunk = b"eXIf" + block
        kept.insert(1, struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk)))
    return _PNG_SIGNATURE + b"".join(kept)


_ICC, _ALPHA, _EXIF, _ANIMATION = 0x20, 0x10, 0x08, 0x02  # flags of VP8X, RFC 9649 2.7
_Chunk = tuple[bytes, bytes]


def _strip_webp(data: bytes) -> bytes:
    """Strips a WebP (RFC 9649: 2.3 RIFF, 2.5 and 2.6 simple files, 2.7 extended files)."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise StripError("webp: no RIFF header of the WEBP form")
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise StripError("webp: the file is shorter than its header says")
    chunks = list(_chunks(data[12:end]))
    first, header = chunks[0] if chunks else (b"", b"")
    if first in (b"VP8 ", b"VP8L"):
        kept = chunks[:1]
    elif first == b"VP8X" and len(header) == 10:
        kept = _strip_extended_webp(data, header, chunks[1:])
    else:
        raise StripError("webp: the first chunk is neither a picture nor a complete VP8X")
    body = b"WEBP" + _join(kept)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _strip_extended_webp(data: bytes, header: bytes, chunks: list[_Chunk]) -> list[_Chunk]:
    kept = [chunk for chunk in chunks if chunk[0] == b"ICCP"][:1] if header[0] & _ICC else []
    flags = header[0] & (_ALPHA | _ANIMATION) | (_ICC if kept else 0)
    if flags & _ANIMATION:
        frames = [payload for kind, payload in chunks if kind == b"ANMF"]
        start = [chunk for chunk in chunks if chunk[0] == b"ANIM"][:1]
        if not frames or not start:
            raise StripError("webp: an animation without frames or without an ANIM chunk")
        kept += start
        for frame in frames:  # 16 bytes of position and time, then a picture
            kept.append((b"ANMF", frame[:16] + _join(_picture(_chunks(frame[16:])))))
    else:
        kept += _picture(chunks)
    block = _orientation_block(data) if any(kind == b"EXIF" for kind, _ in chunks) else b""
    if block:
        kept.append((b"EXIF", block))
        flags |= _EXIF
    return [(b"VP8X", bytes([flags, 0, 0, 0]) + header[4:]), *kept]


def _picture(chunks: Iterable[_Chunk]) -> list[_Chunk]:
    """Returns the first picture, preceded by its alpha channel if that is a separate chunk."""
    alpha: list[_Chunk] = []
    for chunk in chunks:
        if chunk[0] in (b"VP8 ", b"VP8L"):
            return [*alpha[:1], chunk]
        if chunk[0] == b"ALPH":
            alpha.append(chunk)
    raise StripError("webp: a frame without a picture")


def _chunks(data: bytes) -> Iterator[_Chunk]:
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size
        if end > len(data):
            raise StripError(f"webp: a chunk of {size} bytes runs past the end")
        yield data[at : at + 4], data[at + 8 : end]
        at = end + size % 2


def _join(chunks: Iterable[_Chunk]) -> bytes:
    return b"".join(
        kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2) for kind, payload in chunks
    )
