"""The signal `aesthetic`: a score by an aesthetic model, or offline, where none is available, by photo statistics."""

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from curation.errors import UserError
from curation.models.checkpoints import Origin
from curation.models.plugin import PluginParams
from curation.models.vision.embedding_heads import Head, read_head, read_laion_v1, read_laion_v2
from curation.signals.base import PerImage, Row, Scores


class PhotoStats(PerImage):
    """A score from 0 (poor) to 10 (good) from photo statistics.

    It is a fixed weighted mean of classical photo statistics, read from the signal `photo`. It finds dull, flat,
    blurred or badly exposed images; it does not know composition or subject, and correlates weakly with what people
    like.
    """

    name = "aesthetic"
    backend = "photo_stats"
    version = 1
    side = None
    cost = 0.1
    needs = ("photo",)
    columns = {"aesthetic": pa.float32()}

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        return {"aesthetic": photo_stats(row.signals)}


class HeadParams(PluginParams):
    """Parameters of a prediction head on the embedding."""

    checkpoint: str = Field(description="the head's file, below the folder of models")


class _OnEmbedding(PerImage, ABC):
    """An aesthetic score by a prediction head on the stored embedding; a change of head recomputes no embedding."""

    name = "aesthetic"
    version = 1
    cost = 0.2
    needs = ("embedding",)
    columns = {"aesthetic": pa.float32()}
    Params: type[PluginParams] = HeadParams
    params: HeadParams

    def files(self) -> dict[str, Path]:
        """See Signal."""
        path = self.models.find_file("signals.aesthetic.checkpoint", self.params.checkpoint)
        return {path.name: path}

    def check(self) -> None:
        """See Signal."""
        super().check()
        if self.head.width != self._width:
            (path,) = self.files().values()
            raise UserError(
                f"{path} reads embeddings of {self.head.width} numbers; those of signals.embedding have {self._width}",
                "signals.aesthetic.checkpoint",
            )

    def load(self) -> None:
        """See Signal."""
        _ = self.head

    @cached_property
    def head(self) -> Head:
        """The prediction head. Raises UserError if its file cannot be used."""
        (path,) = self.files().values()
        return self.read("signals.aesthetic.checkpoint", path)

    @abstractmethod
    def read(self, key: str, path: Path) -> Head:
        """Reads a prediction head of this backend's kind. Raises UserError if the file holds no such head."""

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        return {"aesthetic": self.head.score(row.signals["embedding"])}

    @property
    def _width(self) -> int:
        return int(self.needed["embedding"].columns["embedding"].list_size)


class LaionV2(_OnEmbedding):
    """LAION's aesthetic predictor V2 on OpenAI's CLIP ViT-L/14: about 1 (poor) to 10 (good), typically 5 on the web.

    The checkpoint is the original `sac+logos+ava1-l14-linearMSE.pth`, or its tensors as safetensors.
    """

    backend = "laion_v2"
    origins = (
        Origin(
            "LAION aesthetic predictor V2 (needs the embedding of CLIP ViT-L/14)",
            "Apache-2.0",
            "git clone --depth 1 https://github.com/christophschuhmann/improved-aesthetic-predictor MODELS/laion-v2"
            "  # then checkpoint: laion-v2/sac+logos+ava1-l14-linearMSE.pth",
        ),
    )

    def read(self, key: str, path: Path) -> Head:
        """See _OnEmbedding."""
        return read_laion_v2(key, path)


class LaionV1(_OnEmbedding):
    """LAION's aesthetic predictor V1, one linear layer over the embedding of the CLIP model that it was trained for."""

    backend = "laion_v1"
    origins = (
        Origin(
            "LAION aesthetic predictor V1 (sa_0_4_vit_l_14_linear.pth for CLIP ViT-L/14)",
            "MIT",
            "git clone --depth 1 https://github.com/LAION-AI/aesthetic-predictor MODELS/laion-v1"
            "  # then checkpoint: laion-v1/sa_0_4_vit_l_14_linear.pth",
        ),
    )

    def read(self, key: str, path: Path) -> Head:
        """See _OnEmbedding."""
        return read_laion_v1(key, path, self._width)


class AnyHeadParams(HeadParams):
    """Parameters of any prediction head on the embedding, such as the user's own."""

    activation: Literal["none", "relu", "tanh", "sigmoid"] = Field("none", description="between the layers")


class AnyHead(_OnEmbedding):
    """Any prediction head of linear layers, trained on the same embedding.

    The checkpoint is a safetensors file with tensors NAME.weight and NAME.bias.
    """

    backend = "head"
    Params = AnyHeadParams
    params: AnyHeadParams

    def read(self, key: str, path: Path) -> Head:
        """See _OnEmbedding."""
        if path.suffix != ".safetensors":
            raise UserError(f"{path} is no safetensors file", key)
        return read_head(key, path, self.params.activation).collapsed()


def photo_stats(photo: Any) -> float:
    """Returns the weighted mean of six statistics, each mapped to 0..1, times 10, less a share for clipped pixels.

    Args:
        photo: a row's values in the columns of the signal `photo`.

    Returns:
        The score, 0..10.
    """
    parts = (
        (_ramp(photo["sharpness"], 5, 40), 2.0),
        (_ramp(photo["colourfulness"], 5, 60), 1.5),
        (_ramp(photo["contrast"], 0.05, 0.22), 1.5),
        (_ramp(photo["entropy"], 4, 7.5), 1.5),
        (1 - min(1.0, abs(photo["brightness"] - 0.48) / 0.4), 1.0),
        (1 - _ramp(photo["border_share"], 0.02, 0.4), 0.5),
    )
    mean = sum(value * weight for value, weight in parts) / sum(weight for _, weight in parts)
    clipped = _ramp(photo["clip_low"] + photo["clip_high"], 0.1, 0.8)
    return 10 * mean * (1 - 0.5 * clipped)


def _ramp(value: float, low: float, high: float) -> float:
    """Returns 0 up to `low`, 1 from `high` on, and a linear interpolation between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))
