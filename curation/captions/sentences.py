"""Splits texts for a model that translates single sentences, and joins the translations.

Translation models are trained on pairs of single sentences and omit half of a paragraph, so every sentence is
translated alone, however short the text. A string in quotation marks is text in an image: it is copied and not
translated. A placeholder stands for it while its sentence is translated; a sentence whose translation lacks a
placeholder is translated again in the parts around the quotes, so that no quote is ever lost. All functions are
pure.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from curation.captions.base import Language
from curation.captions.checks.check import QUOTED
from curation.models.text.generation import Answer

_ITEM = r"(?:[-*•·–]|[(（]?\d{1,3}[.)）]|[\d一二三四五六七八九十]{1,3}、)"
_HEAD = re.compile(rf"\s*(?:{_ITEM}[^\S\n]*(?<!\d\.)(?=\S))?")
_CLOSERS = r"[\"'”’」』»）)\]】]*"
_BREAK = re.compile(
    rf"(?P<line>\s*\n{_HEAD.pattern})"
    rf"|(?P<wide>[。！？；]+{_CLOSERS})[^\S\n]*"
    rf"|(?P<narrow>[.!?…]+{_CLOSERS})[^\S\n]+(?=\S)"
)
_WORD_BEFORE = re.compile(r"[^\s(\[\"“‘']*\Z")
_INITIALS = re.compile(r"(?:[a-z]\.)*[a-z]")
_CLAUSE = re.compile(r"(?<=[,;:]\s)(?=\S)|(?<=[，；：、])(?=.)", re.DOTALL)
_WIDE_CHARACTER = r"[\u3000-\u9fff\uff00-\uffef]"
_SPACE_BETWEEN = re.compile(rf"(?<={_WIDE_CHARACTER})[^\S\n]+(?={_WIDE_CHARACTER})")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_LATIN = re.compile(r"[A-Za-z\u00aa-\u024f\u1e00-\u1eff]")

ABBREVIATIONS = frozenset({
    "mr", "mrs", "ms", "mme", "messrs", "dr", "prof", "rev", "hon", "gen", "sgt", "capt", "st", "mt", "dept",
    "vs", "cf", "ca", "approx", "est", "incl", "excl", "fig", "vol",
})  # fmt: skip
"""Words whose full stop does not end a sentence, whatever follows."""
NUMBERED = frozenset({"no", "nos", "p", "pp", "art", "sec", "ch"})
"""Words whose full stop does not end a sentence if a number follows."""
BETWEEN: dict[Language, str] = {"zh": "", "en": " "}
"""Separators between two sentences of one line, by language."""
NOT: dict[Language, str] = {"en": "not_english", "zh": "not_chinese"}
"""`Answer.failed` of a text that is not in the source language, by that language."""
LETTERS = "XZKVQ"
"""A placeholder is one of these letters and a number: models copy what looks like a product's name."""
_NARROW, _WIDE = ".,!?;:", "。，！？；："
_PUNCTUATION = {"zh": str.maketrans(_NARROW, _WIDE), "en": str.maketrans(_WIDE, _NARROW)}
_MARKS = {"zh": ("“", "”"), "en": ('"', '"')}
_OTHER_MARKS = {"zh": ("「", "」"), "en": ("“", "”")}
_ANY_MARK = r"[\"“”「」『』‘’'《》＂]"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a text, which is translated by itself."""

    gap: str
    """The text before the sentence: spaces, line breaks, the bullet or number of a list item."""
    parts: tuple[str, ...]
    """Text and quoted strings in alternation, beginning and ending with text, which may be empty; without the marks."""

    @property
    def quotes(self) -> tuple[str, ...]:
        """The quoted strings."""
        return self.parts[1::2]

    @property
    def wordless(self) -> bool:
        """Whether there is nothing to translate, as no letter is outside quotes."""
        return not any(map(has_letters, self.parts[::2]))


def split(text: str) -> list[Sentence]:
    """Splits an English or Chinese text into sentences, never within a quote.

    A full stop does not end a sentence within a number, after an initial or an abbreviation, or if the next word is not
    capitalised; `。！？；` and line breaks always do.
    """
    text = text.strip()
    quotes = list(QUOTED.finditer(text))
    head = _HEAD.match(text)
    begin = head.end() if head else 0
    gap = text[:begin]
    sentences = []
    for end, start in [*_breaks(text, quotes), (len(text), len(text))]:
        if end > begin:
            sentences.append(Sentence(gap, _parts(text, begin, end, quotes)))
            gap = ""
        gap += text[max(begin, end) : start]
        begin = start
    return sentences


def _breaks(text: str, quotes: Sequence[re.Match[str]]) -> Iterator[tuple[int, int]]:
    """Yields the end of each sentence but the last, and the beginning of the next one."""
    inside = iter(quotes)
    quote = next(inside, None)
    for match in _BREAK.finditer(text):
        end, start = match.end(match.lastgroup or 0), match.end()
        if match["line"] is not None:
            end = match.start()
        while quote and quote.end() <= end:
            quote = next(inside, None)
        if quote and quote.start() < start:
            continue
        if match["narrow"] is None or _ends(text, match):
            yield end, start


def _ends(text: str, match: re.Match[str]) -> bool:
    """Returns whether these punctuation marks, which a space follows, end a sentence."""
    following = text[match.end() : match.end() + 4].lstrip("\"'“‘([「『")[:1]
    if following.islower():
        return False
    if re.match(r"\.[^.!?…]*\Z", match["narrow"]) is None:
        return True
    before = _WORD_BEFORE.search(text, max(0, match.start() - 20), match.start())
    word = before[0].lower() if before else ""
    if word in ABBREVIATIONS or (word in NUMBERED and following.isdigit()):
        return False
    return not _INITIALS.fullmatch(word)


def _parts(text: str, begin: int, end: int, quotes: Sequence[re.Match[str]]) -> tuple[str, ...]:
    parts, at = [], begin
    for quote in quotes:
        string = quote[quote.lastindex or 0].strip()
        if begin <= quote.start() and quote.end() <= end and string:
            parts += [text[at : quote.start()], string]
            at = quote.end()
    return (*parts, text[at:end])


def clauses(text: str, fits: Callable[[str], bool]) -> list[str] | None:
    """Splits a text at commas, semicolons and colons into few pieces that fit; None if some clause is too long.

    Args:
        text: a sentence.
        fits: whether a piece is short enough for the model.
    """
    if fits(text):
        return [text]
    packed: list[str] = []
    for clause in _CLAUSE.split(text):
        if packed and fits(packed[-1] + clause):
            packed[-1] += clause
        elif fits(clause):
            packed.append(clause)
        else:
            return None
    return packed


def has_letters(text: str) -> bool:
    """Returns whether a text has a letter of any script."""
    return any(map(str.isalpha, text))


def foreign(text: str, language: Language) -> bool:
    """Returns whether most letters outside quotes are in another script than the language's.

    A model would invent a translation of such a text. Latin letters are usual in Chinese, but there must also be a
    Chinese character.
    """
    outside = QUOTED.sub(" ", text)
    letters, han, latin = sum(map(str.isalpha, outside)), len(_HAN.findall(outside)), len(_LATIN.findall(outside))
    own, known = (latin, latin) if language == "en" else (han, han + latin)
    return letters > 0 and (own == 0 or 2 * known < letters)


def mask(sentence: Sentence, language: Language) -> tuple[str, str] | None:
    """Replaces a sentence's quotes by placeholders; returns the text and the placeholders' letter.

    It returns None if the sentence itself contains every letter followed by a number.
    """
    text = "".join(sentence.parts)
    letter = next((letter for letter in LETTERS if not re.search(rf"{letter}\s*\d", text)), None)
    if letter is None:
        return None
    left, right = _MARKS[language]
    shown = [f"{left}{letter}{n // 2 + 1}{right}" if n % 2 else part for n, part in enumerate(sentence.parts)]
    return "".join(shown), letter


def restore(translation: str, letter: str, quotes: Sequence[str], into: Language) -> str | None:
    """Replaces the placeholders in a translation by the quotes; None if one is missing, doubled or changed."""
    wanted = [f"{letter}{n + 1}" for n in range(len(quotes))]
    if sorted(re.findall(rf"[A-Za-z0-9]*{letter}\d+[A-Za-z0-9]*", translation)) != sorted(wanted):
        return None
    tag = rf"{letter}(\d+)"
    return re.sub(
        rf"{_ANY_MARK}\s*{tag}\s*{_ANY_MARK}|{tag}",
        lambda match: marked(quotes[int(match[1] or match[2]) - 1], into),
        translation,
    )


def marked(string: str, language: Language) -> str:
    """Puts a string in the language's quotation marks: “” in Chinese, straight ones in English."""
    left, right = (_OTHER_MARKS if _MARKS[language][1] in string else _MARKS)[language]
    return f"{left}{string}{right}"


class SentencePlan:
    """The translation of one text: which pieces the model must translate, and how their translations are joined.

    Args:
        text: a text in the source language.
        into: the target language.
    """

    def __init__(self, text: str, into: Language) -> None:
        self.into = into
        self.source: Language = "en" if into == "zh" else "zh"
        self.foreign = foreign(text, self.source)
        self.sentences = [] if self.foreign else split(text)

    def wholes(self) -> list[str]:
        """Returns the sentences with placeholders for their quotes, without those that have no words."""
        masks = [mask(sentence, self.source) for sentence in self.sentences if not sentence.wordless]
        return [masked[0] for masked in masks if masked]

    def fragments(self, translations: Mapping[str, Answer]) -> list[str]:
        """Returns the text around the quotes of those sentences whose translations have lost a quote.

        Args:
            translations: the answers for `wholes`, by source text.
        """
        broken = (s for s in self.sentences if not s.wordless and self._whole(s, translations) is None)
        return [part.strip() for sentence in broken for part in sentence.parts[::2] if has_letters(part)]

    def answer(self, translations: Mapping[str, Answer]) -> Answer:
        """Joins the whole translation; `complete` is False if a sentence was cut, was too long, or came back empty.

        Args:
            translations: the answers for `wholes` and `fragments`, by source text.
        """
        if self.foreign:
            return Answer(failed=NOT[self.source])
        text, complete = "", True
        for sentence in self.sentences:
            translated, whole = self._sentence(sentence, translations)
            beside = text and not sentence.gap.strip(" \t\u3000")  # on the same line, and not a list item
            text += (BETWEEN[self.into] if beside else sentence.gap) + translated
            complete = complete and whole
        asked = [translations[part] for part in (*self.wholes(), *self.fragments(translations))]
        if failed := next((answer.failed for answer in asked if answer.failed), ""):
            return Answer(failed=failed)
        tokens_in, tokens_out = sum(a.tokens_in for a in asked), sum(a.tokens_out for a in asked)
        return Answer(text.strip(), complete, tokens_in=tokens_in, tokens_out=tokens_out)

    def _sentence(self, sentence: Sentence, translations: Mapping[str, Answer]) -> tuple[str, bool]:
        """Returns a sentence's translation, and whether it is complete."""
        if sentence.wordless:
            return self._around(sentence, translations), True
        whole = self._whole(sentence, translations)
        if whole is not None:
            masked, _ = mask(sentence, self.source) or ("", "")
            return whole, bool(whole) and translations[masked].complete
        around = [translations[part.strip()] for part in sentence.parts[::2] if has_letters(part)]
        return self._around(sentence, translations), all(answer.complete for answer in around)

    def _whole(self, sentence: Sentence, translations: Mapping[str, Answer]) -> str | None:
        """Returns the translation of the masked sentence with its quotes restored; None if they cannot be placed."""
        masked = mask(sentence, self.source)
        if masked is None:
            return None
        return restore(self._tidy(translations[masked[0]].text), masked[1], sentence.quotes, self.into)

    def _around(self, sentence: Sentence, translations: Mapping[str, Answer]) -> str:
        """Returns the translations of the parts around the quotes, with the quotes between them."""
        text = ""
        for n, part in enumerate(sentence.parts):
            if n % 2:
                shown = marked(part, self.into)
            elif has_letters(part):
                shown = self._tidy(translations[part.strip()].text)
                if not part.rstrip().endswith(tuple(_NARROW + _WIDE)):
                    shown = shown.rstrip("。. ")  # models tend to end a fragment like a sentence
            else:
                shown = part.strip()
                if not shown.strip(_NARROW + _WIDE):
                    shown = shown.translate(_PUNCTUATION[self.into])
            space = self.into == "en" and text and shown and shown[0] not in _NARROW
            text += f" {shown}" if space else shown
        return text

    def _tidy(self, text: str) -> str:
        """Removes the spaces that tokenizers leave between Chinese characters."""
        return _SPACE_BETWEEN.sub("", text.strip()) if self.into == "zh" else text.strip()
