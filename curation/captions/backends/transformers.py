"""Captions images with any local vision-language model that transformers supports: Qwen-VL, InternVL, GLM-4V …"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from pydantic import Field

from curation.captions.base import Captioner, Request
from curation.images import fit, middle
from curation.models.checkpoints import Origin
from curation.models.device import device
from curation.models.plugin import PluginParams
from curation.models.text.generation import Answer, Halving, rows_that_fit
from curation.recipe.prompts import PUBLISHED

if TYPE_CHECKING:
    from curation.models.text.hf_image_text import ImageText


KEY = "captions.captioner.checkpoint"
PROMPT = PUBLISHED["pixart"]
"""The prompt of a request that has none."""
AT_MOST = 64
"""Largest number of images that a GPU is given at once: more would gain little."""
ELONGATED = 16
"""Long side over short side above which only the middle of an image is shown: processors refuse narrow strips, or scale
them up without bound."""
SHORTEST = 32
"""Smallest short side in pixels: some processors mistake an image of three rows for one with three channels."""


class TransformersParams(PluginParams):
    """Parameters of the captioner."""

    checkpoint: str = Field(description="folder with config.json and safetensors, below the folder of models")
    side: int = Field(1024, ge=64, le=4096, description="long side in pixels at which pictures are shown, at most")
    max_new_tokens: int = Field(256, ge=1, description="tokens at which a caption is cut")
    temperature: float = Field(0.6, gt=0, description="for sampling, which begins at the second attempt")
    top_p: float = Field(0.95, gt=0, le=1, description="for sampling: share of the most probable tokens")
    batch_size: int | None = Field(None, ge=1, description="images at once on a GPU; default: by its free memory")
    device_map: Literal["auto"] | None = Field(None, description='"auto" spreads the model over several GPUs')


class Transformers(Captioner):
    """Captions by any checkpoint that transformers supports: greedy at first, sampled if that caption had flags."""

    name = "transformers"
    version = 1
    on_gpu = True
    signals = ("ocr",)
    Params = TransformersParams
    params: TransformersParams
    placement = frozenset({"batch_size", "device_map"})
    origins = (
        Origin(
            "Qwen3-VL-8B-Instruct (Qwen/Qwen3-VL-8B-Instruct)",
            "Apache-2.0",
            'hf download Qwen/Qwen3-VL-8B-Instruct --include "*.json" "*.safetensors" "*.txt" '
            "--local-dir MODELS/qwen3-vl-8b",
        ),
    )

    @cached_property
    def _checkpoint(self) -> "ImageText":
        from curation.models.text.hf_image_text import ImageText

        return ImageText(KEY, self.models.find(KEY, self.params.checkpoint))

    @property
    def side(self) -> int:  # type: ignore[override]
        """Largest long side in pixels at which pictures are shown."""
        return self.params.side

    def files(self) -> dict[str, Path]:
        """See Plugin."""
        return self._checkpoint.files

    def check(self) -> None:
        """See Plugin."""
        super().check()
        self._checkpoint.check(self.params.side)

    def fit(self) -> None:
        """See Captioner."""
        self._checkpoint.fit(self.params.device_map == "auto")

    def load(self) -> None:
        """See Plugin."""
        self._checkpoint.load(self.params.device_map == "auto")
        self.batch_size = self._at_once.limit

    @cached_property
    def _at_once(self) -> Halving:
        """The batching of rows; on a CPU one at a time, so that no caption depends on the other rows of a batch."""
        if device() == "cpu":
            return Halving(1)
        row = self._checkpoint.row_bytes(self.params.side, self.params.max_new_tokens)
        return Halving(self.params.batch_size or rows_that_fit(row, AT_MOST, model=self._checkpoint.model))

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the image within bounds: uint8 (H, W, 3), channels R, G, B, long side at most `side`."""
        side = self.params.side
        picture = fit(middle(pixels, min(ELONGATED, side // SHORTEST)), side)
        height, width = picture.shape[:2]
        if (scale := SHORTEST / min(height, width)) > 1:
            size = (max(SHORTEST, round(width * scale)), max(SHORTEST, round(height * scale)))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
        return np.ascontiguousarray(picture[:, :, ::-1])

    def caption(self, requests: Sequence[Request]) -> list[Answer]:
        """See Captioner."""
        return self._at_once(requests, self._write)

    def _write(self, requests: Sequence[Request]) -> list[Answer]:
        return self._checkpoint.write(
            [request.image for request in requests],
            [request.prompt or PROMPT for request in requests],
            [request.seed if request.attempt else None for request in requests],
            self.params.max_new_tokens,
            {"temperature": self.params.temperature, "top_p": self.params.top_p},
        )
