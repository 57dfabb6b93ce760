"""The image tower of CogVLM: EVA2-CLIP-E (arXiv:2303.15389) and the gated adapter that turns patches into tokens.

Modules are named as in the official checkpoint.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers.activations import ACT2FN

if TYPE_CHECKING:
    from curation.models.cogvlm.config import CogVLMConfig, CogVLMVisionConfig


MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of CLIP (arXiv:2103.00020), for channels R, G, B in 0..1."""


def normalised(pictures: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Normalises pictures for the tower, on the device where they are.

    They are sent to the GPU as bytes, which loses nothing, since Pillow's resize gives uint8 anyway. The arithmetic is
    float32 for each pixel by itself, so that the batch does not affect the result.

    Args:
        pictures: uint8, (B, S, S, 3), channels R, G, B.
        dtype: the model's type.

    Returns:
        (B, 3, S, S), of `dtype`.
    """
    mean, std = (torch.tensor(v, device=pictures.device).view(3, 1, 1) for v in (MEAN, STD))
    return ((pictures.permute(0, 3, 1, 2).float() / 255 - mean) / std).to(dtype)


class VisionTower(nn.Module):
    """Encodes an image as tokens of the language model: one for its beginning, one for each patch, one for its end."""

    def __init__(self, config: "CogVLMConfig") -> None:
        super().__init__()
        vision: Any = config.vision_config
        self.patch_embedding = PatchEmbedding(vision)
        self.transformer = Encoder(vision)
        self.linear_proj = Adapter(config)
        self.boi = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.eoi = nn.Parameter(torch.zeros(1, 1, config.hidden_size))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Maps normalised pixels (B, 3, S, S) to tokens (B, patches + 2, hidden)."""
        patches = self.linear_proj(self.transformer(self.patch_embedding(pixels))[:, 1:])  # without the CLS token
        boi, eoi = (mark.expand(len(patches), -1, -1) for mark in (self.boi, self.eoi))
        return torch.cat((boi, patches, eoi), dim=1)


class PatchEmbedding(nn.Module):
    """Embeds a CLS token and the patches, row by row, and adds the position embeddings."""

    def __init__(self, config: "CogVLMVisionConfig") -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.in_channels, config.hidden_size, config.patch_size, stride=config.patch_size)
        self.cls_embedding = nn.Parameter(torch.zeros(1, config.hidden_size))
        self.position_embedding = nn.Embedding(config.num_positions, config.hidden_size)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Maps pixels (B, 3, S, S) to (B, patches + 1, width)."""
        patches = self.proj(pixels).flatten(2).transpose(1, 2)
        marked = torch.cat((self.cls_embedding.expand(len(patches), 1, -1), patches), dim=1)
        return marked + self.position_embedding.weight


class Encoder(nn.Module):
    """The tower's stack of transformer layers."""

    def __init__(self, config: "CogVLMVisionConfig") -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Maps (B, L, width) to the same shape."""
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


class EncoderLayer(nn.Module):
    """Attention and MLP with post-normalisation: x + LN(f(x))."""

    def __init__(self, config: "CogVLMVisionConfig") -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = Attention(config)
        self.mlp = MLP(config)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Maps (B, L, width) to the same shape."""
        hidden = hidden + self.input_layernorm(self.attention(hidden))
        return hidden + self.post_attention_layernorm(self.mlp(hidden))


class Attention(nn.Module):
    """Multi-head self-attention over all patches, without a mask."""

    def __init__(self, config: "CogVLMVisionConfig") -> None:
        super().__init__()
        self.heads = config.num_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Maps (B, L, width) to the same shape."""
        query, key, value = self.query_key_value(hidden).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(query, key, value)
        return self.dense(seen.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """A feed-forward network of two layers."""

    def __init__(self, config: "CogVLMVisionConfig") -> None:
        super().__init__()
        self.activation = ACT2FN[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Maps (B, L, width) to the same shape."""
        return self.fc2(self.activation(self.fc1(hidden)))


class Adapter(nn.Module):
    """Projects from the tower's width to the language model's, with a gated linear unit."""

    def __init__(self, config: "CogVLMConfig") -> None:
        super().__init__()
        vision: Any = config.vision_config
        self.linear_proj = nn.Linear(vision.hidden_size, config.hidden_size, bias=False)
        self.norm1 = nn.LayerNorm(config.hidden_size)
        self.activation = nn.GELU()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.dense_4h_to_h = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Maps (B, L, width of the tower) to (B, L, hidden)."""
        hidden = self.activation(self.norm1(self.linear_proj(hidden)))
        return self.dense_4h_to_h(silu(self.gate_proj(hidden)) * self.dense_h_to_4h(hidden))
