"""Provides a key-value cache whose memory is allocated once."""

import torch
from transformers.cache_utils import Cache, DynamicLayer


class RoomyCache(Cache):
    """A key-value cache that does not copy its contents for every token.

    transformers' DynamicCache allocates a new tensor for each token, which at 1,400 tokens costs more memory traffic
    than the attention itself.

    Args:
        layers: number of the model's layers.
        room: number of tokens that fit before the cache has to be reallocated.
    """

    def __init__(self, layers: int, room: int) -> None:
        super().__init__(layers=[RoomyLayer(room) for _ in range(layers)])


class RoomyLayer(DynamicLayer):
    """One layer of the cache. `keys` and `values` are views of the filled part of the allocated tensors."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.keys: torch.Tensor
        self.values: torch.Tensor
        self._keys: torch.Tensor | None = None
        self._values: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends keys and values, (B, heads, tokens, width), and returns those of all tokens so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        past = self.get_seq_length()
        self._keys = self._with_room(self._keys, self.keys, key_states, past)
        self._values = self._with_room(self._values, self.values, value_states, past)
        total = past + key_states.shape[2]
        self._keys[:, :, past:total] = key_states
        self._values[:, :, past:total] = value_states
        self.keys, self.values = self._keys[:, :, :total], self._values[:, :, :total]
        return self.keys, self.values

    def reset(self) -> None:
        """Empties the layer and frees its memory."""
        self._keys = self._values = None
        super().reset()

    def _with_room(self, room: torch.Tensor | None, kept: torch.Tensor, new: torch.Tensor, past: int) -> torch.Tensor:
        """Returns a tensor that begins with `kept` and has room for `new` behind it.

        The old tensor is reused unless it is full, or `kept` lies elsewhere because a beam search has selected rows.
        """
        total = past + new.shape[2]
        fits = room is not None and room.shape[0] == new.shape[0] and room.shape[2] >= total
        if room is not None and fits and (not past or kept.data_ptr() == room.data_ptr()):
            return room
        room = new.new_empty((*new.shape[:2], max(total, self.room), new.shape[3]))
        if past:
            room[:, :, :past] = kept
        return room
