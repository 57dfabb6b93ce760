"""Small heads over an embedding: linear layers that give one score, such as LAION's aesthetic predictors."""

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
"""What may stand between the layers."""

LAION_V2 = {
    "layers.0": (1024, 768),
    "layers.2": (128, 1024),
    "layers.4": (64, 128),
    "layers.6": (16, 64),
    "layers.7": (1, 16),
}
"""Weights of LAION's improved aesthetic predictor (christophschuhmann/improved-aesthetic-predictor, `MLP` in
simple_inference.py): linear layers with dropout between them, and no activation."""
LAION_V2_MD5 = "b1047fd767a00134b8fd6529bf19521a"
"""Of `sac+logos+ava1-l14-linearMSE.pth`."""


@dataclass(frozen=True)
class Head:
    """Linear layers with one activation between them."""

    layers: list[tuple[np.ndarray, np.ndarray]]
    """Weight (out, in) and bias (out,) of each, float64."""
    activation: str = "none"

    @property
    def width(self) -> int:
        """Numbers in the embedding that it reads."""
        return int(self.layers[0][0].shape[1])

    def collapsed(self) -> "Head":
        """The same function as one layer: linear layers with nothing between them are one linear layer."""
        if self.activation != "none":
            return self
        weight, bias = self.layers[0]
        for w, b in self.layers[1:]:
            weight, bias = w @ weight, w @ bias + b
        return Head([(weight, bias)])

    def score(self, embedding: np.ndarray) -> float:
        """The score of one embedding (width,), computed in float64."""
        x = embedding.astype(np.float64)
        for number, (weight, bias) in enumerate(self.layers):
            x = weight @ (x if number == 0 else ACTIVATIONS[self.activation](x)) + bias
        return float(x[0])


def read_head(key: str, path: Path, activation: str = "none") -> Head:
    """Reads any head whose tensors are weights and biases of linear layers, in the order of the numbers in their names.

    Raises:
        UserError: the file cannot be read, the layers do not follow one on the other, or the last gives no one number.
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
    """LAION's aesthetic predictor V2, its layers collapsed into one.

    The original .pth must be the file that is known by its md5; as safetensors it must have the layers of that.

    Raises:
        UserError: it is another file, or has other layers.
    """
    if path.suffix != ".safetensors":
        found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if found != LAION_V2_MD5:
            raise UserError(f"{path}: md5 is {found}, expected {LAION_V2_MD5}; fetch it again", key)
    tensors = read_tensors(key, path)
    expected = {f"{n}.weight": s for n, s in LAION_V2.items()} | {f"{n}.bias": s[:1] for n, s in LAION_V2.items()}
    for name in sorted(expected.keys() | tensors.keys()):
        shape = tuple(tensors[name].shape) if name in tensors else None
        if shape != expected.get(name):
            raise UserError(f"{path}: {name} is {shape or 'missing'}, expected {expected.get(name, 'none')}", key)
    return read_head(key, path).collapsed()


def read_laion_v1(key: str, path: Path, width: int) -> Head:
    """LAION's aesthetic predictor V1 (LAION-AI/aesthetic-predictor): one linear layer, `weight` and `bias`.

    Raises:
        UserError: it has other tensors.
    """
    tensors = read_tensors(key, path)
    found = {name: tuple(tensor.shape) for name, tensor in sorted(tensors.items())}
    expected = {"bias": (1,), "weight": (1, width)}
    if found != expected:
        raise UserError(f"{path}: has {_shapes(found)}; expected {_shapes(expected)}", key)
    return read_head(key, path)


def _shapes(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _layer(key: str, path: Path, dot: str, tensors: "dict[str, torch.Tensor]") -> tuple[np.ndarray, np.ndarray]:
    weight = tensors[f"{dot}weight"].double().numpy()
    if weight.ndim != 2:
        raise UserError(f"{path}: {dot}weight has the shape {weight.shape}; expected two dimensions", key)
    if f"{dot}bias" not in tensors:
        return weight, np.zeros(len(weight))
    bias = tensors[f"{dot}bias"].double().numpy()
    if bias.shape != weight.shape[:1]:
        raise UserError(f"{path}: {dot}bias has the shape {bias.shape}, expected {weight.shape[:1]}", key)
    return weight, bias


def _natural(stem: str) -> list[tuple[int, str]]:
    """Order by the numbers in a name: layers.2 before layers.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", stem)]
