"""Finds repetitive texts, which a decoder writes when it does not find an end."""

from array import array
from collections import Counter
from collections.abc import Sequence
from operator import eq

TAIL, TAIL_RUN = 128, 70
"""A run of 70 characters that occurs twice within the last 128 is a loop (as of CogVLM under greedy decoding)."""
LOOP_TIMES, LOOP_UNITS = 4, 12
"""Up to 12 words that occur 4 times in a row are a loop; a single word needs 5 times ("very, very" is emphasis)."""
SAID_TIMES, SAID_WORDS, SAID_CHARACTERS = 3, 5, 8
"""A sentence of at least 5 words or 8 Chinese characters that occurs 3 times is a loop; "There is a dog." may be true
of three."""

_ENDS = "!?;\n。！？；"
_AROUND = " \t\r\"'“”‘’「」『』()*#-–—•"


def repeats(text: str, units: Sequence[str]) -> bool:
    """Returns whether a text loops.

    Either a run of TAIL_RUN characters occurs twice, possibly overlapping, among the last TAIL characters, because the
    decoder found no end; or the same few units occur LOOP_TIMES in a row anywhere.

    Args:
        text: the whole text.
        units: the text's words as a list; for Chinese a string, whose characters are the units. Without quoted text,
            which may repeat itself often.
    """
    if _tail_repeats(text[-TAIL:]):
        return True
    return _may_loop(_signature(units)) and _loops(units)


def says_again(text: str) -> bool:
    """Returns whether a sentence that is not short occurs SAID_TIMES or more anywhere in a text."""
    for end in _ENDS:
        text = text.replace(end, ".")
    sentences = text.split(".")
    if len(set(sentences)) == len(sentences):
        return False
    times = Counter(sentence.strip(_AROUND) for sentence in sentences)
    return any(count >= SAID_TIMES and _is_long(sentence) for sentence, count in times.items())


def _is_long(sentence: str) -> bool:
    chinese = sum("\u3400" <= character <= "\u9fff" for character in sentence)
    return chinese >= SAID_CHARACTERS or len(sentence.split()) >= SAID_WORDS


def _tail_repeats(tail: str) -> bool:
    if len(tail) <= TAIL_RUN:
        return False
    # A run of TAIL_RUN and its second occurrence both fit into the tail, so the first one covers this stretch
    # wherever it begins; searching for the stretch alone is enough for nearly every text.
    start = len(tail) - TAIL_RUN - 1
    stretch = tail[start:TAIL_RUN]
    at = tail.find(stretch, start + 1)
    while at >= 0:
        shift = at - start
        same = bytes(map(eq, tail, tail[shift:]))
        if b"\x01" * TAIL_RUN in same:
            return True
        at = tail.find(stretch, at + 1)
    return False


def _loops(units: Sequence[str]) -> bool:
    for period in range(1, LOOP_UNITS + 1):
        same = bytes(map(eq, units, units[period:]))
        if b"\x01" * _equal_in_loop(period) in same:
            return True
    return False


def _equal_in_loop(period: int) -> int:
    """Returns how many successive units equal the unit one period later, in the shortest loop of this period."""
    return period * (LOOP_TIMES - 1) + (period == 1)


_SHIFTS = tuple(
    (8 * shift, bytes(shift if shift % 2 == 0 else _equal_in_loop(shift))) for shift in (2, *range(6, LOOP_UNITS + 1))
)
"""Pairs that cover every period up to LOOP_UNITS: a shift (the period or its double) in bits, and as many zero bytes as
there are successive units that equal the unit at that shift: a loop of period p equals itself for 3p units at the shift
p, and for 2p units at the shift 2p."""


def _may_loop(signature: bytes) -> bool:
    """Returns whether there may be a loop, comparing the signature with its own shifts; it is a fast pre-check."""
    number = int.from_bytes(signature, "little")
    return any(zeros in (number ^ number >> bits).to_bytes(len(signature), "little") for bits, zeros in _SHIFTS)


def _signature(units: Sequence[str]) -> bytes:
    """Returns one byte for each unit; equal units have equal bytes."""
    if isinstance(units, str):
        return units.encode("utf-32-le", "surrogatepass")[::4]
    return array("q", map(hash, units)).tobytes()[::8]
