"""The original text of an image: its length and language. Reads no pixels."""

from functools import cache
from typing import Any

import pyarrow as pa

from curation.signals.base import PerImage, Row, Scores

SURE = 0.5
"""Probability below which a language is not named: alt texts are often two words long."""

CHINESE = ("zh", "yue", "wuu")
"""Mandarin, Cantonese and Wu: a short written text is hardly ever told from one to the other; all count as zh."""
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
"""Told apart, beside Chinese: those that captions on the web are mostly in. Of all that the model knows, small ones are
too often the likeliest for two words of English."""


class Caption(PerImage):
    """Length and language of the original caption.

    Columns:
        caption_length: characters, 0 for none.
        caption_words: words between spaces; for Chinese text say less with this and more with the length.
        caption_lang: ISO 639-1 code by py3langid (a naive Bayes over byte n-grams; Lui and Baldwin 2012), `und` where
            it is not sure; null for a caption without letters.
        caption_lang_confidence: its probability, 0..1.
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
    """The likeliest language of a text and its probability."""
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
