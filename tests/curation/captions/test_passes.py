"""Pass after pass: asked, checked, asked again, translated; each answer is kept and paid for once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import curation.captions.backends
from curation.captions import crew as crews
from curation.captions import stage
from curation.captions.answer_cache import Answers
from curation.captions.base import load_captioner, load_translator
from curation.captions.crew import Crew
from curation.captions.passes import Passes
from curation.captions.stage import plan
from curation.corpora.prefetch import Pictures
from curation.errors import StageError
from curation.recipe import Recipe
from curation.recipe.prompts import PUBLISHED
from curation.selection.stage import Selection
from curation.tasks import Demand, Watch, WorkerLost
from tests import bench
from tests.scripted import GOOD, GOOD_ZH, LOOP, Script

NAMES = ["a", "b", "c", "d", "e"]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    monkeypatch.setattr(
        curation.captions.backends, "__path__", [*curation.captions.backends.__path__, str(tmp_path / "script" / "own")]
    )
    bench.write_tar(
        tmp_path / "raw" / "00000.tar", {f"{n}.jpg": bench.encoded(bench.picture(i)) for i, n in enumerate(NAMES)}
    )
    return Script(tmp_path / "script")


def selected(script: Script, translator: Any = "scripted", **captions: Any) -> Recipe:
    given = {"captioner": script.backend, "translator": script.backend if translator == "scripted" else translator}
    made = bench.recipe(script.folder.parent, captions=given | captions)
    bench.index(made)
    bench.score(made)
    Selection(bench.opened(made)).write()
    return made


def caption(made: Recipe, retry_failed: bool = False) -> list[dict[str, Any]]:
    for task in plan(bench.opened(made), retry_failed).tasks:
        task.run(Watch())
    return bench.rows(Path(made.workspace) / "captions/c/00000.parquet")


def test_every_row_is_asked_once_and_translated(script: Script) -> None:
    rows = caption(selected(script))
    assert {(r["caption_en"], r["caption_zh"], r["translated"], r["attempts"]) for r in rows} == {
        (GOOD, GOOD_ZH, True, 1)
    }
    assert [r["flags"] for r in rows] == [[]] * 5
    assert {(r["tokens_in"], r["tokens_out"], round(r["cost"], 6)) for r in rows} == {(20, 10, 0.002)}
    assert {r["prompt"] for r in rows} == {"pixart"}
    asked = script.asked()
    assert [what[:3] for kind, what in asked if kind == "captions"] == [[n, 0, PUBLISHED["pixart"]] for n in NAMES]
    assert sum(kind == "translations" for kind, _ in asked) == 5


def test_a_caption_found_wanting_is_asked_again_with_another_seed(script: Script) -> None:
    script.say(captions={"*": GOOD, "b": [LOOP, GOOD], "d": [{"text": GOOD[:30], "complete": False}, LOOP, "x"]})
    rows = caption(selected(script))
    assert [r["attempts"] for r in rows] == [1, 2, 1, 3, 1]
    assert [r["flags"] for r in rows] == [[], [], [], ["truncated"], []]
    assert rows[1]["caption_en"] == GOOD and rows[3]["caption_en"] == GOOD[:30]
    asked = [what for kind, what in script.asked() if kind == "captions"]
    assert [what[:2] for what in asked[5:]] == [["b", 1], ["d", 1], ["d", 2]]
    assert len({what[3] for what in asked}) == len(asked)


def test_what_stays_bad_is_flagged_and_the_number_of_attempts_is_the_recipes(script: Script) -> None:
    script.say(captions={"*": LOOP})
    rows = caption(selected(script, attempts=2, translator=None))
    assert {r["caption_en"].lower() for r in rows} == {LOOP}
    assert {(tuple(r["flags"]), r["attempts"]) for r in rows} == {(("repetition", "zh_no_translator"), 2)}


def test_an_opening_that_says_nothing_is_trimmed_and_costs_no_attempt(script: Script) -> None:
    script.say(captions={"*": "The image shows a brown dog on a wooden bench."})
    rows = caption(selected(script))
    assert {(r["caption_en"], r["attempts"]) for r in rows} == {("A brown dog on a wooden bench.", 1)}


def test_a_rerun_pays_nothing_twice(script: Script) -> None:
    script.say(captions={"*": GOOD, "b": [LOOP, GOOD]})
    made = selected(script)
    before = caption(made)
    script.asked()
    (Path(made.workspace) / "captions/c/00000.parquet").unlink()
    assert caption(made) == before
    assert script.asked() == []


def test_other_checks_or_another_translator_do_not_ask_the_captioner_again(script: Script) -> None:
    caption(selected(script))
    script.asked()
    rows = caption(selected(script, translator={**script.backend, "style": "other"}))
    assert {kind for kind, _ in script.asked()} == {"translations"}
    assert {r["caption_zh"] for r in rows} == {GOOD_ZH}
    rows = caption(selected(script, checks={"min_words": 50}))
    assert script.members() == NAMES * 2  # the kept first answers are now too short: two attempts more
    assert {tuple(r["flags"]) for r in rows} == {("too_short",)}


def test_a_worker_that_is_stopped_repeats_one_batch_at_most(script: Script) -> None:
    made = selected(script)
    script.say(gone="d")
    with pytest.raises(StageError, match="nobody answers"):
        caption(made)
    assert script.members() == ["a", "b", "c", "d"]
    script.say()
    caption(made)
    assert script.members() == ["c", "d", "e"]


def test_a_failed_answer_is_told_and_asked_again_only_when_asked_to(script: Script) -> None:
    script.say(captions={"*": GOOD, "c": {"failed": "http_500"}})
    made = selected(script, attempts=1)
    rows = caption(made)
    assert rows[2]["flags"] == ["http_500"] and rows[2]["caption_en"] is None and rows[2]["caption_zh"] is None
    script.asked()
    script.say()
    assert plan(bench.opened(made)).tasks == []
    rows = caption(made, retry_failed=True)
    assert script.members() == ["c"] and rows[2]["caption_en"] == GOOD and rows[2]["flags"] == []


def test_a_mistake_of_the_backend_costs_one_row(script: Script) -> None:
    script.say(raises="c")
    made = selected(script, attempts=1)
    outcome = plan(bench.opened(made)).tasks[0].run(Watch())
    rows = bench.rows(Path(made.workspace) / "captions/c/00000.parquet")
    assert [r["flags"] for r in rows] == [[], [], ["error"], [], []]
    assert outcome.notes == ["c/00000: ValueError: a mistake of the backend"]
    assert outcome.failed == {"caption error": 1}
    assert outcome.sums["spent"] == {"tokens_in": 80, "tokens_out": 40, "dollars": pytest.approx(0.008)}


def test_an_image_that_does_not_decode_costs_itself(script: Script) -> None:
    made = selected(script)
    raw = script.folder.parent / "raw" / "00000.tar"
    data = bytearray(raw.read_bytes())
    offset = bench.rows(Path(made.workspace) / "samples/c/00000.parquet")[1]["offset"]
    data[offset : offset + 2000] = bytes(2000)
    raw.write_bytes(data)
    rows = caption(made)
    assert [r["flags"] for r in rows] == [[], ["changed"], [], [], []]
    assert script.members() == ["a", "c", "d", "e"]  # and it is not looked at again for another attempt


def test_a_condemned_row_is_failed_and_not_asked(script: Script) -> None:
    made = selected(script)
    plan(bench.opened(made)).tasks[0].run(Watch(condemned={(3, 0): "timeout"}))
    rows = bench.rows(Path(made.workspace) / "captions/c/00000.parquet")
    assert [r["flags"] for r in rows] == [[], [], [], ["timeout"], []]
    assert script.members() == ["a", "b", "c", "e"]


@pytest.mark.parametrize(("said", "flags", "translated"), [
    ("", ["zh_untranslated"], False),
    ({"failed": "http_429"}, ["zh_http_429"], False),
    ({"text": GOOD_ZH, "complete": False}, ["zh_truncated"], False),
    (GOOD, ["zh_not_chinese", "zh_latin_left"], False),
    (GOOD_ZH, [], True),
])  # fmt: skip
def test_a_translation_that_is_not_true_is_flagged(
    script: Script, said: Any, flags: list[str], translated: bool
) -> None:
    script.say(translations={"*": said})
    rows = caption(selected(script))
    assert {r["translated"] for r in rows} == {translated}
    assert all(set(flags) <= set(r["flags"]) and bool(flags) == bool(r["flags"]) for r in rows)


def test_without_a_translator_the_row_says_so(script: Script) -> None:
    assert {tuple(r["flags"]) for r in caption(selected(script, translator=None))} == {("zh_no_translator",)}


def test_chinese_originals_are_translated_the_other_way(script: Script) -> None:
    raw = script.folder.parent / "raw"
    originals = {"a": "一只狗坐在长椅上", "b": "A dog on a bench", "c": "", "d": "公园里的狗"}
    members: dict[str, bytes] = {}
    for number, name in enumerate(NAMES):
        members[f"{name}.jpg"] = bench.encoded(bench.picture(number))
        members[f"{name}.txt"] = originals.get(name, "").encode()
    bench.write_tar(raw / "00000.tar", members)
    script.say(translations={"*": GOOD_ZH, originals["a"]: "A dog sits on a bench", originals["d"]: "公园"})
    rows = caption(selected(script, original_translator=script.backend))
    assert [r["original_en"] for r in rows] == ["A dog sits on a bench", None, None, None, None]
    assert [[f for f in r["flags"] if f.startswith("original_")] for r in rows[:3]] == [[], [], []]
    assert "original_not_english" in rows[3]["flags"] and rows[3]["translated"]


def test_prompts_are_chosen_by_the_key(script: Script) -> None:
    rows = caption(selected(script, prompts=["laion", "recap_datacomp", "Say what it is."]))
    asked = {what[0]: what[2] for kind, what in script.asked() if kind == "captions"}
    assert len({r["prompt"] for r in rows}) > 1
    for name, row in zip(NAMES, rows, strict=True):
        assert asked[name] == (PUBLISHED | {"prompt_3": "Say what it is."})[row["prompt"]]


def test_the_same_bytes_for_any_batch_size(script: Script) -> None:
    script.say(captions={"*": GOOD, "b": [LOOP, GOOD], "d": [LOOP, LOOP, LOOP]})
    made = selected(script)
    caption(made)
    path = Path(made.workspace) / "captions/c/00000.parquet"
    before = path.read_bytes()
    path.unlink()
    (Path(made.workspace) / "captions/.answers/c/00000.sqlite").unlink()
    made = selected(script, captioner={**script.backend, "batch_size": 32})
    caption(made)
    assert path.read_bytes() == before


def test_pictures_made_ready_ahead_of_a_gpu_change_nothing(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    made = selected(script)
    raw = script.folder.parent / "raw" / "00000.tar"
    data = bytearray(raw.read_bytes())
    offset = bench.rows(Path(made.workspace) / "samples/c/00000.parquet")[3]["offset"]
    data[offset : offset + 2000] = bytes(2000)
    raw.write_bytes(data)
    caption(made)
    path = Path(made.workspace) / "captions/c/00000.parquet"
    before = path.read_bytes()
    for kept in (path, Path(made.workspace) / "captions/.answers/c/00000.sqlite"):
        kept.unlink()
    ahead: list[int] = []
    real = Pictures.ahead
    monkeypatch.setattr(Pictures, "ahead", lambda self, rows, side: (ahead.extend(rows), real(self, rows, side))[1])
    task = replace(plan(bench.opened(made)).tasks[0], demands=(Demand(cpus=3, gpus=1),))
    crews._kept.clear()  # as in a worker that begins
    crews._loaded.clear()
    task.run(Watch())
    assert set(ahead) == set(range(5))
    assert path.read_bytes() == before
    assert [row["flags"] for row in bench.rows(path)] == [[], [], [], ["changed"], []]


def test_originals_of_any_kind_are_kept_and_harm_nothing(script: Script) -> None:
    raw = script.folder.parent / "raw"
    originals = ["مرحبا بالعالم \u202eشجرة", "🐶🐶🐶👩‍👩‍👧‍👦", "狗" * 10_000, "\x00\x07 \ufeff", "a" * 10_000]
    members: dict[str, bytes] = {}
    for number, (name, original) in enumerate(zip(NAMES, originals, strict=True)):
        members[f"{name}.jpg"] = bench.encoded(bench.picture(number))
        members[f"{name}.txt"] = original.encode()
    bench.write_tar(raw / "00000.tar", members)
    script.say(translations={"*": GOOD_ZH, originals[2]: "dog " * 5_000})
    made = selected(script, original_translator=script.backend)
    rows = caption(made)
    assert all(row["caption_en"] == GOOD and row["translated"] for row in rows)
    assert [row["original_en"] for row in rows] == [
        None
    ] * 5  # only one is Chinese, and its translation runs in circles
    assert "original_repetition" in rows[2]["flags"]
    kept = [row["caption"] for row in bench.rows(Path(made.workspace) / "samples/c/00000.parquet")]
    assert kept[1] == originals[1] and kept[2] == originals[2] and kept[4] == originals[4]


def test_text_rich_images_are_asked_with_their_text_and_quotes_are_held_against_it(script: Script) -> None:
    made = selected(script)
    rows: list[dict[str, Any]] = [
        {"key": f"c/00000/{name}", "sha256": name, "width": 64, "height": 64, "caption": None, "ocr_state": "scored",
         "text": 'OPEN\nsince "1920"', "source": "text_in_the_wild" if name == "a" else "web"}
        for name in NAMES
    ]  # fmt: skip
    rows[3]["text"], rows[4]["ocr_state"] = None, "skipped"  # read, and nothing found; not read
    bakery = 'A sign that says "Bakery" over a door.'
    script.say(captions={"*": 'A sign that says "OPEN" over a door.', "b": bakery, "d": bakery, "e": bakery})
    passes = Passes(made.captions, Crew(bench.opened(made)), rows, None, Answers(script.folder / "x.sqlite"), Watch())
    texts = passes.run([0, 1, 2, 3, 4])
    asked = [what for kind, what in script.asked() if kind == "captions"]
    assert texts[0].prompt == "text" and '"OPEN", "since \'1920\'".' in asked[0][2]
    assert texts[1].prompt == "pixart" and texts[1].flags == ["unconfirmed_quote", *texts[1].flags[1:]]
    assert "unconfirmed_quote" not in texts[0].flags + texts[2].flags + texts[4].flags
    assert "unconfirmed_quote" in texts[3].flags
    assert [what[0] for what in asked] == ["a", "b", "c", "d", "e", "b", "d", "b", "d"]


@pytest.mark.parametrize("name", ["cogvlm", "transformers", "endpoint"])
def test_what_writes_captions_is_shown_what_ocr_has_read(name: str) -> None:
    assert load_captioner(name).signals == ("ocr",)


@pytest.mark.parametrize(("captioner", "translator", "gpus", "patient"), [
    ("cogvlm", None, 1, True),
    ("transformers", None, 1, True),
    ("describe", "marian", 1, True),
    ("describe", "nllb", 1, True),
    ("endpoint", None, 0, True),
    ("describe", "endpoint", 0, True),
    ("describe", "describe_zh", 0, False),
])  # fmt: skip
def test_who_is_given_a_gpu_and_time(
    tmp_path: Path, captioner: str, translator: str | None, gpus: int, patient: bool
) -> None:
    (tmp_path / "models" / "x").mkdir(parents=True)
    more = {"endpoint": {"url": "http://127.0.0.1:9/v1", "model": "m"}, "describe": {}, "describe_zh": {}}
    section = lambda name: {"backend": name} | more.get(name, {"checkpoint": "x"})  # noqa: E731
    given = {"captioner": section(captioner), "translator": section(translator) if translator else None}
    made = bench.recipe(tmp_path, models="./models", captions=given)
    crew = Crew.__new__(Crew)  # its files are not looked for: there are none
    crew.captioner = load_captioner(captioner)(load_captioner(captioner).Params.model_validate(given["captioner"]))
    kind = load_translator(translator) if translator else None
    crew.translator = kind(kind.Params.model_validate(given["translator"])) if kind else None
    crew.original_translator = None
    demand = stage.demand_of(made, crew)
    assert demand.gpus == gpus and (demand.patience > 1) == patient


def test_a_caption_that_can_be_trained_with_goes_before_one_that_cannot(script: Script) -> None:
    subjective = "A stunning, breathtaking brown dog sits on a wooden bench."
    script.say(captions={"*": [LOOP, subjective, LOOP]})
    rows = caption(selected(script))
    assert {(r["caption_en"], r["attempts"]) for r in rows} == {(subjective, 3)}
    assert {tuple(r["flags"]) for r in rows} == {("subjective",)}


def test_a_gpu_that_is_lost_ends_the_worker_and_fails_no_row(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    made = selected(script)
    crew = crews.crew_of(bench.opened(made))

    def broken(requests: Any) -> Any:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(crew.captioner, "caption", broken)
    with pytest.raises(WorkerLost):
        plan(bench.opened(made)).tasks[0].run(Watch())
    assert not (Path(made.workspace) / "captions/c/00000.parquet").exists()
