"""How likely a picture is unsafe to show: nudity, violence, whatever the model or the prompts mean by it.

There is no honest way to tell without a model, so there is no default that runs without one.
"""

from collections.abc import Sequence

import pyarrow as pa
from pydantic import Field

from curation.models.checkpoints import Origin
from curation.models.plugin import PluginParams
from curation.signals._by_labels import ColumnParams, HfColumns
from curation.signals._by_prompts import Prompts, ZeroShot
from curation.signals.base import Row, Scores


class ClassifierParams(ColumnParams):
    """An NSFW classifier and the columns that its labels give."""

    main = "unsafe"
    example = (
        "`safety: {checkpoint: nsfw-vit, labels: {nsfw: unsafe}}`, or `safety: {backend: zero_shot, unsafe: […], "
        "safe: […]}` with prompts"
    )


class SafetyByClassifier(HfColumns):
    """By an image classifier of Hugging Face transformers, whose labels the recipe maps to columns.

    Columns:
        unsafe: probability of the labels mapped to it, 0..1.
        others: as the recipe names them, likewise.
    """

    name = "safety"
    columns = {"unsafe": pa.float32()}
    Params = ClassifierParams
    params: ClassifierParams
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


class PromptParams(PluginParams):
    """What is unsafe and what is not, in words."""

    unsafe: Prompts = Field(description="prompts, each for one thing that is unsafe")
    safe: Prompts = Field(description="prompts for what pictures show otherwise")


class SafetyByPrompts(ZeroShot):
    """By prompts against the stored embedding.

    It knows what the prompts name, as far as CLIP does; publish no figure for it that was not measured on labels.

    Columns:
        unsafe: what the unsafe prompts get of a softmax over all prompts, 0..1.
    """

    name = "safety"
    columns = {"unsafe": pa.float32()}
    Params = PromptParams
    params: PromptParams

    @property
    def classes(self) -> Sequence[Sequence[str]]:
        """Each prompt is a class of its own: a mean of unlike things would be like none of them."""
        return [[prompt] for prompt in (*self.params.unsafe, *self.params.safe)]

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        return {"unsafe": float(self.shares(row)[: len(self.params.unsafe)].sum())}
