"""Finds numbers that a translation has lost: digits, Chinese numerals (三十五) or English words (thirty-five)."""

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"[0-9０-９]+(?:[.,．][0-9０-９]+)*")
_PLAIN = str.maketrans("０１２３４５６７８９．", "0123456789.", ",")
_HAN_DIGITS = "零一二三四五六七八九"
_ALIKE = str.maketrans("〇两", "零二")

_COUNTED = re.compile(
    # The numeral comes first, so that the search skips to the next one, and only then the text before it.
    r"([一二两三四五六七八九十](?<![一二两三四五六七八九十百千万亿第].)"
    r"(?:(?<!十)十[一二三四五六七八九]?|(?<=十)[一二三四五六七八九]|(?<!一)))"
    "[个只名位条头匹辆架座栋棵朵件块把台支本张艘扇根颗粒片双对]"
)
"""A Chinese numeral from two on before a measure word: a count. Elsewhere it is mostly part of a word (三明治)."""
_UNSCALED = re.compile(r"[0-9０-９](?<![0-9０-９.,．].)[0-9０-９]*+(?:[.,．][0-9０-９]++)*+(?! ?[十百千万亿])")
"""A number in digits without a scale such as 万 behind it (not 3万)."""

_AMOUNT = re.compile("[0-9一二两三四五六七八九十][0-9.零〇一二两三四五六七八九十百千万亿]{0,20}")
_TOKEN = re.compile(r"[0-9]+(?:\.[0-9]+)?|[^0-9.]")
_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}
_SCALED = re.compile(r"([0-9][0-9.,]*) (hundred|thousand|million|billion)\b", re.IGNORECASE)
_ENGLISH_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_DECADE = re.compile(r"(?<![0-9])([0-9]{2})([0-9])0(?=['’]?s\b)")

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {1: "first", 2: "second", 3: "third", 5: "fifth", 8: "eighth", 9: "ninth", 12: "twelfth"}
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_OTHER_WORDS = {1: "a an single", 2: "pair both couple twin twins double", 10: "decade", 12: "dozen"}


def lost_in_chinese(english: str, chinese: str) -> bool:
    """Returns whether a number in digits in the English text is missing from the Chinese one.

    The Chinese text may have it in Chinese numerals, wholly or partly (一百, 1.5万); 1,500 may be 1500; the 1990s may
    be 20世纪90年代.
    """
    wanted = _numbers(english)
    missing = wanted and wanted - _numbers(chinese)
    missing = {number for number in missing if not any(form in chinese for form in _in_chinese(number))}
    return bool(missing) and not all(map(_kept_otherwise(english, chinese).__contains__, missing))


def lost_in_english(chinese: str, english: str) -> bool:
    """Returns whether a number of the Chinese text is missing from the English one.

    Checked are numbers in digits and, from two on, counts in Chinese numerals (三只猫); the English text may have both
    as words if they are below 100. Numbers with 万 and the like are not checked (3万 is 30,000 or 30 thousand).
    20世纪90年代 may be the 1990s.
    """
    wanted = {str(_value(numeral)) for numeral in _COUNTED.findall(chinese)} | _numbers(chinese, _UNSCALED)
    missing = wanted and wanted - _numbers(english)
    if missing:
        missing -= {number for decade in _DECADE.findall(english) for number in _century_and_tens(*decade)}
    lowered = english.lower() if missing else ""
    return not all(any(_stands_in(lowered, word) for word in _in_english(number)) for number in missing)


def _stands_in(text: str, word: str) -> bool:
    """Returns whether a text contains the whole word; the substring test excludes most words faster than a pattern."""
    return word in text and re.search(rf"\b{word}\b", text) is not None


def _numbers(text: str, pattern: re.Pattern[str] = _NUMBER) -> set[str]:
    """Returns the numbers of a text in plain digits, without thousands separators: 1,500 and １５００ → 1500."""
    if text.isascii() and not any(map(text.__contains__, "0123456789")):
        return set()  # faster than the pattern
    return {number.translate(_PLAIN) for number in pattern.findall(text)}


def _kept_otherwise(english: str, chinese: str) -> set[str]:
    """Returns the English text's numbers that the Chinese text has as an amount of the same value, or as a decade."""
    plain = re.sub(" (?=[十百千万亿])", "", chinese.translate(_PLAIN))
    amounts = set(map(_amount, _AMOUNT.findall(plain)))
    scales = {number.translate(_PLAIN): _ENGLISH_SCALES[scale.lower()] for number, scale in _SCALED.findall(english)}
    kept = {
        number
        for number in _numbers(english)
        if len(number) <= 20 and number.count(".") <= 1
        and not amounts.isdisjoint((float(number), round(float(number) * scales.get(number, 1), 6)))
    }  # fmt: skip
    for century, tens in _DECADE.findall(english):
        numerals = ["|".join((number, *_in_chinese(number))) for number in _century_and_tens(century, tens)]
        before = f"(?:(?<![0-9])(?:{numerals[0]})|上个?)世纪"
        decade = f"{before}(?:初|$|[^0-9])" if tens == "0" else f"(?:{before}|(?<!世纪))(?<![0-9])(?:{numerals[1]})年代"
        if re.search(decade, plain):
            kept.add(f"{century}{tens}0")
    return kept


def _century_and_tens(century: str, tens: str) -> tuple[str, str]:
    """Returns the century and the tens of a decade: the 1990s (19, 9) are the 90s of the 20th century."""
    return str(int(century) + 1), f"{tens}0"


def _amount(numeral: str) -> float:
    """Returns the value of digits, Chinese numerals or both: 1.5万 → 15000; 三百五十 → 350; 一九九〇 → 1990."""
    total = section = number = 0.0
    for token in _TOKEN.findall(numeral):
        scale = _SCALES.get(token)
        if scale is None:
            number = float(token) if token.isascii() else 10 * number + _HAN_DIGITS.index(token.translate(_ALIKE))
            continue
        if scale < 10**4:
            section += (number or 1) * scale
        elif scale == 10**4:
            total += (section + number) * scale
            section = 0
        else:
            total, section = (total + section + number) * scale, 0
        number = 0
    return round(total + section + number, 6)


def _small(number: str) -> int | None:
    return int(number) if number.isdigit() and len(number) <= 2 else None


def _in_chinese(number: str) -> list[str]:
    """Returns the Chinese forms of a whole number below 100: 2 → 二, 两; 20 → 二十; 35 → 三十五."""
    value = _small(number)
    if value is None:
        return []
    tens, ones = divmod(value, 10)
    if not tens:
        return ["二", "两"] if ones == 2 else [_HAN_DIGITS[ones]]
    return [(_HAN_DIGITS[tens] if tens > 1 else "") + "十" + (_HAN_DIGITS[ones] if ones else "")]


def _value(numeral: str) -> int:
    """Returns the value of a Chinese numeral below 100: 两 → 2; 十二 → 12; 三十五 → 35."""
    tens, ten, ones = numeral.replace("两", "二").rpartition("十")
    return 10 * (_HAN_DIGITS.index(tens or "一") if ten else 0) + (_HAN_DIGITS.index(ones) if ones else 0)


def _in_english(number: str) -> Iterable[str]:
    """Returns the English words for a whole number below 100; of a compound only the last part: 35 → five, fifth.

    Ordinals, months (8月) and words such as "pair" are included.
    """
    value = _small(number)
    if value is None:
        return []
    month = _MONTHS[value - 1 : value] if value else ()
    others = _OTHER_WORDS.get(value, "").split()
    tens, ones = divmod(value, 10)
    if value >= 20 and not ones:
        return [_TENS[tens - 2], _TENS[tens - 2][:-1] + "ieth"]
    cardinal = _ONES[value if value < 20 else ones]
    ordinal = _ORDINALS.get(value if value < 20 else ones, cardinal + "th")
    return [cardinal, ordinal, *month, *others]
