"""Heads over embeddings: LAION's by the names of their tensors, heads of one's own, and what does not fit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from curation.errors import UserError
from curation.models.vision.embedding_heads import LAION_V2_MD5, read_head, read_laion_v1, read_laion_v2
from tests.checkpoints import laion_v2

KEY = "signals.aesthetic.checkpoint"


def embeddings(count: int, width: int = 768) -> np.ndarray:
    vectors = np.random.default_rng(1).normal(size=(count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def saved(folder: Path, tensors: dict[str, torch.Tensor], name: str = "head.safetensors") -> Path:
    save_file(tensors, folder / name)
    return folder / name


def test_laion_v2_collapses_exactly_to_one_vector(tmp_path: Path) -> None:
    tensors = laion_v2()
    head = read_laion_v2(KEY, saved(tmp_path, tensors))
    layers = [torch.nn.Linear(*tensors[f"layers.{n}.weight"].shape[::-1]) for n in (0, 2, 4, 6, 7)]
    for layer, n in zip(layers, (0, 2, 4, 6, 7), strict=True):
        layer.load_state_dict({"weight": tensors[f"layers.{n}.weight"], "bias": tensors[f"layers.{n}.bias"]})
    model = torch.nn.Sequential(*layers).double()
    expected = model(torch.from_numpy(embeddings(20).astype(np.float64)))[:, 0].tolist()
    assert [w.shape for w, _ in head.layers] == [(1, 768)]
    assert [head.score(e) for e in embeddings(20)] == pytest.approx(expected, abs=1e-9)


def test_another_pth_is_told_by_its_checksum(tmp_path: Path) -> None:
    torch.save(laion_v2(), tmp_path / "sac.pth")
    with pytest.raises(UserError, match=rf"^{KEY}: {tmp_path}/sac.pth: md5 is [0-9a-f]{{32}}, expected {LAION_V2_MD5}"):
        read_laion_v2(KEY, tmp_path / "sac.pth")


Change = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


@pytest.mark.parametrize(("change", "says"), [
    (lambda t: t | {"layers.4.weight": torch.zeros(64, 100)}, r"layers.4.weight is \(64, 100\), expected \(64, 128\)"),
    (lambda t: {n: v for n, v in t.items() if n != "layers.7.bias"}, r"layers.7.bias is missing, expected \(1,\)"),
    (lambda t: t | {"layers.8.weight": torch.zeros(1, 1)}, r"layers.8.weight is \(1, 1\), expected none"),
    (lambda t: laion_v2(width=512), r"layers.0.weight is \(1024, 512\), expected \(1024, 768\)"),
])  # fmt: skip
def test_other_layers_are_not_laions(tmp_path: Path, change: Change, says: str) -> None:
    path = saved(tmp_path, change(laion_v2()))
    with pytest.raises(UserError, match=f"^{KEY}: {path}: {says}$"):
        read_laion_v2(KEY, path)


def test_laion_v1_is_one_linear_layer_as_wide_as_the_embedding(tmp_path: Path) -> None:
    tensors = {"weight": torch.randn(1, 512), "bias": torch.randn(1)}
    torch.save(tensors, tmp_path / "v1.pth")
    head = read_laion_v1(KEY, tmp_path / "v1.pth", 512)
    (vector,) = embeddings(1, 512)
    expected = tensors["weight"].double().numpy() @ vector.astype(np.float64) + tensors["bias"].double().numpy()
    assert head.score(vector) == pytest.approx(float(expected[0]), abs=1e-12)
    with pytest.raises(
        UserError, match=r"v1.pth: has bias \(1,\), weight \(1, 512\); expected bias \(1,\), weight \(1, 768\)$"
    ):
        read_laion_v1(KEY, tmp_path / "v1.pth", 768)


@pytest.mark.parametrize(("activation", "layer"), [
    ("none", torch.nn.Identity()), ("relu", torch.nn.ReLU()), ("tanh", torch.nn.Tanh()), ("sigmoid", torch.nn.Sigmoid()),
])  # fmt: skip
def test_any_mlp_gives_what_torch_gives(tmp_path: Path, activation: str, layer: torch.nn.Module) -> None:
    torch.manual_seed(3)
    model = torch.nn.Sequential(*(m for n in range(11) for m in (torch.nn.Linear(8, 8), layer)), torch.nn.Linear(8, 1))
    path = saved(tmp_path, {k: v.contiguous() for k, v in model.state_dict().items()})  # 0 to 22: not in order of text
    head = read_head(KEY, path, activation)
    (vector,) = embeddings(1, 8)
    expected = model.double()(torch.from_numpy(vector.astype(np.float64))).item()
    assert head.score(vector) == pytest.approx(expected, abs=1e-12)
    assert head.collapsed().score(vector) == pytest.approx(expected, abs=1e-9)
    assert len(head.collapsed().layers) == (1 if activation == "none" else 12)


@pytest.mark.parametrize(("tensors", "says"), [
    ({"a.weight": (4, 8), "b.weight": (1, 5)}, "b takes 5 numbers, but is given 4"),
    ({"a.weight": (4, 8)}, "the last layer gives 4 numbers, expected 1"),
    ({"a.weight": (1, 8), "a.bias": (3,)}, r"a.bias has the shape \(3,\), expected \(1,\)"),
    ({"a.weight": (1, 8, 1)}, r"a.weight has the shape \(1, 8, 1\); expected two dimensions"),
    ({"a.weight": (1, 8), "a.scale": (1,)}, "a.scale is no linear layer"),
    ({"norm.bias": (8,), "z.weight": (1, 8)}, "norm is no linear layer"),
])  # fmt: skip
def test_layers_that_are_no_head_are_refused(tmp_path: Path, tensors: dict[str, tuple[int, ...]], says: str) -> None:
    path = saved(tmp_path, {name: torch.zeros(shape) for name, shape in tensors.items()})
    with pytest.raises(UserError, match=f"^{KEY}: {path}: {says}"):
        read_head(KEY, path)


@pytest.mark.parametrize("shape", [(0, 4), (1, 0), (4,), (1, 2, 3)])
def test_a_layer_without_numbers_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save_file({"weight": torch.zeros(shape), "bias": torch.zeros(shape[:1])}, tmp_path / "head.safetensors")
    with pytest.raises(UserError, match="weight has the shape .*; expected two dimensions$"):
        read_head("signals.aesthetic", tmp_path / "head.safetensors")
