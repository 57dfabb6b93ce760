"""Checks captions and translations by their texts alone: pure functions that return flags.

A flag names a fault; whether to retry, keep or drop the caption is decided elsewhere. Rules about wording ignore text
in quotation marks, since text in an image may be in any language and say anything.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from curation.captions.checks.numerals import lost_in_chinese, lost_in_english
from curation.captions.checks.quotes import confirmed
from curation.captions.checks.repetition import repeats, says_again
from curation.captions.checks.wording import BOILERPLATE, REFUSALS, SUBJECTIVE, TELLING, any_of, in_another_language
from curation.recipe.sections import CaptionChecks

DEFAULTS = CaptionChecks()
"""The limits for captions where the recipe sets no others."""
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+")
QUOTED = re.compile(
    r"""["“「『‘'](?:"""  # a character set first: the search skips to the next one
    r'(?<=")(?<!\d")([^"]*)"|(?<=“)([^“”]*)”|(?<=「)([^「」]*)」|(?<=『)([^『』]*)』|(?<=‘)([^‘’]*)’(?!\w)'
    r"|(?<=')(?<!\w')((?:[^'\n]|(?<=\w)'(?=\w))+)'(?!\w))"  # apostrophes inside; not dogs' and cats'
)
_NOT_LATIN = re.compile(r"[^\W\d_A-Za-z\u00aa-\u024f\u1e00-\u1eff]")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+")
_LOWER_WORD = re.compile(r"(?<![A-Za-z.@/])[a-z]{3,}(?![A-Za-z.@/])")
_PLAIN = str.maketrans({**dict.fromkeys(',.;:!?()[]—–…*"“”', " "), "’": "'"})


def check_caption(
    text: str | None,
    complete: bool = True,
    seen: str | None = None,
    limits: CaptionChecks = DEFAULTS,
) -> list[str]:
    """Returns the flags of an English caption, in this order.

    empty: there is no text; no other rule is applied.
    too_short: the caption is below either minimum: the model stopped before it described anything.
    too_long: the caption is above either maximum: beyond any text encoder's window, mostly rambling or a loop.
    truncated: the caption is not `complete`.
    repetition: see `repeats` and `says_again`; a sentence counts only if it repeats both with and without its quotes.
    refusal: the model speaks of itself, or of a picture it did not get ("I cannot", "Please provide the image").
    boilerplate: the caption opens with a frame such as "The image shows", which says nothing of this picture.
    subjective: the caption states an effect on the viewer, a judgement or a guess ("evokes", "likely"): see
        `SUBJECTIVE`.
    not_english: more than `max_foreign_share` of the letters outside quotes are not Latin, or the words outside quotes
        are those of another language: see `in_another_language`.
    unconfirmed_quote: a quoted string is not in the text that OCR has read: the model has made it up. A caption that is
        too long is not checked, since the time for comparing is proportional to the quotes times the text read.

    Args:
        text: the caption.
        complete: whether the model had ended before it reached its limit of tokens.
        seen: the text that OCR has read in the picture, "" if it found none; None if OCR was not run, and then quotes
            are not checked.
        limits: the recipe's `captions.checks`. Characters and words are those of the text with its quotes;
            `min_quote_match` is the smallest sufficient similarity of a quote to the text read: see `confirmed`.
    """
    text = text.strip() if text else ""
    if not text:
        return ["empty"]
    outside, quotes = _split(text)
    words = _words(outside)
    count = len(words) + sum(len(quote.split()) for quote in quotes)
    flags = []
    if len(text) < limits.min_characters or count < limits.min_words:
        flags.append("too_short")
    if len(text) > limits.max_characters or count > limits.max_words:
        flags.append("too_long")
    if not complete:
        flags.append("truncated")
    if _loops(text, outside, words):
        flags.append("repetition")
    telling = not TELLING.isdisjoint(words)
    if telling and any_of(REFUSALS, words):
        flags.append("refusal")
    if BOILERPLATE.match(outside):
        flags.append("boilerplate")
    if telling and any_of(SUBJECTIVE, words):
        flags.append("subjective")
    if _foreign(outside, limits.max_foreign_share) or (telling and in_another_language(outside)):
        flags.append("not_english")
    if seen is not None and "too_long" not in flags and not confirmed(quotes, seen, limits.min_quote_match):
        flags.append("unconfirmed_quote")
    return flags


def check_translation(
    source: str,
    translation: str | None,
    *,
    into: Literal["zh", "en"] = "zh",
    min_ratio: float = 0.1,
    max_ratio: float = 1.0,
    min_chinese_share: float = 0.6,
    max_foreign_share: float = DEFAULTS.max_foreign_share,
) -> list[str]:
    """Returns the flags of a translation from English into Chinese or from Chinese into English, in this order.

    empty: there is no text; no other rule is applied.
    digits_lost: a number of the source is not in the translation: translators drop or change counts and years. See
        `lost_in_chinese` and `lost_in_english`.
    quotes_lost: a quoted string is not copied exactly: text in an image must not be translated.
    not_chinese: less than `min_chinese_share` of the text outside quotes is Chinese, as the number of Chinese
        characters over that of Chinese characters plus Latin words, since a character says about as much as a word.
    latin_left: a lower-case Latin word of three letters or more remains outside quotes. Names and
        abbreviations (Nike, LED), units (cm) and addresses (a.com) are usual in Chinese.
    not_english: as for a caption.
    han_left: a Chinese character remains outside quotes.
    length_ratio: the number of Chinese characters per English character outside quotes is out of range; 0.25 to 0.45 is
        usual, less means that the Chinese text omits something, more that the English text does.
    repetition: as for a caption.

    Args:
        source: the text that was translated.
        translation: its translation.
        into: the translation's language; `not_chinese` and `latin_left` are checked for "zh", `not_english` and
            `han_left` for "en".
        min_ratio, max_ratio: allowed range of `length_ratio`.
        min_chinese_share: smallest share of Chinese, 0..1.
        max_foreign_share: largest share of letters that are not Latin, 0..1.
    """
    translation = translation.strip() if translation else ""
    if not translation:
        return ["empty"]
    (rest, quotes), (outside, _) = _split(source), _split(translation)
    flags = []
    if lost_in_chinese(rest, translation) if into == "zh" else lost_in_english(rest, translation):
        flags.append("digits_lost")
    if not all(map(translation.__contains__, quotes)):
        flags.append("quotes_lost")
    if into == "zh":
        han, latin = count_han(outside), len(_LATIN_WORD.findall(outside))
        if not han or han < min_chinese_share * (han + latin):
            flags.append("not_chinese")
        if latin and _LOWER_WORD.search(outside):
            flags.append("latin_left")
        english, chinese, repeat = len(rest), len(outside), _loops(translation, outside, outside)
    else:
        words = _words(outside)
        if _foreign(outside, max_foreign_share) or (not TELLING.isdisjoint(words) and in_another_language(outside)):
            flags.append("not_english")
        if not outside.isascii() and _HAN.search(outside):
            flags.append("han_left")
        english, chinese, repeat = len(outside), len(rest), _loops(translation, outside, words)
    if not min_ratio * english <= chinese <= max_ratio * english:
        flags.append("length_ratio")
    if repeat:
        flags.append("repetition")
    return flags


def count_han(text: str) -> int:
    """Returns the number of Chinese characters."""
    return sum(map(len, _HAN.findall(text)))


def quoted(text: str) -> tuple[str, ...]:
    """Returns the non-empty strings in quotation marks of any of the usual kinds."""
    return _split(text)[1]


def unquoted(text: str) -> str:
    """Returns the text without its quoted strings."""
    return _split(text)[0]


@lru_cache(maxsize=4)  # several rules split the same text, and a caption is split again with its translation
def _split(text: str) -> tuple[str, tuple[str, ...]]:
    strings: list[str] = []

    def take(match: re.Match[str]) -> str:
        strings.append(match[match.lastindex or 0].strip())
        return " "

    outside = QUOTED.sub(take, text)
    return outside, tuple(filter(None, strings))


def _words(text: str) -> list[str]:
    """Splits a text into lower-case words without punctuation, except for apostrophes and hyphens within words."""
    return text.lower().translate(_PLAIN).split()


def _loops(text: str, outside: str, units: Sequence[str]) -> bool:
    """Returns whether a text loops. A repeated sentence counts only if it repeats both with and without its quotes."""
    return repeats(text, units) or (says_again(text) and says_again(outside))


def _foreign(text: str, most: float) -> bool:
    """Returns whether the share of letters that are not Latin is over `most`."""
    return not text.isascii() and len(_NOT_LATIN.findall(text)) > most * sum(map(str.isalpha, text))
