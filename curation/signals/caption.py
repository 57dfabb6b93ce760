"""The signal `caption`: the length and the language of an image's original caption. It reads no pixels."""

from functools import cache
from typing import Any

import pyarrow as pa

from curation.signals.base import PerImage, Row, Scores

SURE = 0.5
"""Probability below which the language is given as `und`: alt texts are often two words long."""

CHINESE = ("zh", "yue", "wuu")
"""Mandarin, Cantonese and Wu: a short written text can hardly be told apart between them, so all count as zh."""
LANGUAGES = [
    "ar",
    "bg",
    "bn",
    "ca",
    "cs",
    "da",
    "de",
    "el",
    "en",
    "es",
    "et",
    "fa",
    "fi",
    "fr",
    "he",
    "hi",
    "hr",
    "hu",
    "id",
    "it",
    "ja",
    "ko",
    "lt",
    "lv",
    "ms",
    "nl",
    "no",
    "pl",
    "pt",
    "ro",
    "ru",
    "sk",
    "sl",
    "sr",
    "sv",
    "ta",
    "th",
    "tr",
    "uk",
    "vi",
]
"""Languages that are distinguished, besides Chinese: those of most captions on the web. With all of the model's
languages, a rare one would too often be the most probable for two words of English."""


class Caption(PerImage):
    """Length and language of the original caption.

    Columns:
        caption_length: number of characters, 0 without a caption.
        caption_words: number of words between spaces; for Chinese text the length says more.
        caption_lang: ISO 639-1 code by py3langid (a naive Bayes classifier over byte n-grams; Lui and Baldwin 2012),
            `und` if its probability is below 0.5; null for a caption without letters.
        caption_lang_confidence: probability of the language, 0..1.
    """

    name = "caption"
    version = 1
    side = None
    cost = 0.2
    inputs = ("caption",)
    columns = {
        "caption_length": pa.int32(),
        "caption_words": pa.int32(),
        "caption_lang": pa.string(),
        "caption_lang_confidence": pa.float32(),
    }

    def load(self) -> None:
        """See Signal."""
        _identifier()

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        text = (row.sample["caption"] or "").strip()
        scores: Scores = {"caption_length": len(text), "caption_words": len(text.split())}
        if any(letter.isalpha() for letter in text):
            language, confidence = identify(text[:1000])
            scores |= {
                "caption_lang": language if confidence >= SURE else "und",
                "caption_lang_confidence": confidence,
            }
        return scores


def identify(text: str) -> tuple[str, float]:
    """Returns the most probable language of a text and its probability, 0..1."""
    ranked = [(name, float(share)) for name, share in _identifier().rank(text)]
    chinese = sum(share for name, share in ranked if name in CHINESE)
    name, share = next((name, share) for name, share in ranked if name not in CHINESE)
    return ("zh", chinese) if chinese >= share else (name, share)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([*LANGUAGES, *CHINESE])
    return identifier
