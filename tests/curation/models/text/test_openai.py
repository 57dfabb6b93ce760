"""The client against a real server that misbehaves on purpose."""

import gzip
import logging
import re
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from curation.errors import StageError, UserError
from curation.models.text import openai, openai_answer
from curation.models.text.openai import Client
from curation.models.text.openai_reply import Reply
from tests.misbehaving import ChatRequest, ServerReply, as_json, completion, refused, serving

KEY = "sk-a-secret-that-nobody-may-see-0123456789"


def client(url: str, **given: Any) -> Client:
    return Client("captions.captioner", url, "some/model", **{"tries": 3, "timeout": 5.0, "wait": 0.01} | given)


def ask(url: str, texts: list[str], **given: Any) -> list[Reply]:
    return client(url, **given).chat(texts, body)


def body(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 10}


def echo(ask: ChatRequest) -> ServerReply:
    return completion(f"{ask.text}!")


def once(deed: ServerReply) -> Callable[[ChatRequest], ServerReply]:
    """Misbehaves the first time that it is asked something."""
    return lambda ask: deed if ask.time == 0 else echo(ask)


GOOD = completion("never seen whole").body

PASSING = {
    "rate": refused(429),
    "rate with a time": refused(429, headers={"Retry-After": "0.05"}),
    "rate with nonsense": refused(429, headers={"Retry-After": "soon"}),
    "408": refused(408),
    "500": refused(500),
    "502, a page": ServerReply(b"<html>Bad Gateway</html>", 502),
    "503": refused(503),
    "cut": ServerReply(GOOD, cut=40),
    "cut before the body": ServerReply(GOOD, cut=0),
    "reset": ServerReply(reset=True),
    "no JSON": ServerReply(b'{"choices": [{"mess'),
    "a page": ServerReply(b"<html>login</html>"),
    "nothing": ServerReply(b""),
    "no UTF-8": ServerReply(b"\xff\xfe{}"),
    "nested without end": ServerReply(b"[" * 200_000),
    "a list": as_json([1]),
    "no choices": as_json({"error": {"message": "upstream", "code": 502}}),
    "choices of another form": as_json({"choices": {"0": 1}}),
    "a choice of another form": as_json({"choices": ["text"]}),
    "no message": as_json({"choices": [{"text": "old form"}]}),
    "content of another form": completion({"text": "x"}),
    "no gzip": ServerReply(GOOD, headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("deed", PASSING.values(), ids=PASSING)
def test_what_may_pass_is_tried_again(deed: ServerReply) -> None:
    with serving(once(deed)) as server:
        replies = ask(server.url, ["a", "b", "c"])
        assert [r.text for r in replies] == ["a!", "b!", "c!"]
        assert Counter(a.text for a in server.requests) == {"a": 2, "b": 2, "c": 2}


FAILED = {
    "http_429": refused(429),
    "http_500": refused(500),
    "http_503": refused(503),
    "cut": ServerReply(GOOD, cut=40),
    "connection": ServerReply(reset=True),
    "timeout": completion("late", delay=0.8),
    "invalid_json": ServerReply(b"{"),
    "invalid_answer": as_json({"choices": None}),
}


@pytest.mark.parametrize("word", FAILED)
def test_after_its_tries_a_request_fails_alone(word: str) -> None:
    with serving(lambda a: FAILED[word] if a.text == "bad" else echo(a)) as server:
        replies = ask(server.url, ["a", "bad", "c"], timeout=0.5 if word == "timeout" else 5.0)
        assert [r.text for r in replies] == ["a!", "", "c!"]
        assert [r.failed for r in replies] == ["", word, ""]
        assert Counter(a.text for a in server.requests) == {"a": 1, "bad": 3, "c": 1}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_is_not_sent_again(status: int) -> None:
    with serving(lambda a: refused(status, "too many pixels") if a.text == "bad" else echo(a)) as server:
        replies = ask(server.url, ["bad", "b"])
        assert replies[0].failed == f"http_{status}" and "too many pixels" in replies[0].detail
        assert replies[1].text == "b!" and len(server.requests) == 2


def test_an_error_that_is_cut_is_the_error() -> None:
    deeds = {"400": ServerReply(b"too many pixels", 400, cut=5), "500": ServerReply(b"a trace", 500, cut=0)}
    with serving(lambda a: deeds.get(a.text) or echo(a)) as server:
        assert [r.failed for r in ask(server.url, ["400", "500", "c"])] == ["http_400", "http_500", ""]
        assert Counter(a.text for a in server.requests) == {"400": 1, "500": 3, "c": 1}


def test_retry_after_is_waited_for() -> None:
    seconds: list[float] = []

    def rule(ask: ChatRequest) -> ServerReply:
        seconds.append(time.monotonic())
        return refused(429, headers={"Retry-After": "0.4"}) if ask.time == 0 else echo(ask)

    with serving(rule) as server:
        assert ask(server.url, ["a"])[0].text == "a!"
        assert 0.4 <= seconds[1] - seconds[0] < 5


def test_retry_after_may_be_a_date_and_longer_than_a_call() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    with serving(lambda a: refused(429, headers={"Retry-After": later}) if a.text == "bad" else echo(a)) as server:
        began = time.monotonic()
        assert [r.failed for r in ask(server.url, ["bad", "b"])] == ["http_429", ""]
        assert time.monotonic() - began < 3 and len(server.requests) == 2


def test_waits_double() -> None:
    seconds: list[float] = []

    def rule(ask: ChatRequest) -> ServerReply:
        seconds.append(time.monotonic())
        return refused(500) if ask.time < 3 else echo(ask)

    with serving(rule) as server:
        ask(server.url, ["a"], tries=4, wait=0.1)
    waits = [b - a for a, b in zip(seconds, seconds[1:], strict=False)]
    assert all(0.05 * 2**i <= wait < 0.15 * 2**i + 2 for i, wait in enumerate(waits)), waits


def test_a_burst_of_429_is_outlived() -> None:
    with serving(lambda a: refused(429) if a.number < 20 else echo(a)) as server:
        texts = [str(i) for i in range(30)]
        assert [r.text for r in ask(server.url, texts, tries=6, concurrency=8)] == [f"{t}!" for t in texts]


def test_order_and_bounded_concurrency() -> None:
    def rule(ask: ChatRequest) -> ServerReply:
        return completion(ask.text, delay=0.02 + 0.03 * (int(ask.text) % 3 == 0))

    with serving(rule) as server:
        texts = [str(i) for i in range(40)]
        replies = ask(server.url, texts, concurrency=5)
        assert [r.text for r in replies] == texts
        assert server.most == 5, "as many at once as are allowed, and no more"


def test_a_drip_is_a_timeout() -> None:
    with serving(lambda a: completion("x", drip=0.02) if a.text == "bad" else echo(a)) as server:
        began = time.monotonic()
        assert [r.failed for r in ask(server.url, ["bad", "b"], timeout=0.6, tries=1)] == ["timeout", ""]
        assert time.monotonic() - began < 3


BOMB = gzip.compress(bytes(400_000_000), 9)
"""400 kB that become 400 MB."""


def packed(reply: ServerReply) -> ServerReply:
    return replace(reply, body=gzip.compress(reply.body), headers=reply.headers | {"Content-Encoding": "gzip"})


def test_a_packed_answer_is_unpacked_and_a_bomb_is_not() -> None:
    bomb = ServerReply(BOMB, headers={"Content-Encoding": "gzip"})
    unasked = ServerReply(GOOD, headers={"Content-Encoding": "br"})
    deeds = {"bomb": bomb, "br": unasked, "gzip": packed(completion("well"))}
    with serving(lambda a: deeds[a.text]) as server:
        tracemalloc.start()
        replies = ask(server.url, list(deeds), tries=1, concurrency=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [(r.failed, r.text) for r in replies] == [("too_large", ""), ("invalid_answer", ""), ("", "well")]
        assert peak < 100_000_000


def test_an_endless_body_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_answer, "LARGEST", 10_000)
    with serving(lambda a: completion("x" * 20_000) if a.text == "bad" else echo(a)) as server:
        assert [r.failed for r in ask(server.url, ["bad", "b"])] == ["too_large", ""]
        assert len(server.requests) == 2


def test_what_a_reply_says() -> None:
    answers = {
        "stop": (completion("whole", tokens=(321, 45)), Reply("whole", True, 321, 45)),
        "length": (completion("cut sh", "length"), Reply("cut sh", False, 100, 10)),
        "empty": (completion(""), Reply("", True, 100, 10)),
        "null": (completion(None), Reply("", True, 100, 10)),
        "filter": (completion("I", "content_filter"), Reply("", True, 100, 10, "content_filter")),
        "nobody": (as_json({"choices": []}), Reply("", True, 0, 0, "content_filter")),
        "refusal": (
            as_json({"choices": [{"message": {"content": None, "refusal": "I won't"}}]}),
            Reply("", True, 0, 0, "content_filter"),
        ),
        "azure": (refused(400, "The response was filtered: content_filter"), Reply(failed="content_filter")),
        "moderated": (refused(403, "input was flagged"), Reply(failed="content_filter")),
        "parts": (completion([{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]), Reply("in parts", True, 100, 10)),
        "surrogate": (completion("half \ud83d"), Reply("half ���", True, 100, 10)),
        "usage": (
            as_json({"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": "9", "completion_tokens": -1}}),
            Reply("x"),
        ),
    }  # fmt: skip
    with serving(lambda a: answers[a.text][0]) as server:
        assert ask(server.url, list(answers)) == [reply for _, reply in answers.values()]
        assert len(server.requests) == len(answers)


@pytest.mark.parametrize(
    ("status", "wanted"),
    [(401, "A_KEY"), (402, "paid"), (403, "A_KEY"), (404, "some/model"), (405, "no chat"), (307, "elsewhere")],
)
def test_what_every_request_would_meet_ends_the_work(status: int, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    moved = {"Location": "http://127.0.0.1:1/v1"} if status == 307 else {}
    with serving(lambda a: refused(status, headers=moved)) as server:
        with pytest.raises(StageError) as raised:
            ask(server.url, [str(i) for i in range(50)], concurrency=4, key_env="A_KEY")
        assert wanted in str(raised.value) and server.url in str(raised.value) and str(status) in str(raised.value)
        assert "\n" not in str(raised.value) and KEY not in str(raised.value)
        assert len(server.requests) <= 8, "the others were not asked"


def test_a_url_that_lacks_its_usual_end_is_told_so() -> None:
    with serving(lambda a: refused(404)) as server:
        for url, hinted in ((server.url, False), (server.url.removesuffix("/v1"), True)):
            with pytest.raises(StageError) as raised:
                ask(url, ["one"])
            assert ("most URLs end with /v1" in str(raised.value)) == hinted


def test_nobody_there_is_said_for_all() -> None:
    with serving(echo) as server:
        url = server.url
    began = time.monotonic()
    with pytest.raises(StageError, match=rf"all 20 requests to {re.escape(url)} failed, 20 by connection"):
        ask(url, [str(i) for i in range(20)])
    with pytest.raises(StageError, match="the request to"):
        ask(url, ["one"])
    with pytest.raises(UserError, match=f"no server answers at {re.escape(url)}/models"):
        client(url).check()
    assert time.monotonic() - began < 5


def test_a_server_that_dies_midway_costs_no_answer() -> None:
    def rule(ask: ChatRequest) -> ServerReply:
        if ask.number == 10:
            server.close()
        return completion(f"{ask.text}!", delay=0.05)

    with serving(rule) as server:
        texts = [str(i) for i in range(20)]
        replies = ask(server.url, texts, concurrency=2)
        assert 9 <= sum(not r.failed for r in replies) < 20
        for text, reply in zip(texts, replies, strict=True):
            assert (reply.text, reply.failed) in {(f"{text}!", ""), ("", "connection")}
        with pytest.raises(StageError, match="20 by connection"):
            ask(server.url, texts)


@pytest.mark.parametrize(
    ("count", "deed", "ends"),
    [
        (1, refused(429), True),
        (1, refused(503), True),
        (1, refused(500), False),
        (openai.MANY - 1, refused(400, "bad seed"), False),
        (openai.MANY, refused(400, "bad seed"), True),
        (openai.MANY, ServerReply(b"<html>"), True),
        (openai.MANY, completion("", "content_filter"), False),
    ],
)
def test_when_all_fail(count: int, deed: ServerReply, ends: bool) -> None:
    texts = [str(i) for i in range(count)]
    with serving(lambda a: deed) as server:
        if ends:
            with pytest.raises(StageError, match="failed"):
                ask(server.url, texts, tries=2)
        else:
            assert all(r.failed for r in ask(server.url, texts, tries=2))


def test_the_key_is_sent_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("A_KEY", f" {KEY}\n")  # as files of secrets end
    seen: list[str] = []

    def rule(ask: ChatRequest) -> ServerReply:
        whole = ask.headers["Authorization"]
        assert whole == f"Bearer {KEY}"
        return {
            "400": refused(400, f"headers were {ask.headers}"),
            "500": refused(500, whole),
            "half": refused(500, f"Incorrect API key: {KEY[:14]}***"),
            "line": ServerReply(f"HTTP {whole}".encode()),
            "form": as_json({"echo": whole}),
            "late": refused(500, "x" * 190 + whole),  # the end of the line goes through it
            "caption": completion(f"a photo of {whole}"),
            "good": completion("good"),
        }[ask.text]

    with serving(rule) as server:
        asked = client(server.url, key_env="A_KEY")
        replies = asked.chat(["400", "500", "half", "line", "form", "late", "caption", "good"], body)
        assert [bool(r.failed) for r in replies] == [True] * 7 + [False]
        seen += [repr(replies), repr(asked), str(vars(asked))]
    for status in (401, 403, 404, 429):
        with serving(lambda a, s=status: refused(s, f"wrong key {KEY}"), refused(status, KEY)) as server:  # type: ignore[misc]
            for call in (lambda: ask(server.url, ["a"], key_env="A_KEY"), client(server.url, key_env="A_KEY").check):
                try:
                    call()
                except (StageError, UserError) as error:
                    seen += ["".join(traceback.format_exception(error)), repr(error)]
    models = as_json({"data": [{"id": KEY}]})
    with serving(echo, models) as server, pytest.raises(UserError) as raised:
        client(server.url, key_env="A_KEY").check()
    seen += [str(raised.value), caplog.text, *capsys.readouterr()]
    assert any("not shown: it holds the key" in text for text in seen)
    for text in seen:
        assert not any(KEY[i : i + 8] in text for i in range(len(KEY) - 7)), text


@pytest.mark.parametrize(
    ("value", "wanted"), [(None, "is not set"), (" ", "is not set"), ("schlüssel-1", "anew"), ("a\nb", "anew")]
)
def test_a_key_that_cannot_be_sent(value: str | None, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("A_KEY", raising=False)
    else:
        monkeypatch.setenv("A_KEY", value)
    with serving(echo) as server:
        for call in (client(server.url, key_env="A_KEY").check, lambda: ask(server.url, ["a"], key_env="A_KEY")):
            with pytest.raises(UserError, match=f"A_KEY .*{wanted}") as raised:
                call()
            assert not value or not value.strip() or value not in str(raised.value)
        assert not server.requests and not server.asked_models


def test_check_asks_for_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    with serving(echo) as server:
        client(server.url, key_env="A_KEY").check()
        assert [h["Authorization"] for h in server.asked_models] == [f"Bearer {KEY}"] and not server.requests


@pytest.mark.parametrize(
    ("models", "wanted"),
    [
        (as_json({"data": [{"id": "some/modell"}]}), 'serves no model "some/model"; did you mean "some/modell"'),
        (refused(401), "refuses the key .HTTP 401.; name one by key_env"),
        (refused(503), "answers HTTP 503"),
        (ServerReply(b"<html>"), "answers no JSON"),
        (ServerReply(reset=True), "no server answers"),
        (completion("x", delay=1.0), "no server answers"),
        (completion("x", drip=0.05), "no server answers at .*: nothing whole in 0.5 s"),
        (ServerReply(b"[" * 9_000_000), "no server answers at .*: more than 8,000,000 bytes"),
        (ServerReply(BOMB, headers={"Content-Encoding": "gzip"}), "no server answers at .*: more than 8,000,000 bytes"),
        (ServerReply(b"[" * 200_000), "answers no JSON"),
        (as_json({"data": [{"id": "\x1b[2J" * 99}]}), 'serves no model "some/model"; it lists|; known'),
    ],
    ids=range(11),
)
def test_check_says_what_is_wrong(models: ServerReply, wanted: str) -> None:
    with serving(echo, models) as server, pytest.raises(UserError, match=wanted) as raised:
        client(server.url, timeout=0.5).check()
    assert "\n" not in str(raised.value) and server.url in str(raised.value)


@pytest.mark.parametrize(
    "models",
    [
        refused(404),
        refused(405),
        refused(429),
        as_json({}),
        as_json({"data": []}),
        as_json([]),
        as_json({"data": [{"id": {}}]}),
    ],
)
def test_check_believes_a_server_without_a_list(models: ServerReply) -> None:
    with serving(echo, models) as server:
        client(server.url).check()
        assert len(server.asked_models) == 1


def test_an_unlisted_model_may_be_asked_for() -> None:
    with serving(echo, as_json({"data": [{"id": "another"}]})) as server:
        client(server.url).check(listed=False)


def test_proxies_stand_before_all_but_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(echo) as server, serving(echo) as proxy:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        client(server.url).check()
        assert ask(server.url, ["a"])[0].text == "a!" and not proxy.asked_models and not proxy.requests
        client("http://192.0.2.1/v1").check()
        assert len(proxy.asked_models) == 1


def test_nothing_asked_nothing_sent() -> None:
    assert ask("http://127.0.0.1:9/v1", []) == []
