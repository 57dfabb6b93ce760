"""Finds the blocks of metadata in an image file of any format that is read, with bounds on everything.

GIF and BMP have none that is looked for. A damaged file gives the blocks before the damage.
"""

import contextlib
import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from curation.metadata import c2pa, exif, iptc, jpeg

MOST_CHUNKS = 50_000
MOST_TEXTS = 100
MOST_TEXT_BYTES = 4 << 20
"""Bounds of a file's chunks, of a PNG's texts, and of the bytes of all of them, inflated; what lies beyond is left out.
"""


@dataclass(slots=True)
class Blocks:
    """The blocks of metadata of one image file; what it has not is empty."""

    exif: dict[int, bytes] = field(default_factory=dict)
    """Tags as `exif.tags` gives them."""
    iptc: dict[int, list[str]] = field(default_factory=dict)
    """Data sets as `iptc.data_sets` gives them."""
    xmp: list[bytes] = field(default_factory=list)
    """XMP packets; the second of a JPEG is its extended XMP."""
    c2pa: bytes = b""
    """The manifest store."""
    texts: dict[str, str] = field(default_factory=dict)
    """The texts of a PNG by keyword; a JPEG's comment is `Comment`. Of equal keywords the first holds."""


def read_blocks(data: bytes) -> Blocks:
    """Returns the blocks of metadata of an image file; none of an unknown format."""
    blocks = Blocks()
    if data[:3] == b"\xff\xd8\xff":
        _read_jpeg(data, blocks)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        _read_png(data, blocks)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _read_webp(data, blocks)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        _read_tiff(data, blocks)
    elif data[4:8] == b"ftyp":
        _read_avif(data, blocks)
    if not c2pa.is_store(blocks.c2pa):
        blocks.c2pa = b""
    return blocks


# --- JPEG (Exif 2.32, 4.5.4; XMP part 3, 1.1.3; C2PA 2.1, A.3.1)

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP, _PHOTOSHOP = b"http://ns.adobe.com/xmp/extension/\0", b"Photoshop 3.0\0"
_APP1, _APP11, _APP13, _COM = 0xE1, 0xEB, 0xED, 0xFE


def _read_jpeg(data: bytes, blocks: Blocks) -> None:
    extended: dict[int, bytes] = {}
    boxes: dict[tuple[int, int], bytes] = {}
    resources: list[bytes] = []
    for code, payload in jpeg.segments(data):
        if code == _APP1 and payload.startswith(_EXIF):
            blocks.exif = blocks.exif or exif.tags(payload[len(_EXIF) :])
        elif code == _APP1 and payload.startswith(_XMP):
            blocks.xmp.append(payload[len(_XMP) :])
        elif code == _APP1 and payload.startswith(_EXTENDED_XMP):  # a digest of 32 bytes, whole length, place
            body = payload[len(_EXTENDED_XMP) :]
            extended.setdefault(int.from_bytes(body[36:40]), body[40:])
        elif code == _APP11 and payload.startswith(b"JP") and len(payload) > 16:  # box number, packet number, box
            number, packet = struct.unpack_from(">HI", payload, 2)
            head = 16 + 8 * (payload[8:12] == b"\0\0\0\1")  # every packet repeats the box's length and type
            boxes.setdefault((number, packet), payload[head:] if packet > 1 else payload[8:])
        elif code == _APP13 and payload.startswith(_PHOTOSHOP):
            resources.append(payload[len(_PHOTOSHOP) :])
        elif code == _COM:
            blocks.texts.setdefault("Comment", exif.text(payload))
    if extended:
        blocks.xmp.append(b"".join(extended[place] for place in sorted(extended)))
    blocks.iptc = iptc.data_sets(iptc.from_photoshop(b"".join(resources)))
    blocks.c2pa = b"".join(boxes[at] for at in sorted(boxes))


# --- PNG (PNG Specification, Third Edition, 11.3.3; C2PA 2.1, A.3.2)

_RAW_PROFILE = re.compile(r"Raw profile type (exif|APP1|xmp|iptc|8bim)")


def _read_png(data: bytes, blocks: Blocks) -> None:
    left = MOST_TEXT_BYTES
    for kind, payload in _chunks(data, 8, is_png=True):
        if kind in (b"tEXt", b"zTXt", b"iTXt") and len(blocks.texts) < MOST_TEXTS:
            keyword, _, rest = payload.partition(b"\0")
            content = _png_text(kind, rest, left)
            if content is not None:
                left -= len(content)
                text = content.decode("utf-8", "replace") if kind == b"iTXt" else _latin_or_utf8(content)
                blocks.texts.setdefault(keyword[:79].decode("latin-1"), text)
        elif kind == b"eXIf":
            blocks.exif = exif.tags(payload)
        elif kind == b"caBX":
            blocks.c2pa = payload
        elif kind == b"IEND":
            break
    if packet := blocks.texts.pop("XML:com.adobe.xmp", ""):
        blocks.xmp.append(packet.encode())
    for name, profile in list(blocks.texts.items()):
        if match := _RAW_PROFILE.fullmatch(name):
            _read_raw_profile(match[1], profile, blocks)
            del blocks.texts[name]


def _png_text(kind: bytes, rest: bytes, most: int) -> bytes | None:
    """Returns the text of a chunk behind its keyword; None if it is damaged or, inflated, longer than `most` bytes."""
    compressed = kind == b"zTXt"
    if kind == b"iTXt":
        compressed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # behind language and translated keyword
    elif compressed:
        rest = rest[1:]
    if compressed:
        inflater = zlib.decompressobj()
        try:
            rest = inflater.decompress(rest, most + 1)
        except zlib.error:
            return None
    return rest if len(rest) <= most else None


def _latin_or_utf8(value: bytes) -> str:
    """Decodes a text that should be Latin-1; many writers put UTF-8 there."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _read_raw_profile(kind: str, text: str, blocks: Blocks) -> None:
    """Reads a block that ImageMagick has written as hexadecimal digits, behind lines with its name and length."""
    parts = text.split(None, 2)
    try:
        block = bytes.fromhex(parts[2]) if len(parts) == 3 else b""
    except ValueError:
        return
    if kind in ("exif", "APP1") and block.startswith(_EXIF):
        blocks.exif = blocks.exif or exif.tags(block[len(_EXIF) :])
    elif kind == "xmp":
        blocks.xmp.append(block)
    elif kind == "APP1" and block.startswith(_XMP):
        blocks.xmp.append(block[len(_XMP) :])
    elif kind in ("iptc", "8bim"):
        blocks.iptc = iptc.data_sets(iptc.from_photoshop(block) or block)


# --- WebP, TIFF, AVIF


def _read_webp(data: bytes, blocks: Blocks) -> None:
    """Reads the chunks of RFC 9649, 2.7, and of C2PA 2.1, A.3.6."""
    for kind, payload in _chunks(data, 12, is_png=False):
        if kind == b"EXIF":
            blocks.exif = blocks.exif or exif.tags(payload.removeprefix(_EXIF))
        elif kind == b"XMP ":
            blocks.xmp.append(payload)
        elif kind == b"C2PA":
            blocks.c2pa = payload


def _read_tiff(data: bytes, blocks: Blocks) -> None:
    """Reads the tags of the first picture; other metadata are values of tags."""
    blocks.exif = exif.tags(data)
    if packet := blocks.exif.pop(exif.XMP, b""):
        blocks.xmp.append(packet)
    block = blocks.exif.pop(exif.IPTC, b"") or iptc.from_photoshop(blocks.exif.pop(exif.PHOTOSHOP, b""))
    blocks.iptc = iptc.data_sets(block)
    blocks.c2pa = blocks.exif.pop(exif.C2PA, b"")


_C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def _read_avif(data: bytes, blocks: Blocks) -> None:
    """Reads EXIF and XMP, which are items, through Pillow, and the manifest store's `uuid` box (C2PA 2.1, A.5)."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # Pillow may raise nearly anything on hostile input
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=["AVIF"]) as image:
            blocks.exif = exif.tags(bytes(image.info.get("exif", b"")).removeprefix(_EXIF))
            blocks.xmp.append(bytes(image.info.get("xmp", b"")))
    for kind, payload in _boxes(data):
        if kind == b"uuid" and payload.startswith(_C2PA_BOX):
            blocks.c2pa = payload


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and content of the outermost boxes (ISO 14496-12, 4.2)."""
    at = 0
    for _ in range(MOST_CHUNKS):
        size, kind, head = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16]), 16
        end = at + size if size else len(data)
        if end < at + head or end > len(data):
            return
        yield kind, data[at + head : end] if kind == b"uuid" else b""
        at = end


def _chunks(data: bytes, at: int, is_png: bool) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and content of the chunks of a PNG or WebP from byte `at`; of those of pixels, no content."""
    for _ in range(MOST_CHUNKS):
        if is_png:
            size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        else:
            kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size
        if len(kind) < 4 or end > len(data):
            return
        yield kind, b"" if kind in _PIXELS else data[at + 8 : end]
        at = end + (4 if is_png else size % 2)  # a checksum, or padding


_PIXELS = frozenset((b"IDAT", b"fdAT", b"VP8 ", b"VP8L", b"ALPH", b"ANMF"))
