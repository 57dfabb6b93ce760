import math

import pytest
import torch
from transformers import DynamicCache

from curation.models.cogvlm.cache import RoomyCache
from curation.models.cogvlm.config import CogVLMConfig
from curation.models.cogvlm.model import CogVLMForCausalLM
from curation.models.cogvlm.vision import normalised
from tests import cogvlm
from tests.cogvlm import IMAGE_TOKENS

torch.set_num_threads(1)
V = slice(1, IMAGE_TOKENS)  # where the vision expert works: the image's beginning and its patches
TEXTS = ([7, 8, 9, 10], [11, 12, 13, 14, 15, 16, 17], [18])


@pytest.fixture(scope="module")
def model():
    return cogvlm.model()


def pictures(count, seed=0):
    return torch.randn(count, 3, 28, 28, generator=torch.Generator().manual_seed(seed))


def row(text):
    return [1, *[0] * IMAGE_TOKENS, *text]


def tokens(count):
    """How so many tokens are generated, neither less nor more."""
    return {"min_new_tokens": count, "max_new_tokens": count, "do_sample": False}


def padded(texts):
    rows = [row(text) for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(r)) + r for r in rows])
    return ids, torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])


def official_names(layers=32, tower=63):
    """From the layout of the checkpoint on the hub, without the model's own code."""
    yield from (
        "model.embed_tokens.weight",
        "model.norm.weight",
        "lm_head.weight",
        "model.vision.boi",
        "model.vision.eoi",
    )
    for n in range(layers):
        at = f"model.layers.{n}"
        for expert in ("vision", "language"):
            yield from (f"{at}.self_attn.{expert}_expert_{part}.weight" for part in ("query_key_value", "dense"))
            yield from (f"{at}.mlp.{expert}_mlp.{part}_proj.weight" for part in ("gate", "up", "down"))
        yield from (f"{at}.{part}_layernorm.weight" for part in ("input", "post_attention"))
    at = "model.vision.patch_embedding"
    yield from (f"{at}.cls_embedding", f"{at}.proj.weight", f"{at}.proj.bias", f"{at}.position_embedding.weight")
    parts = (
        "attention.query_key_value",
        "attention.dense",
        "mlp.fc1",
        "mlp.fc2",
        "input_layernorm",
        "post_attention_layernorm",
    )
    for n in range(tower):
        yield from (f"model.vision.transformer.layers.{n}.{p}.{w}" for p in parts for w in ("weight", "bias"))
    adapter = ("linear_proj.weight", "dense_h_to_4h.weight", "gate_proj.weight", "dense_4h_to_h.weight")
    yield from (f"model.vision.linear_proj.{part}" for part in (*adapter, "norm1.weight", "norm1.bias"))


def test_the_full_model_has_the_official_size_and_tensors():
    with torch.device("meta"):
        full = CogVLMForCausalLM(CogVLMConfig())
    tensors = full.state_dict()
    assert sum(parameter.numel() for parameter in full.parameters()) == 17_639_685_376
    assert set(tensors) == set(official_names()) and len(tensors) == 1155
    assert tensors["model.vision.patch_embedding.position_embedding.weight"].shape == (1226, 1792)
    assert tensors["model.vision.linear_proj.gate_proj.weight"].shape == (11008, 4096)
    assert CogVLMConfig().image_tokens == 1227


def test_defaults_are_those_of_the_official_configuration():
    official = CogVLMConfig()
    assert (official.max_position_embeddings, official.rms_norm_eps, official.template_version) == (2048, 1e-6, "chat")
    assert (official.pad_token_id, official.bos_token_id, official.eos_token_id) == (0, 1, 2)
    assert official.rope_parameters["rope_theta"] == 10000
    read = CogVLMConfig.from_dict(cogvlm.CONFIG)
    assert read.vision_config.num_heads == 2 and read.vision_config.patches == 4 and read.vocab_size == 420


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"hidden_size": 30}, "hidden_size 30"),
        ({"vision_config": cogvlm.VISION | {"num_positions": 7}}, "num_positions 7"),
        ({"vision_config": cogvlm.VISION | {"num_heads": 7}}, "num_heads 7"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(config, why):
    with pytest.raises(Exception, match=why):
        CogVLMConfig.from_dict(cogvlm.CONFIG | config)


# The same model once more, one token at a time, from the tensors alone.


def _norm(x, weight, bias=None, eps=1e-6):
    if bias is None:
        return x / torch.sqrt((x * x).mean() + eps) * weight
    return (x - x.mean()) / torch.sqrt(((x - x.mean()) ** 2).mean() + eps) * weight + bias


def _gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _silu(x):
    return x / (1 + torch.exp(-x))


def _attend(query, keys, values):
    scores = torch.stack([query @ key / math.sqrt(len(query)) for key in keys])
    weights = torch.exp(scores - scores.max())
    return sum(w * value for w, value in zip(weights / weights.sum(), values, strict=True))


def _rotated(x, position):
    half = len(x) // 2
    angles = torch.tensor([position / 10000 ** (2 * i / len(x)) for i in range(half)], dtype=x.dtype)
    a, b = x[:half], x[half:]
    return torch.cat((a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()))


def naive_image(w, pixels):
    at = "model.vision.patch_embedding"
    patches = [w[f"{at}.cls_embedding"][0]]
    for y in range(0, 28, 14):
        for x in range(0, 28, 14):
            block = pixels[:, y : y + 14, x : x + 14]
            patches.append(torch.stack([(k * block).sum() for k in w[f"{at}.proj.weight"]]) + w[f"{at}.proj.bias"])
    hidden = [p + w[f"{at}.position_embedding.weight"][i] for i, p in enumerate(patches)]
    for n in range(2):
        at = f"model.vision.transformer.layers.{n}."
        through = lambda name, x, at=at: w[f"{at}{name}.weight"] @ x + w[f"{at}{name}.bias"]  # noqa: E731
        normed = lambda name, x, at=at: _norm(x, w[f"{at}{name}.weight"], w[f"{at}{name}.bias"])  # noqa: E731
        qkv = [through("attention.query_key_value", x).view(3, 2, 12) for x in hidden]
        for i, x in enumerate(list(hidden)):
            heads = [_attend(qkv[i][0, h], [t[1, h] for t in qkv], [t[2, h] for t in qkv]) for h in range(2)]
            x = x + normed("input_layernorm", through("attention.dense", torch.cat(heads)))
            hidden[i] = x + normed("post_attention_layernorm", through("mlp.fc2", _gelu(through("mlp.fc1", x))))
    tokens = [w["model.vision.boi"][0, 0]]
    at = "model.vision.linear_proj."
    for x in hidden[1:]:
        x = w[f"{at}linear_proj.weight"] @ x
        x = _gelu(_norm(x, w[f"{at}norm1.weight"], w[f"{at}norm1.bias"], eps=1e-5))
        x = _silu(w[f"{at}gate_proj.weight"] @ x) * (w[f"{at}dense_h_to_4h.weight"] @ x)
        tokens.append(w[f"{at}dense_4h_to_h.weight"] @ x)
    return [*tokens, w["model.vision.eoi"][0, 0]]


def naive_logits(w, pixels, text):
    words = w["model.embed_tokens.weight"]
    hidden = [words[1], *naive_image(w, pixels), *(words[t] for t in text)]
    positions = [0, 1, 2, 2, 2, 2, 3, *range(4, 4 + len(text))]
    experts = ["language", *["vision"] * 5, "language", *["language"] * len(text)]
    for n in range(2):
        at, keys, values, after = f"model.layers.{n}", [], [], []
        for x, position, expert in zip(hidden, positions, experts, strict=True):
            normed = _norm(x, w[f"{at}.input_layernorm.weight"])
            q, k, v = (w[f"{at}.self_attn.{expert}_expert_query_key_value.weight"] @ normed).view(3, 4, 8)
            keys.append([_rotated(part, position) for part in k])
            values.append(v)
            seen = [
                _attend(_rotated(q[h], position), [key[h] for key in keys], [value[h] for value in values])
                for h in range(4)
            ]
            x = x + w[f"{at}.self_attn.{expert}_expert_dense.weight"] @ torch.cat(seen)
            normed, mlp = _norm(x, w[f"{at}.post_attention_layernorm.weight"]), f"{at}.mlp.{expert}_mlp"
            gated = _silu(w[f"{mlp}.gate_proj.weight"] @ normed) * (w[f"{mlp}.up_proj.weight"] @ normed)
            after.append(x + w[f"{mlp}.down_proj.weight"] @ gated)
        hidden = after
    return torch.stack([w["lm_head.weight"] @ _norm(x, w["model.norm.weight"]) for x in hidden])


def test_it_computes_what_a_naive_forward_of_one_token_after_the_other_does():
    made = cogvlm.model().double()  # so that rounding hides nothing; the norms and cosines of LLaMA stay float32
    tensors = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    for image, text in zip(pictures(3).double(), TEXTS, strict=True):
        tower = made.model.vision(image[None])[0]
        assert torch.allclose(tower, torch.stack(naive_image(tensors, image)), atol=1e-10)
        found = made(torch.tensor([row(text)]), pixel_values=image[None]).logits[0]
        assert torch.allclose(found, naive_logits(tensors, image, text), atol=1e-5)


def test_a_batch_with_padding_on_the_left_equals_its_rows_alone(model):
    ids, mask = padded(TEXTS)
    images = pictures(3)
    together = model(ids, attention_mask=mask, pixel_values=images).logits
    for i, text in enumerate(TEXTS):
        alone = model(torch.tensor([row(text)]), pixel_values=images[i : i + 1]).logits[0]
        assert torch.allclose(together[i, mask[i] == 1], alone, atol=1e-5)
    assert torch.isfinite(together).all()
    assert not torch.allclose(together[0, -1], together[1, -1], atol=1e-2)


def test_what_stands_in_the_padding_and_the_placeholders_does_not_matter(model):
    ids, mask = padded(TEXTS)
    other = torch.where(mask == 0, 19, ids)
    start = (mask == 0).sum(1)
    for i in range(3):
        other[i, start[i] + 1 : start[i] + 1 + IMAGE_TOKENS] = 23
    images = pictures(3)
    before, after = (model(x, attention_mask=mask, pixel_values=images).logits for x in (ids, other))
    assert torch.equal(before[mask == 1], after[mask == 1])


def test_position_ids(model):
    places = torch.arange(-2, IMAGE_TOKENS + 4)[None]
    assert model.model.positions(places)[0].tolist() == [0, 0, 0, 1, 2, 2, 2, 2, 3, 4, 5, 6]
    seen = []
    hook = model.model.rotary_emb.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1].clone()))
    ids, mask = padded(TEXTS)
    model.generate(ids, attention_mask=mask, pixel_values=pictures(3), **tokens(4))
    hook.remove()
    first, *then = seen
    begun = [0, 1, 2, 2, 2, 2]
    assert first[0].tolist() == [*begun, 0, 0, 0, 3, 4, 5, 6, 7]  # padding behind the patches
    assert first[1].tolist() == [*begun, 3, 4, 5, 6, 7, 8, 9, 10]
    assert [step.tolist() for step in then] == [[[8 + i], [11 + i], [5 + i]] for i in range(3)]


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("mlp.vision_mlp.down_proj", "image"),
        ("mlp.language_mlp.down_proj", "text"),
        ("self_attn.vision_expert_dense", "image"),
        ("self_attn.language_expert_dense", "text"),
        ("self_attn.vision_expert_query_key_value", "from the image on"),
        ("self_attn.language_expert_query_key_value", "all"),
    ],
)
def test_each_expert_works_on_its_own_tokens(part, changed):
    ids, images = torch.tensor([row(TEXTS[0])]), pictures(1)
    made = cogvlm.model()
    before = made(ids, pixel_values=images).logits[0]
    made.model.layers[-1].get_submodule(part).weight.zero_()
    differs = (made(ids, pixel_values=images).logits[0] - before).abs().amax(1) > 1e-6
    image = torch.zeros(len(before), dtype=torch.bool)
    image[V] = True
    after_bos = torch.arange(len(before)) > 0
    expected = {"image": image, "text": ~image, "from the image on": after_bos, "all": torch.ones_like(image)}[changed]
    assert torch.equal(differs, expected)


def test_tokens_see_what_is_before_them_only(model):
    images = pictures(1)
    long, short = (model(torch.tensor([row(t)]), pixel_values=images).logits[0] for t in (TEXTS[1], TEXTS[1][:3]))
    assert torch.allclose(long[: len(short)], short, atol=1e-5)
    other = model(torch.tensor([row(TEXTS[1])]), pixel_values=images + 1).logits[0]
    assert torch.equal(other[0], long[0]) and (other[2:] - long[2:]).abs().amax(1).min() > 1e-4


@pytest.mark.parametrize("beams", [1, 3])
def test_a_cache_changes_nothing(beams):
    made, (ids, mask) = cogvlm.model().double(), padded(TEXTS)
    given = {"attention_mask": mask, "pixel_values": pictures(3).double(), "num_beams": beams, **tokens(12)}
    caches = {
        "none": {"use_cache": False},
        "dynamic": {"past_key_values": DynamicCache()},
        "roomy": {"past_key_values": RoomyCache(2, 64)},
        "too small": {"past_key_values": RoomyCache(2, 5)},
    }
    found = {
        name: made.generate(ids, **given, **cache, return_dict_in_generate=True, output_logits=True)
        for name, cache in caches.items()
    }
    assert found["none"].sequences.shape == (3, 26)
    for result in found.values():
        assert torch.equal(result.sequences, found["none"].sequences)
        for step, expected in zip(result.logits, found["none"].logits, strict=True):
            assert torch.allclose(step, expected, atol=1e-5)


def test_a_roomy_cache_stays_where_it_is_until_it_is_full():
    cache, drawn = RoomyCache(1, 6), torch.randn(2, 3, 9, 4)
    places = []
    for end in range(9):
        keys, values = cache.update(drawn[:, :, end : end + 1], -drawn[:, :, end : end + 1], 0)
        assert torch.equal(keys, drawn[:, :, : end + 1]) and torch.equal(values, -keys)
        places.append(keys.data_ptr())
    assert cache.get_seq_length() == 9 and len(set(places[:6])) == 1 and places[6] != places[5]
    cache.crop(-4)
    assert torch.equal(cache.update(drawn[:, :, 5:7], drawn[:, :, 5:7], 0)[0], drawn[:, :, :7])
    cache.reset()
    assert cache.get_seq_length() == 0
    assert torch.equal(cache.update(drawn[:1], drawn[:1], 0)[0], drawn[:1])


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_of_a_batch_equals_that_of_its_rows(model, beams):
    ids, mask = padded(TEXTS)
    images, how = pictures(3), {"num_beams": beams, **tokens(10)}
    together = model.generate(ids, attention_mask=mask, pixel_values=images, **how)[:, ids.shape[1] :]
    for i, text in enumerate(TEXTS):
        alone = model.generate(torch.tensor([row(text)]), pixel_values=images[i : i + 1], **how)
        assert torch.equal(together[i], alone[0, len(row(text)) :])
    assert len({tuple(found) for found in together.tolist()}) == 3


def test_without_a_mask_padding_is_what_stands_before_bos(model):
    ids, mask = padded(TEXTS)
    how = {"pixel_values": pictures(3), "max_new_tokens": 6, "do_sample": False}
    assert torch.equal(model.generate(ids, **how), model.generate(ids, attention_mask=mask, **how))
    all_seen = model.generate(ids, attention_mask=torch.ones_like(mask), **how)
    assert not torch.equal(all_seen, model.generate(ids, **how))


def test_the_library_samples_by_its_seed(model):
    def sampled(seed):
        torch.manual_seed(seed)
        ids, mask = padded(TEXTS)
        how = {"do_sample": True, "temperature": 1.5, "top_p": 0.9, "num_return_sequences": 2, "max_new_tokens": 10}
        return model.generate(ids, attention_mask=mask, pixel_values=pictures(3), **how)

    first = sampled(1)
    assert len(first) == 6 and torch.equal(first, sampled(1)) and not torch.equal(first, sampled(2))


def test_the_image_is_looked_at_once_and_logits_are_made_of_the_last_token_only(model):
    looked, asked = [], []
    hooks = [
        model.model.vision.register_forward_hook(lambda *_: looked.append(1)),
        model.lm_head.register_forward_pre_hook(lambda _, inputs: asked.append(tuple(inputs[0].shape))),
        *(layer.mlp.vision_mlp.register_forward_hook(lambda *_: looked.append(1)) for layer in model.model.layers),
    ]
    ids, mask = padded(TEXTS)
    model.generate(ids, attention_mask=mask, pixel_values=pictures(3), **tokens(5))
    for hook in hooks:
        hook.remove()
    assert len(looked) == 3 and asked == [(3, 1, 32)] * 5


def test_a_forward_of_full_width_asks_nothing_of_the_device():
    """On the meta device nothing can be asked: a value that the host waits for would be an error."""
    config = CogVLMConfig(num_hidden_layers=2, vision_config={"num_hidden_layers": 2})
    with torch.device("meta"):
        full, cache = CogVLMForCausalLM(config).bfloat16(), RoomyCache(2, 1400)
        ids, mask = torch.zeros((3, 1260), dtype=torch.int64), torch.ones((3, 1261), dtype=torch.int64)
        pixels = torch.zeros((3, 3, 490, 490), dtype=torch.bfloat16)
        for given in (mask[:, :-1], None):
            found = full(ids, given, pixel_values=pixels, logits_to_keep=1)
            assert found.logits.shape == (3, 1, 32000)
        full(ids, mask[:, :-1], pixel_values=pixels, past_key_values=cache)
        assert full(ids[:, :1], mask, past_key_values=cache).logits.shape == (3, 1, 32000)
        assert cache.get_seq_length() == 1261 and cache.layers[1].keys.shape == (3, 32, 1261, 128)


def test_in_bfloat16_it_says_about_the_same(model):
    ids, mask = padded(TEXTS)
    images, rough = pictures(3), cogvlm.model().bfloat16()
    exact = model(ids, attention_mask=mask, pixel_values=images).logits[mask == 1]
    found = rough(ids, attention_mask=mask, pixel_values=images.bfloat16()).logits[mask == 1]
    assert found.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(found.float(), exact).min() > 0.99
    how = {"attention_mask": mask, "pixel_values": images.bfloat16()}
    assert rough.generate(ids, **how, **tokens(4)).shape == (3, ids.shape[1] + 4)


def test_a_row_without_an_image_is_refused(model):
    with pytest.raises(ValueError, match="needs its pixel_values"):
        model(torch.tensor([row(TEXTS[0])]))
    with pytest.raises(ValueError, match="an image of 6 tokens"):
        model(torch.tensor([[1, 5, 6]]), pixel_values=pictures(1))


def test_pictures_are_normalised_as_clip_does():
    from torchvision.transforms.v2 import functional

    raw = torch.randint(0, 256, (2, 28, 28, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    chw = raw.permute(0, 3, 1, 2)
    clip = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    expected = functional.normalize(functional.to_dtype(chw, torch.float32, scale=True), *clip)
    assert torch.allclose(normalised(raw, torch.float32), expected, atol=1e-6)
    assert torch.equal(normalised(raw[1:], torch.float32)[0], normalised(raw, torch.float32)[1])
    assert normalised(raw, torch.bfloat16).dtype == torch.bfloat16
