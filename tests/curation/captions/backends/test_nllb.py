"""NLLB-200 from the recipe to the answer, in both directions."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from curation.captions.backends.nllb import Nllb
from curation.captions.base import Language, Translator, make_translator
from curation.captions.checks.check import quoted
from curation.errors import UserError
from curation.models.checkpoints import Models
from curation.models.text.generation import Answer
from tests import translators

TEXTS = {
    "zh": ['A poster says "今日特价" and “SALE”. A dog\n- a lamp', "A dog", "", '"A"', "🙂", "مرحبا"],
    "en": ["海报上写着“今日特价”和“SALE”。一只狗\n- 一盏灯", "一只狗", "", "“A”", "🙂", "مرحبا"],
}  # fmt: skip


pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    translators.nllb(folder / "nllb")
    return Models(folder)


def made(models: Models, into: Language = "zh", **params: Any) -> Translator:
    return make_translator({"backend": "nllb", "checkpoint": "nllb", "beams": 1} | params, models, into)


def loaded(models: Models, into: Language = "zh", **params: Any) -> Translator:
    translator = made(models, into, **params)
    translator.check()
    translator.load()
    return translator


@pytest.mark.parametrize(("into", "source", "target"), [("zh", "eng_Latn", "zho_Hans"), ("en", "zho_Hans", "eng_Latn")])
def test_a_sentence_is_what_the_library_makes_of_it(models: Models, into: Language, source: str, target: str) -> None:
    from transformers import M2M100ForConditionalGeneration, NllbTokenizer

    translator, folder = loaded(models, into, beams=2), models.find("", "nllb")
    tokenizer = NllbTokenizer.from_pretrained(folder, src_lang=source)
    model = M2M100ForConditionalGeneration.from_pretrained(folder).eval()
    model.generation_config.update(suppress_tokens=[tokenizer.unk_token_id])
    text = TEXTS[into][1]
    ids, first = tokenizer(text, return_tensors="pt"), tokenizer.convert_tokens_to_ids(target)
    assert translator.encode(text) == ids.input_ids[0].tolist()  # type: ignore[attr-defined]
    assert tokenizer.convert_ids_to_tokens(ids.input_ids[0])[:: len(ids.input_ids[0]) - 1] == [source, "</s>"]
    room = 2 * ids.input_ids.shape[1] + 20
    with torch.inference_mode():
        own = model.generate(**ids, num_beams=2, max_new_tokens=room, forced_bos_token_id=first)[0].tolist()
    assert own[1] == first
    answer = translator.translate([text])[0]
    said = tokenizer.decode(own, skip_special_tokens=True)
    assert answer.text.replace(" ", "") == said.replace(" ", "") != ""
    assert answer.complete == (tokenizer.eos_token_id in own[1:])


@pytest.mark.parametrize("into", ["zh", "en"])
def test_an_answer_does_not_depend_on_its_batch_and_keeps_the_quotes(models: Models, into: Language) -> None:
    translator = loaded(models, into)
    together = translator.translate(TEXTS[into])
    assert [translator.translate([text])[0] for text in TEXTS[into]] == together
    assert translator.translate(TEXTS[into][::-1]) == together[::-1]
    assert all(quote in together[0].text for quote in quoted(TEXTS[into][0]))
    assert together[0].text.count("\n- ") == 1 and together[1].text
    marks, failed = ('"A"', "not_chinese") if into == "en" else ("“A”", "not_english")
    assert together[2:] == [Answer(""), Answer(marks), Answer("🙂"), Answer(failed=failed)]


def test_the_licence_is_said() -> None:
    assert "CC-BY-NC-4.0" in Nllb.notice and "commercial" in Nllb.notice
    assert all("CC-BY-NC-4.0" in origin.licence for origin in Nllb.origins)


def test_the_languages_may_stand_in_the_map_of_special_tokens(models: Models, tmp_path: Path) -> None:
    """As they do on the hub."""
    folder = Path(shutil.copytree(models.find("", "nllb"), tmp_path / "nllb"))
    described = json.loads((folder / "tokenizer_config.json").read_text())
    languages = described.pop("extra_special_tokens")
    kept = {name: described[name] for name in ("bos_token", "eos_token", "unk_token", "pad_token", "model_max_length")}
    (folder / "tokenizer_config.json").write_text(json.dumps(kept | {"tokenizer_class": "NllbTokenizer"}))
    (folder / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": languages}))
    found, before = loaded(Models(tmp_path)), loaded(models)
    assert "special_tokens_map.json" in found.files()
    assert found.translate(TEXTS["zh"][:2]) == before.translate(TEXTS["zh"][:2])


def test_a_tokenizer_without_the_languages_is_refused(tmp_path: Path) -> None:
    translators.nllb(tmp_path / "nllb", ("eng_Latn", "fra_Latn"))
    with pytest.raises(UserError, match="^captions.translator.checkpoint: .*/tokenizer.json: expected the token zho_Hans, found none$"):  # fmt: skip
        made(Models(tmp_path)).check()


@pytest.mark.parametrize("missing", ["tokenizer.json", "tokenizer_config.json", "config.json", "model.safetensors"])
def test_a_partial_folder_is_refused(models: Models, tmp_path: Path, missing: str) -> None:
    folder = Path(shutil.copytree(models.find("", "nllb"), tmp_path / "nllb"))
    (folder / missing).unlink()
    with pytest.raises(UserError, match=f"^captions.translator.checkpoint: {folder} has no {missing}; found "):
        made(Models(tmp_path)).check()


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    translators.opus(tmp_path / "nllb")
    with pytest.raises(UserError, match="/config.json: expected model_type m2m_100, found marian$"):
        made(Models(tmp_path)).check()
