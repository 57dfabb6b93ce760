"""What safety and category have in common, by a classifier's labels and by prompts, in the real stage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from curation.scoring.stage import plan
from tests import bench, checkpoints, classifiers
from tests.modelled import COUNT, corpus, recipe, scored, sidecar

Rows = list[dict[str, Any]]
Given = dict[str, Any]

KINDS = ["tabby", "beagle", "crane", "crane"]
"""As in ImageNet, one name stands for two things."""
UNSAFE = ["normal", "nude", "gore"]
NUDE: Given = {"backend": "hf_classifier", "checkpoint": "nsfw", "labels": {"nude": "unsafe"}}
SAFETY: Given = {"backend": "zero_shot", "unsafe": ["a naked person", "a bloody wound"], "safe": "a landscape"}
PROMPTS: Given = {"people": ["a photo of a person", "a portrait"], "food": "a photo of food", "other": "a thing"}
PHOTO: Given = {"photo": {}}
EMBEDDING: Given = {"embedding": {"checkpoint": "clip"}}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints: a classifier for each signal, and a CLIP."""
    return save_models(tmp_path_factory.mktemp("models"))


def save_models(folder: Path) -> Path:
    classifiers.vit(folder / "nsfw", UNSAFE)
    classifiers.convnext(folder / "animals", KINDS)
    checkpoints.open_clip_folder(folder / "clip")
    return folder


def values(rows: Rows, column: str) -> list[Any]:
    return [row[column] for row in rows]


def other_column(rows: Rows) -> Given:
    return NUDE | {"labels": {"gore": "unsafe", "nude": "nude"}}


def is_in_the_other_column(old: Rows, new: Rows) -> bool:
    differ = len(set(values(old, "unsafe"))) > 1 and values(new, "unsafe") != values(old, "unsafe")
    return differ and values(new, "nude") == values(old, "unsafe")


def name_of_all_seen(rows: Rows) -> Given:
    return {"checkpoint": "animals", "labels": dict.fromkeys(values(rows, "category"), "seen")}


def has_the_name(old: Rows, new: Rows) -> bool:
    return set(values(old, "category")) <= set(KINDS) and set(values(new, "category")) == {"seen"}


def other_prompt(rows: Rows) -> Given:
    return SAFETY | {"unsafe": "a weapon"}


def differs(old: Rows, new: Rows) -> bool:
    return values(new, "unsafe") != values(old, "unsafe")


def other_names(rows: Rows) -> Given:
    return {"backend": "zero_shot", "prompts": {f"not {name}": prompts for name, prompts in PROMPTS.items()}}


def is_renamed_alone(old: Rows, new: Rows) -> bool:
    renamed = values(new, "category") == [f"not {name}" for name in values(old, "category")]
    same = values(new, "category_confidence") == values(old, "category_confidence")
    return set(values(old, "category")) <= set(PROMPTS) and renamed and same


@pytest.mark.parametrize(("beside", "name", "first", "then", "holds"), [
    (PHOTO, "safety", NUDE, other_column, is_in_the_other_column),
    (PHOTO, "category", {"checkpoint": "animals"}, name_of_all_seen, has_the_name),
    (EMBEDDING, "safety", SAFETY, other_prompt, differs),
    (EMBEDDING, "category", {"backend": "zero_shot", "prompts": PROMPTS}, other_names, is_renamed_alone),
], ids=["safety-labels", "category-labels", "safety-prompts", "category-prompts"])  # fmt: skip
def test_a_change_recomputes_this_signal_alone(
    tmp_path: Path, models: Path, beside: Given, name: str, first: Given,
    then: Callable[[Rows], Given], holds: Callable[[Rows, Rows], bool],
) -> None:  # fmt: skip
    given = beside | {name: first}
    old = scored(corpus(tmp_path), models, given, name)
    (other,) = beside
    kept = sidecar(tmp_path, other)
    before = kept.read_bytes(), kept.stat().st_mtime_ns
    assert values(old, f"{name}_state") == ["scored"] * COUNT
    assert not plan(bench.opened(recipe(tmp_path, models, given))).tasks

    changed = beside | {name: then(old)}
    (reason,) = plan(bench.opened(recipe(tmp_path, models, changed))).reasons
    assert name in reason and other not in reason
    new = scored(tmp_path, models, changed, name)
    assert values(new, f"{name}_state") == ["scored"] * COUNT and holds(old, new)
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == before


@pytest.mark.parametrize(("name", "column", "given", "file", "spoilt"), [
    ("safety", "unsafe", {"safety": NUDE}, "nsfw/model.safetensors", ""),
    ("category", "category", {"category": {"checkpoint": "animals"}}, "animals/model.safetensors", ""),
    # the picture's half of the model is whole, the text's is not
    ("safety", "unsafe", EMBEDDING | {"safety": SAFETY}, "clip/open_clip_model.safetensors", "token_embedding"),
    ("category", "category", EMBEDDING | {"category": {"backend": "zero_shot", "prompts": PROMPTS}},
     "clip/open_clip_model.safetensors", "token_embedding"),
], ids=["safety-labels", "category-labels", "safety-prompts", "category-prompts"])  # fmt: skip
def test_scores_that_are_no_numbers_never_pass(
    tmp_path: Path, name: str, column: str, given: Given, file: str, spoilt: str
) -> None:
    weights = save_models(tmp_path / "models") / file
    tensors = load_file(weights)
    save_file({n: t * float("nan") if n.startswith(spoilt) else t for n, t in tensors.items()}, weights)
    found = scored(corpus(tmp_path), tmp_path / "models", given, name)
    assert [(row[f"{name}_state"], row[column]) for row in found] == [("failed", None)] * COUNT
    assert all(row[f"{name}_error"].startswith("not_finite") for row in found)
