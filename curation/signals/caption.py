"""The original text of an image: its length and language. Reads no pixels."""

from functools import cache
from typing import Any, ClassVar

import pyarrow as pa

from curation.signals.base import PerImage, Row, Scores

SURE = 0.5
"""Probability below which a language is not named: alt texts are often two words long."""


class Caption(PerImage):
    """Length and language of the original caption.

    Columns:
        caption_length: characters, 0 for none.
        caption_words: words between spaces; for Chinese text say less with this and more with the length.
        caption_lang: ISO 639-1 code by py3langid (a naive Bayes over byte n-grams; Lui and Baldwin 2012), `und` where
            it is not sure; null for an empty caption.
        caption_lang_confidence: its probability, 0..1.
    """

    name: ClassVar[str] = "caption"
    version: ClassVar[int] = 1
    side: ClassVar[int | None] = None
    cost: ClassVar[float] = 0.2
    inputs: ClassVar[tuple[str, ...]] = ("caption",)
    columns: ClassVar[dict[str, pa.DataType]] = {
        "caption_length": pa.int32(),
        "caption_words": pa.int32(),
        "caption_lang": pa.string(),
        "caption_lang_confidence": pa.float32(),
    }

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        text = (row.sample["caption"] or "").strip()
        scores: Scores = {"caption_length": len(text), "caption_words": len(text.split())}
        if any(letter.isalpha() for letter in text):
            language, confidence = _identifier().classify(text[:1000])
            scores |= {
                "caption_lang": language if confidence >= SURE else "und",
                "caption_lang_confidence": float(confidence),
            }
        return scores


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
