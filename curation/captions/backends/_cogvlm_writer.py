"""Prepares CogVLM's inputs (prompts and pictures) and decodes its outputs (one caption for each row)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from curation.captions.base import Request
from curation.models.cogvlm.cache import RoomyCache
from curation.models.cogvlm.model import CogVLMForCausalLM
from curation.models.cogvlm.vision import normalised
from curation.models.text.generation import Answer, SeededSampling

QUESTION = "Question: {} Answer:"
"""The prompt format with which the 1.1 chat model was trained."""
WIDE = 10
"""Number of tensors of the widest layer's width that an image token needs while the prompt is read; a safe estimate."""


class Writer:
    """Writes captions with a loaded CogVLM.

    Args:
        model: the model with its weights.
        tokenizer: the model's tokenizer.
        max_new_tokens: largest number of tokens of a caption.
        temperature: temperature for sampling, > 0.
        top_p: share of the most probable tokens for sampling, in (0, 1].
    """

    def __init__(
        self, model: CogVLMForCausalLM, tokenizer: Any, max_new_tokens: int, temperature: float, top_p: float
    ) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, model.config
        self.max_new_tokens, self.temperature, self.top_p = max_new_tokens, temperature, top_p

    def prompt_ids(self, prompt: str) -> list[int]:
        """Returns the token ids of a prompt: BOS, the image's placeholders, and the question."""
        text = self.tokenizer.encode(QUESTION.format(prompt), add_special_tokens=False, split_special_tokens=True)
        return [self.config.bos_token_id, *[self.config.pad_token_id] * self.config.image_tokens, *text]

    def room(self, ids: Sequence[int]) -> int:
        """Returns the number of tokens left for a caption; below 1 if the prompt is too long."""
        return min(self.max_new_tokens, self.config.max_position_embeddings - len(ids))

    @property
    def row_bytes(self) -> int:
        """Largest memory, in bytes, that a row needs: key-value cache of all its tokens, and the widest activations."""
        config, size = self.config, self.model.dtype.itemsize
        tokens = config.image_tokens + 64 + self.max_new_tokens  # 64 for a prompt of some sentences
        kept = 2 * config.num_hidden_layers * config.hidden_size * min(tokens, config.max_position_embeddings)
        widest = max(config.intermediate_size, config.vision_config.intermediate_size)
        return size * (kept + WIDE * config.image_tokens * widest)

    def write(self, requests: Sequence[Request], room: int) -> list[Answer]:
        """Returns one caption for each request, in order: greedy at its first attempt, then sampled.

        Args:
            requests: each with an image, uint8 (S, S, 3), channels R, G, B, and a prompt that leaves `room`.
            room: largest number of tokens of a caption.

        Raises:
            torch.OutOfMemoryError: the requests are too many for the memory.
        """
        prompts = [self.prompt_ids(request.prompt) for request in requests]
        length = max(map(len, prompts))
        padded = [[self.config.pad_token_id] * (length - len(ids)) + ids for ids in prompts]
        mask = [[0] * (length - len(ids)) + [1] * len(ids) for ids in prompts]
        device = self.model.device
        pictures = torch.from_numpy(np.stack([request.image for request in requests])).to(device)
        seeds = [request.seed if request.attempt else None for request in requests]
        sampling = [SeededSampling(seeds, self.temperature, self.top_p)] if any(s is not None for s in seeds) else []
        with torch.inference_mode():
            tokens = self.model.generate(
                torch.tensor(padded, device=device),
                attention_mask=torch.tensor(mask, device=device),
                pixel_values=normalised(pictures, self.model.dtype),
                past_key_values=RoomyCache(self.config.num_hidden_layers, length + room),
                max_new_tokens=room,
                do_sample=False,
                logits_processor=sampling,
            )
        written = tokens[:, length:].tolist()
        return [self._answer(ids, len(asked)) for ids, asked in zip(written, prompts, strict=True)]

    def _answer(self, ids: list[int], asked: int) -> Answer:
        end = self.config.eos_token_id
        complete = end in ids
        kept = ids[: ids.index(end)] if complete else ids
        text = self.tokenizer.decode(kept, skip_special_tokens=True).strip()
        return Answer(text, complete, tokens_in=asked, tokens_out=len(kept) + complete)
