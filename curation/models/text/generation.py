"""Helps backends that run a model on this machine: seeded sampling, and batches as large as memory allows.

torch and transformers are imported inside functions, so that importing this module is fast.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch


OUT_OF_MEMORY = "out_of_memory"
"""`Answer.failed` of a row that does not fit into memory even alone."""
PATIENCE = 16
"""Number of successive calls without running out of memory after which a larger batch is tried again, since a batch
that does not fit is lost work."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Answer:
    """A backend's result for one request or text."""

    text: str = ""
    """The text; "" if there is none."""
    complete: bool = True
    """Whether the model ended the text itself; False if the text was cut at the limit of tokens."""
    failed: str = ""
    """The reason why there is no text, in one word such as `timeout` or `http_400`; "" if nothing went wrong."""
    tokens_in: int = 0
    """Number of tokens that the model read."""
    tokens_out: int = 0
    """Number of tokens that the model wrote."""
    cost: float = 0.0
    """US dollars, by the prices in the recipe; 0 if tokens are not paid for."""


class SeededSampling:
    """Sampling in which a row's tokens depend on its own logits and seed, and not on the other rows of the batch.

    A logits processor for `generate(do_sample=False, num_beams=1, logits_processor=[…])`: it divides the logits by the
    temperature, keeps the nucleus and adds Gumbel noise, so that the largest logit is a sample of their softmax
    (Maddison et al., "A* Sampling", 2014). Each row has a generator of its own; the noise of step t is a function of
    the row's seed and t. Every call of `generate` needs a new instance.

    Args:
        seeds: one for each row, 0..2⁶³-1; None leaves the row as it is, for greedy decoding.
        temperature: divisor of the logits, > 0.
        top_p: the most probable tokens are kept until their probabilities add up to this (Holtzman et al., 2020).

    Raises:
        ValueError: when called, the number of rows differs from the number of seeds, as with beams.
    """

    def __init__(self, seeds: Sequence[int | None], temperature: float = 0.6, top_p: float = 0.95) -> None:
        from transformers import TemperatureLogitsWarper, TopPLogitsWarper

        self.seeds = list(seeds)
        self._warpers = TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p)
        self._generators: dict[int, torch.Generator] = {}

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """Returns the scores, float (rows, vocabulary), with noise on the rows that have a seed."""
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
        noise = torch.empty_like(warped)  # exponential, never exactly 0 in torch: minus its logarithm is Gumbel noise
        for row, generator in zip(noise, self._generators.values(), strict=True):
            row.exponential_(generator=generator)
        result = scores.float().clone()
        result[rows] = warped - noise.log_()
        return result


class Halving:
    """Calls a model on as many rows at once as memory allows.

    A batch that does not fit is halved, and the next batches start at the size that fitted; after `PATIENCE` calls
    without running out of memory, double the size is tried. A row that does not fit alone is given up, and the next
    batches start at the largest size that has fitted since the last such row. If none has, memory is short and the row
    was not long, so rows are taken one by one.

    Args:
        limit: largest number of rows at once, ≥ 1.
    """

    def __init__(self, limit: int) -> None:
        self.limit = self.size = self._went = max(1, limit)
        self._calm = 0

    def __call__(self, items: Sequence[Item], call: Callable[[Sequence[Item]], list[Answer]]) -> list[Answer]:
        """Returns one answer for each item, in order; a row that does not fit alone fails as OUT_OF_MEMORY.

        Args:
            items: the rows.
            call: answers some of the items, or raises torch.OutOfMemoryError.
        """
        answers: list[Answer] = []
        while len(answers) < len(items):
            part = items[len(answers) : len(answers) + self.size]
            part_answers = _fitting(part, call)
            if part_answers is not None:
                answers += part_answers
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
    """Returns the number of rows that fit into the GPU's free memory at once, 1..at_most; 1 on a CPU.

    On a CPU rows run one at a time, so that a text never depends on the other rows of a batch.

    Args:
        bytes_per_row: memory that a row needs until its last token: key-value cache, activations, logits.
        at_most: largest result.
        spare: share of the free memory that is left unused, 0..1.
        model: a model spread over several GPUs, of which the one with the least free memory counts; None uses the
            current GPU.
    """
    import torch

    if not torch.cuda.is_available():
        return 1
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"} if model is not None else set()
    free = min(_free(device) for device in devices or {torch.device("cuda", torch.cuda.current_device())})
    return max(1, min(at_most, int(free * (1 - spare)) // max(1, bytes_per_row)))


def _free(device: "torch.device") -> int:
    """Returns the free bytes of a GPU, including those that torch has reserved but does not use."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _fitting(part: Sequence[Item], call: Callable[[Sequence[Item]], list[Answer]]) -> list[Answer] | None:
    """Returns the answers; None if memory ran out, after which it is freed."""
    import torch

    with suppress(torch.OutOfMemoryError):
        return call(part)
    torch.cuda.empty_cache()  # the error, whose traceback held the tensors, is gone by now; no effect on a CPU
    return None


_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


def after_thought(text: str) -> str:
    """Removes the thought that a reasoning model wrote between `<think>` and `</think>` before its answer."""
    text = _THOUGHT.sub("", text)
    text = text.rpartition("</think>")[2]  # a chat template may contain the opening tag itself
    return text.partition("<think>")[0].strip()  # a thought without an end was cut off
