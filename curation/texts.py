"""Text from the web: decoded from bytes of any encoding, freed of control characters, or escaped for a terminal."""

import codecs
import re

_ENCODINGS = ("gb18030", "big5", "shift_jis", "cp1252")
"""The encodings that are tried on bytes that are neither UTF-8 nor begin with a byte-order mark."""
_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LIKELY, _APART, _LEAST = 0.06, 0.03, 4
"""Measured on pieces of Chinese and Japanese captions, of three to thirty characters: the right encoding has a mess of
at most 0.06; where another comes nearer than 0.03, either may be right, and where fewer than four letters are not
ASCII, any may (but for Windows-1252, of which a single letter is usual)."""
_UNUSUAL = re.compile("[\uff61-\uff9f\u3105-\u312f\ufe30-\ufe6f\ue000-\uf8ff]")
"""Half-width kana, Bopomofo, small forms and private characters: what Chinese becomes when it is read as Shift-JIS or
Big5, and hardly ever stands in a caption."""
_SAMPLE = 16_384
"""Bytes by which an encoding is told."""
_ESCAPE_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|[ -/]*[0-~])|\x9b[0-?]*[ -/]*[@-~]"
)
"""Sequences by which text moves a terminal's cursor, sets its title or its clipboard (ECMA-48, section 5.3)."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that are not seen but change how text is shown: controls but tab and line feed, and Unicode's marks,
embeddings, overrides and isolates of direction, by which a text can look other than it is (CVE-2021-42574)."""


def decode(data: bytes) -> str | None:
    """Returns a text file's content; None if its encoding cannot be told for sure.

    A byte-order mark decides, and is not part of the text; else bytes that are valid UTF-8 are; else one of GB18030,
    Big5, Shift-JIS and Windows-1252 is taken if no other of them is nearly as likely (`charset_normalizer`).
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], encoding)
    text = _decoded(data, "utf-8")
    if text is not None and _is_doubtful(text):
        return _decoded_as_likely(data)
    return text if text is not None or _is_damaged(data) else _decoded_as_likely(data)


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_doubtful(text: str) -> bool:
    """Returns whether a few letters of Chinese in GB18030 may only happen to be UTF-8, as letters of two scripts."""
    letters = [c for c in text if c.isalpha()]
    blocks = {ord(c) >> 8 for c in letters}
    return len(letters) <= 6 and len(blocks) > 1 and max(blocks) < 8 and not any(c.isascii() for c in letters)


def _is_damaged(data: bytes) -> bool:
    """Returns whether bytes are UTF-8 but for a few, which is damage and no other encoding."""
    letters = [c for c in data.decode("utf-8", "replace") if c > "\x7f"]
    return letters.count("\ufffd") * 4 < len(letters)


def _decoded_as_likely(data: bytes) -> str | None:
    from charset_normalizer import from_bytes  # tens of milliseconds, and most corpora are UTF-8

    matches = from_bytes(data[:_SAMPLE], cp_isolation=list(_ENCODINGS), enable_fallback=False)
    messes = sorted((match.chaos, match.encoding) for match in matches if not _UNUSUAL.search(str(match)))
    if not messes or messes[0][0] > _LIKELY or (len(messes) > 1 and messes[1][0] - messes[0][0] < _APART):
        return None
    encoding = messes[0][1]
    text = _decoded(data, encoding) or ""
    return text if encoding == "cp1252" or sum(c > "\x7f" for c in text) >= _LEAST else None


CONTROLS = "control_characters"
"""The word by which a caption is marked from which `cleaned` has removed something."""


def cleaned(text: str) -> tuple[str, bool]:
    """Returns the text with line feeds at its line ends and without controls, and whether there were any controls."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    clean = without_controls(lines)
    return clean, clean != lines


def without_controls(text: str) -> str:
    """Returns the text without escape sequences, controls (but tabs and line feeds) and marks of direction."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub("", _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def printable(text: str) -> str:
    """Returns the text with control characters and marks of direction escaped (`\\x1b`), as a terminal may show it."""
    return text if text.isprintable() else _CONTROL.sub(_escaped, text)


def _escaped(match: "re.Match[str]") -> str:
    return match[0].encode("unicode_escape").decode("ascii")
