"""The fleet job, all of it but the engines: they need GPUs and an environment of their own."""

import base64
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from curation.captions.answer_cache import Answers
from curation.captions.backends.endpoint_requests import endpoint_of
from curation.captions.stage import plan
from curation.errors import UserError
from curation.recipe import Recipe
from curation.scoring.opened import Opened
from curation.selection.stage import Selection
from curation.tasks import Watch
from curation.workspace import Workspace
from pipelines.vllm_fleet import KEPT_AT_ONCE, answered, arguments, engines, keep, main, questions, run
from tests import bench
from tests.misbehaving import ChatRequest, ServerReply, completion, serving

PLACE = {"corpus": "c", "shard": "00000"}
CAPTION = "A wall of coloured blocks stands behind another wall."


def selected(folder: Path, count: int = 4, **captioner: Any) -> Recipe:
    images = {f"{n}.jpg": bench.encoded(bench.picture(n, (300 + n, 200))) for n in range(count)}
    bench.write_tar(folder / "raw" / "00000.tar", images)
    given = {"backend": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "some/model", "side": 128} | captioner
    made = bench.recipe(folder, captions={"captioner": given, "prompts": ["Say what it is."], "translator": None})
    bench.index(made)
    bench.score(made)
    Selection(bench.opened(made)).write()
    return made


def output(asked: dict[str, Any], text: str = CAPTION, written: int = 12) -> dict[str, Any]:
    """What a processor gives for a row, by ray.data.llm's names."""
    given = asked | {"generated_text": text, "num_input_tokens": 150, "num_generated_tokens": written}
    return answered(given) | {"__inference_error__": ""}


def test_arguments() -> None:
    options = arguments(["recipe.yaml", "--engines", "8", "--gpus", "2", "--weights", "/models/some"])
    assert (options.recipe, options.engines, options.gpus, options.weights) == (
        Path("recipe.yaml"),
        8,
        2,
        "/models/some",
    )
    assert options.package.startswith("vllm") and ";" not in options.package
    for wrong in ([], ["recipe.yaml", "--engines", "many"], ["recipe.yaml", "--package", "vllm", "--python", "python"]):
        with pytest.raises(SystemExit) as raised:
            arguments(wrong)
        assert raised.value.code == 2


def test_engines_have_an_environment_of_their_own() -> None:
    made = engines(arguments(["recipe.yaml", "--engines", "8", "--gpus", "2", "--package", "vllm==1.2"]), "some/model")
    assert made.model_source == "some/model" and made.get_concurrency() == {"min_size": 8, "max_size": 8}
    assert made.engine_kwargs["tensor_parallel_size"] == 2
    assert made.runtime_env["pip"] == ["vllm==1.2"] and made.runtime_env["env_vars"]["HF_HUB_OFFLINE"] == "1"
    there = engines(arguments(["recipe.yaml", "--python", "/opt/vllm/bin/python", "--weights", "/models/some"]), "x")
    assert there.model_source == "/models/some"
    assert there.runtime_env["py_executable"] == "/opt/vllm/bin/python" and "pip" not in there.runtime_env


def test_what_is_asked_is_what_the_endpoint_would_be_asked(tmp_path: Path) -> None:
    asked = list(questions(selected(tmp_path, temperature=0.7, extra={"chat_template_kwargs": {"a": 1}}), PLACE))
    assert len(asked) == 4 and len({row["name"] for row in asked}) == 4
    for number, row in enumerate(asked):
        assert row["sampling_params"] == {"max_tokens": 512, "temperature": 0.0}
        image, text = row["messages"][0]["content"]
        assert text == {"type": "text", "text": "Say what it is."}
        data = base64.b64decode(image["image_url"]["url"].partition(",")[2])
        assert Image.open(io.BytesIO(data)).size == (128, round(200 * 128 / (300 + number)))


def test_the_stage_finds_the_answers_and_asks_for_what_is_found_wanting(tmp_path: Path) -> None:
    def rule(ask: ChatRequest) -> ServerReply:
        assert ask.body["temperature"] > 0, "another attempt, not the first"
        return completion("A better caption of the whole wall.")

    with serving(rule) as server:
        made = selected(tmp_path, url=server.url)
        asked = list(questions(made, PLACE))
        rows = [output(row) for row in asked]
        rows[1] = output(asked[1], "<think>Hm.</think>I'm sorry, I cannot.")
        rows[2] = output(asked[2], CAPTION.removesuffix("wall."), written=512)
        assert keep(Workspace(made.workspace), rows) == {"answered": 4}
        assert list(questions(made, PLACE)) == [], "a run that was stopped goes on where it was"
        for task in plan(bench.opened(made)).tasks:
            task.run(Watch())
        found = bench.rows(tmp_path / "work/captions/c/00000.parquet")
        better = "A better caption of the whole wall."
        assert [row["caption_en"] for row in found] == [CAPTION, better, better, CAPTION]
        assert [row["attempts"] for row in found] == [1, 2, 2, 1] and len(server.requests) == 2
        assert [row["tokens_in"] for row in found] == [150, 250, 250, 150]
        assert list(questions(made, PLACE)) == []


def test_a_row_that_fails_is_counted_and_left_to_the_stage(tmp_path: Path) -> None:
    made = selected(tmp_path)
    asked = list(questions(made, PLACE))
    failed = asked[0] | {"__inference_error__": "ValueError: image too small"}
    assert keep(Workspace(made.workspace), [failed, *(output(row) for row in asked[1:])]) == {
        "answered": 3,
        "ValueError: image too small": 1,
    }
    assert [row["name"] for row in questions(made, PLACE)] == [asked[0]["name"]]


def test_answers_are_kept_as_they_come(tmp_path: Path) -> None:
    made = selected(tmp_path, count=1)
    row = output(next(questions(made, PLACE)))

    def rows():  # type: ignore[no-untyped-def]
        for number in range(KEPT_AT_ONCE):
            yield row | {"name": str(number)}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(Workspace(made.workspace), rows())
    answers = Answers(tmp_path / "work/captions/.answers/c/00000.sqlite")
    assert len(answers.get([str(number) for number in range(KEPT_AT_ONCE)])) == KEPT_AT_ONCE
    answers.close()


@pytest.mark.parametrize("call", [endpoint_of, lambda opened: run(opened, arguments(["recipe.yaml"]))])
def test_another_captioner_is_refused(tmp_path: Path, call: Callable[[Opened], Any]) -> None:
    with pytest.raises(UserError, match=r"captions\.captioner\.backend: .* not for describe"):
        call(bench.opened(bench.recipe(tmp_path)))


def test_nothing_indexed(tmp_path: Path) -> None:
    given = {"backend": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "some/model"}
    with pytest.raises(UserError, match="nothing is indexed"):
        run(bench.opened(bench.recipe(tmp_path, captions={"captioner": given})), arguments(["recipe.yaml"]))


def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vllm_fleet", str(tmp_path / "none.yaml")])
    with pytest.raises(SystemExit) as raised:
        main()
    error_text = capsys.readouterr().err
    assert (
        raised.value.code == 2
        and error_text.startswith("error: ")
        and error_text.count("\n") == 1
        and "none.yaml" in error_text
    )
