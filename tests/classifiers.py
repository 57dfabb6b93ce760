"""Tiny image classifiers with random weights, in folders as the hub has them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

NSFW = ("sfw", "nsfw")


def vit(folder: Path, labels: Sequence[str] = NSFW, seed: int = 0, **config: Any) -> Path:
    """Writes a vision transformer that sees 32 × 32 pixels, whatever the shape of the picture; returns its folder."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    config_of_model = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8,
        initializer_range=0.2, **_labelled(labels), **config,
    )  # fmt: skip
    return _saved(
        folder, ViTForImageClassification, config_of_model, ViTImageProcessor(size={"height": 32, "width": 32}), seed
    )


def siglip(folder: Path, labels: Sequence[str] = NSFW, seed: int = 0) -> Path:
    """Writes the vision tower of a SigLIP with a head over the mean of its patches; returns its folder.

    The config holds the tower's config.
    """
    from transformers import SiglipConfig, SiglipForImageClassification, SiglipImageProcessor

    vision = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = SiglipConfig(vision_config=vision | {"image_size": 32, "patch_size": 8}, **_labelled(labels))
    processor = SiglipImageProcessor(size={"height": 32, "width": 32})
    return _saved(folder, SiglipForImageClassification, config, processor, seed)


def convnext(folder: Path, labels: Sequence[str] = NSFW, seed: int = 0) -> Path:
    """Writes a convolutional net that sees the middle of the scaled picture; returns its folder."""
    from transformers import ConvNextConfig, ConvNextForImageClassification, ConvNextImageProcessor

    config = ConvNextConfig(
        hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], initializer_range=0.2, **_labelled(labels)
    )
    processor = ConvNextImageProcessor(size={"shortest_edge": 48})
    return _saved(folder, ConvNextForImageClassification, config, processor, seed)


def timm_vit(folder: Path, labels: Sequence[str] = NSFW, seed: int = 0) -> Path:
    """Writes a model of timm, which keeps in config.json how pictures are prepared; returns its folder."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    model = timm.create_model("test_vit", num_classes=len(labels))
    config = {
        "architecture": "test_vit", "num_classes": len(labels), "label_names": list(labels),
        "pretrained_cfg": model.pretrained_cfg | {"num_classes": len(labels)},
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, default=list))
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder


def _labelled(labels: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def _saved(folder: Path, kind: Any, config: Any, processor: Any, seed: int) -> Path:
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(seed)
    model = kind(config)
    with torch.no_grad():  # zeros, as a fresh head's biases are, would hide a tensor that is not loaded
        for tensor in model.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
