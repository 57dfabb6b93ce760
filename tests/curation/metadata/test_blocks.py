"""Blocks of metadata: found in files of every format as their writers put them there, and bounded on hostile ones."""

import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.metadata import exif, xmp
from curation.metadata.blocks import MOST_TEXTS, Blocks, read_blocks
from tests import metadata_samples as samples
from tests.hostile import fuzz
from tests.metadata_samples import FORMATS, chunk, png, saved, with_c2pa, with_iptc

CREATOR = "http://purl.org/dc/elements/1.1/creator"


@pytest.mark.parametrize("format", FORMATS)
def test_exif_and_xmp_of_every_format(format: str) -> None:
    packet = samples.xmp("<dc:creator><rdf:Seq><rdf:li>Zoë</rdf:li></rdf:Seq></dc:creator>")
    blocks = read_blocks(saved(format, samples.exif(orientation=6, artist="Ann"), packet))
    assert [xmp.properties(found).get(CREATOR) for found in blocks.xmp] == [["Zoë"]]
    assert exif.text(blocks.exif[exif.ARTIST]) == "Ann"
    assert exif.orientation(blocks.exif) == 6


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [1, 3000])
def test_the_manifest_store_of_every_format(format: str, size: int) -> None:
    store = samples.store(bytes(range(256)) * size)
    assert store in read_blocks(with_c2pa(format, store, 60_000)).c2pa


def test_a_store_in_many_segments_is_put_together_in_their_order() -> None:
    store = samples.store(bytes(range(256)))
    data = with_c2pa("JPEG", store, 50)
    assert read_blocks(data).c2pa == store
    first, second = (data.index(b"JP\0\1\0\0\0" + bytes([n])) - 4 for n in (2, 3))
    third = data.index(b"JP\0\1\0\0\0\4") - 4
    swapped = data[:first] + data[second:third] + data[first:second] + data[third:]
    assert read_blocks(swapped).c2pa == store


def test_boxes_that_are_no_manifest_store_are_none() -> None:
    other = samples.box(b"jumb", samples.box(b"jumd", bytes(16), b"\3360\0"))
    assert read_blocks(with_c2pa("JPEG", other)).c2pa == b""


def test_iptc_behind_another_resource() -> None:
    assert read_blocks(with_iptc(samples.iim((80, b"Ann"), (25, b"a"), (25, b"b")))).iptc == {
        80: ["Ann"],
        25: ["a", "b"],
    }


def test_extended_xmp_is_put_together() -> None:
    packet = samples.xmp("<dc:creator>" + "Ann " * 30_000 + "</dc:creator>")
    pieces = [packet[at : at + 60_000] for at in range(0, len(packet), 60_000)]
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + len(packet).to_bytes(4)
    segments = [samples.app(1, head + (60_000 * n).to_bytes(4) + piece) for n, piece in enumerate(pieces)]
    data = saved("JPEG")
    assert read_blocks(data[:2] + b"".join(segments[::-1]) + data[2:]).xmp == [packet]


def test_texts_of_a_png_in_all_forms() -> None:
    blocks = read_blocks(
        png(
            chunk(b"tEXt", b"Author\0J\xf6rg"),
            chunk(b"tEXt", b"Title\0" + "城市".encode()),
            chunk(b"zTXt", b"Copyright\0\0" + zlib.compress(b"C" * 300)),
            chunk(b"iTXt", b"Comment\0\1\0de\0Kommentar\0" + zlib.compress("Ä".encode())),
            chunk(b"tEXt", b"Author\0another"),
        )
    )
    assert blocks.texts == {"Author": "Jörg", "Title": "城市", "Copyright": "C" * 300, "Comment": "Ä"}


@pytest.mark.parametrize("kind", ["exif", "APP1", "xmp", "xmp in APP1", "iptc", "8bim"])
def test_raw_profiles_of_imagemagick(kind: str) -> None:
    packet, block = samples.xmp("<dc:creator>Ann</dc:creator>"), samples.exif(artist="Ann")
    profile = {
        "exif": block,
        "APP1": block,
        "xmp": packet,
        "xmp in APP1": b"http://ns.adobe.com/xap/1.0/\0" + packet,
        "iptc": samples.iim((80, b"Ann")),
        "8bim": b"8BIM\x04\x04\0\0\0\0\0\x08" + samples.iim((80, b"Ann")),
    }[kind]
    name = kind.split()[-1]
    digits = profile.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    blocks = read_blocks(
        png(chunk(b"tEXt", f"Raw profile type {name}\0\n{name}\n    {len(profile)}\n{lines}\n".encode()))
    )
    found = [exif.text(blocks.exif.get(exif.ARTIST, b"")), *blocks.iptc.get(80, [])]
    assert "Ann" in found + [value for p in blocks.xmp for value in xmp.properties(p)[CREATOR]]
    assert not blocks.texts


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", saved("JPEG"), bytes(100), b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"]
)
def test_without_metadata_there_are_none(data: bytes) -> None:
    assert read_blocks(data) == Blocks()


# --- Hostile files


def quickly(data: bytes) -> Blocks:
    began = time.process_time()
    blocks = read_blocks(data)
    assert time.process_time() - began < 1
    return blocks


def test_a_zip_bomb_is_no_text() -> None:
    bomb = zlib.compress(bytes(300 << 20), 9)
    assert quickly(png(chunk(b"zTXt", b"parameters\0\0" + bomb), chunk(b"tEXt", b"Author\0Ann"))).texts == {
        "Author": "Ann"
    }


def test_many_bombs_below_the_bound_are_one() -> None:
    bomb = zlib.compress(bytes(3 << 20), 9)
    assert len(quickly(png(*(chunk(b"zTXt", b"%d\0\0" % n + bomb) for n in range(200)))).texts) == 1


def test_no_more_texts_than_the_bound() -> None:
    assert len(quickly(png(*(chunk(b"tEXt", b"%d\0a" % n) for n in range(20_000)))).texts) == MOST_TEXTS


def test_a_million_chunks_and_segments() -> None:
    quickly(png(chunk(b"abCd", b"") * 1_000_000))
    quickly(saved("JPEG")[:2] + samples.app(11, b"JP") * 1_000_000)
    quickly(saved("WEBP")[:12] + b"abcd\0\0\0\0" * 1_000_000)
    quickly(saved("AVIF")[:32] + samples.box(b"free") * 1_000_000)
    quickly(with_iptc(b"")[:2] + samples.app(13, b"Photoshop 3.0\0" + b"8BIM\4\5\0\0\0\0\0\0" * 5_000) * 100)


def test_a_directory_whose_values_are_all_the_same_bytes() -> None:
    entry = b"".join(tag.to_bytes(2) + b"\0\7" + (3 << 20).to_bytes(4) + bytes(4) for tag in range(65_535))
    quickly(b"MM\0*\0\0\0\x08\xff\xff" + entry + bytes(3 << 20))
    inner = b"\x87\x69\0\4\0\0\0\1\0\0\0\x08"  # a directory that is its own EXIF directory
    quickly(b"MM\0*\0\0\0\x08\0\1" + inner + bytes(4))


FILES = samples.all_kinds()


@fuzz(400)
@given(st.sampled_from(sorted(FILES)), st.binary(max_size=60), st.floats(0, 1), st.integers(0, 200))
def test_damage_gives_blocks_or_none(name: str, junk: bytes, place: float, length: int) -> None:
    data = FILES[name]
    at = int(place * len(data))
    quickly(data[:at] + junk + data[at + length :])
    quickly(data[:at])


@fuzz(300)
@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF0000WEBP", b"II*\0", b"MM\0*", b"0000ftypavif"]),
    st.binary(),
)
def test_noise_behind_a_signature_gives_blocks_or_none(signature: bytes, noise: bytes) -> None:
    quickly(signature + noise)
