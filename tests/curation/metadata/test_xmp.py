"""Properties of XMP packets in every form that RDF allows, and packets that attack their parser."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.metadata.xmp import MOST_BYTES, MOST_CHARACTERS, properties
from tests.hostile import fuzz
from tests.metadata_samples import NAMESPACES, xmp

CREATOR, RIGHTS = f"{NAMESPACES['dc']}creator", f"{NAMESPACES['dc']}rights"
SOURCE_TYPE = f"{NAMESPACES['Iptc4xmpExt']}DigitalSourceType"


@pytest.mark.parametrize(
    ("inner", "values"),
    [
        ("<dc:creator>Ann</dc:creator>", ["Ann"]),
        ("<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li>\n<rdf:li>Bob</rdf:li></rdf:Seq></dc:creator>", ["Ann", "Bob"]),
        (
            '<dc:creator><rdf:Alt><rdf:li xml:lang="x-default">Zo&#235; &amp; Ann</rdf:li></rdf:Alt></dc:creator>',
            ["Zoë & Ann"],
        ),
        ('<dc:creator rdf:resource="http://a/b"/>', ["http://a/b"]),
        ("<dc:creator/>", None),
    ],
)
def test_all_forms_of_a_value(inner: str, values: list[str] | None) -> None:
    assert properties(xmp(inner)).get(CREATOR) == values


def test_an_attribute_is_a_value() -> None:
    assert properties(xmp(dc__creator="Ann"))[CREATOR] == ["Ann"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(encoding: str) -> None:
    packet = xmp("<dc:creator>Zoë</dc:creator>").decode()
    assert properties(packet.encode(encoding))[CREATOR] == ["Zoë"]


def test_structures_below_the_picture_say_nothing_of_it() -> None:
    """An ingredient made by AI, within a property of the picture, is not the picture's source type."""
    attribute = '<rdf:li><rdf:Description Iptc4xmpExt:DigitalSourceType="x"/></rdf:li>'
    element = (
        '<rdf:li rdf:parseType="Resource"><Iptc4xmpExt:DigitalSourceType>x</Iptc4xmpExt:DigitalSourceType></rdf:li>'
    )
    for item in (attribute, element):
        found = properties(
            xmp(f"<xmpMM:Ingredients><rdf:Bag>{item}</rdf:Bag></xmpMM:Ingredients><dc:rights>R</dc:rights>")
        )
        assert SOURCE_TYPE not in found and found[RIGHTS] == ["R"]


def test_what_stands_before_the_damage_is_read() -> None:
    packet = xmp("<dc:creator>Ann</dc:creator><dc:rights>R</dc:rights>")
    assert properties(packet[: packet.index(b"<dc:rights>") + 12])[CREATOR] == ["Ann"]
    assert properties(packet + bytes(2000))[RIGHTS] == ["R"]


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "doctype",
    [
        f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>',
        '<!DOCTYPE x [<!ENTITY l9 SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x"> %p;]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused(doctype: str, encoding: str) -> None:
    packet = xmp("<dc:rights>R</dc:rights><dc:creator>&l9;</dc:creator>").decode()
    attack = packet.replace("<x:xmpmeta", f"{doctype}<x:xmpmeta", 1)
    assert properties(attack.encode(encoding)) == {}


def test_bounds() -> None:
    began = time.process_time()
    assert properties(xmp("<dc:creator>" * 200_000)) == {}
    assert properties(xmp("<dc:creator>" + "a" * MOST_BYTES + "</dc:creator>")) == {}
    (long,) = properties(xmp("<dc:creator>" + "a" * (MOST_BYTES // 2) + "</dc:creator>"))[CREATOR]
    assert len(long) == MOST_CHARACTERS
    many = properties(xmp("<dc:creator><rdf:Bag>" + "<rdf:li>a</rdf:li>" * 100_000 + "</rdf:Bag></dc:creator>"))
    assert sum(map(len, many.values())) == 2_000
    assert time.process_time() - began < 3


@pytest.mark.parametrize("encoding", ["utf-7", "no-such", "idna", "hex", "euc-jp"])
def test_odd_encodings_never_raise(encoding: str) -> None:
    properties(f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + xmp("<dc:creator>Ann</dc:creator>")[80:])


@fuzz(400)
@given(st.binary(max_size=40), st.floats(0, 1), st.integers(0, 40))
def test_damage_never_raises(junk: bytes, place: float, length: int) -> None:
    packet = xmp("<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li></rdf:Seq></dc:creator>", dc__format="x")
    at = int(place * len(packet))
    for damaged in (packet[:at] + junk + packet[at + length :], junk, packet.decode().encode("utf-16")[at:]):
        assert all(isinstance(value, str) for values in properties(damaged).values() for value in values)
