"""Tags of EXIF, as Pillow writes them and as nobody should."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.metadata.exif import ARTIST, COPYRIGHT, ORIENTATION, USER_COMMENT, orientation, tags, text, user_comment
from tests import metadata_samples as samples
from tests.hostile import fuzz


def block(**values: object) -> bytes:
    return samples.exif(**values).removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_of_both_byte_orders(order: str) -> None:
    head = b"II*\0" if order == "<" else b"MM\0*"
    made = head + struct.pack(f"{order}IHHHIHH", 8, 1, ORIENTATION, 3, 1, 6, 0)
    assert tags(made) == {ORIENTATION: b"\0\6"} and orientation(tags(made)) == 6


def test_texts_and_the_exif_directory() -> None:
    found = tags(
        block(artist="Ann", copyright="a long text, which does not fit into four bytes", user_comment=b"ASCII\0\0\0hi")
    )
    assert text(found[ARTIST]) == "Ann" and text(found[COPYRIGHT]).startswith("a long text")
    assert user_comment(found[USER_COMMENT]) == "hi"


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_orientation_out_of_range_is_none(value: int) -> None:
    assert orientation(tags(block(orientation=value))) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"UNICODE\0" + "Steps: 20, é".encode("utf-16-be"), "Steps: 20, é"),
        (b"UNICODE\0" + "Steps: 20, é".encode("utf-16-le"), "Steps: 20, é"),
        (b"ASCII\0\0\0hello\0\0", "hello"),
        (bytes(8) + b"hello", "hello"),
        (b"no code at all", "no code at all"),
        (b"", ""),
        (b"UNICODE\0\xd8", "\ufffd"),
    ],
)
def test_user_comments_of_all_writers(value: bytes, expected: str) -> None:
    assert user_comment(value) == expected


def test_latin_1_is_read_where_utf_8_is_not() -> None:
    assert (text("Zoë".encode()), text(b"Zo\xeb\0rest")) == ("Zoë", "Zoë")


@fuzz(500)
@given(st.binary(max_size=40), st.integers(0, 300), st.integers(0, 40))
def test_damage_never_raises(junk: bytes, at: int, length: int) -> None:
    whole = block(orientation=6, artist="Ann", copyright="a long text", user_comment=b"UNICODE\0\0a")
    found = tags(whole[:at] + junk + whole[at + length :])
    user_comment(found.get(USER_COMMENT, b""))
    assert orientation(found) in (None, *range(1, 9))
