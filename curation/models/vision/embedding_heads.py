"""Reads and runs prediction heads on an embedding: linear layers that give one score, such as LAION's predictors."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curation.errors import UserError
from curation.models.checkpoints import read_tensors

if TYPE_CHECKING:
    import torch


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
"""Activations that may be applied between the layers, by name."""

LAION_V2 = {
    "layers.0": (1024, 768),
    "layers.2": (128, 1024),
    "layers.4": (64, 128),
    "layers.6": (16, 64),
    "layers.7": (1, 16),
}
"""Weight shapes, (out, in) by layer, of LAION's improved aesthetic predictor
(christophschuhmann/improved-aesthetic-predictor, `MLP` in simple_inference.py): linear layers with dropout between them
and no activation."""
LAION_V2_MD5 = "b1047fd767a00134b8fd6529bf19521a"
"""MD5 of `sac+logos+ava1-l14-linearMSE.pth`."""


@dataclass(frozen=True)
class Head:
    """A prediction head on the embedding: linear layers with the same activation between them."""

    layers: list[tuple[np.ndarray, np.ndarray]]
    """Weight (out, in) and bias (out,) of each layer, float64."""
    activation: str = "none"

    @property
    def width(self) -> int:
        """Dimension of the embedding that the head reads."""
        return int(self.layers[0][0].shape[1])

    def collapsed(self) -> "Head":
        """Returns an equivalent head of one layer, if no activation separates the layers; otherwise the head itself."""
        if self.activation != "none":
            return self
        weight, bias = self.layers[0]
        for w, b in self.layers[1:]:
            weight, bias = w @ weight, w @ bias + b
        return Head([(weight, bias)])

    def score(self, embedding: np.ndarray) -> float:
        """Returns the score of one embedding of shape (width,), computed in float64."""
        x = embedding.astype(np.float64)
        for number, (weight, bias) in enumerate(self.layers):
            x = weight @ (x if number == 0 else ACTIVATIONS[self.activation](x)) + bias
        return float(x[0])


def read_head(key: str, path: Path, activation: str = "none") -> Head:
    """Reads a head whose tensors are weights and biases of linear layers, in the order of the numbers in their names.

    Args:
        key: the recipe's key that names the file, for error messages.
        path: the checkpoint.
        activation: key of ACTIVATIONS.

    Raises:
        UserError: the file cannot be read, successive layers do not fit, or the last layer does not give one number.
    """
    tensors = read_tensors(key, path)
    stems = sorted({name.rpartition(".")[0] for name in tensors}, key=_natural)
    layers = []
    for stem in stems:
        dot = f"{stem}." if stem else ""
        odd = next(
            (n for n in tensors if n.rpartition(".")[0] == stem and n not in (dot + "weight", dot + "bias")), None
        )
        if odd or f"{dot}weight" not in tensors:
            raise UserError(f"{path}: {odd or stem} is no linear layer; expected NAME.weight and NAME.bias only", key)
        layers.append(_layer(key, path, dot, tensors))
    for (before, _), (after, _), stem in zip(layers, layers[1:], stems[1:], strict=False):
        if after.shape[1] != before.shape[0]:
            raise UserError(f"{path}: {stem} takes {after.shape[1]} numbers, but is given {before.shape[0]}", key)
    if layers[-1][0].shape[0] != 1:
        raise UserError(f"{path}: the last layer gives {layers[-1][0].shape[0]} numbers, expected 1", key)
    return Head(layers, activation)


def read_laion_v2(key: str, path: Path) -> Head:
    """Reads LAION's aesthetic predictor V2 and collapses its layers into one.

    The original .pth must have the known MD5; a safetensors file must have layers of the same names and shapes.

    Raises:
        UserError: the file has another MD5, or other layers.
    """
    if path.suffix != ".safetensors":
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if md5 != LAION_V2_MD5:
            raise UserError(f"{path}: md5 is {md5}, expected {LAION_V2_MD5}; fetch it again", key)
    tensors = read_tensors(key, path)
    expected = {f"{n}.weight": s for n, s in LAION_V2.items()} | {f"{n}.bias": s[:1] for n, s in LAION_V2.items()}
    for name in sorted(expected.keys() | tensors.keys()):
        shape = tuple(tensors[name].shape) if name in tensors else None
        if shape != expected.get(name):
            raise UserError(f"{path}: {name} is {shape or 'missing'}, expected {expected.get(name, 'none')}", key)
    return read_head(key, path).collapsed()


def read_laion_v1(key: str, path: Path, width: int) -> Head:
    """Reads LAION's aesthetic predictor V1 (LAION-AI/aesthetic-predictor): one linear layer, `weight` and `bias`.

    Raises:
        UserError: the file has other tensors, or reads embeddings of another dimension than `width`.
    """
    tensors = read_tensors(key, path)
    shapes = {name: tuple(tensor.shape) for name, tensor in sorted(tensors.items())}
    expected = {"bias": (1,), "weight": (1, width)}
    if shapes != expected:
        raise UserError(f"{path}: has {_shapes(shapes)}; expected {_shapes(expected)}", key)
    return read_head(key, path)


def _shapes(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _layer(key: str, path: Path, dot: str, tensors: "dict[str, torch.Tensor]") -> tuple[np.ndarray, np.ndarray]:
    weight = tensors[f"{dot}weight"].double().numpy()
    if weight.ndim != 2 or not weight.size:
        raise UserError(f"{path}: {dot}weight has the shape {weight.shape}; expected two dimensions", key)
    if f"{dot}bias" not in tensors:
        return weight, np.zeros(len(weight))
    bias = tensors[f"{dot}bias"].double().numpy()
    if bias.shape != weight.shape[:1]:
        raise UserError(f"{path}: {dot}bias has the shape {bias.shape}, expected {weight.shape[:1]}", key)
    return weight, bias


def _natural(stem: str) -> list[tuple[int, str]]:
    """Returns a sort key by the numbers in a name, so that layers.2 comes before layers.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", stem)]
