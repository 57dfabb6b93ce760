"""Original captions as a corpus has them: text or null, whatever stands in the file or the table."""

import json
from typing import Any

from curation.texts import CONTROLS, cleaned, decode

CAPTION_NOTES = {
    "undecodable": "the bytes of the caption are of no encoding that can be told for sure; there is no caption",
    "not_text": "a number, a list or an object stands where the caption should; there is no caption",
    "broken_json": "the JSON beside the image cannot be read, so that its caption and metadata are missing",
    CONTROLS: "escape sequences, controls or marks of direction were removed from the caption",
}
"""Every note on an original caption."""


def text_file(data: bytes) -> tuple[str | None, str | None]:
    """Returns the caption that a file holds, and a note on it; see `CAPTION_NOTES`."""
    text = decode(data)
    return (None, "undecodable") if text is None else _clean(text.strip())


def caption_of(value: Any) -> tuple[str | None, str | None]:
    """Returns the caption that a table's or a JSON's value is, and a note on it; of a list, the first text."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, bytes):
        return text_file(value)
    if isinstance(value, list | tuple):
        texts = [text for text in value if isinstance(text, str) and text.strip()]
        return _clean(texts[0]) if texts else (None, "not_text" if value else None)
    return None, None if value is None or value != value else "not_text"  # NaN is how pandas writes null


def url_of(value: Any) -> str | None:
    """Returns a URL; None for a value that is no text."""
    return decode(value) if isinstance(value, bytes) else value if isinstance(value, str) else None


def read_json(data: bytes | None) -> tuple[dict[str, Any], str | None]:
    """Returns the object that a JSON file holds, and a note on it; empty if there is no file or it is damaged."""
    if data is None:
        return {}, None
    text = decode(data)
    try:
        row = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        row = None
    return (row, None) if isinstance(row, dict) else ({}, "broken_json")


def _clean(text: str) -> tuple[str, str | None]:
    """Returns the text without what changes how it is shown, and a note if there was any of it."""
    clean, removed = cleaned(text)
    return clean, CONTROLS if removed else None
