"""Says which names people may have, by which their votes are told apart."""

import re
import unicodedata

LONGEST = 60
"""Largest number of characters of a person's name."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def person_name(text: str) -> str:
    """Returns a person's name with single spaces and in Unicode's composed form, so that one person has one name.

    Raises:
        ValueError: it is empty, too long, or holds characters that cannot be printed or turn text around.
    """
    name = unicodedata.normalize("NFC", " ".join(text.split()))
    if not name or len(name) > LONGEST or _CONTROL.search(name):
        raise ValueError(f"expected 1 to {LONGEST} printable characters")
    return name
