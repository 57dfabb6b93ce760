"""Whether quoted texts stand in what OCR has read, which makes mistakes and has an order of its own."""

import unicodedata
from collections.abc import Sequence

import numpy as np


def confirmed(quotes: Sequence[str], seen: str, least: float) -> bool:
    """Whether OCR has read all these quotes, or something like them.

    Letters and digits are compared, without case, spaces, punctuation and differences of width (ｆｕｌｌ). A quote as a
    whole must be like a stretch of the text; or else, since the lines of a sign can be read in another order, the
    words that are must make up `least` of its letters. A quote without letters or digits needs no confirming.

    Args:
        seen: all text that OCR has read in the picture.
        least: likeness that is enough, 0..1; see `likeness`.
    """
    text = folded(seen) if quotes else ""
    return all(_confirmed(quote, text, least) for quote in quotes)


def _confirmed(quote: str, text: str, least: float) -> bool:
    letters = folded(quote)
    if likeness(letters, text) >= least:
        return True
    words = list(filter(None, map(folded, quote.split())))
    found = sum(len(word) for word in words if likeness(word, text) >= least)
    return len(words) > 1 and found >= least * len(letters)


def folded(text: str) -> str:
    """Letters and digits alone, without differences of case and width."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def likeness(part: str, text: str) -> float:
    """1 less the edits a character, to the stretch of the text that is most like the part (Sellers, 1980).

    An edit is a character wrong, missing or too much. 1: it stands there; 0: nothing of it does. Time is
    proportional to len(part) * len(text), a row of the table at once.
    """
    if not part or part in text:
        return 1.0
    letters, places = _codes(text), np.arange(len(text) + 1, dtype=np.int32)
    edits = np.zeros(len(text) + 1, np.int32)  # of the part so far, to a stretch that ends at each place
    for wanted in _codes(part):
        row = edits + 1
        np.minimum(row[1:], edits[:-1] + (letters != wanted), out=row[1:])
        edits = np.minimum.accumulate(row - places) + places
    return 1 - int(edits.min()) / len(part)


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
