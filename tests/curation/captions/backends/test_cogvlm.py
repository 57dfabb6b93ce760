import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import sentencepiece
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import LlamaTokenizer

from curation.captions.backends.cogvlm import PROMPT
from curation.captions.base import Request, make_captioner
from curation.errors import UserError
from curation.models.checkpoints import Models
from curation.models.cogvlm.model import CogVLMForCausalLM
from curation.models.hf_folder import SafetensorsHeader
from tests import cogvlm

torch.set_num_threads(1)
GPU = torch.cuda.is_available()
QUESTIONS = ("", "What?", "What is written on the sign?", "Describe this image. The following text stands in it.")


pytestmark = [pytest.mark.usefixtures("on_a_cpu"), pytest.mark.slow]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of models with a checkpoint as the hub has it, in three shards, and a tokenizer apart."""
    folder = tmp_path_factory.mktemp("models")
    cogvlm.folder(folder / "cogvlm", shards=3, inv_freq=True, tokenizer=False)
    cogvlm.vicuna(folder / "vicuna")
    return folder


def captioner(folder, checkpoint="cogvlm", **params):
    given = {"backend": "cogvlm", "checkpoint": checkpoint, "tokenizer": "vicuna", "max_new_tokens": 16} | params
    return make_captioner({k: v for k, v in given.items() if v is not None}, Models(folder))


def loaded(folder, **params):
    made = captioner(folder, **params)
    made.check()
    made.load()
    return made


def requests(made, count=4, attempt=0):
    drawn = np.random.default_rng(0)
    pictures = [drawn.integers(0, 256, (40 + 9 * n, 70, 3), dtype=np.uint8) for n in range(count)]
    return [
        Request(f"c/s/{n}", made.prepare(picture), {}, QUESTIONS[n % 4], attempt) for n, picture in enumerate(pictures)
    ]


def copy(models, tmp_path, **config):
    """The folder of models, to be damaged."""
    shutil.copytree(models, tmp_path / "models")
    if config:
        path = tmp_path / "models/cogvlm/config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return tmp_path / "models"


def test_a_caption_from_end_to_end(models):
    made = loaded(models)
    found = made.caption(requests(made))
    assert len(found) == 4 and len({answer.text for answer in found}) == 4
    for answer, request in zip(found, requests(made), strict=True):
        assert answer.text and not answer.failed and answer.tokens_out <= 16
        words = sentencepiece.SentencePieceProcessor(model_file=str(models / "vicuna/tokenizer.model"))
        asked = words.encode(f"Question: {request.prompt or PROMPT} Answer:")
        assert answer.tokens_in == 1 + cogvlm.IMAGE_TOKENS + len(asked)
    assert found == made.caption(requests(made))
    assert made.side == 28 and made.batch_size == 1


def test_the_prompt_is_the_chat_models(models):
    made = loaded(models)
    ids = made._writer.prompt_ids("What is it? </s> <s>")
    words = sentencepiece.SentencePieceProcessor(model_file=str(models / "vicuna/tokenizer.model"))
    assert ids == [1, *[0] * 6, *words.encode("Question: What is it? </s> <s> Answer:")]
    assert 2 not in ids[7:]  # what looks like a mark in a prompt is text


def test_the_first_attempt_is_what_the_model_itself_writes_greedily(models):
    made = loaded(models)
    model = CogVLMForCausalLM.from_pretrained(models / "cogvlm", dtype=torch.float32)
    for request, answer in zip(requests(made), made.caption(requests(made)), strict=True):
        ids = torch.tensor([made._writer.prompt_ids(request.prompt or PROMPT)])
        image = (torch.tensor(np.array(request.image)).permute(2, 0, 1) / 255)[None]
        mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
        pixels = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        for _ in range(16):
            ids = torch.cat((ids, model(ids, pixel_values=pixels).logits[:, -1:].argmax(-1)), dim=1)
        words = LlamaTokenizer.from_pretrained(models / "vicuna")
        assert words.decode(ids[0, -16:]).strip() == answer.text


def test_attempts_after_the_first_are_sampled_by_key_and_attempt(models):
    made = loaded(models, temperature=3.0)
    texts = {n: [answer.text for answer in made.caption(requests(made, attempt=n))] for n in range(3)}
    assert texts[0] != texts[1] != texts[2] != texts[0]
    assert texts[1] == [answer.text for answer in loaded(models, temperature=3.0).caption(requests(made, attempt=1))]
    assert texts[1] != [answer.text for answer in loaded(models, temperature=1.0).caption(requests(made, attempt=1))]


def test_a_caption_does_not_depend_on_its_batch(models):
    made = loaded(models, temperature=3.0)
    mixed = [*requests(made, 3), *requests(made, 4, attempt=1)[2:], *requests(made, 2, attempt=2)]
    mixed = [Request(r.key, r.image, r.row, r.prompt or PROMPT, r.attempt) for r in mixed]
    alone = [made._writer.write([request], 16)[0] for request in mixed]
    assert made._writer.write(mixed, 16) == alone
    assert made._writer.write(mixed[::-1], 16) == alone[::-1]
    assert made.caption(mixed) == alone


def test_a_caption_without_an_end_is_marked_incomplete(models):
    made = loaded(models, temperature=100.0)  # so hot that any token may come, also the end
    asked = [Request(f"c/s/{n}", requests(made)[0].image, {}, "What?", 1) for n in range(24)]
    found = made._writer.write(asked, 60)
    assert {answer.complete for answer in found} == {True, False}
    for answer in found:
        assert answer.tokens_out <= 60 if answer.complete else answer.tokens_out == 60
        assert "</s>" not in answer.text and "<unk>" not in answer.text
    early = min(range(24), key=lambda n: found[n].tokens_out)
    assert found[early].tokens_out < 50 and made._writer.write([asked[early]], 60) == [found[early]]


def test_a_prompt_that_leaves_little_room_gets_what_there_is(models):
    made = loaded(models, max_new_tokens=100)
    images = requests(made, 3)
    long, short = "sign " * 50, "What?"
    used = len(made._writer.prompt_ids(long))
    assert 0 < 128 - used < 100
    asked = [Request(f"c/s/{n}", images[0].image, {}, prompt) for n, prompt in enumerate((short, long, "sign " * 200))]
    first, second, third = made.caption(asked)
    assert second.tokens_out == 128 - used and not second.complete
    assert (third.text, third.failed) == ("", "long_prompt")
    assert first == made.caption(asked[:1])[0] and first.tokens_out == 100


@pytest.mark.parametrize(("size", "side"), [((90, 90), 28), ((180, 90), 56), ((90, 180), 56), ((9, 900), 112)])
def test_a_picture_is_decoded_so_large_that_its_short_side_is_not_scaled_up(models, size, side):
    assert captioner(models).side_for(*size) == side


def test_pictures_are_squashed_as_by_pillows_bicubic(models):
    made = captioner(models)
    bgr = np.random.default_rng(1).integers(0, 256, (61, 90, 3), dtype=np.uint8)
    seen = made.prepare(bgr)
    expected = Image.fromarray(bgr[:, :, ::-1]).resize((28, 28), Image.Resampling.BICUBIC)
    assert seen.dtype == np.uint8 and seen.shape == (28, 28, 3)
    apart = np.abs(seen.astype(int) - np.asarray(expected))
    assert apart.max() <= 2 and apart.mean() < 0.5


def test_weights_saved_by_transformers_load_without_a_missing_or_unexpected_key(models, tmp_path):
    made = cogvlm.model(seed=3)
    made.save_pretrained(tmp_path / "one")
    made.save_pretrained(tmp_path / "several", max_shard_size="40KB")
    assert len(list((tmp_path / "several").glob("*.safetensors"))) > 3
    for folder in ("one", "several", models / "cogvlm"):
        again, found = CogVLMForCausalLM.from_pretrained(
            tmp_path / folder, dtype=torch.float32, output_loading_info=True
        )
        assert not found["missing_keys"] and not found["unexpected_keys"] and not found["mismatched_keys"]
        expected = cogvlm.model(seed=0 if folder == models / "cogvlm" else 3).state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in again.state_dict().items())
        assert torch.isfinite(again.model.rotary_emb.inv_freq).all()


def test_bfloat16_weights_are_read_in_float32_on_a_cpu(models, tmp_path):
    folder = copy(models, tmp_path)
    for path in (folder / "cogvlm").glob("*.safetensors"):
        save_file({name: tensor.bfloat16() for name, tensor in load_file(path).items()}, path)
    model = loaded(folder)._writer.model
    assert model.dtype == torch.float32 and model.generation_config.temperature is None
    rounded = cogvlm.model().state_dict()["lm_head.weight"].bfloat16().float()
    assert torch.equal(model.lm_head.weight, rounded)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_device_map_auto_writes_the_same(models):
    plain, spread = loaded(models), loaded(models, device_map="auto")
    assert plain.caption(requests(plain)) == spread.caption(requests(spread))
    assert plain.identity == spread.identity == captioner(models, batch_size=8).identity
    assert plain.identity != captioner(models, max_new_tokens=17).identity


def test_the_files_are_part_of_its_identity(models):
    names = set(captioner(models).digests())
    assert {"config.json", "model.safetensors.index.json", "tokenizer/tokenizer.model"} < names
    assert {f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)} < names


def test_the_tokenizer_may_lie_beside_the_weights(models, tmp_path):
    cogvlm.folder(tmp_path / "whole")
    assert loaded(tmp_path, checkpoint="whole", tokenizer=None).caption([]) == []


def test_describing_and_finding_the_captioner_imports_no_torch(models):
    code = (
        "import sys; from curation.captions.base import make_captioner; from curation.models.checkpoints import Models\n"
        f"made = make_captioner({{'backend': 'cogvlm', 'checkpoint': 'cogvlm', 'tokenizer': 'vicuna'}}, Models({str(models)!r}))\n"
        "made.identity; made.side; made.files(); print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def refused(folder, message, **params):
    with pytest.raises(UserError) as raised:
        captioner(folder, **params).check()
    assert "\n" not in str(raised.value)
    assert str(raised.value).replace(str(folder), "MODELS").startswith(message), str(raised.value)


def test_a_missing_shard(models, tmp_path):
    folder = copy(models, tmp_path)
    (folder / "cogvlm/model-00002-of-00003.safetensors").unlink()
    refused(
        folder, "captions.captioner.checkpoint: MODELS/cogvlm has no model-00002-of-00003.safetensors; found config"
    )


def test_a_shard_that_is_cut(models, tmp_path):
    folder = copy(models, tmp_path)
    path = folder / "cogvlm/model-00002-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    refused(folder, f"captions.captioner.checkpoint: MODELS/cogvlm/{path.name} is no safetensors file: ")


def test_tensors_that_are_missing_of_another_shape_or_too_many(models, tmp_path):
    folder = copy(models, tmp_path)
    path = folder / "cogvlm/model-00001-of-00003.safetensors"
    tensors = load_file(path)
    name = "model.embed_tokens.weight"
    save_file({n: t for n, t in tensors.items() if n != name}, path)
    refused(folder, f"captions.captioner.checkpoint: MODELS/cogvlm: expected the tensor {name}, found none")
    save_file(tensors | {name: tensors[name][:400]}, path)
    refused(
        folder,
        f"captions.captioner.checkpoint: MODELS/cogvlm/{path.name}: {name}: expected [420, 32] by config.json, "
        "found [400, 32]",
    )
    with pytest.raises(UserError, match=name):
        captioner(folder).load()
    save_file(tensors | {"model.extra": torch.zeros(2)}, path)
    refused(
        folder,
        f"captions.captioner.checkpoint: MODELS/cogvlm/{path.name}: model.extra: expected no such tensor, found [2]",
    )


def test_pickled_weights_are_not_opened(models, tmp_path):
    folder = copy(models, tmp_path)
    for path in (folder / "cogvlm").glob("model*"):
        path.unlink()
    (folder / "cogvlm/pytorch_model-00001-of-00001.bin").write_bytes(b"\x80\x04N.")
    refused(
        folder,
        "captions.captioner.checkpoint: MODELS/cogvlm has no model.safetensors but pytorch_model-00001-of-00001.bin, "
        "a pickle, which is not opened; convert it to safetensors where you trust it (`model.save_pretrained(FOLDER)` "
        "in transformers), or fetch the safetensors files",
    )
    (folder / "cogvlm/pytorch_model-00001-of-00001.bin").unlink()
    refused(
        folder,
        "captions.captioner.checkpoint: MODELS/cogvlm has no model.safetensors; found config.json",
    )


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"weight_map": {}}',
        '{"weight_map": {"a": "config.json"}}',
        '{"weight_map": {"a": "../b"}}',
        '{"weight_map": 3}',
        "{}",
    ],
)
def test_a_damaged_index(models, tmp_path, content):
    folder = copy(models, tmp_path)
    (folder / "cogvlm/model.safetensors.index.json").write_text(content)
    refused(folder, "captions.captioner.checkpoint: MODELS/cogvlm/model.safetensors.index.json")


def test_a_tokenizer_that_is_missing(models, tmp_path):
    refused(
        models,
        "captions.captioner.checkpoint: MODELS/cogvlm has no tokenizer: expected tokenizer.json or tokenizer.model, found ",
        tokenizer=None,
    )
    refused(models, "captions.captioner.tokenizer: no vicuna-7b in MODELS", tokenizer="vicuna-7b")
    folder = copy(models, tmp_path)
    (folder / "vicuna/tokenizer.model").unlink()
    refused(folder, "captions.captioner.tokenizer: MODELS/vicuna has no tokenizer: expected tokenizer.json or ")


def test_a_tokenizer_that_is_damaged_or_of_another_model(models, tmp_path):
    folder = copy(models, tmp_path, vocab_size=100)
    refused(folder, "captions.captioner.checkpoint: MODELS/cogvlm/model-0000")  # the weights come first
    folder = copy(models, tmp_path / "again")
    (folder / "vicuna/tokenizer.model").write_bytes(b"no sentencepiece")
    refused(folder, "captions.captioner.tokenizer: MODELS/vicuna/tokenizer.model: expected Vicuna's tokenizer: ")
    shutil.copytree(models, tmp_path / "third")
    cogvlm.folder(tmp_path / "third/small", vocab_size=200, tokenizer=False)
    refused(
        tmp_path / "third",
        "captions.captioner.tokenizer: MODELS/vicuna/tokenizer.model: expected 200 tokens at most and </s> as 2, "
        "found 420 and 2",
        checkpoint="small",
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"template_version": "base"}, 'config.json: template_version: expected "chat" (THUDM/cogvlm-chat-hf), found "base"'),
        ({"hidden_size": "wide"}, "config.json: expected the configuration of CogVLM: "),
        ({"hidden_act": "no such function"}, "config.json: expected the configuration of CogVLM: "),
        ({"vision_config": cogvlm.VISION | {"image_size": 42}}, "config.json: expected the configuration of CogVLM: "),
        ({"num_hidden_layers": 3}, ": expected the tensor model.layers.2."),
        ({"num_hidden_layers": 1}, "model-0000"),
    ],
)  # fmt: skip
def test_a_configuration_that_does_not_fit(models, tmp_path, config, message):
    folder = copy(models, tmp_path, **config)
    between = "" if message.startswith(":") else "/"
    refused(folder, f"captions.captioner.checkpoint: MODELS/cogvlm{between}{message}")


def test_a_folder_without_a_configuration_or_none_at_all(models, tmp_path):
    folder = copy(models, tmp_path)
    refused(folder, "captions.captioner.checkpoint: no cogvlm-chat in MODELS", checkpoint="cogvlm-chat")
    refused(
        folder,
        "captions.captioner.checkpoint: MODELS/vicuna/tokenizer.model is a file; expected the folder",
        checkpoint="vicuna/tokenizer.model",
    )
    refused(folder, "captions.captioner.checkpoint: MODELS/vicuna has no config.json; found ", checkpoint="vicuna")
    (folder / "cogvlm/config.json").write_text("{not json")
    refused(folder, "captions.captioner.checkpoint: MODELS/cogvlm/config.json is no JSON: ")
    (folder / "cogvlm/config.json").write_text('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    refused(folder, "captions.captioner.checkpoint: MODELS/cogvlm/config.json is nested too deep")
    (folder / "cogvlm/config.json").write_text('{"model_type": "cogvlm", "num_hidden_layers": 1000000}')
    refused(
        folder, "captions.captioner.checkpoint: MODELS/cogvlm/config.json: num_hidden_layers is 1,000,000; at most "
    )


@pytest.mark.parametrize(
    ("params", "key"),
    [({"temperature": 0}, "temperature"), ({"top_p": 1.5}, "top_p"), ({"max_new_tokens": 0}, "max_new_tokens"),
     ({"batch_size": 0}, "batch_size"), ({"device_map": "cuda:0"}, "device_map"), ({"beams": 3}, "beams")],
)  # fmt: skip
def test_wrong_parameters_are_refused_by_key(models, params, key):
    with pytest.raises(UserError, match=rf"^captions\.captioner\.{key}"):
        captioner(models, **params)


def test_it_says_where_the_models_come_from():
    weights, words = make_captioner({"backend": "cogvlm", "checkpoint": "x"}).origins
    assert weights.place == "cogvlm-chat" and "CogVLM Model License" in weights.licence
    assert words.place == "vicuna-tokenizer" and "Llama 2" in words.licence


def with_memory(monkeypatch, size):
    """As if the machine had so many bytes."""
    page, real = os.sysconf("SC_PAGE_SIZE"), os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: size // page if name == "SC_PHYS_PAGES" else real(name))


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_weights_that_are_larger_than_the_memory_are_not_loaded(models, tmp_path, monkeypatch, stored):
    """In float32, as which they are loaded on a CPU, however they are stored."""
    folder = copy(models, tmp_path)
    for path in (folder / "cogvlm").glob("*.safetensors"):
        save_file({name: tensor.to(stored) for name, tensor in load_file(path).items()}, path)
    size = 4 * sum(tensor.numel() for tensor in cogvlm.model().state_dict().values())
    with_memory(monkeypatch, 9 * size // 10)
    with pytest.raises(UserError) as raised:
        captioner(folder).load()
    assert str(raised.value) == (
        f"captions.captioner.checkpoint: {folder}/cogvlm: the weights take 0.0 GB of memory in float32; this machine, "
        "which has no GPU, has 0.0 GB"
    )
    with_memory(monkeypatch, 2 * size)
    captioner(folder).load()


@pytest.mark.parametrize(("spread", "says"), [
    (False, "the weights take 35.3 GB of memory in bfloat16; its GPU has 24.0 GB"),
    (True, None),
])  # fmt: skip
def test_the_full_model_fits_two_small_gpus_but_not_one(models, monkeypatch, spread, says):
    made = captioner(models)._files
    header = SafetensorsHeader(made.folder, "model.weight", [17_639_685_376], "BF16")
    monkeypatch.setattr(made, "headers", lambda: [header])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda gpu: SimpleNamespace(total_memory=24 * 10**9))
    with_memory(monkeypatch, 10**9)
    if says is None:
        made.fit(spread)
    else:
        with pytest.raises(UserError, match=f"cogvlm: {says}$"):
            made.fit(spread)


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs a GPU")
def test_on_a_gpu_captions_are_written_in_padded_batches_and_halves(models, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    made = loaded(models, temperature=3.0)
    model = made._writer.model
    assert made.batch_size > 1 and model.dtype == torch.bfloat16 and model.device.type == "cuda"
    mixed = [*requests(made, 4), *requests(made, 4, attempt=1)]  # questions of several lengths, greedy and sampled
    answers = made.caption(mixed)
    assert answers == made.caption(mixed)
    assert len({answer.tokens_in for answer in answers}) == 4
    assert all(answer.tokens_out and not answer.failed for answer in answers)
    assert [a.text for a in answers[4:]] != [a.text for a in answers[:4]]
    again = made.caption([replace(request, attempt=2) for request in mixed[4:]])
    assert [a.text for a in again] != [a.text for a in answers[4:]]
    real, sizes = made._writer.write, []

    def scarce(rows, room):
        sizes.append(len(rows))
        if len(rows) > 3:
            torch.empty(2**50, dtype=torch.uint8, device="cuda")  # more than there is
        return real(rows, room)

    monkeypatch.setattr(made._writer, "write", scarce)
    halved = made.caption(mixed)
    assert sizes[:3] == [8, 4, 2] and all(answer.tokens_out and not answer.failed for answer in halved)
