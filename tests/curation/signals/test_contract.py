"""Every backend of every signal keeps the contract."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from curation.models.checkpoints import Models
from curation.signals.base import Signal, make_signal, signal_backends, signal_names
from tests import checkpoints, classifiers
from tests.contracts import LoadedPlugin, SignalContract
from tests.curation.models.faces.test_yunet import write_yunet

PROMPTS = {"safe": ["a photo of a dog"], "unsafe": "a nude", "other": "a wall"}
EMBEDDING = {"checkpoint": "clip"}


def head(folder: Path, name: str, width: int, pickled: bool = False) -> None:
    drawn = torch.Generator().manual_seed(0)
    tensors = {"weight": torch.randn(1, width, generator=drawn), "bias": torch.zeros(1)}
    if pickled:
        torch.save(tensors, folder / name)
    else:
        save_file({f"layer.{key}": tensor for key, tensor in tensors.items()}, folder / name)


def with_classifier(folder: Path) -> None:
    classifiers.vit(folder / "vit")


def with_clip(folder: Path, width: int = checkpoints.CLIP["embed_dim"]) -> None:
    checkpoints.open_clip_folder(folder / "clip", checkpoints.CLIP | {"embed_dim": width})


def with_laion_v2(folder: Path) -> None:
    with_clip(folder, 768)
    save_file(checkpoints.laion_v2(), folder / "head.safetensors")


def with_laion_v1(folder: Path) -> None:
    with_clip(folder)
    head(folder, "head.pth", checkpoints.CLIP["embed_dim"], pickled=True)


def with_head(folder: Path) -> None:
    with_clip(folder)
    head(folder, "head.safetensors", checkpoints.CLIP["embed_dim"])


Case = tuple[dict[str, Any], Callable[[Path], object] | None]
"""What the recipe gives, and what makes the models."""
CASES: dict[tuple[str, str], Case] = {
    ("photo", ""): ({}, None),
    ("caption", ""): ({}, None),
    ("provenance", ""): ({}, None),
    ("codes", ""): ({}, None),
    ("faces", "mtcnn"): ({}, None),
    ("faces", "yunet"): ({"model": "yunet.onnx"}, lambda folder: write_yunet(folder / "yunet.onnx")),
    ("ocr", "rapidocr"): ({}, None),
    ("embedding", "open_clip"): (EMBEDDING, with_clip),
    ("aesthetic", "photo_stats"): ({}, None),
    ("aesthetic", "laion_v2"): ({"checkpoint": "head.safetensors"}, with_laion_v2),
    ("aesthetic", "laion_v1"): ({"checkpoint": "head.pth"}, with_laion_v1),
    ("aesthetic", "head"): ({"checkpoint": "head.safetensors"}, with_head),
    ("watermark", "classical"): ({}, None),
    ("watermark", "hf_classifier"): ({"checkpoint": "vit", "labels": {"nsfw": "watermark"}}, with_classifier),
    ("safety", "open_nsfw"): ({}, None),
    ("safety", "hf_classifier"): ({"checkpoint": "vit", "labels": {"nsfw": "unsafe"}}, with_classifier),
    ("safety", "zero_shot"): ({"safe": "a dog", "unsafe": ["a nude", "blood"]}, with_clip),
    ("category", "hf_classifier"): ({"checkpoint": "vit"}, with_classifier),
    ("category", "zero_shot"): ({"prompts": PROMPTS}, with_clip),
    ("clip", ""): ({}, with_clip),
}
ELSEWHERE = {("ocr", "paddleocr")}
"""In an environment of its own: see tests/curation/models/ocr/test_paddleocr.py."""

pytestmark = [pytest.mark.usefixtures("one_thread", "on_a_cpu"), pytest.mark.slow]


def test_no_backend_is_missing_here() -> None:
    there = {(name, backend) for name in signal_names() for backend in signal_backends(name)}
    assert there == CASES.keys() | ELSEWHERE


@pytest.mark.parametrize(("name", "backend"), sorted(ELSEWHERE))
def test_one_that_runs_elsewhere_gives_the_columns_of_the_default(name: str, backend: str) -> None:
    default, *_ = signal_backends(name).values()
    assert signal_backends(name)[backend].columns == default.columns


class TestEverySignal(SignalContract):
    """Each backend with tiny models."""

    @pytest.fixture(scope="class", params=CASES, ids="-".join)
    @classmethod
    def made(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedPlugin:
        (name, backend), (params, models) = request.param, CASES[request.param]
        folder = tmp_path_factory.mktemp("models")
        if models:
            models(folder)
        return LoadedPlugin(loaded(name, {"backend": backend} | params if backend else params, Models(folder)), params)


def loaded(name: str, params: dict[str, Any], models: Models) -> Signal:
    """The signal with those that it needs, checked and loaded."""
    signal = make_signal(name, params, models)
    signal.needed = {n: loaded(n, EMBEDDING if n == "embedding" else {}, models) for n in signal.needs}
    signal.check()
    signal.load()
    return signal
