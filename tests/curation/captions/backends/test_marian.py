"""OPUS-MT from the recipe to the answer: prefixes, directions, quotes, batches, and texts of all kinds."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from curation.captions.base import Language, Translator, make_translator
from curation.captions.checks.check import check_translation, quoted
from curation.errors import UserError
from curation.models.checkpoints import Models
from curation.models.text.generation import Answer
from tests import translators

CAPTION = (
    'A dog sits on a red mat. Above it hangs a poster that says "今日特价。全场八折！" in white letters, and below '
    "“SALE 50%”.\n\nMr. Smith waits.\n- a lamp\n- two jugs, e.g. Old ones"
)
TEXTS = [
    CAPTION,
    "A dog",
    "",
    " \n",
    "🙂🙂",
    '"SALE"',
    "🙂 A man in black, happy",
    "no full stop at all",
    "“A” and ‘B’",
]


pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    translators.opus(folder / "opus-mt-en-zh", end=-3.0)
    translators.opus(folder / "opus-mt-zh-en", "zh", (), end=-3.0)
    return Models(folder)


def made(models: Models, into: Language = "zh", **params: Any) -> Translator:
    given = {"backend": "marian", "checkpoint": "opus-mt-en-zh" if into == "zh" else "opus-mt-zh-en", "beams": 1}
    section = "captions.translator" if into == "zh" else "captions.original_translator"
    return make_translator(given | params, models, into, section)


def loaded(models: Models, into: Language = "zh", **params: Any) -> Translator:
    translator = made(models, into, **params)
    translator.check()
    translator.load()
    return translator


def test_a_sentence_is_what_the_library_makes_of_it_behind_the_prefix(models: Models) -> None:
    from transformers import MarianMTModel, MarianTokenizer

    translator = loaded(models, beams=3)
    folder = models.find("", "opus-mt-en-zh")
    tokenizer = MarianTokenizer.from_pretrained(folder)
    model = MarianMTModel.from_pretrained(folder).eval()
    ids = tokenizer(">>cmn_Hans<< A dog sits on a red mat.", return_tensors="pt")
    assert translator.encode("A dog sits on a red mat.") == ids.input_ids[0].tolist()  # type: ignore[attr-defined]
    assert tokenizer.convert_ids_to_tokens(ids.input_ids[0].tolist())[0] == ">>cmn_Hans<<"
    model.generation_config.update(forced_eos_token_id=None, suppress_tokens=[tokenizer.unk_token_id])
    with torch.inference_mode():
        own = model.generate(**ids, num_beams=3, max_new_tokens=2 * ids.input_ids.shape[1] + 20)[0].tolist()
    answer = translator.translate(["A dog sits on a red mat."])[0]
    said = tokenizer.decode(own, skip_special_tokens=True)
    assert answer.text.replace(" ", "") == said.replace(" ", "").strip() != ""
    assert (answer.tokens_in, answer.complete) == (ids.input_ids.shape[1], 0 in own[1:])


def test_another_target_may_be_chosen_of_those_there(models: Models) -> None:
    ids = [loaded(models, target=target).encode("A dog") for target in (None, "cmn_Hans", "yue")]  # type: ignore[attr-defined]
    assert ids[0] == ids[1] != ids[2] and ids[1][1:] == ids[2][1:]
    begins = rf"captions.translator.target: {models.folder}/opus-mt-en-zh/vocab.json has no token >>"
    with pytest.raises(UserError, match=begins + r'yu<<; did you mean "yue"\?$'):
        made(models, target="yu").check()
    with pytest.raises(UserError, match=begins + "fr<<; known: cmn_Hans, cmn_Hant, yue$"):
        made(models, target="fr").check()


def test_a_checkpoint_with_one_target_takes_no_prefix(models: Models, tmp_path: Path) -> None:
    translator = loaded(models, "en")
    ids = translator.encode("一只狗")  # type: ignore[attr-defined]
    assert ids == translator.checkpoint.tokenizer("一只狗").input_ids  # type: ignore[attr-defined]
    assert translator.translate(["一只狗坐在红色的垫子上。"])[0].text
    with pytest.raises(
        UserError, match=r"^captions.original_translator.target: .* has no token >>eng<<, nor one of any"
    ):
        made(models, "en", target="eng").check()
    translators.opus(tmp_path / "many", targets=("fra", "deu"))
    with pytest.raises(UserError, match=">>cmn_Hans<<; known: deu, fra"):
        made(Models(tmp_path), checkpoint="many").check()


def test_a_checkpoint_of_the_other_direction_is_refused(models: Models) -> None:
    with pytest.raises(UserError, match=r"^captions.translator.checkpoint: .*opus-mt-zh-en/tokenizer_config.json: expected a checkpoint from en into zh, found one from zho into eng$"):  # fmt: skip
        made(models, checkpoint="opus-mt-zh-en").check()
    with pytest.raises(
        UserError, match="^captions.original_translator.checkpoint: .* from zh into en, found one from eng"
    ):
        made(models, "en", checkpoint="opus-mt-en-zh").check()


def test_an_answer_does_not_depend_on_its_batch(models: Models) -> None:
    translator = loaded(models)
    together = translator.translate(TEXTS)
    assert [translator.translate([text])[0] for text in TEXTS] == together
    assert translator.translate(TEXTS[::-1] + TEXTS) == together[::-1] + together
    assert translator.translate([]) == []
    assert translator.batch_size == (64 if torch.cuda.is_available() else 1)


@pytest.mark.parametrize("seed", range(4))
def test_quotes_and_lines_are_kept_whatever_the_model_says(tmp_path: Path, seed: int) -> None:
    translators.opus(tmp_path / "garbage", end=2.0, seed=seed)
    answers = loaded(Models(tmp_path), checkpoint="garbage").translate(TEXTS)
    for text, answer in zip(TEXTS, answers, strict=True):
        assert all(quote in answer.text for quote in quoted(text))
        assert "quotes_lost" not in check_translation(text, answer.text)
    first = answers[0]
    assert "“今日特价。全场八折！”" in first.text and "“SALE 50%”" in first.text
    assert first.text.count("\n") == CAPTION.count("\n") and first.text.count("\n-") == 2 and "\n\n" in first.text
    assert first.tokens_in > 50 and first.tokens_out > 0
    assert answers[2:6] == [Answer(""), Answer(""), Answer("🙂🙂"), Answer("“SALE”")]


def test_quotes_are_kept_into_english(models: Models) -> None:
    answer = loaded(models, "en").translate(["海报上写着“打折 50%”，穿黑衣服的人高兴。\n一只狗。"])[0]
    assert '"打折 50%"' in answer.text and answer.text.count("\n") == 1


def test_texts_that_cannot_be_translated_say_why(models: Models) -> None:
    assert loaded(models).translate(["مرحبا بالعالم", "一只狗"]) == [Answer(failed="not_english")] * 2
    assert loaded(models, "en").translate(["A dog"]) == [Answer(failed="not_chinese")]


def test_a_sentence_beyond_the_models_length_goes_clause_by_clause_or_is_said_to_be_missing(tmp_path: Path) -> None:
    translators.opus(tmp_path / "short", end=1e9, max_position_embeddings=48)
    translator = loaded(Models(tmp_path), checkpoint="short")
    limit = translator.checkpoint.limit  # type: ignore[attr-defined]
    clause, sentence = "a dog sits on a mat", ", ".join(["A dog sits on a mat"] * 8) + "."
    assert limit == 48 and len(translator.encode(sentence)) > limit > len(translator.encode(clause))  # type: ignore[attr-defined]
    cut = translator.translate([sentence])[0]
    assert cut.tokens_in > len(translator.encode(sentence))  # type: ignore[attr-defined]  # each clause has an end of its own
    endless = translator.translate(["dog" * 3333])[0]  # 10,000 characters, and no place to cut
    assert endless == Answer("", complete=False)


def test_ten_thousand_characters_are_translated_to_the_last(models: Models) -> None:
    text = "A dog sits on a red mat. " * 399 + 'Its name is "REX".'
    answer = loaded(models).translate([text])[0]
    assert len(text) > 9_990 and "“REX”" in answer.text and len(answer.text) >= 400


def test_what_is_part_of_the_fingerprint(models: Models) -> None:
    plain = made(models).identity
    assert made(models, batch_tokens=1).identity == plain
    assert made(models, beams=2).identity != plain != made(models, target="yue").identity
    assert set(made(models).files()) == {
        "config.json", "generation_config.json", "model.safetensors", "source.spm", "target.spm", "tokenizer_config.json", "vocab.json"
    }  # fmt: skip


def test_what_is_wrong_is_said_before_work_starts(models: Models, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no opus-mt-en-zj in .*; did you mean "opus-mt-en-zh"'):
        made(models, checkpoint="opus-mt-en-zj").check()
    with pytest.raises(UserError, match=r"^captions.translator.checkpoint: "):
        make_translator({"backend": "marian"}, models)
    with pytest.raises(UserError, match=r"^captions.translator.beams: "):
        made(models, beams=0)
    partial = Path(shutil.copytree(models.find("", "opus-mt-en-zh"), tmp_path / "partial"))
    (partial / "target.spm").unlink()
    with pytest.raises(
        UserError, match="^captions.translator.checkpoint: .*partial has no target.spm; found config.json"
    ):
        made(Models(tmp_path), checkpoint="partial").files()
    (partial / "tokenizer_config.json").write_text(json.dumps([]))
    with pytest.raises(UserError, match="tokenizer_config.json: expected a JSON object, found list"):
        made(Models(tmp_path), checkpoint="partial").files()
