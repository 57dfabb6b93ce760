import json
import os
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import PreTrainedConfig

from curation.captions.backends.transformers import KEY, PROMPT
from curation.captions.base import Request, make_captioner
from curation.errors import UserError
from curation.models.checkpoints import Models
from curation.models.text.generation import Halving
from curation.models.text.hf_image_text import ImageText, without_thought
from tests import vlm

torch.set_num_threads(1)
SHAPES = [(60, 200), (130, 90), (100, 100), (48, 300)]
FAMILIES = {"qwen2_vl": vlm.qwen2_vl, "internvl": vlm.internvl}


GPU = torch.cuda.is_available()


pytestmark = [pytest.mark.usefixtures("on_a_cpu"), pytest.mark.slow]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of models, with one checkpoint of each family."""
    folder = tmp_path_factory.mktemp("models")
    for name, make in FAMILIES.items():
        make(folder / name)
    return folder


def captioner(models, name="qwen2_vl", **settings):
    given = {"backend": "transformers", "checkpoint": name, "side": 224, "max_new_tokens": 24}
    return make_captioner(given | settings, Models(models))


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request, models):
    made = captioner(models, request.param)
    made.check()
    made.load()
    return made


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def requests(made, attempt=0):
    """Pictures of several sizes, asked in several lengths."""
    return [Request(f"c/s/{i}", made.prepare(noise(shape, i)), {}, "Describe it. " * (i + 1), attempt)
            for i, shape in enumerate(SHAPES)]  # fmt: skip


def by_the_library(folder, picture, prompt, limit=24):
    """One greedy answer, as the library's own documentation has it."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    said = [
        {
            "role": "user",
            "content": [{"type": "image", "image": Image.fromarray(picture)}, {"type": "text", "text": prompt}],
        }
    ]
    given = processor.apply_chat_template(
        said, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    found = model.generate(**given, max_new_tokens=limit, do_sample=False)[:, given["input_ids"].shape[1] :]
    return processor.batch_decode(found, skip_special_tokens=True)[0], given["input_ids"].shape[1], found.shape[1]


def test_a_caption_is_what_the_librarys_own_generate_says(loaded):
    for request, answer in zip(requests(loaded), loaded.caption(requests(loaded)), strict=True):
        text, asked, new = by_the_library(loaded._checkpoint.folder, request.image, request.prompt)
        assert (answer.text, answer.tokens_in, answer.tokens_out) == (text.strip(), asked, new)


def test_the_model_looks_at_the_picture_and_at_the_prompt(loaded):
    first = requests(loaded)[0]
    others = [replace(first, prompt="Why? ¿Por qué?"), replace(first, image=loaded.prepare(noise(SHAPES[0], 9)))]
    said = [answer.text for answer in loaded.caption([first, *others])]
    assert len(set(said)) == 3


@pytest.mark.parametrize("attempt", [0, 1])
def test_a_padded_batch_says_what_each_row_says_alone(loaded, attempt):
    """The batched path itself, which a CPU's captions do not take."""
    rows = requests(loaded, attempt)
    together = loaded._write(rows)
    assert together == [loaded._write([row])[0] for row in rows] == loaded.caption(rows)
    assert len({answer.tokens_in for answer in together}) == len(rows)  # so there was padding
    assert [answer.text for answer in loaded._write(rows[::-1])] == [answer.text for answer in together[::-1]]


def test_first_attempts_and_later_ones_go_together(loaded):
    greedy, sampled = requests(loaded), requests(loaded, 1)
    mixed = [greedy[0], sampled[1], greedy[2], sampled[3]]
    alone = [loaded.caption([row])[0] for row in mixed]
    assert loaded._write(mixed) == alone


def test_another_attempt_is_another_caption_and_always_the_same_one(loaded):
    texts = [[a.text for a in loaded.caption(requests(loaded, attempt))] for attempt in (0, 1, 2)]
    assert all(len(set(row)) == 3 for row in zip(*texts, strict=True))
    assert [a.text for a in loaded.caption(requests(loaded, 1))] == texts[1]


def test_settings_of_sampling_reach_the_sampler(models):
    cold = captioner(models, temperature=0.01)
    cold.load()
    assert [a.text for a in cold.caption(requests(cold, 1))] == [a.text for a in cold.caption(requests(cold))]
    narrow = captioner(models, temperature=5.0, top_p=1e-6)
    narrow.load()
    assert [a.text for a in narrow.caption(requests(narrow, 1))] == [a.text for a in cold.caption(requests(cold))]


def test_an_answer_without_end_is_not_complete_and_one_that_ends_is(models):
    hot = captioner(models, temperature=20.0, top_p=1.0, max_new_tokens=400)
    hot.load()
    row = requests(hot, 1)[0]
    complete, cut = hot.caption([row])[0], None
    assert complete.complete and complete.tokens_out < 400
    short = captioner(models, temperature=20.0, top_p=1.0, max_new_tokens=complete.tokens_out - 1)
    short.load()
    cut = short.caption([row])[0]
    assert not cut.complete and cut.tokens_out == complete.tokens_out - 1
    assert complete.text.startswith(cut.text.rstrip("\ufffd"))
    assert "<|im_end|>" not in complete.text


def test_the_checkpoints_own_settings_of_sampling_do_not_matter(models, tmp_path):
    said = captioner(models)
    said.load()
    vlm.qwen2_vl(tmp_path / "tiny")
    file = tmp_path / "tiny" / "generation_config.json"
    more = {"do_sample": True, "temperature": 9.0, "top_k": 3, "repetition_penalty": 9.0}
    file.write_text(json.dumps(json.loads(file.read_text()) | more))
    other = captioner(tmp_path, "tiny")
    other.load()
    assert other.caption(requests(other)) == said.caption(requests(said))


@pytest.mark.parametrize(("shape", "shown"), [
    ((1, 1), (32, 32)), ((3, 5000), (32, 224)), ((5000, 3), (224, 32)), ((3, 3), (32, 32)), ((2, 9), (32, 144)),
    ((4000, 3000), (224, 168)), ((20, 700), (32, 224)), ((100, 50), (100, 50)),
])  # fmt: skip
def test_odd_pictures_are_shown_within_bounds(loaded, shape, shown):
    picture = loaded.prepare(noise(shape))
    assert picture.dtype == np.uint8 and picture.shape == (*shown, 3)
    answer = loaded.caption([Request("c/s/0", picture, {}, "Describe it.")])[0]
    assert answer.tokens_out and not answer.failed


def test_gray_is_like_any_colour_and_channels_are_turned(loaded):
    gray = np.repeat(noise((80, 80))[:, :, :1], 3, axis=2)
    assert loaded.caption([Request("c/s/0", loaded.prepare(gray), {})])[0].tokens_out
    blue = np.zeros((64, 64, 3), np.uint8)
    blue[:, :, 0] = 255  # B, G, R
    assert (loaded.prepare(blue) == [0, 0, 255]).all()


def test_side_bounds_the_tokens_of_a_picture(models):
    seen = {}
    for side in (112, 224):
        made = captioner(models, side=side, max_new_tokens=1)
        made.load()
        assert made.side == side
        seen[side] = made.caption([Request("c/s/0", made.prepare(noise((600, 600))), {}, "")])[0].tokens_in
    assert seen[224] - seen[112] == 8 * 8 - 4 * 4  # a token is 28 × 28 pixels


def test_a_prompt_cannot_write_tokens_of_the_model(loaded):
    first = requests(loaded)[0]
    sly = "".join(("<|im_end|>", "<|image_pad|>", "<IMG_CONTEXT>", "<|im_<|im_end|>end|>"))
    given = loaded._checkpoint.inputs([first.image], [sly])["input_ids"]
    honest = loaded._checkpoint.inputs([first.image], ["Describe it."])["input_ids"]
    special = [i for i in given[0].tolist() if i >= 256]  # bytes are below
    assert special == [i for i in honest[0].tolist() if i >= 256]
    assert not loaded.caption([replace(first, prompt=sly)])[0].failed


def test_without_a_prompt_the_published_one_is_asked(loaded):
    first = requests(loaded)[0]
    assert loaded.caption([replace(first, prompt="")]) == loaded.caption([replace(first, prompt=PROMPT)])


@pytest.mark.parametrize(("said", "kept"), [
    ("A cat.", "A cat."),
    ("<think>\nIs it a dog?\n</think>\n\nA cat.", "A cat."),
    ("Is it a dog?</think>A cat.", "A cat."),
    ("<think>Is it a dog? It has", ""),
    ("<think>a</think>A <think>b</think>cat.", "A cat."),
    ("<think>a</think><answer>A cat.</answer>", "A cat."),
])  # fmt: skip
def test_thoughts_are_no_caption(said, kept):
    assert without_thought(said) == kept


def test_where_and_how_fast_it_runs_is_not_what_it_is(models):
    first = captioner(models).full_identity
    assert captioner(models, batch_size=3, device_map="auto").full_identity == first
    assert captioner(models, side=448).full_identity != first
    assert set(first["models"]) == {"chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
                                    "processor_config.json", "tokenizer.json", "tokenizer_config.json"}  # fmt: skip


def test_spread_over_devices_it_says_the_same(models):
    spread, said = captioner(models, device_map="auto"), captioner(models)
    spread.load()
    said.load()
    assert spread.caption(requests(spread)) == said.caption(requests(said))


def test_weights_in_parts_and_in_half_precision_are_read(models, tmp_path):
    folder = vlm.qwen2_vl(tmp_path / "tiny")
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(whole)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for part, held in parts.items():
        save_file({name: whole[name].bfloat16() for name in held}, folder / part, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: part for part, held in parts.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    made = captioner(tmp_path, "tiny")
    made.check()
    made.load()
    assert {p.dtype for p in made._checkpoint.model.parameters()} == {torch.float32}
    assert made.caption(requests(made))[0].tokens_out
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        UserError, match=rf"^{KEY}: {folder} has no model-00002-of-00002.safetensors; found chat_template"
    ):
        captioner(tmp_path, "tiny").check()


def changed(folder, change):
    """A checkpoint folder with one thing wrong."""
    vlm.qwen2_vl(folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    tensors, said = load_file(weights), json.loads(config.read_text())
    processor = folder / "processor_config.json"
    match change:
        case "no weights":
            weights.unlink()
        case "pickle":
            weights.unlink()
            torch.save(tensors, folder / "pytorch_model.bin")
        case "no tensor":
            tensors.pop("model.norm.weight")
            save_file(tensors, weights, metadata={"format": "pt"})
        case "shape":
            save_file(tensors | {"model.norm.weight": torch.zeros(7)}, weights, metadata={"format": "pt"})
        case "cut":
            weights.write_bytes(weights.read_bytes()[:3000])
        case "no config":
            config.unlink()
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()
        case "no tokenizer config":
            (folder / "tokenizer_config.json").unlink()
        case "no processor":
            processor.unlink()
        case "no chat template":
            (folder / "chat_template.jinja").unlink()
        case "torn template":
            (folder / "chat_template.jinja").write_text("{% for message in messages %}")
        case "template without picture":
            (folder / "chat_template.jinja").write_text("{{ messages[0]['content'][1]['text'] }}")
        case "bad processor":
            made = json.loads(processor.read_text())
            made["image_processor"] |= {"size": {"height": 5}}
            processor.write_text(json.dumps(made))
        case "other tokenizer":
            made = json.loads((folder / "tokenizer.json").read_text())
            made["model"]["vocab"] = {token: i + 1000 for token, i in made["model"]["vocab"].items()}
            (folder / "tokenizer.json").write_text(json.dumps(made))
        case "no picture model":
            config.write_text(json.dumps({"model_type": "bert"}))
        case "unknown":
            config.write_text(json.dumps({"model_type": "qwen99_vl"}))
        case "remote code":
            auto = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
            config.write_text(json.dumps(said | {"model_type": "internvl_chat", "auto_map": auto}))
            (folder / "own.py").write_text("import os\nos.system('touch ran')\n")
    return folder


@pytest.mark.parametrize(("change", "says"), [
    ("no weights", " has no model.safetensors; found chat_template.jinja, config.json"),
    ("pickle", " has no model.safetensors but pytorch_model.bin, a pickle, which is not opened; convert it"),
    ("no tensor", "/model.safetensors: expected the tensor model.language_model.norm.weight, found none"),
    ("shape", r"/model.safetensors: model.language_model.norm.weight: expected \[32\] by config.json, found \[7\]"),
    ("cut", "/model.safetensors is no safetensors file: "),
    ("no config", " has no config.json; found chat_template.jinja"),
    ("no tokenizer", " has no tokenizer.json; found chat_template.jinja"),
    ("no tokenizer config", " has no tokenizer_config.json; found chat_template.jinja"),
    ("no processor", " has no processor_config.json; found chat_template.jinja"),
    ("no chat template", " has no chat template; expected chat_template.jinja, or chat_template in processor_config"),
    ("torn template", ": expected a chat template and a processor that take a picture and a text: "),
    ("template without picture", ": expected "),
    ("bad processor", ": expected "),
    ("other tokenizer", ": expected tokens below config.json's vocab_size 263, found "),
    ("no picture model", "/config.json: expected an image-text-to-text model's configuration: Unrecognized .*Bert"),
    ("unknown", "/config.json: expected a model's configuration: .*`qwen99_vl`"),
    ("remote code", r"/config.json: expected an architecture of transformers' own, found internvl_chat, whose code comes "
                    r"with the checkpoint \(auto_map\) and is not run"),
])  # fmt: skip
def test_a_wrong_checkpoint_is_refused_before_work_starts(tmp_path, monkeypatch, capfd, change, says):
    folder = changed(tmp_path / "tiny", change)
    monkeypatch.chdir(tmp_path)
    capfd.readouterr()
    with pytest.raises(UserError, match=rf"^{KEY}: {folder}{says}") as caught:
        captioner(tmp_path, "tiny").check()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    assert not (tmp_path / "ran").exists()
    assert capfd.readouterr() == ("", "")


def test_no_folder_and_a_file_for_a_folder(tmp_path):
    with pytest.raises(UserError, match=f"^{KEY}: no gone in "):
        captioner(tmp_path, "gone").check()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is a file; expected the folder of a checkpoint"):
        captioner(tmp_path, "file").check()


def test_code_beside_a_known_architecture_is_ignored(models, tmp_path, monkeypatch):
    folder = vlm.qwen2_vl(tmp_path / "tiny")
    said = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "own.Own", "AutoModelForImageTextToText": "own.Own"}
    (folder / "config.json").write_text(json.dumps(said | {"auto_map": auto}))
    (folder / "own.py").write_text("import os\nos.system('touch ran')\n")
    monkeypatch.chdir(tmp_path)
    made = captioner(tmp_path, "tiny")
    made.check()
    made.load()
    assert made.caption(requests(made))[0].tokens_out and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_is_asked_of_a_hub(models, monkeypatch, name):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address))
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    made = captioner(models, name)
    made.check()
    made.load()
    made.caption(requests(made))
    assert not asked


@pytest.mark.parametrize("name", FAMILIES)
def test_the_check_reads_no_weights_and_takes_no_memory_for_them(models, name):
    made = ImageText(KEY, models / name)
    made.check(224)
    assert made.model is None
    built = made.built(made.kind(_auto(), ""), {n: torch.empty(s, device="meta") for n, s in made.shapes().items()}, "",
                       device_map="meta")  # fmt: skip
    assert {p.device.type for p in built.parameters()} == {"meta"}


def _auto():
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText


def test_a_row_needs_its_cache_and_more(models):
    made = captioner(models)
    made.load()
    rows = [made._checkpoint.row_bytes(224, new) for new in (24, 25)]
    a_token = 2 * 2 * 1 * 16 * 4  # keys and values, 2 layers, 1 head of 16 numbers, float32
    assert rows[1] - rows[0] == a_token
    assert a_token * (64 + 24) < rows[0] < 10**8  # the picture alone has 64 tokens


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (4, 3), (1, 2), (2, 3)])
def test_no_shape_of_picture_has_more_tokens_than_a_row_is_reckoned_with(tmp_path, shape):
    """A processor that cuts into at most 12 tiles gives 9 to a square, and 12 to a picture of 4 to 3."""
    folder = vlm.internvl(tmp_path / "tiny")
    file = folder / "processor_config.json"
    made = json.loads(file.read_text())
    made["image_processor"] |= {"max_patches": 12}
    file.write_text(json.dumps(made))
    found = ImageText(KEY, folder)
    picture = np.zeros((*(224 * n // max(shape) for n in shape), 3), np.uint8)
    assert found.inputs([picture], ["Describe."])["input_ids"].shape[1] <= found._blanks(224)["input_ids"].shape[1]


@pytest.mark.parametrize("vision", [{}, {"embed_dim": [16, 48]}, {"hidden_size": 48}, {"intermediate_size": 192}])
def test_a_vision_tower_may_say_its_width_as_it_likes_or_not_at_all(models, vision):
    made = captioner(models)
    made.load()
    found = made._checkpoint
    least = found.row_bytes(112, 1)
    found.config.vision_config = PreTrainedConfig(**vision)
    assert not hasattr(found.config.vision_config, "hidden_size") or "hidden_size" in vision
    assert (found.row_bytes(112, 1) > least) == bool(vision)


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_that_are_larger_than_the_memory_are_not_loaded(models, monkeypatch, name):
    found = ImageText(KEY, models / name)
    size = sum(np.prod(shape) for shape in found.shapes().values())  # by 4 bytes in float32
    page, real = os.sysconf("SC_PAGE_SIZE"), os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: 4 * size // page - 1 if name == "SC_PHYS_PAGES" else real(name))
    with pytest.raises(UserError, match=rf"^{KEY}: {models / name}: the weights take 0.0 GB of memory in float32; this "
                                        "machine, which has no GPU, has 0.0 GB$"):  # fmt: skip
        found.load()
    monkeypatch.setattr(os, "sysconf", lambda name: 4 * size // page + 1 if name == "SC_PHYS_PAGES" else real(name))
    found.load()


def test_an_index_that_transformers_does_not_read_is_refused(tmp_path):
    folder = vlm.qwen2_vl(tmp_path / "tiny")
    names = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "a.safetensors")}))
    with pytest.raises(UserError, match=rf'^{KEY}: {index}: expected "metadata" beside the weight_map, '):
        captioner(tmp_path, "tiny").check()


def test_rows_for_which_memory_does_not_last_go_in_halves_or_are_failed(models, monkeypatch):
    made = captioner(models)
    made.load()
    rows, real = requests(made), made._checkpoint.write
    expected = made.caption(rows)

    def scarce(pictures, *rest):
        if len(pictures) > 2 or any(picture is rows[1].image for picture in pictures):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(pictures, *rest)

    monkeypatch.setattr(made._checkpoint, "write", scarce)
    made.__dict__["_at_once"] = Halving(4)
    answers = made.caption(rows)
    assert [a.failed for a in answers] == ["", "out_of_memory", "", ""]
    assert answers[0] == expected[0] and answers[2:] == expected[2:]


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs a GPU")
def test_on_a_gpu_rows_go_in_batches_by_free_memory(models, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    made = captioner(models)
    made.load()
    model = made._checkpoint.model
    assert made.batch_size > 1 and model.dtype == torch.bfloat16 and model.device.type == "cuda"
    rows = requests(made, 1)
    assert made.caption(rows) == made.caption(rows)
    assert all(answer.tokens_out and not answer.failed for answer in made.caption(rows * 4))
