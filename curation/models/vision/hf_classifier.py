"""Classifies images by any checkpoint folder of Hugging Face transformers."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from curation.errors import UserError
from curation.images import middle
from curation.models.device import device
from curation.models.hf_folder import LOCAL, HfFolder

if TYPE_CHECKING:
    import torch


ELONGATED = 16
"""Long side over short side above which only the middle of an image is classified: a processor that scales the short
side to its size would turn a strip a few pixels wide into gigabytes."""
WANTED = "an image classifier's configuration"


class Classifier(HfFolder):
    """One image-classification checkpoint: its labels, a check of its files, and its probabilities.

    Args:
        key: the recipe's key that names the checkpoint, for error messages.
        folder: the checkpoint's folder.
    """

    def __init__(self, key: str, folder: Path) -> None:
        super().__init__(key, folder)
        self._model: Any = None

    @cached_property
    def files(self) -> dict[str, Path]:
        """The files that are read, by name. Raises UserError as `listed` does."""
        config = self.json("config.json")
        if "pretrained_cfg" not in config:  # a timm model has its preprocessing there
            return self.listed(["preprocessor_config.json"])
        if ":" in str(config.get("architecture")):  # timm would look for it on a hub
            raise UserError(
                f"{self.folder}/config.json: expected timm's name of an architecture, found {config['architecture']}",
                self.key,
            )
        return self.listed([])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the model's outputs; a label may occur twice.

        Raises:
            UserError: the model is a regression, or has fewer than two classes that exclude each other.
        """
        path = self.folder / "config.json"
        labels = tuple(str(self.config.id2label[i]) for i in sorted(self.config.id2label))
        if self.config.problem_type == "regression" or (len(labels) < 2 and self.exclusive):
            raise UserError(
                f"{path}: expected two labels or more, found {len(labels)} (problem_type {self.config.problem_type})",
                self.key,
            )
        return labels

    @property
    def exclusive(self) -> bool:
        """Whether an image has exactly one label, so that the probabilities add up to 1."""
        return bool(self.config.problem_type != "multi_label_classification")

    @cached_property
    def side(self) -> int:
        """Long side in pixels that an image should have: three times the input size of the checkpoint's processor.

        An image with an aspect ratio of up to 3 then has a short side of at least the input size, unless it is smaller
        itself.
        """
        return 3 * max(self._blank.shape[-2:])

    def check(self) -> None:
        """Builds the model with empty tensors of the shapes in the files and runs a blank image; reads no weights.

        Raises:
            UserError: the folder is no checkpoint of an image classifier, or its parts do not fit each other.
        """
        import torch

        # a tensor expanded from one number takes no memory, whatever its shape
        tensors = {name: torch.zeros(()).expand(shape) for name, shape in self.shapes().items()}
        model, wanted = self._build(tensors, torch.float32), (1, len(self.labels))
        wanting = "a model that takes what its image processor makes"
        with self.explained(self.files["config.json"], wanting), torch.inference_mode():
            actual = tuple(model(pixel_values=self._blank).logits.shape)
        if actual != wanted:
            raise UserError(f"{self.folder}: expected {wanted[1]} outputs by config.json, found {actual}", self.key)

    def load(self) -> None:
        """Loads the weights: in float32 on a CPU, in bfloat16 on a GPU. Raises UserError as `check`."""
        import torch
        from safetensors.torch import load_file

        where = device()
        tensors: dict[str, torch.Tensor] = {}
        for path in self.weights:
            tensors |= load_file(path)
        dtype = torch.bfloat16 if where == "cuda" else torch.float32
        self._model = self._build(tensors, dtype).to(where).requires_grad_(False)

    def probabilities(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the probability of each label: softmax, or sigmoid if labels do not exclude each other.

        On a CPU images are classified one at a time, so that a result does not depend on the other images of a batch.

        Args:
            images: uint8 (H, W, 3), channels B, G, R.

        Returns:
            float32 (n, labels), 0..1; NaN where the model gives NaN.
        """
        import torch

        logits = []
        step = len(images) if self._model.device.type == "cuda" else 1
        with torch.inference_mode():
            for i in range(0, len(images), step or 1):
                pixels = self._prepare(images[i : i + step]).to(self._model.device, self._model.dtype)
                logits.append(self._model(pixel_values=pixels).logits.float())
            if not logits:
                return np.zeros((0, len(self.labels)), np.float32)
            whole = torch.cat(logits)
            shares = torch.softmax(whole, 1) if self.exclusive else torch.sigmoid(whole)
        return np.asarray(shares.cpu().numpy())

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoImageProcessor

        return AutoImageProcessor.from_pretrained(self.folder, **LOCAL)

    @cached_property
    def _blank(self) -> "torch.Tensor":
        """The model's input for a black image."""
        path = self.files.get("preprocessor_config.json", self.files["config.json"])
        with self.explained(path, "an image processor's configuration"):
            return self._prepare([np.zeros((64, 64, 3), np.uint8)])

    def _build(self, tensors: "Mapping[str, torch.Tensor]", dtype: "torch.dtype") -> Any:
        from transformers import AutoModelForImageClassification

        return self.built(self.kind(AutoModelForImageClassification, WANTED), tensors, WANTED, dtype=dtype)

    def _prepare(self, images: Sequence[np.ndarray]) -> "torch.Tensor":
        """Returns the model's input, float32 (n, 3, H, W), from the checkpoint's own processor."""
        pictures = [Image.fromarray(middle(image, ELONGATED)[:, :, ::-1]) for image in images]
        return self._processor(pictures, return_tensors="pt")["pixel_values"]
