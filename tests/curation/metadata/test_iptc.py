"""IPTC's data sets, their encodings, and their bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.metadata.iptc import BYLINE, KEYWORDS, data_sets, from_photoshop
from tests.hostile import fuzz
from tests.metadata_samples import iim


@pytest.mark.parametrize(("value", "utf8"), [("Zoë".encode(), True), ("Zoë".encode(), False), (b"Zo\xeb", False)])
def test_texts_in_utf_8_and_latin_1(value: bytes, utf8: bool) -> None:
    assert data_sets(iim((BYLINE, value), (KEYWORDS, b"a"), (KEYWORDS, b"b"), utf8=utf8)) == {
        BYLINE: ["Zoë"],
        KEYWORDS: ["a", "b"],
    }


def test_a_data_set_that_ends_early_is_left_out() -> None:
    assert data_sets(iim((BYLINE, b"Ann"), (KEYWORDS, b"cut"))[:-1]) == {BYLINE: ["Ann"]}


@pytest.mark.parametrize("name", [b"\0\0", b"\1a", b"\2ab\0", b"\3abc"])
def test_resources_with_names(name: bytes) -> None:
    other = b"8BIM\3\xed" + name + b"\0\0\0\5abcde\0"
    assert from_photoshop(other + b"8BIM\4\4" + name + b"\0\0\0\2xy") == b"xy"


@fuzz(300)
@given(st.binary(max_size=60), st.integers(0, 60))
def test_damage_never_raises(junk: bytes, at: int) -> None:
    resources = b"8BIM\3\xed\0\0\0\0\0\2ab" + b"8BIM\4\4\0\0\0\0\0\x10" + iim((BYLINE, b"Ann"), (KEYWORDS, b"a"))
    data_sets(from_photoshop(resources[:at] + junk + resources[at:]))
    data_sets(junk)
