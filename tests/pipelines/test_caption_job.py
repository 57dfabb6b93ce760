"""Stage `caption` as a job: real architectures in worker processes, a worker that is killed, a machine without models."""

from pathlib import Path
from typing import Any

import pytest

from curation.captions import stage
from curation.errors import StageError
from pipelines import stages
from tests import bench, cogvlm, translators
from tests.command import curate, process
from tests.scripted import GOOD, Script


def corpus(folder: Path, shards: int = 2, images: int = 3) -> None:
    for shard in range(shards):
        names = [f"{shard}{n}" for n in range(images)]
        members: dict[str, bytes] = {}
        for name in names:
            members[f"{name}.jpg"] = bench.encoded(bench.picture(int(name), (120, 90)))
            members[f"{name}.txt"] = "一只狗坐在长椅上".encode()
        bench.write_tar(folder / "raw" / f"{shard:05d}.tar", members)


def captions(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((folder / "work/captions/c").glob("*.parquet")) for row in bench.rows(path)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace captioned by CogVLM and translated both ways by Marian, all with tiny random checkpoints."""
    folder = tmp_path_factory.mktemp("tiny")
    corpus(folder)
    cogvlm.folder(folder / "models" / "cogvlm-chat", shards=2, inv_freq=True)
    translators.opus(folder / "models" / "en-zh")
    translators.opus(folder / "models" / "zh-en", source="zh", targets=())
    given = {
        "captioner": {"backend": "cogvlm", "checkpoint": "cogvlm-chat", "max_new_tokens": 12},
        "translator": {"backend": "marian", "checkpoint": "en-zh"},
        "original_translator": {"backend": "marian", "checkpoint": "zh-en"},
        "attempts": 2,
    }
    bench.recipe(folder, models="./models", captions=given, workers=2)
    return folder


@pytest.mark.slow
def test_cogvlm_and_marian_in_workers(tiny: Path) -> None:
    done = process("run", "recipe.yaml", cwd=tiny)
    rows = captions(tiny)
    assert len(rows) == 6 and all(row["caption_en"] for row in rows)
    assert {(row["captioner"], row["translator"], row["prompt"]) for row in rows} == {("cogvlm", "marian", "pixart")}
    assert all(row["attempts"] == 2 and row["flags"] for row in rows)  # random weights say nothing that passes
    assert all(row["tokens_out"] > 0 for row in rows) and not any(row["translated"] and row["flags"] for row in rows)
    assert "spent" in done.stdout + done.stderr


@pytest.mark.slow
def test_workers_and_interruptions_do_not_change_a_byte(tiny: Path) -> None:
    before = [path.read_bytes() for path in sorted((tiny / "work/captions/c").glob("*.parquet"))]
    for kept in [*(tiny / "work/captions/c").iterdir(), *(tiny / "work/captions/.answers/c").iterdir()]:
        kept.unlink()
    curate("caption", "recipe.yaml", "--set", "workers=1", cwd=tiny)
    assert [path.read_bytes() for path in sorted((tiny / "work/captions/c").glob("*.parquet"))] == before


@pytest.mark.slow
def test_what_is_captioned_can_be_read_without_the_models(tiny: Path) -> None:
    (tiny / "models").rename(tiny / "elsewhere")
    try:
        for verb in (
            ["build-shards"],
            ["status"],
            ["query", "select count(*) n from images where caption_en is not null"],
        ):
            curate(verb[0], "recipe.yaml", *verb[1:], cwd=tiny)
        done = curate("caption", "recipe.yaml", cwd=tiny, status=2)
        assert "captions.captioner.checkpoint" in done.stderr and done.stderr.count("\n") == 1
    finally:
        (tiny / "elsewhere").rename(tiny / "models")


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_told_before_any_row(tiny: Path) -> None:
    given = "captions.captioner={backend: cogvlm, checkpoint: en-zh}"
    done = process("caption", "recipe.yaml", "--set", given, cwd=tiny, status=2)
    assert "recipe.yaml: captions.captioner.checkpoint" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    import curation.captions.backends

    script = Script(tmp_path / "script")
    monkeypatch.setenv("CURATE_CAPTIONS", str(script.folder / "own"))
    monkeypatch.setattr(
        curation.captions.backends, "__path__", [*curation.captions.backends.__path__, str(script.folder / "own")]
    )
    return script


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_an_image_that_kills_its_worker_costs_itself(
    script: Script, tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    if engine == "ray":
        request.getfixturevalue("no_ray")  # its workers must find the script
    corpus(tmp_path, shards=1, images=6)
    made = bench.recipe(tmp_path, captions={"captioner": script.backend, "translator": None}, engine=engine, workers=1)
    script.say(crash="03")
    for run in (stages.index, stages.score, stages.select):
        run(bench.opened(made))
    summary = stages.caption(bench.opened(made))
    assert summary.errors == []
    rows = captions(tmp_path)
    assert [row["caption_en"] for row in rows] == [GOOD, GOOD, GOOD, None, GOOD, GOOD]
    assert rows[3]["flags"] == ["crashed"]
    asked = [name for name in script.members() if name != "03"]
    assert len(asked) <= len(set(asked)) + 2  # one batch of two was in hand when it died


@pytest.mark.slow
def test_an_endpoint_that_is_gone_leaves_the_shard_for_later(script: Script, tmp_path: Path) -> None:
    corpus(tmp_path)
    made = bench.recipe(tmp_path, captions={"captioner": script.backend, "translator": None}, workers=1)
    for run in (stages.index, stages.score, stages.select):
        run(bench.opened(made))
    script.say(gone="11")
    summary = stages.caption(bench.opened(made))
    assert summary.errors == ["c/00001: http://127.0.0.1:1: nobody answers"] and not summary.ok
    script.asked()
    script.say()
    assert stages.caption(bench.opened(made)).ok
    assert set(script.members()) <= {"10", "11", "12"} and len(captions(tmp_path)) == 6
    assert stage.plan(bench.opened(made)).tasks == []


@pytest.mark.slow
def test_what_the_captioner_reads_must_be_scored(script: Script, tmp_path: Path) -> None:
    corpus(tmp_path)
    made = bench.recipe(tmp_path, captions={"captioner": script.backend, "translator": None}, signals={"photo": {}})
    for run in (stages.index, stages.score, stages.select):
        run(bench.opened(made))
    more = bench.recipe(
        tmp_path, captions={"captioner": script.backend, "translator": None}, signals={"photo": {}, "ocr": {}}
    )
    with pytest.raises(StageError, match="reads ocr, which is not scored"):
        stages.caption(bench.opened(more))


REFUSAL = "I'm sorry, but I can't help with describing this image."


def scripted(script: Script, folder: Path, **more: Any) -> Any:
    """A recipe whose captioner and translator follow the script; its stages before `caption` have run."""
    given = {"captioner": script.backend, "translator": script.backend, "attempts": 1} | more
    made = bench.recipe(folder, captions=given, workers=1)
    for run in (stages.index, stages.score, stages.select):
        run(bench.opened(made))
    return made


@pytest.mark.slow
def test_what_stays_bad_is_flagged_and_no_training_text(script: Script, tmp_path: Path) -> None:
    corpus(tmp_path, shards=1, images=5)
    script.say(captions={"*": GOOD, "01": REFUSAL, "02": "A stunning brown dog sits on a wooden bench."})
    made = scripted(script, tmp_path, synthetic_share=1.0)
    summary = stages.caption(bench.opened(made))
    assert summary.ok and summary.more["flagged"] == {"refusal": 1, "subjective": 1}
    assert stages.build_shards(bench.opened(made)).ok
    rows = {row["key"][-2:]: row for row in bench.rows(tmp_path / "work/shards/concept/000000.parquet")}
    assert rows["01"]["caption_source"] == "original" and rows["01"]["text"] == "一只狗坐在长椅上"
    assert rows["01"]["flags"] == ["refusal"] and rows["01"]["caption_en"] == REFUSAL
    assert {rows[name]["caption_source"] for name in ("00", "02", "03", "04")} == {"synthetic"}
    card = (tmp_path / "work/shards/concept/README.md").read_text()
    assert "| refusal | 1 |" in card and "| subjective | 1 |" in card
    assert stages.caption(
        bench.opened(made.model_copy(update={"captions": made.captions.model_copy(update={"tolerate": []})}))
    ).ok


@pytest.mark.slow
def test_translations_that_failed_are_told_and_tried_again(script: Script, tmp_path: Path) -> None:
    corpus(tmp_path, shards=1, images=4)
    script.say(translations={"*": {"failed": "http_500"}})
    made = scripted(script, tmp_path)
    summary = stages.caption(bench.opened(made))
    assert summary.failed == {"translation http_500": 4} and summary.too_many_failed and not summary.ok
    assert any("--retry-failed" in note for note in summary.notes)
    script.asked()
    script.say()
    assert stages.caption(bench.opened(made)).done == 0  # without being asked to, nothing is tried again
    summary = stages.caption(bench.opened(made), retry_failed=True)
    assert summary.ok and all(row["translated"] and row["flags"] == [] for row in captions(tmp_path))
    assert {kind for kind, _ in script.asked()} == {"translations"}  # the captions themselves were kept


@pytest.mark.slow
def test_an_empty_answer_is_asked_for_again(script: Script, tmp_path: Path) -> None:
    corpus(tmp_path, shards=1, images=3)
    script.say(captions={"*": GOOD, "01": ""})
    made = scripted(script, tmp_path)
    assert stages.caption(bench.opened(made)).failed == {"caption empty": 1}
    script.asked()
    script.say()
    assert stages.caption(bench.opened(made), retry_failed=True).failed == {} and script.members() == ["01"]


def test_a_key_that_stands_in_a_recipe_is_refused_before_anything_is_kept(tmp_path: Path) -> None:
    corpus(tmp_path, shards=1, images=1)
    bench.recipe(tmp_path)
    endpoint = "{backend: endpoint, url: 'http://127.0.0.1:9/v1', model: m, api_key: sk-1234567890}"
    for key in ("captions.captioner", "caption_eval.captioners.other.captioner", "captions.translator"):
        done = curate("index", "recipe.yaml", "--set", f"{key}={endpoint}", cwd=tmp_path, status=2)
        assert done.stderr.count("\n") == 1
        assert "environment variable" in done.stderr and "sk-1234567890" not in done.stderr + done.stdout
    assert not (tmp_path / "work" / "recipe.yaml").exists()


@pytest.mark.slow
def test_the_card_says_what_wrote_the_captions(tiny: Path) -> None:
    card = (tiny / "work/shards/concept/README.md").read_text()
    assert "captioner `cogvlm`" in card and "CogVLM Model License" in card and "code Apache-2.0" in card
    assert "translator `marian`" in card and "CC-BY" not in card  # a checkpoint of one's own has its own licence
