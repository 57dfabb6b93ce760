"""open_clip's models from a local folder: the library's own numbers, and what is refused before work starts."""

import json
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from curation.errors import UserError
from curation.models.vision.clip import Clip, ClipCheckpoint
from tests import bench, checkpoints

KEY = "signals.embedding"


def pictures() -> list[np.ndarray]:
    """Wide, high, small and square, as B, G, R."""
    sizes = [(90, 60), (40, 100), (20, 12), (64, 64), (28, 28)]
    return [np.asarray(bench.picture(n, size))[:, :, ::-1].copy() for n, size in enumerate(sizes)]


@pytest.mark.parametrize(("config", "preprocessing"), [
    (checkpoints.CLIP, None), (checkpoints.SIGLIP, checkpoints.SIGLIP_PREPROCESSING),
])  # fmt: skip
@pytest.mark.parametrize("weights", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_embeddings_equal_the_librarys_own_forward_bit_for_bit(
    tmp_path: Path, config: dict[str, Any], preprocessing: dict[str, Any] | None, weights: str
) -> None:
    folder = checkpoints.open_clip_folder(tmp_path / "tiny", config, preprocessing, weights)
    clip = Clip(ClipCheckpoint(KEY, None, folder), "cpu")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        rgb = [Image.fromarray(p[:, :, ::-1]) for p in pictures()]
        images = [model.encode_image(preprocess(i)[None], normalize=True) for i in rgb]
        texts = model.encode_text(tokenizer(["a cat"]), normalize=True)
    found = clip.images(pictures())
    assert found.dtype == np.float32 and found.shape == (5, config["embed_dim"])
    assert (found == torch.cat(images).numpy()).all()
    assert (clip.texts(["a cat"]) == texts.numpy()).all()
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_an_embedding_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    clip = Clip(ClipCheckpoint(KEY, None, checkpoints.open_clip_folder(tmp_path / "tiny")), "cpu")
    together = clip.images(pictures())
    assert all((clip.images([p]) == v).all() for p, v in zip(pictures(), together, strict=True))
    assert clip.images([]).shape == (0, 32)


@pytest.mark.slow
def test_a_model_by_name_takes_weights_alone_and_that_models_preprocessing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-16-SigLIP", load_weights=False)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "siglip.safetensors")
    checkpoint = ClipCheckpoint(KEY, "ViT-B-16-SigLIP", tmp_path / "siglip.safetensors")
    assert (checkpoint.width, checkpoint.image_size) == (768, 224)
    checkpoint.check()
    clip = Clip(checkpoint, "cpu")
    assert clip.model.visual.preprocess_cfg["mean"] == (0.5, 0.5, 0.5)
    assert clip.model.visual.preprocess_cfg["resize_mode"] == "squash"
    with pytest.raises(UserError, match=r"siglip.safetensors has no tokenizer beside the weights"):
        clip.texts(["its tokenizer lies on the hub"])


def test_logits_are_the_librarys(tmp_path: Path) -> None:
    folder = checkpoints.open_clip_folder(tmp_path / "tiny", checkpoints.SIGLIP, checkpoints.SIGLIP_PREPROCESSING)
    clip = Clip(ClipCheckpoint(KEY, None, folder), "cpu")
    images, texts = clip.images(pictures()), clip.texts(["a dog", "a cat"])
    expected = clip.model.logit_scale.exp().item() * images @ texts.T - 10
    assert np.allclose(clip.logits(images, texts), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 4000), (4000, 3), (2, 9000)])
def test_a_strip_is_seen_in_its_middle_and_fills_no_memory(tmp_path: Path, shape: tuple[int, int]) -> None:
    folder = checkpoints.open_clip_folder(tmp_path / "tiny")
    clip = Clip(ClipCheckpoint(KEY, None, folder), "cpu")
    strip = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    whole = clip.preprocess(Image.fromarray(np.ascontiguousarray(strip[:, :, ::-1])))  # short enough here for that
    assert clip.prepare(strip).shape == (3, 28, 28)
    assert (clip.prepare(strip) - whole).abs().mean() < 0.1  # noise of another place would differ by 1


def unfit(folder: Path, change: str) -> Path:
    """A checkpoint folder with one thing wrong."""
    file, config = folder / "open_clip_model.safetensors", folder / "open_clip_config.json"
    checkpoints.open_clip_folder(folder)
    tensors = load_file(file)
    match change:
        case "shape":
            save_file(tensors | {"visual.proj": torch.zeros(64, 16)}, file)
        case "missing":
            save_file({n: t for n, t in tensors.items() if n != "visual.proj"}, file)
        case "unknown":
            save_file(tensors | {"visual.extra": torch.zeros(1)}, file)
        case "cut":
            file.write_bytes(file.read_bytes()[:5000])
        case "pickle":
            file.unlink()
            torch.save(tensors | {"visual.proj": Touch()}, folder / "open_clip_model.pt")
        case "two":
            (folder / "open_clip_other.safetensors").write_bytes(b"")
        case "none":
            file.unlink()
        case "config":
            config.write_text(json.dumps({"model_cfg": {"embed_dim": 3}}))
        case "no config":
            config.unlink()
        case "deep":
            config.write_text('{"model_cfg": ' + "[" * 100_000 + "]" * 100_000 + "}")
        case "torn":
            config.write_text('{"model_cfg": ')
        case "layers":
            config.write_text(re.sub(r'"layers": \d+', '"layers": 1000000', config.read_text()))
    return folder


class Touch:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


@pytest.mark.parametrize(("change", "says"), [
    ("shape", r"open_clip_model.safetensors does not fit its config: visual.proj is \[64, 16\], expected \[64, 32\]"),
    ("missing", "does not fit its config: visual.proj is missing"),
    ("unknown", "does not fit its config: visual.extra is not known there"),
    ("cut", "open_clip_model.safetensors cannot be read as weights"),
    ("pickle", "open_clip_model.pt is a pickle of more than tensors, and not opened \\(it asks for posix.system\\)"),
    ("two", "holds 2 files of weights; name one"),
    ("none", "holds no weights"),
    ("config", "open_clip_config.json is not open_clip's: model_cfg lacks its parts"),
    ("deep", "open_clip_config.json is nested too deep"),
    ("torn", "open_clip_config.json is no JSON: "),
    ("layers", "open_clip_config.json: layers is 1,000,000; at most 1,000 is believed"),
    ("no config", "has no open_clip_config.json; fetch it too, or add `model: NAME`"),
])  # fmt: skip
def test_a_wrong_checkpoint_is_refused_before_work_starts(tmp_path: Path, change: str, says: str) -> None:
    checkpoint = ClipCheckpoint(KEY, None, unfit(tmp_path / "tiny", change))
    with pytest.raises(UserError, match=rf"^{KEY}.checkpoint: {tmp_path}/tiny.*{says}") as caught:
        checkpoint.check()
    assert "\n" not in str(caught.value)


def test_an_unknown_architecture_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match='signals.embedding.model: open_clip knows no "ViT-L-14-quikgelu"; did you mean "ViT-L-14-quickgelu"',
    ):
        _ = ClipCheckpoint(KEY, "ViT-L-14-quikgelu", tmp_path).width


def test_colours_are_given_in_the_models_order(tmp_path: Path) -> None:
    clip = Clip(ClipCheckpoint(KEY, None, checkpoints.open_clip_folder(tmp_path / "tiny")), "cpu")
    red = np.zeros((40, 40, 3), np.uint8)
    red[:, :, 2] = 255
    seen = clip.prepare(red)
    assert seen[0].mean() > seen[1].mean() and seen[0].mean() > seen[2].mean()
    assert cv2.cvtColor(red, cv2.COLOR_BGR2RGB)[0, 0].tolist() == [255, 0, 0]
