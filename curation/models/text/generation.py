"""What backends that run a model on this machine share: sampling by seed, and batches as large as memory takes.

torch and transformers are imported inside functions: to import this module costs nothing.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch


OUT_OF_MEMORY = "out_of_memory"
"""Why a row that does not fit even alone has no text."""
PATIENCE = 16
"""Calls in a row that must go well before a larger batch is tried again: one that does not fit is work lost."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend gave for one request or text."""

    text: str = ""
    """"" where there is none to give."""
    complete: bool = True
    """False if it ended at the limit of tokens, in the middle of what it had to say."""
    failed: str = ""
    """Why there is no text, one word for counting: `timeout`, `http_400`; "" if nothing went wrong."""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    """US dollars, by the prices in the recipe; 0 where nothing is paid by the token."""


class SeededSampling:
    """Sampling in which a row's tokens depend on its own logits and seed, not on what it is batched with.

    A logits processor for `generate(do_sample=False, num_beams=1, logits_processor=[…])`: it cools the logits, keeps
    the nucleus and adds Gumbel noise, so that the largest is a sample of their softmax (Maddison et al., "A* Sampling",
    2014). Each row has a generator of its own; the noise of step t is a function of the row's seed and t. Made anew for
    each `generate`.

    Args:
        seeds: one a row, 0..2⁶³-1; None leaves the row as it is, for greedy decoding.
        temperature: by which logits are divided, > 0.
        top_p: the most probable tokens that together have this share are kept (the nucleus; Holtzman et al., 2020).

    Raises:
        ValueError: there are not as many rows as seeds, as with beams.
    """

    def __init__(self, seeds: Sequence[int | None], temperature: float = 0.6, top_p: float = 0.95) -> None:
        from transformers import TemperatureLogitsWarper, TopPLogitsWarper

        self.seeds = list(seeds)
        self._warpers = TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p)
        self._generators: dict[int, torch.Generator] = {}

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """The scores, float (rows, vocabulary), with which the library goes on; their shape is kept."""
        import torch

        if len(scores) != len(self.seeds):
            raise ValueError(f"expected a row for each of {len(self.seeds)} seeds, found {len(scores)}")
        if not self._generators:
            self._generators = {
                row: torch.Generator(scores.device).manual_seed(seed)
                for row, seed in enumerate(self.seeds)
                if seed is not None
            }
        if not self._generators:
            return scores
        rows = list(self._generators)
        warped = scores[rows].float()
        for warper in self._warpers:
            warped = warper(input_ids[rows], warped)
        noise = torch.empty_like(warped)  # exponential, in torch never exactly 0: minus its logarithm is Gumbel's
        for row, generator in zip(noise, self._generators.values(), strict=True):
            row.exponential_(generator=generator)
        found = scores.float().clone()
        found[rows] = warped - noise.log_()
        return found


class Halving:
    """Calls a model on as many rows at once as memory takes.

    A batch that does not fit is halved, and the next ones begin at the size that went; after `PATIENCE` calls without
    trouble the double is tried again. A row that does not fit alone is given up, and the next begin at the largest size
    that has gone since the last such row: if none has, memory is short and not the row long, and they go one by one.

    Args:
        limit: rows at once at most, ≥ 1.
    """

    def __init__(self, limit: int) -> None:
        self.limit = self.size = self._went = max(1, limit)
        self._calm = 0

    def __call__(self, items: Sequence[Item], call: Callable[[Sequence[Item]], list[Answer]]) -> list[Answer]:
        """One answer for each item, in order.

        Args:
            call: answers a few items, or raises torch.OutOfMemoryError.
        """
        answers: list[Answer] = []
        while len(answers) < len(items):
            part = items[len(answers) : len(answers) + self.size]
            found = _fitting(part, call)
            if found is not None:
                answers += found
                self._went = max(self._went, len(part))
                self._calm += 1
                if self._calm >= PATIENCE:
                    self.size, self._calm = min(2 * self.size, self.limit), 0
            elif len(part) > 1:
                self.size, self._calm = len(part) // 2, 0
            else:
                answers.append(Answer(failed=OUT_OF_MEMORY))
                self.size, self._went, self._calm = self._went, 1, 0
        return answers


def rows_that_fit(bytes_per_row: int, at_most: int, spare: float = 0.1, model: "torch.nn.Module | None" = None) -> int:
    """Rows that the free memory of the GPU takes at once, 1..at_most; 1 on a CPU.

    On a CPU rows run one at a time, so that the bytes of a text never depend on what it is batched with.

    Args:
        bytes_per_row: that a row needs until its last token: cache, activations, logits.
        spare: share of the free memory that is left alone, 0..1.
        model: one that lies on several GPUs, of which the fullest counts; None asks the current GPU.
    """
    import torch

    if not torch.cuda.is_available():
        return 1
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"} if model is not None else set()
    free = min(_free(device) for device in devices or {torch.device("cuda", torch.cuda.current_device())})
    return max(1, min(at_most, int(free * (1 - spare)) // max(1, bytes_per_row)))


def _free(device: "torch.device") -> int:
    """Bytes that are free on a GPU, with those that torch holds without using them."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _fitting(part: Sequence[Item], call: Callable[[Sequence[Item]], list[Answer]]) -> list[Answer] | None:
    """The answers; None if memory has run out, which is then free again."""
    import torch

    with suppress(torch.OutOfMemoryError):
        return call(part)
    torch.cuda.empty_cache()  # here the error, whose traceback held the tensors, is gone; does nothing on a CPU
    return None


_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


def after_thought(text: str) -> str:
    """An answer without what a model thought before it, between `<think>` and `</think>`."""
    text = _THOUGHT.sub("", text)
    text = text.rpartition("</think>")[2]  # chat templates that open the thought themselves leave its end alone
    return text.partition("<think>")[0].strip()  # one that was never ended was cut short
