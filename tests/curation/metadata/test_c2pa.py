"""Statements in a manifest store, in CBOR and in JSON."""

import pytest

from curation.metadata.c2pa import is_store, mining, source_types
from tests.metadata_samples import box, store

URI = b"http://cv.iptc.org/newscodes/digitalsourcetype/"


def cbor(text: bytes) -> bytes:
    """A text string in CBOR."""
    return (bytes([0x60 + len(text)]) if len(text) < 24 else bytes([0x78, len(text)])) + text


@pytest.mark.parametrize("kind", ["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "digitalCapture"])
def test_source_types(kind: str) -> None:
    assertion = (
        b"\xa2" + cbor(b"action") + cbor(b"c2pa.created") + cbor(b"digitalSourceType") + cbor(URI + kind.encode())
    )
    assert is_store(store(assertion)) and source_types(store(assertion)) == {kind}


@pytest.mark.parametrize("use", ["allowed", "notAllowed", "constrained"])
@pytest.mark.parametrize("label", ["c2pa", "cawg"])
def test_entries_on_mining_in_cbor_and_json(label: str, use: str) -> None:
    entry = cbor(f"{label}.data_mining".encode()) + b"\xa1" + cbor(b"use") + cbor(use.encode())
    assert mining(store(b"\xa1" + cbor(b"entries") + b"\xa1" + entry)) == [("data_mining", use)]
    assert mining(f'{{"{label}.ai_training": {{ "use" : "{use}"}}}}'.encode()) == [("ai_training", use)]


def test_other_boxes_are_no_store() -> None:
    assert not is_store(box(b"jumb", box(b"jumd", bytes(16), b"\3c2pa\0"))) and not is_store(b"c2pa")
