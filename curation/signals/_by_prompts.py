"""Base of zero-shot signals, which compare stored embeddings with prompts (Radford et al. 2021, CLIP, section 3.1)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
from pydantic import BeforeValidator, Field

from curation.signals.base import PerImage, Row, Signal

if TYPE_CHECKING:
    from curation.models.vision.clip import Clip
    from curation.signals.embedding import OpenClip


class ReadsTexts(Signal):
    """Base of signals that compare the stored embedding with texts; they read no pixels.

    The tokenizer's files are part of the fingerprint.
    """

    needs = ("embedding",)

    @property
    def embedding(self) -> "OpenClip":
        """The signal whose stored vectors are compared."""
        return cast("OpenClip", self.needed["embedding"])

    def files(self) -> dict[str, Path]:
        """See Signal."""
        return self.embedding.checkpoint.text_files()

    def check(self) -> None:
        """See Signal."""
        super().check()
        self.embedding.checkpoint.tokenizer()


Prompt = Annotated[str, Field(min_length=1)]
Prompts = Annotated[
    list[Prompt], Field(min_length=1), BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]
"""One prompt or a list of them."""


def class_vectors(clip: "Clip", classes: Sequence[Sequence[str]]) -> np.ndarray:
    """Returns the mean of the prompts' embeddings of each class: float32 (classes, width), L2-normalised."""
    vectors = np.stack([clip.texts(prompts).mean(0) for prompts in classes])
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def probabilities(clip: "Clip", embedding: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Returns the probability of each class for one image: softmax over the model's logits.

    The logits are cosines times the model's `logit_scale`. A SigLIP, which is trained to judge each pair by itself with
    a sigmoid, also has a bias; it is the same for all classes and cancels in the softmax.

    Args:
        clip: the model that made the embedding.
        embedding: float16 or float32 (width,), L2-normalised.
        vectors: float32 (classes, width), from `class_vectors`.

    Returns:
        float32 (classes,), adding up to 1; NaN where a vector holds NaN.
    """
    logits = clip.logits(embedding[None], vectors)[0]  # one picture: a batch would change the last bits
    shares = np.exp(logits - logits.max())
    return np.asarray(shares / shares.sum())


class ZeroShot(ReadsTexts, PerImage, ABC):
    """Base of signals that compare the stored embedding with prompts: other prompts recompute no embedding.

    The prompts are encoded by the text half of the model that made the embedding, so they must be in a language that it
    was trained on.
    """

    backend = "zero_shot"
    version = 1
    cost = 0.2

    @property
    @abstractmethod
    def classes(self) -> Sequence[Sequence[str]]:
        """The prompts of each class."""

    @cached_property
    def vectors(self) -> np.ndarray:
        """The vector of each class; see `class_vectors`."""
        return class_vectors(self.clip, self.classes)

    @property
    def clip(self) -> "Clip":
        """The model that made the embedding."""
        return self.embedding.clip

    def load(self) -> None:
        """See Signal."""
        _ = self.vectors

    def shares(self, row: Row) -> np.ndarray:
        """Returns the probability of each class for a row; see `probabilities`."""
        return probabilities(self.clip, np.asarray(row.signals["embedding"]), self.vectors)
