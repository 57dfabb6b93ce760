"""Reads IPTC's Information Interchange Model (IIM 4.2), alone or within Photoshop's image resources."""

KEYWORDS, BYLINE, COPYRIGHT = 25, 80, 116
"""Data sets of record 2 (IIM 4.2, chapter 6)."""
MOST_DATA_SETS = MOST_RESOURCES = 2_000
"""Bounds of what is looked at."""
_ENCODING = (1, 90)
_UTF8 = b"\x1b%G"
_RESOURCE = 0x0404
"""Number of the image resource that holds the IIM."""


def from_photoshop(resources: bytes) -> bytes:
    """Returns the IIM in a chain of Photoshop's image resources (`8BIM`, number, name, length, data); else no bytes."""
    at = 0
    for _ in range(MOST_RESOURCES):
        if resources[at : at + 4] != b"8BIM":
            break
        number = int.from_bytes(resources[at + 4 : at + 6])
        named = at + 6 + (resources[at + 6] + 2 & ~1 if at + 6 < len(resources) else 2)  # a name of even length
        start = named + 4
        size = int.from_bytes(resources[named:start])
        if number == _RESOURCE:
            return resources[start : start + size]
        at = start + size + size % 2
    return b""


def data_sets(block: bytes) -> dict[int, list[str]]:
    """Returns the texts of the data sets of record 2 by number; those that end early are left out."""
    raw: dict[tuple[int, int], list[bytes]] = {}
    at = 0
    for _ in range(MOST_DATA_SETS):
        size = int.from_bytes(block[at + 3 : at + 5])
        if block[at : at + 1] != b"\x1c" or size & 0x8000 or at + 5 + size > len(block):  # none has over 32 kB
            break
        raw.setdefault((block[at + 1], block[at + 2]), []).append(block[at + 5 : at + 5 + size])
        at += 5 + size
    is_utf8 = _UTF8 in raw.get(_ENCODING, [])
    return {
        number: [_text(value, is_utf8) for value in values] for (record, number), values in raw.items() if record == 2
    }


def _text(value: bytes, is_utf8: bool) -> str:
    """Decodes UTF-8, also where it is not declared, as it often is not; else Latin-1."""
    try:
        return value.decode("utf-8", "replace" if is_utf8 else "strict")
    except UnicodeDecodeError:
        return value.decode("latin-1")
