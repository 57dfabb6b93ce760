"""The signal `category`: what an image shows, as one of a few names, for balancing the dataset.

No method without a model is reliable, so there is no default backend.
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


class CategoryClassifierParams(LabelParams):
    """An image classifier, and the categories that its labels map to."""

    example = (
        "`category: {checkpoint: vit-imagenet}`, or `category: {backend: zero_shot, prompts: {people: a photo of a "
        "person, food: a photo of food}}` with names and prompts of your own"
    )


class CategoryByClassifier(HfClassifier):
    """The category by an image classifier of Hugging Face transformers.

    Columns:
        category: the most probable category; `labels` maps the checkpoint's labels to categories, and a label that it
            does not contain is a category of its own. Labels of the same category count together.
        category_confidence: probability of the category, 0..1.
    """

    name = "category"
    columns = COLUMNS
    Params = CategoryClassifierParams
    params: CategoryClassifierParams
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
        best = int(np.argmax(list(shares.values())))  # a NaN is the maximum, so that such a row passes no predicate
        category = list(shares)[best]
        return {"category": category, "category_confidence": shares[category]}


class CategoryPromptParams(PluginParams):
    """The categories, each described by prompts."""

    prompts: dict[str, Prompts] = Field(min_length=2, description="category: one prompt or a list of them")


class CategoryByPrompts(ZeroShot):
    """The category by comparing the stored embedding with prompts.

    Every image gets one of the categories, so there should also be one for all the rest.

    Columns:
        category: the category whose prompts are most similar to the image.
        category_confidence: its softmax probability over all categories, 0..1.
    """

    name = "category"
    columns = COLUMNS
    Params = CategoryPromptParams
    params: CategoryPromptParams

    @property
    def classes(self) -> Sequence[Sequence[str]]:
        """See ZeroShot."""
        return list(self.params.prompts.values())

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        shares = self.shares(row)
        best = int(shares.argmax())
        return {"category": list(self.params.prompts)[best], "category_confidence": float(shares[best])}
