"""How well the caption fits: the cosine of the library's own two embeddings, alone and in the real stage."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from curation.errors import UserError
from curation.models.checkpoints import Models
from curation.scoring.stage import plan
from curation.signals.base import Row, Scores, make_signal
from curation.signals.clip import ClipScore
from tests import bench, checkpoints

CAPTIONS = ["a cat on a mat", None, "  ", "海边的日落", "word " * 5000, "a cat on a mat"]
CLIP = {"embedding": {"checkpoint": "clip"}, "clip": {}}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CLIP and, under another name, one of other weights."""
    folder = tmp_path_factory.mktemp("models")
    checkpoints.open_clip_folder(folder / "clip")
    checkpoints.open_clip_folder(folder / "other", seed=1)
    return folder


def made(models: Path) -> ClipScore:
    signal = ClipScore(ClipScore.Params(), Models(models))
    signal.needed = {"embedding": make_signal("embedding", {"checkpoint": "clip"}, Models(models))}
    signal.check()
    signal.load()
    return signal


def rows(signal: ClipScore) -> list[Row]:
    pictures = [np.asarray(bench.picture(n, (90, 60)))[:, :, ::-1].copy() for n in range(len(CAPTIONS))]
    vectors = signal.embedding.clip.images(pictures).astype(np.float16)
    return [Row(None, {"caption": c}, {"embedding": v}) for c, v in zip(CAPTIONS, vectors, strict=True)]


def scores(signal: ClipScore, given: list[Row]) -> list[Scores]:
    found = signal.score(given)
    assert all(isinstance(row, dict) for row in found)
    return found  # type: ignore[return-value]


def test_it_is_the_cosine_of_the_librarys_embeddings(models: Path) -> None:
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{models / 'clip'}")
    model.eval()
    with torch.inference_mode():
        text = model.encode_text(open_clip.get_tokenizer(f"local-dir:{models / 'clip'}")(["a cat on a mat"]))
        image = model.encode_image(preprocess(Image.fromarray(np.asarray(bench.picture(0, (90, 60)))))[None])
        expected = torch.nn.functional.cosine_similarity(text, image).item()
    signal = made(models)
    assert scores(signal, rows(signal))[0]["clip_score"] == pytest.approx(expected, abs=1e-3)  # stored as float16


def test_no_caption_no_score_and_a_long_one_is_cut(models: Path) -> None:
    signal = made(models)
    found = [row.get("clip_score") for row in scores(signal, rows(signal))]
    assert [value is None for value in found] == [False, True, True, False, False, False]
    shorter = [Row(None, {"caption": "word " * 75}, row.signals) for row in rows(signal)]
    assert scores(signal, shorter)[4]["clip_score"] == found[4]


def test_a_row_is_scored_alike_in_any_batch(models: Path) -> None:
    signal = made(models)
    given = rows(signal)
    together = scores(signal, given)
    assert together == [scores(signal, [row])[0] for row in given]
    assert together == scores(signal, given[::-1])[::-1]
    assert signal.score([]) == []


def corpus(folder: Path) -> Path:
    """A tar of pictures with and without captions."""
    members: dict[str, bytes] = {}
    for n, caption in enumerate(CAPTIONS):
        members[f"{n}.jpg"] = bench.encoded(bench.picture(n))
        if caption is not None:
            members[f"{n}.txt"] = caption.encode()
    bench.write_tar(folder / "raw" / "00000.tar", members)
    return folder


def scored(folder: Path, models: Path, given: dict[str, Any] = CLIP, **more: Any) -> list[dict[str, Any]]:
    recipe = bench.recipe(folder, models=str(models), signals=given, **more)
    bench.opened(recipe).cascade.check_models()
    bench.index(recipe)
    bench.score(recipe)
    return bench.rows(folder / "work/signals/clip/c/00000.parquet")


def test_the_real_stage_scores_rows_with_a_caption(tmp_path: Path, models: Path) -> None:
    found = scored(corpus(tmp_path), models)
    assert [row["clip_state"] for row in found] == ["scored"] * 6
    assert [row["clip_score"] is None for row in found] == [False, True, True, False, False, False]
    assert found[0]["clip_score"] != found[5]["clip_score"]  # one caption, two pictures
    assert not plan(bench.opened(bench.recipe(tmp_path, models=str(models), signals=CLIP))).tasks


def test_a_row_without_a_caption_does_not_pass(tmp_path: Path, models: Path) -> None:
    from pipelines import stages

    where = {"fits": "clip_score >= -1"}
    scored(corpus(tmp_path), models, select={"where": where})
    funnel = stages.select(
        bench.opened(bench.recipe(tmp_path, models=str(models), signals=CLIP, select={"where": where}))
    ).more["funnel"]
    assert (funnel["kept"], funnel["dropped"]) == (4, {"fits": 2})


def test_another_model_of_the_embedding_is_another_score(tmp_path: Path, models: Path) -> None:
    first = scored(corpus(tmp_path), models)
    second = scored(tmp_path, models, {"embedding": {"checkpoint": "other"}, "clip": {}})
    assert [row["clip_score"] for row in second] != [row["clip_score"] for row in first]


def test_scores_that_are_no_numbers_never_pass(tmp_path: Path) -> None:
    file = checkpoints.open_clip_folder(tmp_path / "models" / "clip") / "open_clip_model.safetensors"
    tensors = load_file(file)
    save_file(tensors | {"text_projection": tensors["text_projection"] * float("nan")}, file)
    found = scored(corpus(tmp_path), tmp_path / "models")
    states = ["scored" if (c or "").strip() == "" else "failed" for c in CAPTIONS]
    assert [row["clip_state"] for row in found] == states
    assert all((row["clip_error"] or "not_finite").startswith("not_finite") for row in found)


def test_a_model_without_a_tokenizer_is_refused_before_any_work(tmp_path: Path) -> None:
    folder = checkpoints.open_clip_folder(tmp_path / "models" / "clip")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "someone/something"
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(
        UserError, match=f"^signals.embedding.checkpoint: {folder} has no tokenizer beside the weights"
    ) as caught:
        scored(corpus(tmp_path), tmp_path / "models")
    assert "\n" not in str(caught.value) and not (tmp_path / "work").exists()


def test_without_the_embedding_the_recipe_is_refused(tmp_path: Path, models: Path) -> None:
    with pytest.raises(
        UserError, match="signals.clip: reads the signal embedding; add `embedding: {checkpoint: …}` to signals"
    ):
        scored(corpus(tmp_path), models, {"clip": {}})
