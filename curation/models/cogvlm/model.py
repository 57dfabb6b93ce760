"""CogVLM (arXiv:2311.03079) as a model of transformers, whose `generate` provides sampling, beam search and batching.

An input row consists of padding, BOS, one placeholder for each token of the image, and text. The image's beginning mark
and patches have expert weights of their own; BOS, the image's end mark and all text, including generated text, use
LLaMA's weights. A token's expert therefore follows from its place in the row: the two kinds are kept in two tensors
from the first layer to the last and meet only in attention, so no gather, scatter or synchronisation with the GPU is
needed. To this end the padding, which no token attends to, is moved behind the image: all rows then have it at the same
place.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.models.llama.modeling_llama import (
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
)

from curation.models.cogvlm.config import CogVLMConfig
from curation.models.cogvlm.vision import VisionTower

Rotary = tuple[torch.Tensor, torch.Tensor]
Padding: TypeAlias = int | torch.Tensor
"""Number of padding tokens before BOS: int64 (B, 1), or 0 if no row has any."""


class Streams(NamedTuple):
    """Hidden states in two tensors, one for each expert."""

    text: torch.Tensor
    """(B, T, ·): BOS, padding, the image's end mark, text; or only the new text if there is a cache."""
    image: torch.Tensor | None
    """(B, V, ·): the image's beginning mark and its patches; None once they are in the cache."""

    def through(self, language: Callable[..., Any], vision: Callable[..., Any]) -> "Streams":
        """Applies `language` to the text stream and `vision` to the image stream."""
        return Streams(language(self.text), None if self.image is None else vision(self.image))

    def plus(self, other: "Streams") -> "Streams":
        """Adds another pair of streams of the same shapes."""
        return Streams(self.text + other.text, None if self.image is None else self.image + other.image)

    def joined(self) -> torch.Tensor:
        """Joins both streams into one tensor (B, L, ·), with the image directly behind BOS."""
        if self.image is None:
            return self.text
        return torch.cat((self.text[:, :1], self.image, self.text[:, 1:]), dim=1)

    def like(self, joined: torch.Tensor) -> "Streams":
        """Splits a joined tensor (B, L, ·) into two streams in the way of this pair."""
        if self.image is None:
            return Streams(joined, None)
        end = 1 + self.image.shape[1]
        return Streams(torch.cat((joined[:, :1], joined[:, end:]), dim=1), joined[:, 1:end])


class ExpertAttention(nn.Module):
    """Causal attention over all tokens, with separate projections for each expert."""

    def __init__(self, config: CogVLMConfig, index: int) -> None:
        super().__init__()
        self.heads, self.index, width = config.num_attention_heads, index, config.hidden_size
        self.vision_expert_query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.vision_expert_dense = nn.Linear(width, width, bias=False)
        self.language_expert_query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.language_expert_dense = nn.Linear(width, width, bias=False)

    def forward(
        self, hidden: Streams, rotary: Rotary, mask: torch.Tensor | None, past_key_values: Cache | None
    ) -> Streams:
        """See Layer."""
        qkv = hidden.through(self.language_expert_query_key_value, self.vision_expert_query_key_value).joined()
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = apply_rotary_pos_emb(query, key, *rotary)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.index)
        if hidden.image is None:
            seen = scaled_dot_product_attention(query, key, value, mask)
        else:  # BOS and image need only the causal mask, which halves the work
            end = 1 + hidden.image.shape[1]
            before, after = query[:, :, :end], query[:, :, end:]
            begun = scaled_dot_product_attention(before, key[:, :, :end], value[:, :, :end], is_causal=True)
            seen = torch.cat((begun, scaled_dot_product_attention(after, key, value, mask)), dim=2)
        taken = hidden.like(seen.transpose(1, 2).flatten(2))
        return taken.through(self.language_expert_dense, self.vision_expert_dense)


class ExpertMLP(nn.Module):
    """LLaMA's MLP, with separate weights for each expert."""

    def __init__(self, config: CogVLMConfig) -> None:
        super().__init__()
        self.language_mlp = LlamaMLP(config)
        self.vision_mlp = LlamaMLP(config)

    def forward(self, hidden: Streams) -> Streams:
        """See Layer."""
        return hidden.through(self.language_mlp, self.vision_mlp)


class Layer(nn.Module):
    """One transformer layer of the language model, with an expert for each kind of token."""

    def __init__(self, config: CogVLMConfig, index: int) -> None:
        super().__init__()
        self.self_attn = ExpertAttention(config, index)
        self.mlp = ExpertMLP(config)
        self.input_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(
        self, hidden: Streams, rotary: Rotary, mask: torch.Tensor | None, past_key_values: Cache | None
    ) -> Streams:
        """Applies one layer of attention and MLP.

        Args:
            hidden: hidden states of the new tokens.
            rotary: cosines and sines of their positions, in the order of `Streams.joined`.
            mask: added to the attention scores, (B or 1, 1, T', keys), where T' counts the new tokens behind the image;
                None if each of these attends to all keys.
            past_key_values: cache of the earlier tokens' keys and values, in the same order; the new ones are appended.
        """
        normed = hidden.through(self.input_layernorm, self.input_layernorm)
        hidden = hidden.plus(self.self_attn(normed, rotary, mask, past_key_values))
        normed = hidden.through(self.post_attention_layernorm, self.post_attention_layernorm)
        return hidden.plus(self.mlp(normed))


class CogVLMPreTrainedModel(PreTrainedModel):
    """Settings that transformers reads from both model classes below."""

    config_class = CogVLMConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _no_split_modules = ["Layer", "VisionTower"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq$"]  # a constant, which old checkpoints hold


class CogVLMModel(CogVLMPreTrainedModel):
    """The language model with its image tower, without the vocabulary's output layer."""

    def __init__(self, config: CogVLMConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_hidden_layers))
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.vision = VisionTower(config)
        self.rotary_emb = LlamaRotaryEmbedding(config)
        self.lead = config.image_tokens  # tokens before the padding: BOS, the image without its end
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        pixel_values: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> BaseModelOutputWithPast:
        """Returns the last hidden states, (B, L, hidden), in the order of `input_ids`; see CogVLMForCausalLM."""
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        padding = _padding(attention_mask)
        places = torch.arange(past, past + input_ids.shape[1], device=input_ids.device)[None]
        if position_ids is None:
            position_ids = self.positions(places - padding)
        if past:
            hidden = Streams(self.embed_tokens(input_ids), None)
        else:
            order = self._order(places, padding).expand(len(input_ids), -1)
            position_ids = position_ids.expand(len(input_ids), -1).gather(1, order)
            hidden = self._begun(input_ids.gather(1, order), order - padding, pixel_values)
        mask = self._mask(past, hidden.text, places.shape[1] + past, padding)
        rotary = self.rotary_emb(hidden.text, position_ids)
        for layer in self.layers:
            hidden = layer(hidden, rotary, mask, past_key_values)
        last = self.norm(hidden.joined())
        if not past and isinstance(padding, torch.Tensor):
            back = self._order_back(places, padding).to(last.device)
            last = last.gather(1, back[..., None].expand(-1, -1, last.shape[-1]))
        return BaseModelOutputWithPast(last_hidden_state=last, past_key_values=past_key_values)

    def positions(self, places: torch.Tensor) -> torch.Tensor:
        """Returns position ids: BOS 0, the image's beginning mark 1, all patches 2, its end mark 3, text 4, 5, …

        Args:
            places: places of tokens, counted from BOS; negative for padding, whose position id is 0.
        """
        return places.clamp(0, 2) + (places - (self.lead - 1)).clamp(min=0)

    def _begun(self, ids: torch.Tensor, places: torch.Tensor, pixels: torch.Tensor | None) -> Streams:
        """Returns the inputs of the first layer, for rows in the order of `_order`."""
        if pixels is None or ids.shape[1] <= self.lead:
            raise ValueError(f"a row begins with BOS and an image of {self.lead} tokens, and needs its pixel_values")
        image = self.vision(pixels)
        ids, places = (torch.cat((t[:, :1], t[:, self.lead :]), dim=1) for t in (ids, places))
        text = self.embed_tokens(ids)
        image = image.to(text.device)  # from another GPU, if the model is spread over several
        ends = (places == self.lead)[..., None]
        return Streams(torch.where(ends, image[:, -1:], text), image[:, :-1])

    def _order(self, places: torch.Tensor, padding: Padding) -> torch.Tensor:
        """Returns the original place of the token at each place after the padding has moved behind the patches."""
        moved = torch.where(places < self.lead + padding, places - self.lead, places)
        return torch.where(places < self.lead, places + padding, moved)

    def _order_back(self, places: torch.Tensor, padding: Padding) -> torch.Tensor:
        """Returns the inverse permutation of `_order`."""
        moved = torch.where(places < self.lead + padding, places - padding, places)
        return torch.where(places < padding, places + self.lead, moved)

    def _mask(self, past: int, text: torch.Tensor, total: int, padding: Padding) -> torch.Tensor | None:
        """Returns the term added to the scores of new text: -inf for padding and later tokens; None if it is all 0."""
        keys = torch.arange(total, device=text.device)
        first = max(past, self.lead)
        if total - first == 1 and not isinstance(padding, torch.Tensor):
            return None
        allowed = keys <= torch.arange(first, total, device=text.device)[:, None]
        if isinstance(padding, torch.Tensor):
            padded = (keys >= self.lead) & (keys < self.lead + padding)
            allowed = allowed & ~padded[:, None]
        hidden = torch.zeros(allowed.shape, dtype=text.dtype, device=text.device)
        return hidden.masked_fill(~allowed, float("-inf")).view(-1, 1, *allowed.shape[-2:])


class CogVLMForCausalLM(CogVLMPreTrainedModel, GenerationMixin):
    """CogVLM with the vocabulary's output layer. Every row has exactly one image, directly behind BOS."""

    def __init__(self, config: CogVLMConfig) -> None:
        super().__init__(config)
        self.model = CogVLMModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        pixel_values: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Computes the logits of the next token.

        Args:
            input_ids: int64 (B, L): padding, BOS, `image_tokens` placeholders, text; only the new text if the cache is
                filled.
            attention_mask: (B, L + cached tokens), 0 for padding, which is on the left; None if there is no padding.
            position_ids: (B, L); default: see `CogVLMModel.positions`.
            past_key_values: a cache; it holds the tokens in the order that the module's docstring describes.
            pixel_values: normalised images, (B, 3, S, S); not needed once the cache is filled.
            use_cache: whether to create a cache if none is given.
            logits_to_keep: number of last tokens for which logits are computed; 0 for all.

        Returns:
            An output whose `logits` are (B, tokens kept, vocabulary).

        Raises:
            ValueError: a row is too short to hold an image, or the image is missing.
        """
        output = self.model(input_ids, attention_mask, position_ids, past_key_values, pixel_values, use_cache)
        logits = self.lm_head(output.last_hidden_state[:, -logits_to_keep:])  # -0 keeps all
        return CausalLMOutputWithPast(logits=logits, past_key_values=output.past_key_values)

    def _prepare_attention_mask_for_generation(
        self, inputs_tensor: torch.Tensor, generation_config: Any, model_kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Makes the mask if none is given. Padding ends at the first other token; later placeholders are no padding."""
        return ((inputs_tensor != self.config.pad_token_id).cumsum(-1) > 0).long()

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Makes the position ids if none are given; `generate` continues from the last one."""
        mask: torch.Tensor = model_kwargs["attention_mask"]
        places = torch.arange(mask.shape[1], device=mask.device)[None]
        return self.model.positions(places - _padding(mask))


def _padding(mask: torch.Tensor | None) -> Padding:
    return 0 if mask is None else mask.shape[1] - mask.sum(-1, keepdim=True)
