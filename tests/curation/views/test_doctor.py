"""`doctor` tells of every backend: what is there, checksum, licence, and how to fetch what is not."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from curation.decoding import formats
from curation.recipe import Recipe
from curation.signals.base import signal_backends, signal_names
from curation.views.doctor import examine
from tests import bench, checkpoints


def told(recipe: Recipe | None = None) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in examine(bench.opened(recipe, meta_known=False) if recipe else None):
        found.setdefault(finding.what, []).append((finding.status, finding.says))
    return found


def test_every_backend_is_listed_with_licence_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.open_clip_folder(tmp_path / "clip-l14")
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path))
    found = told()
    assert found["models"] == [("ok", f"looked for in {tmp_path}")]
    for name in signal_names():
        for backend, cls in signal_backends(name).items():
            lines = found[f"{name} {backend}".strip()]
            assert len(lines) >= max(1, len(cls.origins)), (name, backend)
            assert all("licence: " in says for _, says in lines) or lines == [("ok", "needs no model of its own")]
    ((status, says),) = found["embedding open_clip"]
    sha = hashlib.sha256((tmp_path / "clip-l14" / "open_clip_model.safetensors").read_bytes()).hexdigest()
    assert status == "ok" and f"open_clip_model.safetensors {sha[:12]}" in says and "licence: MIT" in says
    ((status, says),) = found["aesthetic laion_v2"]
    assert (
        status == "absent"
        and f"git clone --depth 1 https://github.com/christophschuhmann/improved-aesthetic-predictor {tmp_path}/laion-v2"
        in says
    )


def test_without_a_folder_it_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CURATE_MODELS", raising=False)
    assert "none is named (`models:` in a recipe, or CURATE_MODELS)" in told()["models"][0][1]
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path / "nowhere"))
    assert told()["models"] == [("ok", f"{tmp_path}/nowhere is not there")]


def test_a_recipes_model_that_does_not_fit_is_a_problem(tmp_path: Path) -> None:
    checkpoints.open_clip_folder(tmp_path / "models" / "tiny")
    (tmp_path / "raw").mkdir()
    given = {"embedding": {"checkpoint": "tiny", "model": "ViT-B-32"}, "photo": {}}
    found = told(bench.recipe(tmp_path, models="./models", signals=given))
    status, says = found["signals.embedding"][0]
    assert status == "problem" and "does not fit ViT-B-32" in says
    assert found["signals.photo"][0] == ("ok", "needs no model")


def test_what_a_recipe_names_is_shown_in_the_place_of_what_it_does_not(tmp_path: Path) -> None:
    checkpoints.open_clip_folder(tmp_path / "models" / "tiny")
    save_file({"weight": torch.ones(1, 32)}, tmp_path / "models" / "mine.safetensors")
    (tmp_path / "raw").mkdir()
    given = {"embedding": {"checkpoint": "tiny"}, "aesthetic": {"backend": "head", "checkpoint": "mine.safetensors"}}
    found = told(bench.recipe(tmp_path, models="./models", signals=given))
    for what, file in (("embedding open_clip", "tiny/open_clip_model"), ("aesthetic head", "mine")):
        ((status, says),) = found[what]
        path = tmp_path / "models" / f"{file}.safetensors"
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        assert status == "ok" and f"named by the recipe; {path.parent}: " in says and f"{path.name} {sha[:12]}" in says
    assert found["aesthetic laion_v2"][0][0] == "absent"
    given["embedding"]["checkpoint"] = "clip-l14"  # where the command puts it: its licence is known
    (tmp_path / "models" / "tiny").rename(tmp_path / "models" / "clip-l14")
    ((status, says),) = told(bench.recipe(tmp_path, models="./models", signals=given))["embedding open_clip"]
    assert status == "ok" and "licence: MIT" in says and "open_clip_model.safetensors" in says


def test_formats_that_cannot_be_read_are_a_note_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    readable = {"heic"}
    monkeypatch.setattr(formats, "_load", readable.__contains__)
    says = "jxl cannot be read, and such rows fail; pip install 'curate[formats]'"
    assert told()["formats"] == [("note", says)]
    readable.add("jxl")
    assert told()["formats"] == [("ok", "heic and jxl can be read too")]


def test_a_folder_of_a_files_name_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "yunet" / "face_detection_yunet_2023mar.onnx").mkdir(parents=True)
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path))
    ((status, says),) = told()["faces yunet"]
    assert status == "absent" and f"{tmp_path}/yunet holds no file of weights; fetch it" in says


def test_the_models_of_a_recipe_win_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_MODELS", "/elsewhere")
    assert bench.recipe(tmp_path, models="./mine").models == str(tmp_path / "mine")
    assert bench.recipe(tmp_path).models == "/elsewhere"
