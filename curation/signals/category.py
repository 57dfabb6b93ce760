"""What a picture is of, for the balance of the set: one of a few names.

There is no honest way to tell without a model, so there is no default that runs without one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from pydantic import Field

from curation.models.checkpoints import Origin
from curation.models.plugin import PluginParams
from curation.signals._by_labels import HfClassifier, LabelParams
from curation.signals._by_prompts import Prompts, ZeroShot
from curation.signals.base import Row, Scores

COLUMNS = {"category": pa.string(), "category_confidence": pa.float32()}


class ClassifierParams(LabelParams):
    """An image classifier, and which of its labels count as one category."""

    example = (
        "`category: {checkpoint: vit-imagenet}`, or `category: {backend: zero_shot, prompts: {people: a photo of a "
        "person, food: a photo of food}}` with names and prompts of your own"
    )


class CategoryByClassifier(HfClassifier):
    """By an image classifier of Hugging Face transformers.

    Columns:
        category: the likeliest of the checkpoint's labels, by the name that `labels` gives it or its own; labels of one
            name count together.
        category_confidence: its probability, 0..1.
    """

    name = "category"
    columns = COLUMNS
    Params = ClassifierParams
    params: ClassifierParams
    origins = (
        Origin(
            "google/vit-base-patch16-224 (the 1,000 classes of ImageNet)",
            "Apache-2.0",
            "hf download google/vit-base-patch16-224 config.json preprocessor_config.json model.safetensors "
            "--local-dir MODELS/vit-imagenet",
        ),
    )

    def name_of(self, label: str) -> str:
        """See HfClassifier."""
        return self.params.labels.get(label, label)

    def scores_of(self, shares: Mapping[str, float]) -> Scores:
        """See HfClassifier."""
        best = int(np.argmax(list(shares.values())))  # where there is a NaN, the NaN: no such row passes
        category = list(shares)[best]
        return {"category": category, "category_confidence": shares[category]}


class PromptParams(PluginParams):
    """The categories in words."""

    prompts: dict[str, Prompts] = Field(min_length=2, description="category: one prompt or a list of them")


class CategoryByPrompts(ZeroShot):
    """By prompts against the stored embedding. Every picture falls into one of them: give a category for the rest too.

    Columns:
        category: the name whose prompts are likest.
        category_confidence: its share of a softmax over all names, 0..1.
    """

    name = "category"
    columns = COLUMNS
    Params = PromptParams
    params: PromptParams

    @property
    def classes(self) -> Sequence[Sequence[str]]:
        """See ZeroShot."""
        return list(self.params.prompts.values())

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        shares = self.shares(row)
        best = int(shares.argmax())
        return {"category": list(self.params.prompts)[best], "category_confidence": float(shares[best])}
