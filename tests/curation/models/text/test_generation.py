import math
from types import SimpleNamespace

import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LogitsProcessorList

from curation.models.text.generation import OUT_OF_MEMORY, PATIENCE, Answer, Halving, SeededSampling, rows_that_fit

torch.set_num_threads(1)
DRAWS = 4000
ENDS = list(range(2, 7))


def tokens(seeds, logits, **settings):
    """The tokens that a sampler picks from logits (steps, rows, vocabulary)."""
    sample = SeededSampling(seeds, **settings)
    ids = torch.zeros((len(seeds), 1), dtype=torch.long)
    return torch.stack([sample(ids, step).argmax(1) for step in logits], dim=1).tolist()


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 1.0), (0.6, 0.95), (2.0, 0.7)])
def test_it_samples_from_softmax_of_the_cooled_logits_of_the_nucleus(temperature, top_p):
    logits = torch.tensor([2.0, 1.5, 1.0, 0.0, -1.0, -3.0])
    shares = torch.softmax(logits / temperature, 0)
    kept = torch.cat([torch.zeros(1), shares.cumsum(0)[:-1]]) < top_p  # the logits fall
    expected = shares * kept / (shares * kept).sum()
    drawn = tokens([7], logits.expand(DRAWS, 1, 6), temperature=temperature, top_p=top_p)[0]
    found = torch.bincount(torch.tensor(drawn), minlength=6) / DRAWS
    assert (found[~kept] == 0).all()
    assert ((found - expected).abs() < 4 * (expected * (1 - expected) / DRAWS).sqrt() + 1e-9).all()


def test_seeds_and_steps_are_independent_of_each_other():
    """Two coins of different seeds, or of following steps, agree half the time."""
    first, second = tokens([1, 2], torch.zeros(DRAWS, 2, 2), temperature=1.0, top_p=1.0)
    tolerance = 4 * math.sqrt(0.25 / DRAWS)
    for other in (second, first[1:]):
        assert abs(sum(a == b for a, b in zip(first, other, strict=False)) / DRAWS - 0.5) < tolerance


def test_a_row_has_the_same_tokens_alone_and_in_any_batch():
    logits = torch.randn((20, 5, 300), generator=torch.Generator().manual_seed(0))
    seeds = [3, 2**63 - 1, None, 0, 3]
    together = tokens(seeds, logits)
    order = [3, 0, 4, 2, 1]
    assert tokens([seeds[i] for i in order], logits[:, order]) == [together[i] for i in order]
    for i, seed in enumerate(seeds):
        assert tokens([seed], logits[:, i : i + 1]) == [together[i]]
    assert together[2] == logits[:, 2].argmax(1).tolist()  # no seed: greedy
    assert together[0] != logits[:, 0].argmax(1).tolist()


def test_the_same_logits_and_seed_are_the_same_sample_and_another_seed_is_another():
    logits = torch.zeros((20, 1, 1000))
    first, again, other = (tokens([seed], logits) for seed in (5, 5, 6))
    assert first == again != other


def test_rows_that_are_no_seeds_are_refused():
    with pytest.raises(ValueError, match="a row for each of 2 seeds, found 4"):
        tokens([1, 2], torch.zeros((1, 4, 8)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=60, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                         pad_token_id=0, bos_token_id=1, initializer_range=0.3)  # fmt: skip
    return LlamaForCausalLM(config).eval()


def generated(model, prompts, seeds):
    """The new tokens of each prompt, padded left, up to and with the end; the library's own loop."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    settings = GenerationConfig(max_new_tokens=40, do_sample=False, num_beams=1, eos_token_id=ENDS, pad_token_id=0)
    # hot, so that every row ends on its own: a row that has ended goes on drawing beside the others
    sampler = LogitsProcessorList([SeededSampling(seeds, temperature=9.0, top_p=1.0)])
    with torch.inference_mode():
        found = model.generate(ids, attention_mask=mask, generation_config=settings, logits_processor=sampler)
    rows = found[:, width:].tolist()
    ends = [next((i + 1 for i, token in enumerate(row) if token in ENDS), len(row)) for row in rows]
    return [row[:end] for row, end in zip(rows, ends, strict=True)]


def test_generate_samples_a_row_alike_whatever_it_is_padded_and_batched_with(model):
    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(7, 60, (n,), generator=generator).tolist() for n in (3, 9, 5, 14, 7, 4)]
    seeds = [11, None, 13, 14, None, 16]
    together = generated(model, prompts, seeds)
    assert [generated(model, [p], [s])[0] for p, s in zip(prompts, seeds, strict=True)] == together
    assert len({len(row) for row in together}) > 2  # they end at different steps
    assert generated(model, prompts[:1], [None]) != together[:1]


class Memory:
    """A model that takes `rows` at once, and some rows not even alone."""

    def __init__(self, rows, never=()):
        self.rows, self.never, self.calls = rows, set(never), []

    def __call__(self, items):
        self.calls.append(len(items))
        if len(items) > self.rows or self.never & set(items):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [Answer(str(item)) for item in items]


def test_a_batch_that_does_not_fit_is_halved_and_the_next_begins_at_the_size_that_went():
    whole, memory = Halving(16), Memory(5)
    assert [a.text for a in whole(range(16), memory)] == [str(i) for i in range(16)]
    assert memory.calls == [16, 8, 4, 4, 4, 4]
    assert [a.text for a in whole(range(6), memory)] == [str(i) for i in range(6)]
    assert memory.calls[6:] == [4, 2] and whole.size == 4


@pytest.mark.parametrize("at", [0, 1, 5, 15])
def test_a_row_that_does_not_fit_alone_is_given_up_and_its_neighbours_are_not(at):
    whole, memory = Halving(16), Memory(16, [at])
    answers = whole(range(16), memory)
    assert answers == [Answer(failed=OUT_OF_MEMORY) if i == at else Answer(str(i)) for i in range(16)]
    assert len(memory.calls) < 16
    before = len(memory.calls)
    assert len(whole(range(100, 116), memory)) == 16 and memory.calls[before:] == [16]


def test_where_nothing_fits_larger_batches_are_not_tried_for_each_row():
    whole, memory = Halving(64), Memory(0)
    assert whole(range(64), memory) == [Answer(failed=OUT_OF_MEMORY)] * 64
    assert len(memory.calls) < 80
    memory.calls.clear()
    whole(range(8), memory)
    assert memory.calls == [1] * 8


def test_after_a_row_that_does_not_fit_alone_the_next_begin_at_the_largest_size_that_went():
    whole, memory = Halving(64), Memory(64)
    whole(range(64), memory)  # then another process takes most of the memory
    memory.rows, memory.never = 8, {100, 200}
    whole(range(64, 128), memory)
    assert 4 < whole.size <= 8
    memory.calls.clear()
    whole(range(164, 228), memory)
    assert max(memory.calls) <= 8 and len(memory.calls) < 20


def test_after_long_calm_the_double_is_tried_again():
    whole, memory = Halving(8), Memory(3)
    whole(range(8), memory)
    assert whole.size == 2
    memory.rows = 8
    for _ in range(2 * PATIENCE + 2):
        whole(range(2), memory)
    assert whole.size == 8
    memory.calls.clear()
    whole(range(20), memory)
    assert memory.calls == [8, 8, 4]


def test_other_errors_and_no_rows():
    def broken(items):
        raise RuntimeError("shape")

    with pytest.raises(RuntimeError, match="shape"):
        Halving(4)(range(4), broken)
    assert Halving(4)([], broken) == [] and Halving(0).size == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what a machine without a GPU does")
def test_on_a_cpu_rows_run_one_at_a_time():
    assert rows_that_fit(1, 64) == 1


def test_of_a_model_on_several_gpus_the_fullest_counts(monkeypatch):
    free = [800, 300, 900]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: (free[gpu.index], 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda gpu: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda gpu: 30)

    def spread(*places):
        return SimpleNamespace(parameters=lambda: [SimpleNamespace(device=torch.device(place)) for place in places])

    assert rows_that_fit(10, 100, spare=0) == 82
    assert rows_that_fit(10, 100, spare=0, model=spread("cuda:0", "cuda:2", "cuda:2")) == 82
    assert rows_that_fit(10, 100, spare=0, model=spread("cuda:0", "cuda:1", "meta")) == 32  # meta: what is offloaded
    assert rows_that_fit(10, 100, spare=0, model=spread("meta")) == 82


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_rows_that_fit_do_fit_and_four_times_as_many_are_halved():
    row = 2**30
    fits = rows_that_fit(row, 10_000)
    assert 1 <= rows_that_fit(row, 3) <= 3 and rows_that_fit(2**60, 64) == 1
    assert torch.empty(fits * row, dtype=torch.uint8, device="cuda").numel() == fits * row
    torch.cuda.empty_cache()

    def hungry(items):
        kept = torch.zeros(len(items) * row, dtype=torch.uint8, device="cuda")
        return [Answer(str(kept.device.type))] * len(items)

    whole = Halving(4 * fits)
    assert [a.text for a in whole(range(4 * fits), hungry)] == ["cuda"] * (4 * fits)
    assert whole.size <= fits * 1.2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_a_row_samples_alike_in_any_batch():
    logits = torch.randn((10, 8, 32_000), device="cuda")
    together = tokens(list(range(8)), logits)
    assert [tokens([i], logits[:, i : i + 1])[0] for i in range(8)] == together
