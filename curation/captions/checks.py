"""What can be wrong with a caption or its translation, told from the text alone: pure functions giving flags.

A flag says what was found; whether to retry, keep or drop is decided elsewhere. Rules about the wording look
outside quotation marks: text that stands in a picture may be in any language and say anything.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from operator import eq

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+")

TAIL, TAIL_RUN = 128, 70
"""A run of 70 characters that occurs twice within the last 128 is a loop (CogVLM under greedy decoding)."""
LOOP_TIMES, LOOP_UNITS = 4, 12
"""Up to 12 words said 4 times in a row are a loop; one word needs 5 times, "very, very" is but emphasis."""

REFUSALS = (
    "i'm sorry", "i am sorry", "i apologize", "as an ai", "a language model",
    "i cannot", "i can't", "i can not", "i am unable", "i'm unable", "i am not able", "i'm not able",
    "cannot assist", "can't assist", "unable to assist",
)  # fmt: skip

_MARKS = re.compile(r"[\"“「『‘']")
_QUOTED = re.compile(
    r'"([^"]*)"|“([^”]*)”|「([^」]*)」|『([^』]*)』|‘([^’]*)’(?!\w)'
    r"|'(?<!\w')((?:[^'\n]|(?<=\w)'(?=\w))+)'(?!\w)"  # apostrophes inside; not dogs' and cats'
)
_PICTURE = "(?:image|picture|photo|photograph)"
_BOILERPLATE = re.compile(
    rf"(?:this is )?(?:the|this|an?) (?:(?!(?:an?|the|of|in|with)\b)[\w-]+ ){{0,3}}?{_PICTURE}(?: here)? "
    r"(?:shows?|showing|depicts?|displays?|features?|captures?|presents?|portrays?|illustrates?|contains?"
    r"|showcases?|of|is|appears)\b"
    rf"|in (?:the|this) {_PICTURE}\b"
    r"|(?:here is|here's|sure|certainly|of course)\b"
)
_NOT_LATIN = re.compile(r"[^\W\d_A-Za-z\u00aa-\u024f\u1e00-\u1eff]")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+")
_LOWER_WORD = re.compile(r"(?<![A-Za-z.@/])[a-z]{3,}(?![A-Za-z.@/])")
_NUMBER = re.compile(r"\d+(?:[.,．]\d+)*")
_FULL_WIDTH = str.maketrans("０１２３４５６７８９．", "0123456789.", ",")
_DIGITS = "0123456789"
_HAN_DIGITS = "零一二三四五六七八九"


def check_caption(
    text: str | None,
    *,
    min_characters: int = 10,
    min_words: int = 3,
    max_characters: int = 2500,
    max_words: int = 400,
    max_foreign_share: float = 0.1,
) -> list[str]:
    """Flags of an English caption, in this order.

    empty: nothing is there; no other rule is asked.
    too_short: below either minimum: the model stopped before it said anything.
    too_long: above either maximum: beyond any text encoder's window, mostly rambling or a loop.
    repetition: see `repeats`.
    refusal: the model speaks of itself instead of the picture ("I'm sorry", "As an AI", "I cannot").
    boilerplate: it opens with a frame such as "The image shows", which says nothing of this picture.
    not_english: more than `max_foreign_share` of the letters outside quotes are not Latin. Scripts only.
    """
    text = text.strip() if text else ""
    if not text:
        return ["empty"]
    outside = unquoted(text)
    lowered = outside.lower().replace("’", "'")
    words = lowered.split()
    said = len(text.split()) if outside is not text else len(words)
    flags = []
    if len(text) < min_characters or said < min_words:
        flags.append("too_short")
    if len(text) > max_characters or said > max_words:
        flags.append("too_long")
    if repeats(text, words):
        flags.append("repetition")
    if any(phrase in lowered for phrase in REFUSALS):
        flags.append("refusal")
    if _BOILERPLATE.match(lowered):
        flags.append("boilerplate")
    if not outside.isascii():
        foreign = len(_NOT_LATIN.findall(outside))
        if foreign > max_foreign_share * sum(map(str.isalpha, outside)):
            flags.append("not_english")
    return flags


def check_translation(
    english: str,
    chinese: str | None,
    *,
    min_ratio: float = 0.1,
    max_ratio: float = 1.0,
    min_chinese_share: float = 0.6,
) -> list[str]:
    """Flags of a Chinese translation, in this order.

    empty: nothing is there; no other rule is asked.
    digits_lost: a number outside the English quotes is nowhere in the Chinese text, in digits or, for a
        whole number below 100, in Chinese numerals: translators drop or change counts and years.
    quotes_lost: a quoted string is not there letter by letter: text in a picture is shown, not translated.
    not_chinese: under `min_chinese_share` of what is outside quotes is Chinese: characters against characters
        plus Latin words, since a character says about as much as a word.
    latin_left: a lower-case Latin word of three letters or more is left outside quotes. Names and
        abbreviations (Nike, LED), units (cm) and addresses (a.com) are usual in Chinese.
    length_ratio: Chinese characters per English character outside quotes out of range; 0.25 to 0.45 is usual,
        less means that something was left out, more that something was invented.
    repetition: see `repeats`.
    """
    chinese = chinese.strip() if chinese else ""
    if not chinese:
        return ["empty"]
    en, zh = unquoted(english), unquoted(chinese)
    flags = []
    if any(map(en.__contains__, _DIGITS)) and _lost(_NUMBER.findall(en), chinese):
        flags.append("digits_lost")
    if not all(map(chinese.__contains__, quoted(english))):
        flags.append("quotes_lost")
    han, latin = count_han(zh), len(_LATIN_WORD.findall(zh))
    if not han or han < min_chinese_share * (han + latin):
        flags.append("not_chinese")
    if latin and _LOWER_WORD.search(zh):
        flags.append("latin_left")
    if not min_ratio * len(en) <= len(zh) <= max_ratio * len(en):
        flags.append("length_ratio")
    if repeats(chinese):
        flags.append("repetition")
    return flags


def repeats(text: str, words: Sequence[str] | None = None) -> bool:
    """True for a text that runs in circles.

    Either a run of TAIL_RUN characters occurs twice, overlaps included, among the last TAIL: a decoder that
    does not find its end. Or the same few units come LOOP_TIMES in a row anywhere.

    Args:
        words: the units of a text that is written in words; None for Chinese, whose units are the characters
            outside quotes.
    """
    if _tail_repeats(text[-TAIL:]):
        return True
    if words is not None:
        return _may_loop(words) and _loops(words)
    characters = unquoted(text)
    return _characters_may_loop(characters) and _loops(characters)


def count_han(text: str) -> int:
    """Number of Chinese characters."""
    return sum(map(len, _HAN.findall(text)))


def quoted(text: str) -> tuple[str, ...]:
    """The strings in quotation marks, of any of the usual kinds, without the empty ones."""
    return _split(text)[1]


def unquoted(text: str) -> str:
    """The text without its quoted strings."""
    return _split(text)[0]


@lru_cache(maxsize=4)  # each rule asks for the same text again, and a caption comes back with its translation
def _split(text: str) -> tuple[str, tuple[str, ...]]:
    if not _MARKS.search(text):
        return text, ()
    strings: list[str] = []

    def take(match: re.Match[str]) -> str:
        strings.append(match[match.lastindex or 0].strip())
        return " "

    outside = _QUOTED.sub(take, text)
    return outside, tuple(filter(None, strings))


def _tail_repeats(tail: str) -> bool:
    if len(tail) <= TAIL_RUN:
        return False
    # A run of TAIL_RUN and its second occurrence both fit into the tail, so the first one covers this stretch
    # of it wherever it begins; looking for the stretch alone settles nearly every text.
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
    """How many units in a row equal the one a period later, in the shortest loop of this period."""
    return period * (LOOP_TIMES - 1) + (period == 1)


def _may_loop(words: Sequence[str]) -> bool:
    """False for nearly every text that has no loop: a loop says the same three words again at least twice."""
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return len(triples) - len(set(triples)) >= 2


def _characters_may_loop(text: str) -> bool:
    """The same for characters, where sets are slow: the text as one number, compared with itself shifted."""
    data = text.encode("utf-16-le", "surrogatepass")
    number = int.from_bytes(data, "little")
    return any(
        bytes(2 * _equal_in_loop(period)) in (number ^ number >> 16 * period).to_bytes(len(data), "little")
        for period in range(1, LOOP_UNITS + 1)
    )


def _lost(numbers: Sequence[str], chinese: str) -> bool:
    wanted, found = ({n.translate(_FULL_WIDTH) for n in some} for some in (numbers, _NUMBER.findall(chinese)))
    return not all(any(form in chinese for form in _numerals(number)) for number in wanted - found)


def _numerals(number: str) -> Sequence[str]:
    """How a whole number below 100 may be written in Chinese: 2 → 二, 两; 20 → 二十; 35 → 三十五."""
    if not number.isascii() or not number.isdigit() or int(number) >= 100:
        return ()
    tens, ones = divmod(int(number), 10)
    if not tens:
        return ("二", "两") if ones == 2 else (_HAN_DIGITS[ones],)
    return ((_HAN_DIGITS[tens] if tens > 1 else "") + "十" + (_HAN_DIGITS[ones] if ones else ""),)
