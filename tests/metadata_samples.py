"""Makes image files of every format with metadata in them, for tests: EXIF, XMP, IPTC, PNG texts and C2PA."""

import struct
import zlib
from typing import Any

from PIL import Image, PngImagePlugin

from tests import bench

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
PICTURE = bench.picture(1, (48, 32))
NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "cc": "http://creativecommons.org/ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "tdm": "http://www.w3.org/ns/tdmrep/",
    "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
}
_C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def xmp(inner: str = "", **attributes: str) -> bytes:
    """Returns a packet with these elements, and attributes of the description such as `dc__format`."""
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    given = " ".join(f"{name.replace('__', ':')}='{value}'" for name, value in attributes.items())
    description = f'<rdf:Description rdf:about="" {given}>{inner}</rdf:Description>'
    body = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {spaces}>{description}</rdf:RDF></x:xmpmeta>'
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{body}<?xpacket end="w"?>'.encode()


def exif(**tags: Any) -> bytes:
    """Returns an EXIF block of tags by name; `user_comment` goes into the EXIF directory."""
    made = Image.Exif()
    names = {"make": 0x010F, "description": 0x010E, "orientation": 0x0112, "software": 0x0131, "artist": 0x013B}
    names |= {"copyright": 0x8298}
    for name, value in tags.items():
        if name == "user_comment":
            made.get_ifd(0x8769)[0x9286] = value
        else:
            made[names[name]] = value
    return made.tobytes()


def saved(format: str, exif: bytes = b"", xmp: bytes = b"", **texts: str) -> bytes:
    """Returns the picture as a file of the format, written by Pillow, with this EXIF, XMP and (PNG) these texts."""
    options: dict[str, Any] = {"exif": exif} if exif and format != "TIFF" else {}
    if format == "TIFF":
        options["tiffinfo"] = tags = Image.Exif()
        tags.load(exif)
        if xmp:
            tags[700] = xmp
    elif format == "PNG":
        options["pnginfo"] = info = PngImagePlugin.PngInfo()
        if xmp:
            info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        for keyword, text in texts.items():
            info.add_text(keyword.replace("_", " ") if keyword.startswith("Raw") else keyword, text)
    elif xmp:
        options["xmp"] = xmp
    return bench.encoded(PICTURE, format, **options)


def box(kind: bytes, *parts: bytes) -> bytes:
    """Returns a box of JUMBF or ISO's base media format."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def store(assertion: bytes) -> bytes:
    """Returns a C2PA manifest store with one assertion, its content in CBOR or JSON."""

    def described(four: bytes, label: bytes, *inner: bytes) -> bytes:
        uuid = four + bytes.fromhex("00110010800000aa00389b71")
        return box(b"jumb", box(b"jumd", uuid, b"\x03", label, b"\0"), *inner)

    content = described(b"cbor", b"c2pa.actions", box(b"cbor", assertion))
    manifest = described(b"c2ma", b"urn:uuid:1", described(b"c2as", b"c2pa.assertions", content))
    return described(b"c2pa", b"c2pa", manifest)


def with_c2pa(format: str, manifests: bytes, segment: int = 100) -> bytes:
    """Returns the picture as a file of the format that holds a manifest store, in a JPEG in segments of so many bytes."""
    data = saved(format)
    if format == "JPEG":
        head, body = manifests[:8], manifests[8:]
        pieces = [body[at : at + segment] for at in range(0, len(body), segment)]
        packets = [b"JP" + struct.pack(">HI", 1, n) + head + piece for n, piece in enumerate(pieces, 1)]
        return data[:2] + b"".join(app(11, packet) for packet in packets) + data[2:]
    if format == "PNG":
        return data[:33] + chunk(b"caBX", manifests) + data[33:]
    if format == "WEBP":
        body = data[8:] + b"C2PA" + struct.pack("<I", len(manifests)) + manifests + bytes(len(manifests) % 2)
        return b"RIFF" + struct.pack("<I", len(body)) + body
    if format == "TIFF":
        return bench.encoded(PICTURE, format, tiffinfo=_undefined(0xCD41, manifests))
    return data + box(b"uuid", _C2PA_BOX, bytes(4), b"manifest\0", bytes(8), manifests)


def app(number: int, payload: bytes) -> bytes:
    """Returns a JPEG segment APPn."""
    return struct.pack(">BBH", 0xFF, 0xE0 + number, 2 + len(payload)) + payload


def chunk(kind: bytes, payload: bytes) -> bytes:
    """Returns a PNG chunk."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(*chunks: bytes) -> bytes:
    """Returns the picture as a PNG with these chunks behind its header."""
    data = saved("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def iim(*data_sets: tuple[int, bytes], utf8: bool = False) -> bytes:
    """Returns IPTC's IIM of data sets of record 2."""
    head = b"\x1c\x01\x5a\0\x03\x1b%G" if utf8 else b""
    return head + b"".join(struct.pack(">BBBH", 0x1C, 2, n, len(value)) + value for n, value in data_sets)


def with_iptc(block: bytes) -> bytes:
    """Returns the picture as a JPEG with an IIM in Photoshop's resources, behind another resource."""
    resources = b"8BIM\x03\xed\x00\x00\0\0\0\x03abc\0" + b"8BIM\x04\x04\x03abc" + struct.pack(">I", len(block)) + block
    data = saved("JPEG")
    return data[:2] + app(13, b"Photoshop 3.0\0" + resources) + data[2:]


def _undefined(tag: int, value: bytes) -> Any:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2()
    directory[tag] = value
    directory.tagtype[tag] = 7
    return directory


def all_kinds() -> dict[str, bytes]:
    """Returns a file of each format with every kind of metadata that it may hold."""
    packet = xmp("<dc:creator><rdf:Seq><rdf:li>A</rdf:li></rdf:Seq></dc:creator>", plus__DataMining="DMI-PROHIBITED")
    block = exif(orientation=6, artist="B", software="NovelAI", user_comment=b"UNICODE\0\0S\0t")
    said = (
        b"\xa1\x63use\x6anotAllowed c2pa.ai_training\xa1\x63use\x6anotAllowed digitalsourcetype/trainedAlgorithmicMedia"
    )
    files = {f"{format} written by Pillow": saved(format, block, packet) for format in FORMATS}
    files |= {f"{format} with C2PA": with_c2pa(format, store(said)) for format in FORMATS}
    files["PNG with texts"] = saved("PNG", parameters="Steps: 1, Sampler: x", Copyright="C", Software="NovelAI")
    files["PNG with compressed texts"] = png(
        chunk(b"zTXt", b"Copyright\0\0" + zlib.compress(b"C" * 300)),
        chunk(b"iTXt", b"Author\0\1\0\0\0" + zlib.compress("Ä".encode() * 300)),
    )
    files["JPEG with IPTC"] = with_iptc(iim((80, b"B"), (116, b"C"), (25, b"noai")))
    return files
