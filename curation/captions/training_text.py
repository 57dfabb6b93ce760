"""Chooses the text that a row is trained with: original or synthetic, Chinese or English, by the row's key."""

import re
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from curation.captions.checks.check import count_han
from curation.keys import key_share

TextSource = Literal["original", "synthetic"]
TextLanguage = Literal["zh", "en", "other"]
"""Language of a training text, told by its script; see `language_of`."""

MIN_HAN_SHARE = 0.3
"""Smallest share of Chinese characters among the letters of a Chinese text; one stands for about a short word."""
MAX_KANA_SHARE = 0.1
"""Share of kana above which a text is Japanese, whatever its other characters are."""

_KANA = re.compile("[\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff]")
_LETTER = re.compile(r"[^\W\d_]")
_LATIN = re.compile(r"[A-Za-z]")


class TrainingText(NamedTuple):
    """A row's training text with its source and language; all None if the row has no text."""

    text: str | None
    source: TextSource | None
    language: TextLanguage | None


def trainable(flags: Sequence[str] | None, tolerated: Collection[str]) -> bool:
    """Returns whether a caption and its translation may be used for training: all flags of the caption are tolerated.

    Flags of the translation and of the original caption are ignored.
    """
    return all(flag in tolerated or flag.startswith(("zh_", "original_")) for flag in flags or ())


def training_text(
    key: str,
    original: str | None,
    caption_en: str | None,
    caption_zh: str | None,
    translated: bool | None,
    synthetic_share: float,
    zh_share: float,
) -> TrainingText:
    """Chooses the training text of one row.

    The key's hash under the salt "mix" chooses between original and synthetic, that under "language" the language of a
    synthetic text; the salts differ so that the choices are independent. If the chosen text is missing, the other one
    is used.

    Args:
        key: the row's key.
        original: the caption that came with the image, used unchanged.
        caption_en: the synthetic English caption.
        caption_zh: the synthetic Chinese caption.
        translated: whether `caption_zh` is a translation; it is used only if this is True.
        synthetic_share: share of synthetic texts, 0..1.
        zh_share: share of Chinese among the synthetic texts, 0..1.
    """
    synthetic = _synthetic(key, caption_en, caption_zh if translated else None, zh_share)
    if original is None or not original.strip():
        return synthetic or TrainingText(None, None, None)
    if synthetic and key_share(key, "mix") < synthetic_share:
        return synthetic
    return TrainingText(original, "original", language_of(original))


def language_of(text: str) -> TextLanguage:
    """Returns the language by script: "zh" for enough Chinese characters and few kana, "en" for mostly Latin letters.

    Only scripts are counted and no languages are recognised: French is "en". A text without letters is "other".
    """
    if text.isascii():
        return "en" if _LATIN.search(text) else "other"
    letters = len(_LETTER.findall(text))
    if not letters:
        return "other"
    if len(_KANA.findall(text)) > MAX_KANA_SHARE * letters:
        return "other"
    if count_han(text) >= MIN_HAN_SHARE * letters:
        return "zh"
    return "en" if len(_LATIN.findall(text)) >= 0.5 * letters else "other"


def _synthetic(key: str, english: str | None, chinese: str | None, zh_share: float) -> TrainingText | None:
    has_english = bool(english and english.strip())
    if chinese and chinese.strip() and (not has_english or key_share(key, "language") < zh_share):
        return TrainingText(chinese, "synthetic", "zh")
    return TrainingText(english, "synthetic", "en") if has_english else None
