"""The signal `safety`: the probability that an image is unsafe to show, as the model or the prompts define it.

No method without a model is reliable, so there is no default backend.
"""

from collections.abc import Sequence

import pyarrow as pa
from pydantic import Field

from curation.models.checkpoints import Origin
from curation.models.plugin import PluginParams
from curation.signals._by_labels import ColumnParams, HfColumns
from curation.signals._by_prompts import Prompts, ZeroShot
from curation.signals.base import Row, Scores


class SafetyClassifierParams(ColumnParams):
    """An NSFW classifier and the columns that its labels map to."""

    main = "unsafe"
    example = (
        "`safety: {checkpoint: nsfw-vit, labels: {nsfw: unsafe}}`, or `safety: {backend: zero_shot, unsafe: […], "
        "safe: […]}` with prompts"
    )


class SafetyByClassifier(HfColumns):
    """Safety by an image classifier of Hugging Face transformers, whose labels the recipe maps to columns.

    Columns:
        unsafe: probability of the labels mapped to this column, 0..1.
        others: further columns that the recipe maps labels to, 0..1.
    """

    name = "safety"
    columns = {"unsafe": pa.float32()}
    Params = SafetyClassifierParams
    params: SafetyClassifierParams
    origins = (
        Origin(
            "AdamCodd/vit-base-nsfw-detector (labels sfw, nsfw; for photos and drawings, not for generated images)",
            "Apache-2.0",
            "hf download AdamCodd/vit-base-nsfw-detector config.json preprocessor_config.json model.safetensors "
            "--local-dir MODELS/nsfw-vit",
        ),
        Origin(
            "Falconsai/nsfw_image_detection (labels normal, nsfw)",
            "Apache-2.0",
            "hf download Falconsai/nsfw_image_detection config.json preprocessor_config.json model.safetensors "
            "--local-dir MODELS/nsfw-falconsai",
        ),
    )


class SafetyPromptParams(PluginParams):
    """Prompts for what is unsafe and for what is not."""

    unsafe: Prompts = Field(description="prompts, each for one thing that is unsafe")
    safe: Prompts = Field(description="prompts for what pictures show otherwise")


class SafetyByPrompts(ZeroShot):
    """Safety by comparing the stored embedding with prompts.

    It covers what the prompts name, as far as CLIP knows it; publish only figures for it that were measured on labels.

    Columns:
        unsafe: softmax probability of the unsafe prompts together, over all prompts, 0..1.
    """

    name = "safety"
    columns = {"unsafe": pa.float32()}
    Params = SafetyPromptParams
    params: SafetyPromptParams

    @property
    def classes(self) -> Sequence[Sequence[str]]:
        """The classes: each prompt is one of its own, since a mean of different things would resemble none of them."""
        return [[prompt] for prompt in (*self.params.unsafe, *self.params.safe)]

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        return {"unsafe": float(self.shares(row)[: len(self.params.unsafe)].sum())}
