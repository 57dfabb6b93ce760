"""The signal `clip`: how well the original caption matches the image."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from curation.errors import RowError
from curation.signals._by_prompts import ReadsTexts
from curation.signals.base import Row, Scores

READ = 4000
"""Number of characters of a caption that are read: many times the context of any of these models (64 to 77 tokens)."""


class ClipScore(ReadsTexts):
    """The cosine between image and caption, from the stored embedding and the text half of its model.

    CLIPScore (Hessel et al. 2021) is 2.5 times this cosine, with negative ones counted as 0. Only scores of the same
    model can be compared: LAION-5B (Schuhmann et al. 2022) kept English pairs from 0.28 on, by OpenAI's ViT-B/32. A
    model trained on English says nothing about a Chinese caption; for those, use a multilingual embedding, such as a
    SigLIP 2.

    Columns:
        clip_score: cosine of the image's embedding and the caption's, -1..1; null without a caption. Of a caption
            longer than the model's context, the beginning is compared.
    """

    name = "clip"
    version = 1
    cost = 150.0  # the text half of ViT-L/14 on one core
    inputs = ("caption",)
    columns = {"clip_score": pa.float32()}

    def load(self) -> None:
        """See Signal."""
        _ = self.embedding.clip

    def score(self, rows: Sequence[Row]) -> list[Scores | RowError]:
        """See Signal."""
        captions = [" ".join((row.sample["caption"] or "").split())[:READ] for row in rows]
        texts = self.embedding.clip.texts([caption for caption in captions if caption])
        vectors = iter(texts)
        return [_cosine(row, next(vectors)) if caption else {} for row, caption in zip(rows, captions, strict=True)]


def _cosine(row: Row, text: np.ndarray) -> Scores:
    image = np.asarray(row.signals["embedding"], np.float32)
    return {"clip_score": float(image @ text / np.linalg.norm(image))}
