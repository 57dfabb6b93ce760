"""Captions images with CogVLM-1.1-chat (arXiv:2311.03079), the captioner of the Kolors paper, implemented here."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from curation.captions.base import Captioner, Request
from curation.models.checkpoints import Origin
from curation.models.cogvlm.files import Files
from curation.models.device import device
from curation.models.plugin import PluginParams
from curation.models.text.generation import Answer, Halving, rows_that_fit
from curation.recipe.prompts import PUBLISHED

if TYPE_CHECKING:
    from curation.captions.backends._cogvlm_writer import Writer
    from curation.models.cogvlm.checkpoint import CogVLMCheckpoint


KEY = "captions.captioner"
PROMPT = PUBLISHED["pixart"]
"""The prompt of a request that has none."""
LONGEST = 4
"""Long side over short side up to which an image is decoded so large that its short side need not be scaled up."""
AT_MOST = 64
"""Largest number of images that a GPU is given at once: more would gain little."""
LONG_PROMPT = "long_prompt"
"""`Answer.failed` of a request whose prompt leaves no room for a caption."""


class CogVLMParams(PluginParams):
    """Parameters of CogVLM."""

    checkpoint: str = Field(description="folder with config.json and safetensors, below the folder of models")
    tokenizer: str | None = Field(None, description="folder of Vicuna's tokenizer; default: beside the weights")
    max_new_tokens: int = Field(256, ge=1, description="tokens at which a caption is cut")
    temperature: float = Field(0.6, gt=0, description="for sampling, which begins at the second attempt")
    top_p: float = Field(0.95, gt=0, le=1, description="for sampling: share of the most probable tokens")
    batch_size: int | None = Field(None, ge=1, description="images at once on a GPU; default: by its free memory")
    device_map: Literal["auto"] | None = Field(
        None, description='"auto" spreads the model over several GPUs, where one has less than 40 GB'
    )


class CogVLM(Captioner):
    """The model of 17.6 billion parameters: greedy at the first attempt, sampled if that caption had flags."""

    name = "cogvlm"
    version = 1
    on_gpu = True
    signals = ("ocr",)
    max_text = 160
    """Largest number of characters: a Chinese one takes up to three of the 820 tokens that the image leaves of 2048,
    and a caption needs 256."""
    Params = CogVLMParams
    params: CogVLMParams
    placement = frozenset({"batch_size", "device_map"})
    origins = (
        Origin(
            "CogVLM-1.1-chat (THUDM/cogvlm-chat-hf)",
            "code Apache-2.0; weights: CogVLM Model License",
            'hf download THUDM/cogvlm-chat-hf --include "*.json" "*.safetensors" --local-dir MODELS/cogvlm-chat',
        ),
        Origin(
            "tokenizer of Vicuna-7B v1.5 (lmsys/vicuna-7b-v1.5), which CogVLM reads and writes with",
            "Llama 2 Community License",
            'hf download lmsys/vicuna-7b-v1.5 --include "tokenizer*" "special_tokens_map.json" '
            "--local-dir MODELS/vicuna-tokenizer",
        ),
    )

    @cached_property
    def _files(self) -> Files:
        folder = self.models.find(f"{KEY}.checkpoint", self.params.checkpoint)
        words = self.params.tokenizer
        return Files(KEY, folder, None if words is None else self.models.find(f"{KEY}.tokenizer", words))

    @cached_property
    def _checkpoint(self) -> "CogVLMCheckpoint":
        from curation.models.cogvlm.checkpoint import CogVLMCheckpoint

        return CogVLMCheckpoint(self._files)

    @property
    def licences(self) -> list[str]:
        """See Plugin. There is only one such model, so the licences do not depend on where the checkpoint lies."""
        return [f"{origin.name}: {origin.licence}" for origin in self.origins]

    @property
    def side(self) -> int:  # type: ignore[override]
        """Side in pixels of the model's square input."""
        return self._files.image_size

    def side_for(self, width: int, height: int) -> int:
        """See Captioner. The short side is at least the input's, unless the aspect ratio is over 4."""
        return math.ceil(self.side * min(LONGEST, max(width, height) / min(width, height)))

    def files(self) -> dict[str, Path]:
        """See Plugin."""
        return self._files.all

    def check(self) -> None:
        """See Plugin."""
        super().check()
        self._checkpoint.check()

    def fit(self) -> None:
        """See Captioner."""
        self._files.fit(self.params.device_map == "auto")

    def load(self) -> None:
        """See Plugin."""
        _ = self._writer
        self.batch_size = self._at_once.limit

    @cached_property
    def _writer(self) -> "Writer":
        from curation.captions.backends._cogvlm_writer import Writer

        params, checkpoint = self.params, self._checkpoint
        model = checkpoint.load(device(), params.device_map == "auto")
        return Writer(model, checkpoint.tokenizer, params.max_new_tokens, params.temperature, params.top_p)

    @cached_property
    def _at_once(self) -> Halving:
        """The batching of rows; on a CPU one at a time, since a batch gains nothing there and its size changes bits."""
        if self._writer.model.device.type == "cpu":
            return Halving(1)
        return Halving(
            self.params.batch_size or rows_that_fit(self._writer.row_bytes, AT_MOST, model=self._writer.model)
        )

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the model's input: uint8 (S, S, 3), channels R, G, B; the image is stretched to a square."""
        return squashed(pixels, self.side)

    def caption(self, requests: Sequence[Request]) -> list[Answer]:
        """See Captioner. Rows whose prompts leave different room are batched apart, so that none depends on another."""
        rows = [request if request.prompt else replace(request, prompt=PROMPT) for request in requests]
        by_room: defaultdict[int, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            by_room[self._writer.room(self._writer.prompt_ids(row.prompt))].append(index)
        by_row: dict[int, Answer] = {}
        for room, indices in by_room.items():
            if room < 1:
                answers = [Answer(failed=LONG_PROMPT) for _ in indices]
            else:
                answers = self._at_once([rows[i] for i in indices], partial(self._writer.write, room=room))
            by_row |= zip(indices, answers, strict=True)
        return [by_row[index] for index in range(len(rows))]


def squashed(pixels: np.ndarray, side: int) -> np.ndarray:
    """Resizes an image to a square, whatever its shape, by bicubic interpolation with antialiasing.

    torch takes a fifth of Pillow's time, and differs by 0.1 of 255 levels on average.

    Args:
        pixels: uint8 (H, W, 3), channels B, G, R.
        side: side of the square, in pixels.

    Returns:
        uint8 (side, side, 3), channels R, G, B.
    """
    import torch

    planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    square = torch.nn.functional.interpolate(planes, size=(side, side), mode="bicubic", antialias=True)
    return np.ascontiguousarray(square[0].flip(0).permute(1, 2, 0).numpy())
