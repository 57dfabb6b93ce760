"""Segments of JPEG files, and the quality that their tables suggest."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.metadata.jpeg import DQT, quality, segments
from tests import bench
from tests.hostile import fuzz

PICTURE = bench.picture(1, (32, 24))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_quality_of_the_ijg_is_found(mode: str) -> None:
    picture = PICTURE.convert(mode)
    assert [quality(bench.encoded(picture, quality=q)) for q in range(1, 101)] == list(range(1, 101))


def test_a_progressive_one_and_tables_of_16_bits() -> None:
    assert quality(bench.encoded(PICTURE, quality=83, progressive=True)) == 83
    eight = next(payload for code, payload in segments(bench.encoded(PICTURE, quality=61)) if code == DQT)
    tables = [eight[at : at + 65] for at in range(0, len(eight), 65)]
    for table in tables[:1]:
        wide = bytes([0x10 | table[0]]) + b"".join(bytes([0, value]) for value in table[1:])
        gray = b"\xff\xd8" + struct.pack(">BBH", 0xFF, DQT, 2 + len(wide)) + wide
        assert quality(gray + b"\xff\xda") == 61


def test_tables_of_its_own_are_placed_on_the_scale() -> None:
    """Such as Photoshop's: finer tables give a higher quality."""
    found = []
    for level in (2, 10, 40):
        buffer = io.BytesIO()
        PICTURE.save(buffer, "JPEG", qtables=[[level] * 64, [level] * 64])
        found.append(quality(buffer.getvalue()))
    assert found == sorted(found, reverse=True) and len(set(found)) == 3 and 40 < found[2] < found[0] < 100


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xdb", b"\x89PNG\r\n", b"\xff\xd8\xff\xdb\0\x05\0ab"])
def test_no_tables_no_quality(data: bytes) -> None:
    assert quality(data) is None


def test_tables_of_nothing_have_no_quality() -> None:
    assert quality(b"\xff\xd8" + struct.pack(">BBH", 0xFF, DQT, 67) + bytes(65)) is None


def test_junk_between_segments_is_skipped() -> None:
    data = bench.encoded(PICTURE, quality=70)
    assert quality(data[:2] + b"\0\0junk" + data[2:]) is None  # no JPEG: its first marker is not there
    assert quality(data[:20] + b"junk" + data[20:]) == 70


@fuzz(200)
@given(st.binary(max_size=300), st.integers(0, 600), st.integers(0, 600))
def test_damage_never_raises(junk: bytes, start: int, length: int) -> None:
    data = bench.encoded(PICTURE, quality=70)
    found = quality(data[:start] + junk + data[start + length :])
    assert found is None or 1 <= found <= 100
