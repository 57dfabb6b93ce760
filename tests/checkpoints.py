"""Tiny checkpoints with random weights, of the same architectures and file layouts as the real ones."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

CLIP: dict[str, Any] = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 28, "layers": 2, "width": 64, "patch_size": 14, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
"""OpenAI's CLIP, but small: the tokenizer is its own, which comes with open_clip."""

SIGLIP: dict[str, Any] = {
    "embed_dim": 48,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "patch_size": 16, "head_width": 24,
                   "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 48, "heads": 2, "layers": 1,
                 "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
}  # fmt: skip
"""A small SigLIP: its text has a tower of its own, and its logits a bias beside the scale."""
SIGLIP_PREPROCESSING = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}


def open_clip_folder(
    folder: Path,
    config: dict[str, Any] = CLIP,
    preprocessing: dict[str, Any] | None = None,
    weights: str = "open_clip_model.safetensors",
    seed: int = 0,
) -> Path:
    """Writes a checkpoint folder of open_clip as the hub has them, and returns it."""
    import open_clip

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing or {}})
    )
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if weights.endswith(".safetensors"):
        save_file(tensors, folder / weights)
    else:
        torch.save(tensors, folder / weights)
    return folder


def laion_v2(seed: int = 0, width: int = 768) -> dict[str, torch.Tensor]:
    """Returns random tensors with the names and shapes of LAION's aesthetic predictor V2."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {
        "layers.0": (1024, width),
        "layers.2": (128, 1024),
        "layers.4": (64, 128),
        "layers.6": (16, 64),
        "layers.7": (1, 16),
    }
    tensors = {}
    for name, (rows, columns) in sizes.items():
        tensors[f"{name}.weight"] = torch.randn(rows, columns, generator=generator) / columns**0.5
        tensors[f"{name}.bias"] = torch.randn(rows, generator=generator)
    return tensors
