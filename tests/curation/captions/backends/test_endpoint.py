"""Captions and translations by a server in the test."""

import io
import json
import traceback
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation.captions.backends.endpoint import INTO, bare
from curation.captions.base import Captioner, Request, Translator, make_captioner, make_translator
from curation.errors import StageError, UserError
from curation.models.text.generation import Answer
from tests.misbehaving import ChatRequest, ServerReply, completion, refused, serving

KEY = "sk-a-secret-that-nobody-may-see-0123456789"


def captioner(url: str = "http://127.0.0.1:9/v1", **given: Any) -> Captioner:
    return make_captioner({"backend": "endpoint", "url": url, "model": "some/model", "wait": 0.01, "tries": 2} | given)


def translator(url: str = "http://127.0.0.1:9/v1", into: Any = "zh", **given: Any) -> Translator:
    recipe = {"backend": "endpoint", "url": url, "model": "some/model", "wait": 0.01, "tries": 2} | given
    return make_translator(recipe, into=into)


def requests(asks: Captioner, count: int = 1, prompt: str = "Describe it.", attempt: int = 0) -> list[Request]:
    rng = np.random.default_rng(0)
    images = [asks.prepare(rng.integers(0, 256, (60, 40 + i, 3), dtype=np.uint8)) for i in range(count)]
    return [Request(f"c/00000/{i}", image, {}, prompt, attempt) for i, image in enumerate(images)]


def test_the_server_sees_the_picture_and_the_prompt() -> None:
    with serving(lambda ask: completion("A red wall.")) as server:
        asks = captioner(server.url, side=128, quality=95)
        assert asks.side == 128
        pixels = np.zeros((200, 300, 3), np.uint8)
        pixels[:, :150] = (30, 60, 200)  # B, G, R: red on the left
        image = asks.prepare(pixels)
        assert asks.caption([Request("c/00000/a", image, {}, "Describe it.")])[0].text == "A red wall."
        ask = server.requests[0]
        assert ask.body["model"] == "some/model" and ask.text == "Describe it."
        seen = Image.open(io.BytesIO(ask.image))
        assert (seen.format, seen.mode, seen.size) == ("JPEG", "RGB", (128, 85))
        assert np.abs(np.asarray(seen, int)[40, 20] - (200, 60, 30)).max() < 6
        assert np.asarray(seen, int)[40, 110].max() < 6


@pytest.mark.parametrize(("size", "wanted"), [((40, 30), (40, 30)), ((128, 1), (128, 1)), ((3000, 7), (128, 1))])
def test_no_picture_is_scaled_up_or_lost(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    image = captioner(side=128).prepare(np.zeros((size[1], size[0], 3), np.uint8))
    assert Image.open(io.BytesIO(image)).size == wanted


def test_a_view_of_pixels_is_taken() -> None:
    image = captioner(side=128).prepare(np.zeros((64, 64, 3), np.uint8)[::2, ::-1])
    assert Image.open(io.BytesIO(image)).size == (64, 32)


def test_greedy_first_then_sampled_by_the_seed() -> None:
    with serving(lambda ask: completion("x")) as server:
        asks = captioner(server.url, temperature=0.7, top_p=0.9, max_tokens=77)
        for attempt in (0, 1, 1, 2):
            asks.caption(requests(asks, attempt=attempt))
        bodies = [{k: v for k, v in ask.body.items() if k not in ("messages", "model")} for ask in server.requests]
        assert bodies[0] == {"max_tokens": 77, "temperature": 0.0}
        seeds = [body.pop("seed") for body in bodies[1:]]
        assert bodies[1] == {"max_tokens": 77, "temperature": 0.7, "top_p": 0.9}
        assert seeds[0] == seeds[1] != seeds[2] and all(0 <= seed < 2**31 for seed in seeds)


def test_extra_is_sent_and_takes_away() -> None:
    extra = {"max_tokens": None, "max_completion_tokens": 50, "chat_template_kwargs": {"enable_thinking": False}}
    with serving(lambda ask: completion("x")) as server:
        asks = captioner(server.url, extra=extra)
        asks.caption(requests(asks))
        body = server.requests[0].body
        assert "max_tokens" not in body and body["max_completion_tokens"] == 50
        assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_answers_in_order_with_tokens_and_cost() -> None:
    def rule(ask: ChatRequest) -> ServerReply:
        number = Image.open(io.BytesIO(ask.image)).width - 40
        if number == 3:
            return refused(500)
        return completion(f"caption {number}", "length" if number == 4 else "stop", (1000 + number, 100), delay=0.02)

    with serving(rule) as server:
        asks = captioner(server.url, price={"input": 2.0, "output": 10.0}, concurrency=4)
        answers = asks.caption(requests(asks, 12))
        assert 1 < server.most <= 4
    for number, answer in enumerate(answers):
        if number == 3:
            assert answer == Answer(failed="http_500")
        else:
            cost = ((1000 + number) * 2.0 + 100 * 10.0) / 1e6
            assert answer == Answer(f"caption {number}", number != 4, "", 1000 + number, 100, pytest.approx(cost))
    assert sum(a.tokens_in for a in answers) == 11 * 1000 + sum(range(12)) - 3
    assert sum(a.cost for a in answers) == pytest.approx((11 * 1000 + 63) * 2e-6 + 11 * 100 * 1e-5)


def test_a_batch_is_a_few_times_what_is_in_flight() -> None:
    assert captioner(concurrency=5).batch_size == 20
    assert translator(concurrency=3).batch_size == 12


def test_what_is_kept_depends_on_what_is_asked_and_not_on_where() -> None:
    base = captioner().identity
    where = {
        "url": "https://elsewhere.example/v1", "key_env": "A_KEY", "concurrency": 3, "tries": 9, "timeout": 7,
        "wait": 2, "price": {"input": 1}, "listed": False,
    }  # fmt: skip
    assert captioner(**where).identity == base
    what = {
        "model": "other", "side": 512, "quality": 80, "max_tokens": 9, "temperature": 0.1, "top_p": 0.5,
        "extra": {"min_p": 0.1},
    }  # fmt: skip
    assert set(type(captioner().params).model_fields) == {"backend", *where, *what}, "each is one or the other"
    identities = [captioner(**{name: value}).identity for name, value in what.items()]
    assert all(identity != base for identity in identities)
    json.dumps(base)
    assert "127.0.0.1" not in str(base)


def test_a_translation_depends_on_what_the_model_is_told() -> None:
    told = [translator(), translator(into="en"), translator(prompt="Translate."), translator(model="other")]
    identities = [json.dumps(one.identity, sort_keys=True) for one in told]
    assert len(set(identities)) == 4
    assert translator(url="https://elsewhere.example/v1").identity == told[0].identity


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"url": "127.0.0.1:8000"}, r"url: expected http:// or https://"),
        ({"url": "ftp://host/v1"}, r"url: expected http:// or https://"),
        ({"url": "http://"}, r"url: expected http:// or https://"),
        ({"url": "http://host name/v1"}, r"url: expected http:// or https://"),
        ({"url": "http://host:port/v1"}, r"url: is no URL"),
        ({"url": "http://[::1/v1"}, r"url: is no URL"),
        ({"url": f"http://user:{KEY}@host/v1"}, r"url: holds a user or password.*key_env"),
        ({"url": f"http://{KEY}@host/v1"}, r"url: holds a user or password.*key_env"),
        ({"url": f"http://host/v1?key={KEY}"}, r"url: expected nothing behind \? or #.*key_env"),
        ({"key_env": KEY}, r"key_env: expected the name of an environment variable"),
        ({"api_key": KEY}, r"a key does not belong into a recipe.*key_env"),
        ({"authorization": KEY}, r"a key does not belong into a recipe.*key_env"),
        ({"extra": {"api_key": KEY}}, r"extra: a key does not belong into a recipe.*key_env"),
        ({"extra": {"headers": [{"Authorization": KEY}]}}, r"extra: a key does not belong into a recipe.*key_env"),
        ({"extra": {"a": {"b": [{"c": {"api-key": KEY}}]}}}, r"extra: a key does not belong into a recipe.*key_env"),
        ({"extra": {"a": {"headers": [f"Bearer {KEY}"]}}}, r"extra: a key does not belong into a recipe.*key_env"),
        ({"model": ""}, r"model: "),
        ({"extra": {"stream": True}}, r"extra: `stream` cannot be set here"),
        ({"price": {"input": -1}}, r"price.input: "),
        ({"concurrency": 0}, r"concurrency: "),
    ],
)
def test_wrong_parameters_are_said_by_key_and_never_with_a_secret(given: dict[str, Any], wanted: str) -> None:
    for make, section in ((captioner, "captioner"), (translator, "translator")):
        with pytest.raises(UserError, match=rf"^captions\.{section}[.:] ?{wanted}") as raised:
            make(**given)
        assert KEY not in "".join(traceback.format_exception(raised.value)) and "\n" not in str(raised.value)


def test_the_url_may_be_the_whole_one() -> None:
    with serving(lambda ask: completion("x")) as server:
        for ending in ("", "/", "/chat/completions", "/chat/completions/"):
            asks = captioner(server.url + ending)
            assert asks.caption(requests(asks))[0].text == "x"


def test_check_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    with serving(lambda ask: completion("x")) as server:
        captioner(server.url).check()
        translator(server.url).check()
        for make, section in (
            (captioner(server.url, key_env="A_KEY"), "captioner"),
            (translator(server.url, key_env="A_KEY"), "translator"),
            (translator(server.url, "en", key_env="A_KEY"), "original_translator"),
        ):
            with pytest.raises(UserError, match=rf"^captions\.{section}\.key_env: .*A_KEY is not set"):
                make.check()
        with pytest.raises(UserError, match=r'captions\.captioner\.model: .*no model "other".*some/model'):
            captioner(server.url, model="other").check()
        captioner(server.url, model="other", listed=False).check()
        assert not server.requests, "nothing is paid for"
    with pytest.raises(UserError, match=r"captions\.captioner\.url: no server answers"):
        captioner(server.url).check()


def test_making_and_describing_a_backend_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    with serving(lambda ask: completion("x")) as server:
        for backend in (captioner(server.url, key_env="A_KEY"), translator(server.url, key_env="A_KEY")):
            backend.load()
            told = f"{backend.identity} {backend.params!r} {vars(backend)} {backend.files()} {backend.digests()}"
            assert KEY not in told
        assert not server.asked_models and not server.requests


def test_the_key_is_in_no_answer_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)

    def rule(ask: ChatRequest) -> ServerReply:
        assert ask.headers["Authorization"] == f"Bearer {KEY}"
        return completion(f"It says {KEY}.") if ask.number % 2 else refused(400, str(ask.headers))

    with serving(rule) as server:
        asks = captioner(server.url, key_env="A_KEY")
        assert KEY not in repr(asks.caption(requests(asks, 4)))
        with pytest.raises(StageError) as raised:
            asks.caption(requests(asks, 20))
    assert KEY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("into", "text", "translation"), [("zh", "A red wall.", "一面红墙。"), ("en", "一面红墙。", "A red wall.")]
)
def test_translations(into: Any, text: str, translation: str) -> None:
    def rule(ask: ChatRequest) -> ServerReply:
        assert ask.body["messages"][0] == {"role": "system", "content": INTO[into]}
        assert ask.body["temperature"] == 0.0 and "seed" not in ask.body
        return completion(f"<think>{ask.text}?</think>\n\n“{translation}”" if ask.text == text else ask.text.upper())

    with serving(rule) as server:
        asks = translator(server.url, into, price={"input": 1.0, "output": 1.0})
        answers = asks.translate([text, "other"])
        assert answers == [Answer(translation, True, "", 100, 10, pytest.approx(11e-5)), Answer("OTHER", True, "", 100, 10, pytest.approx(11e-5))]  # fmt: skip
        assert asks.translate([]) == []


def test_a_prompt_of_ones_own() -> None:
    with serving(lambda ask: completion(ask.body["messages"][0]["content"])) as server:
        assert translator(server.url, prompt="Translate it.").translate(["a"])[0].text == "Translate it."


@pytest.mark.parametrize(
    ("text", "asked", "wanted"),
    [
        ("  A wall. \n", "", "A wall."),
        ('"A wall."', "", "A wall."),
        ("“一面墙。”", "A wall.", "一面墙。"),
        ("「一面墙。」", "A wall.", "一面墙。"),
        ('"STOP"', '"STOP"', '"STOP"'),
        ('"STOP" is said beside "GO"', "", '"STOP" is said beside "GO"'),
        ("“停”字旁边写着“走”", "", "“停”字旁边写着“走”"),
        ('A sign says "STOP"', "", 'A sign says "STOP"'),
        ('"', "", '"'),
        ("", "", ""),
        ("<think>\nIs it?\n</think>\n\nA wall.", "", "A wall."),
        ("<think></think>A wall.", "", "A wall."),
        ("Is it? Yes.</think>A wall.", "", "A wall."),
        ("<think>It was never", "", ""),
        ('<think>a</think>"A <b>wall</b>."', "", "A <b>wall</b>."),
    ],
)
def test_bare(text: str, asked: str, wanted: str) -> None:
    assert bare(text, asked) == wanted
