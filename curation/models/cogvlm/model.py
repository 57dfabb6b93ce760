"""CogVLM (arXiv:2311.03079) as a model of transformers, whose `generate` samples, searches beams and batches.

A row of input is padding, BOS, as many placeholders as an image has tokens, and text. The image has experts of its own
for its beginning mark and its patches; BOS, the image's end mark and all text, also all that is generated, go through
LLaMA's weights. Which expert a token needs is therefore known by its place: the two kinds are kept in two tensors from
the first layer to the last and meet in attention only, so that nothing is gathered, scattered or asked of the GPU. For
that the padding, which no token sees, is moved behind the image; all rows then have their image at the same place.
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
"""Padding tokens before BOS: int64 (B, 1), or 0 if no row has any."""


class Streams(NamedTuple):
    """Hidden states, apart by the expert that works on them."""

    text: torch.Tensor
    """(B, T, ·): BOS, padding, the image's end, text; or, with a cache, new text alone."""
    image: torch.Tensor | None
    """(B, V, ·): the image's beginning and its patches; None once they are in the cache."""

    def through(self, language: Callable[..., Any], vision: Callable[..., Any]) -> "Streams":
        """Each through its expert."""
        return Streams(language(self.text), None if self.image is None else vision(self.image))

    def plus(self, other: "Streams") -> "Streams":
        """The sum."""
        return Streams(self.text + other.text, None if self.image is None else self.image + other.image)

    def joined(self) -> torch.Tensor:
        """(B, L, ·): the image behind BOS."""
        if self.image is None:
            return self.text
        return torch.cat((self.text[:, :1], self.image, self.text[:, 1:]), dim=1)

    def like(self, joined: torch.Tensor) -> "Streams":
        """A joined tensor taken apart as this one is."""
        if self.image is None:
            return Streams(joined, None)
        end = 1 + self.image.shape[1]
        return Streams(torch.cat((joined[:, :1], joined[:, end:]), dim=1), joined[:, 1:end])


class ExpertAttention(nn.Module):
    """Causal attention over all tokens, with projections by expert."""

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
        else:  # BOS and image need no mask but the causal one, which takes half the work
            end = 1 + hidden.image.shape[1]
            before, after = query[:, :, :end], query[:, :, end:]
            begun = scaled_dot_product_attention(before, key[:, :, :end], value[:, :, :end], is_causal=True)
            seen = torch.cat((begun, scaled_dot_product_attention(after, key, value, mask)), dim=2)
        taken = hidden.like(seen.transpose(1, 2).flatten(2))
        return taken.through(self.language_expert_dense, self.vision_expert_dense)


class ExpertMLP(nn.Module):
    """LLaMA's MLP, one for each expert."""

    def __init__(self, config: CogVLMConfig) -> None:
        super().__init__()
        self.language_mlp = LlamaMLP(config)
        self.vision_mlp = LlamaMLP(config)

    def forward(self, hidden: Streams) -> Streams:
        """See Layer."""
        return hidden.through(self.language_mlp, self.vision_mlp)


class Layer(nn.Module):
    """One layer of the language model."""

    def __init__(self, config: CogVLMConfig, index: int) -> None:
        super().__init__()
        self.self_attn = ExpertAttention(config, index)
        self.mlp = ExpertMLP(config)
        self.input_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(
        self, hidden: Streams, rotary: Rotary, mask: torch.Tensor | None, past_key_values: Cache | None
    ) -> Streams:
        """One layer.

        Args:
            hidden: of the tokens that are new.
            rotary: cosines and sines of their positions, in the order of `Streams.joined`.
            mask: what is added to the scores of text, (B or 1, 1, T', keys): T' all new tokens behind the image; None
                if each of them sees all.
            past_key_values: keys and values of the tokens before, in the same order; the new ones are added.
        """
        normed = hidden.through(self.input_layernorm, self.input_layernorm)
        hidden = hidden.plus(self.self_attn(normed, rotary, mask, past_key_values))
        normed = hidden.through(self.post_attention_layernorm, self.post_attention_layernorm)
        return hidden.plus(self.mlp(normed))


class CogVLMPreTrainedModel(PreTrainedModel):
    """What transformers is to know of both classes below."""

    config_class = CogVLMConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _no_split_modules = ["Layer", "VisionTower"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq$"]  # a constant, which old checkpoints hold


class CogVLMModel(CogVLMPreTrainedModel):
    """The language model with its image tower, up to the last hidden states."""

    def __init__(self, config: CogVLMConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_hidden_layers))
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.vision = VisionTower(config)
        self.rotary_emb = LlamaRotaryEmbedding(config)
        self.lead = config.image_tokens  # BOS, and all of an image but its end: the tokens before the padding
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
        """The last hidden states, (B, L, hidden), in the order of `input_ids`; see CogVLMForCausalLM."""
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
        """Position ids: BOS 0, the image's beginning 1, all patches 2, its end 3, text 4, 5, …

        Args:
            places: places of tokens, counted from BOS; below 0 for padding, which gets 0.
        """
        return places.clamp(0, 2) + (places - (self.lead - 1)).clamp(min=0)

    def _begun(self, ids: torch.Tensor, places: torch.Tensor, pixels: torch.Tensor | None) -> Streams:
        """What goes into the first layer, of rows as `_order` puts them."""
        if pixels is None or ids.shape[1] <= self.lead:
            raise ValueError(f"a row begins with BOS and an image of {self.lead} tokens, and needs its pixel_values")
        image = self.vision(pixels)
        ids, places = (torch.cat((t[:, :1], t[:, self.lead :]), dim=1) for t in (ids, places))
        text = self.embed_tokens(ids)
        image = image.to(text.device)  # another GPU's, where the model is spread over several
        ends = (places == self.lead)[..., None]
        return Streams(torch.where(ends, image[:, -1:], text), image[:, :-1])

    def _order(self, places: torch.Tensor, padding: Padding) -> torch.Tensor:
        """Which place of a row comes at each place once its padding is moved behind the image's patches."""
        moved = torch.where(places < self.lead + padding, places - self.lead, places)
        return torch.where(places < self.lead, places + padding, moved)

    def _order_back(self, places: torch.Tensor, padding: Padding) -> torch.Tensor:
        """The reverse of `_order`."""
        moved = torch.where(places < self.lead + padding, places - padding, places)
        return torch.where(places < padding, places + self.lead, moved)

    def _mask(self, past: int, text: torch.Tensor, total: int, padding: Padding) -> torch.Tensor | None:
        """What is added to the scores of new text; no text sees padding, or text behind it."""
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
    """CogVLM with its vocabulary. Every row has one image, right behind BOS."""

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
        """Logits of the next token.

        Args:
            input_ids: int64 (B, L): padding, BOS, `image_tokens` placeholders, text; with a cache, new text alone.
            attention_mask: (B, L and what is in the cache), 0 for padding, which is on the left; None: there is none.
            position_ids: (B, L); default: see `CogVLMModel.positions`.
            past_key_values: a cache; it holds tokens in an order of its own, see the module.
            pixel_values: normalised images, (B, 3, S, S); not needed once the cache holds something.
            use_cache: whether to make one, if none is given.
            logits_to_keep: of how many last tokens logits are wanted; 0 for all.

        Returns:
            Its `logits` are (B, tokens kept, vocabulary).

        Raises:
            ValueError: a row too short to hold an image, or no image.
        """
        found = self.model(input_ids, attention_mask, position_ids, past_key_values, pixel_values, use_cache)
        logits = self.lm_head(found.last_hidden_state[:, -logits_to_keep:])  # -0 keeps all
        return CausalLMOutputWithPast(logits=logits, past_key_values=found.past_key_values)

    def _prepare_attention_mask_for_generation(
        self, inputs_tensor: torch.Tensor, generation_config: Any, model_kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Where none is given: padding ends at the first token of another kind. The image's placeholders are none."""
        return ((inputs_tensor != self.config.pad_token_id).cumsum(-1) > 0).long()

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Where none are given; `generate` counts on from the last one."""
        mask: torch.Tensor = model_kwargs["attention_mask"]
        places = torch.arange(mask.shape[1], device=mask.device)[None]
        return self.model.positions(places - _padding(mask))


def _padding(mask: torch.Tensor | None) -> Padding:
    return 0 if mask is None else mask.shape[1] - mask.sum(-1, keepdim=True)
