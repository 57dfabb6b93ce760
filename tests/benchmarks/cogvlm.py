"""CogVLM with random weights: images and tokens a second, beside what the memory's bandwidth would allow.

On a GPU at full size, made there. Without one at a reduced size, which says that it runs and how it scales, no more.
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import torch

from curation.models.cogvlm.cache import RoomyCache
from curation.models.cogvlm.config import CogVLMConfig
from curation.models.cogvlm.model import CogVLMForCausalLM
from curation.models.cogvlm.vision import normalised
from curation.models.device import device
from tests.benchmarks.report import Figure, peak_mb, show

REDUCED: dict[str, Any] = {
    "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8, "num_attention_heads": 8,
    "vision_config": {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 8, "num_heads": 4,
                      "image_size": 98, "num_positions": 50},
}  # fmt: skip
WORDS = 20, 41
"""Tokens of a question, from and to: rows differ, so that some are padded."""


@dataclass(frozen=True)
class Run:
    """One batch, from its images to its last token."""

    rows: int
    prompt_tokens: int
    """Of all rows, without padding."""
    new_tokens: int
    """Of each row."""
    prefill: float
    """Seconds to the first token."""
    whole: float
    """Seconds to the last."""

    @property
    def step(self) -> float:
        """Seconds for one more token of each row."""
        return (self.whole - self.prefill) / (self.new_tokens - 1)


def main() -> None:
    """Prints the figures."""
    where = device()
    gpu = where == "cuda"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 32])
    parser.add_argument("--new-tokens", type=int, default=200 if gpu else 16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not gpu:
        print("no GPU: cogvlm at a reduced size on a CPU; its figures say nothing of the full model")
    config = CogVLMConfig.from_dict({} if gpu else REDUCED)
    torch.set_default_dtype(torch.bfloat16 if gpu else torch.float32)
    with torch.device(where):
        model = CogVLMForCausalLM(config).eval().requires_grad_(False)
    torch.set_default_dtype(torch.float32)
    speed = bandwidth(where)
    show([Figure("cogvlm, memory bandwidth by a large copy", speed / 1e9, "GB/s")])
    written(model, 1, 2)  # warms up
    runs = {rows: written(model, rows, arguments.new_tokens) for rows in arguments.batches}
    for run in runs.values():
        show(figures(model, run, speed, gpu))
    if {1, 16} <= set(runs):
        ratio = (16 / runs[16].whole) / (1 / runs[1].whole)
        show([Figure("cogvlm, images/s at 16 against 1", ratio, "x", None, 6 if gpu else None, more_is_better=True)])
    peak = torch.cuda.max_memory_allocated() / 1e9 if gpu else peak_mb() / 1e3
    show([Figure(f"cogvlm, peak memory, batch {max(runs)}", peak, "GB")])


def figures(model: CogVLMForCausalLM, run: Run, speed: float, gpu: bool) -> list[Figure]:
    """Of one batch. The floor of a step is the time to read weights and cache once from memory.

    Args:
        model: that ran.
        run: what was measured.
        speed: of the memory, bytes a second.
        gpu: whether the model has its full size, for which the goals are.
    """
    read = decode_bytes(model, run)
    reach = 2.0 if gpu and run.rows >= 16 else None
    at = f"cogvlm, batch {run.rows}"
    return [
        Figure(f"{at}, {run.new_tokens} new tokens", run.rows / run.whole, "images/s", None, reach, more_is_better=True),
        Figure(f"{at}, prefill with image tower", run.prompt_tokens / run.prefill, "tokens/s", more_is_better=True),
        Figure(f"{at}, decode", run.rows / run.step, "tokens/s", run.rows * speed / read, more_is_better=True),
        Figure(f"{at}, decode, share of memory bandwidth", read / speed / run.step, "", more_is_better=True),
    ]  # fmt: skip


def decode_bytes(model: CogVLMForCausalLM, run: Run) -> float:
    """Bytes that one step must read: language experts, norms and output weights, and the cache half-way."""
    names = ("language_", "layernorm", "model.norm", "lm_head")
    weights = sum(
        p.nbytes for n, p in model.named_parameters() if any(x in n for x in names) and "model.vision." not in n
    )
    token = 2 * model.config.num_hidden_layers * model.config.hidden_size * model.dtype.itemsize
    return weights + token * (run.prompt_tokens + run.rows * run.new_tokens / 2)


def written(model: CogVLMForCausalLM, rows: int, new_tokens: int) -> Run:
    """Random pictures and questions, captioned greedily to the last token; the end mark is suppressed."""
    config, made = model.config, torch.Generator().manual_seed(rows)
    side = config.vision_config.image_size
    lengths = torch.randint(*WORDS, (rows,), generator=made)
    begun = 1 + config.image_tokens
    total = begun + int(lengths.max())
    ids = torch.randint(3, config.vocab_size, (rows, total), generator=made)
    mask = torch.ones_like(ids)
    for row, padding in enumerate((lengths.max() - lengths).tolist()):
        mask[row, :padding] = 0
        ids[row, : padding + begun] = config.pad_token_id
        ids[row, padding] = config.bos_token_id
    ids, mask = ids.to(model.device), mask.to(model.device)
    pictures = torch.randint(0, 256, (rows, side, side, 3), dtype=torch.uint8, generator=made)

    def timed(count: int) -> float:
        _wait(model)
        began = time.perf_counter()
        with torch.inference_mode():
            found = model.generate(
                ids,
                attention_mask=mask,
                pixel_values=normalised(pictures.to(model.device), model.dtype),
                past_key_values=RoomyCache(config.num_hidden_layers, total + count),
                min_new_tokens=count,
                max_new_tokens=count,
                do_sample=False,
            )
        _wait(model)
        assert found.shape == (rows, total + count)
        return time.perf_counter() - began

    timed(2)  # so that no kernel is chosen while it is timed
    return Run(rows, int(mask.sum()), new_tokens, timed(1), timed(new_tokens))


def bandwidth(where: str) -> float:
    """Bytes a second that memory reads and writes, the best of five large copies."""
    source = torch.zeros(2**31 if where == "cuda" else 2**28, dtype=torch.uint8, device=where)
    target, seconds = torch.empty_like(source), []
    for _ in range(6):
        began = time.perf_counter()
        target.copy_(source)
        if where == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return 2 * source.nbytes / min(seconds[1:])


def _wait(model: CogVLMForCausalLM) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
