"""The signal `embedding`, from which aesthetic score, category, safety and similarity follow without the pixels."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from curation.errors import RowError
from curation.models.checkpoints import ModelAbsent, Models, Origin
from curation.models.plugin import PluginParams
from curation.models.vision.clip import Clip, ClipCheckpoint
from curation.signals.base import Row, Scores, Signal


class OpenClipParams(PluginParams):
    """Parameters of the embedding."""

    checkpoint: str = Field(description="folder or file of weights, below the folder of models")
    model: str | None = Field(
        None, description="open_clip's name of the architecture; default: what open_clip_config.json in the folder says"
    )


class OpenClip(Signal):
    """The image embedding by any CLIP or SigLIP model of open_clip.

    The reference is ViT-L-14-quickgelu with OpenAI's weights, whose embedding has 768 dimensions.

    Columns:
        embedding: L2-normalised vector, float16, of the model's dimension.
    """

    name = "embedding"
    backend = "open_clip"
    version = 1
    cost = 2500.0  # ViT-L/14 on one core
    columns = {"embedding": pa.list_(pa.float16())}  # an instance gives it the model's dimension
    Params = OpenClipParams
    params: OpenClipParams
    origins = (
        Origin(
            "CLIP ViT-L/14 of OpenAI (ViT-L-14-quickgelu)",
            "MIT (the code's), Apache-2.0 (as the hub says of the weights)",
            'hf download timm/vit_large_patch14_clip_224.openai --include "open_clip*" --local-dir MODELS/clip-l14',
        ),
    )

    def __init__(self, params: PluginParams, models: Models | None = None) -> None:
        super().__init__(params, models)
        self.columns = {"embedding": pa.list_(pa.float16(), self._width)}

    @property
    def _width(self) -> int:
        """Dimension of the embedding: the model's, or, if the model is not on this machine, that of the workspace."""
        try:
            return self.checkpoint.width
        except ModelAbsent:
            if self.noted is None:
                raise
            return int(self.noted["widths"]["embedding"])

    @cached_property
    def checkpoint(self) -> ClipCheckpoint:
        """The model's files. Raises UserError if they are missing."""
        key = f"signals.{self.name}"
        return ClipCheckpoint(key, self.params.model, self.models.find(f"{key}.checkpoint", self.params.checkpoint))

    @property
    def side(self) -> int:  # type: ignore[override]
        """Three times the model's input size: an image with an aspect ratio of up to 3 is then never scaled up."""
        return 3 * self.checkpoint.image_size

    def files(self) -> dict[str, Path]:
        """See Signal."""
        return self.checkpoint.files()

    def check(self) -> None:
        """See Signal."""
        super().check()
        self.checkpoint.check()

    @cached_property
    def clip(self) -> Clip:
        """The loaded model; signals that read the embedding also encode texts with it."""
        return Clip(self.checkpoint, threads=self.threads)

    def load(self) -> None:
        """See Signal."""
        _ = self.clip

    def score(self, rows: Sequence[Row]) -> list[Scores | RowError]:
        """See Signal."""
        pictures = [row.picture.bgr(self.side) for row in rows if row.picture is not None]
        return [{"embedding": vector} for vector in self.clip.images(pictures)]
