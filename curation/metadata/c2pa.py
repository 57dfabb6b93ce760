"""Looks into the manifest store of C2PA (Content Credentials) for the few statements that matter here.

The store is a tree of JUMBF boxes (ISO 19566-5) whose assertions are CBOR or JSON. Nothing here checks a signature, and
nothing parses the tree: the statements are found by their bytes, wherever in the store they stand, so that those of a
picture's ingredients count as those of the picture, which is composed of them.
"""

import re

_STORE = b"jumdc2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"
"""Begin of the description box of a manifest store: its type, a UUID (C2PA 2.1, 11.1.4.2)."""
_SOURCE_TYPE = re.compile(rb"(?i)digitalsourcetype/([a-z]{1,60})")
_MINING = re.compile(
    rb'(?:c2pa|cawg)\.(ai_training|ai_generative_training|data_mining)(?:[\xa1-\xb7]\x63use[\x60-\x77]|"\s{0,9}:\s{0,9}'
    rb'\{\s{0,9}"use"\s{0,9}:\s{0,9}")(allowed|notAllowed|constrained)'
)
"""An entry of the assertion on training and data mining (C2PA 1.4, 18.22; CAWG 1.1): its name, a CBOR map of less than
24 keys whose first is `use`, or the same in JSON."""


def is_store(data: bytes) -> bool:
    """Returns whether these bytes hold a manifest store."""
    return _STORE in data


def source_types(store: bytes) -> set[str]:
    """Returns the last parts of the IPTC digital source types in the store, such as `trainedAlgorithmicMedia`."""
    return {match.decode("ascii") for match in _SOURCE_TYPE.findall(store)}


def mining(store: bytes) -> list[tuple[str, str]]:
    """Returns what is said of `ai_training`, `ai_generative_training` and `data_mining`: the use, and the word."""
    return [(use.decode("ascii"), word.decode("ascii")) for use, word in _MINING.findall(store)]
