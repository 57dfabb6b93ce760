"""Checks whether quoted strings are in the text that OCR has read, which has errors and an order of its own."""

import unicodedata
from collections.abc import Sequence

import numpy as np


def confirmed(quotes: Sequence[str], seen: str, least: float) -> bool:
    """Returns whether all quotes, or something similar, are in the text that OCR has read.

    Letters and digits are compared, without case, spaces, punctuation and differences of width (ｆｕｌｌ). Either a
    quote as a whole must be similar to a substring of the text; or, since the lines of a sign may be read in another
    order, the words of the quote that are similar to a substring must make up `least` of its letters. A quote
    without letters and digits always passes.

    Args:
        quotes: the quoted strings.
        seen: all text that OCR has read in the image.
        least: smallest sufficient similarity, 0..1; see `likeness`.
    """
    text = folded(seen) if quotes else ""
    return all(_confirmed(quote, text, least) for quote in quotes)


def _confirmed(quote: str, text: str, least: float) -> bool:
    letters = folded(quote)
    if likeness(letters, text) >= least:
        return True
    words = list(filter(None, map(folded, quote.split())))
    confirmed_letters = sum(len(word) for word in words if likeness(word, text) >= least)
    return len(words) > 1 and confirmed_letters >= least * len(letters)


def folded(text: str) -> str:
    """Returns the letters and digits of a text, without differences of case and width."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def likeness(part: str, text: str) -> float:
    """Returns 1 minus the edits per character from `part` to the most similar substring of `text` (Sellers, 1980).

    An edit is a wrong, missing or extra character: 1 means that the text contains the part, 0 that nothing matches. The
    time is proportional to len(part) * len(text), with one vectorised step per character of the part.
    """
    if not part or part in text:
        return 1.0
    letters, places = _codes(text), np.arange(len(text) + 1, dtype=np.int32)
    edits = np.zeros(len(text) + 1, np.int32)  # from the part so far to the best substring ending at each place
    for wanted in _codes(part):
        row = edits + 1
        np.minimum(row[1:], edits[:-1] + (letters != wanted), out=row[1:])
        edits = np.minimum.accumulate(row - places) + places
    return 1 - int(edits.min()) / len(part)


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
