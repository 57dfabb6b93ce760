"""Every captioner and every translator keeps the contract."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.captions.backends.describe import Description
from curation.captions.base import captioners, make_captioner, make_translator, translators
from curation.models.checkpoints import Models
from tests import cogvlm, vlm
from tests import translators as tiny
from tests.contracts import CaptionerContract, LoadedPlugin, TranslatorContract
from tests.misbehaving import ChatRequest, ServerReply, completion, serving

ENDPOINT = {"model": "some/model", "wait": 0.01, "tries": 2}

Case = tuple[dict[str, Any], Callable[[Path], object] | None]
"""What the recipe gives, and what makes the models."""
CAPTIONERS: dict[str, Case] = {
    "describe": ({}, None),
    "cogvlm": ({"checkpoint": "cogvlm", "max_new_tokens": 12}, lambda folder: cogvlm.folder(folder / "cogvlm")),
    "transformers": (
        {"checkpoint": "qwen", "side": 224, "max_new_tokens": 12},
        lambda folder: vlm.qwen2_vl(folder / "qwen"),
    ),
    "endpoint": (ENDPOINT, None),
}
TRANSLATORS: dict[str, Case] = {
    "describe_zh": ({}, None),
    "marian": ({"checkpoint": "opus", "beams": 1}, lambda folder: tiny.opus(folder / "opus", end=-3.0)),
    "nllb": ({"checkpoint": "nllb", "beams": 1}, lambda folder: tiny.nllb(folder / "nllb")),
    "endpoint": (ENDPOINT, None),
}

pytestmark = [pytest.mark.usefixtures("one_thread", "on_a_cpu"), pytest.mark.slow]


def echo(ask: ChatRequest) -> ServerReply:
    """An answer that depends on what is asked, and on nothing else."""
    asked = hashlib.sha256(json.dumps(ask.body["messages"]).encode()).hexdigest()
    return completion("" if ask.text == "" else f"Something that {asked[:8]} stands for.")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(echo) as server:
        yield server.url


def section(name: str, case: Case, folder: Path, url: str) -> dict[str, Any]:
    """Returns the backend's section in the recipe; makes its models."""
    parameters, models = case
    if models:
        models(folder)
    return {"backend": name} | parameters | ({"url": url} if name == "endpoint" else {})


def test_no_backend_is_missing_here() -> None:
    assert captioners().keys() == CAPTIONERS.keys()
    assert translators().keys() == TRANSLATORS.keys()


class TestEveryCaptioner(CaptionerContract):
    """Each with a tiny model."""

    @pytest.fixture(scope="class", params=CAPTIONERS)
    @classmethod
    def made(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, url: str) -> LoadedPlugin:
        folder = tmp_path_factory.mktemp("models")
        params = section(request.param, CAPTIONERS[request.param], folder, url)
        captioner = make_captioner(params, Models(folder))
        captioner.check()
        captioner.load()
        return LoadedPlugin(captioner, params)


class TestEveryTranslator(TranslatorContract):
    """Each with a tiny model, into Chinese."""

    texts = (Description("landscape", colours=("red", "blue")).english(), *TranslatorContract.texts)

    @pytest.fixture(scope="class", params=TRANSLATORS)
    @classmethod
    def made(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, url: str) -> LoadedPlugin:
        folder = tmp_path_factory.mktemp("models")
        params = section(request.param, TRANSLATORS[request.param], folder, url)
        translator = make_translator(params, Models(folder))
        translator.check()
        translator.load()
        return LoadedPlugin(translator, params)
