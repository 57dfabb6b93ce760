"""Keys and values of the tokens so far, in memory that is set aside once."""

import torch
from transformers.cache_utils import Cache, DynamicLayer


class RoomyCache(Cache):
    """A cache that does not move its contents at every token.

    transformers' DynamicCache makes a new tensor for each token, which at 1,400 tokens costs more memory traffic than
    the attention itself.

    Args:
        layers: of the model.
        room: tokens that it holds before it has to move.
    """

    def __init__(self, layers: int, room: int) -> None:
        super().__init__(layers=[RoomyLayer(room) for _ in range(layers)])


class RoomyLayer(DynamicLayer):
    """One layer of it. `keys` and `values` are views of the room: as much of it as is filled."""

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
        """Adds keys and values, (B, heads, tokens, width), and gives all that there are."""
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
        """Forgets all."""
        self._keys = self._values = None
        super().reset()

    def _with_room(self, room: torch.Tensor | None, kept: torch.Tensor, new: torch.Tensor, past: int) -> torch.Tensor:
        """A tensor that begins with `kept` and has room for `new` behind it.

        The old one, unless it is full, or `kept` lies elsewhere: a beam search has chosen among the rows.
        """
        total = past + new.shape[2]
        fits = room is not None and room.shape[0] == new.shape[0] and room.shape[2] >= total
        if room is not None and fits and (not past or kept.data_ptr() == room.data_ptr()):
            return room
        room = new.new_empty((*new.shape[:2], max(total, self.room), new.shape[3]))
        if past:
            room[:, :, :past] = kept
        return room
