"""The category by a classifier's labels and by prompts; for the real stage see test_labels_and_prompts.py."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import UserError
from curation.models.checkpoints import Models
from curation.models.vision.hf_classifier import Classifier
from curation.signals._by_prompts import class_vectors
from curation.signals.base import Row, Scores, Signal, make_signal
from tests import checkpoints, classifiers
from tests.modelled import corpus, refusal, rows, scored

LABELS = ["tabby", "tiger cat", "beagle", "pizza", "crane", "crane"]
"""As in ImageNet, one name stands for two things."""
PROMPTS: dict[str, Any] = {
    "people": ["a photo of a person", "a portrait"],
    "food": "a photo of food",
    "other": "a thing",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints: a classifier, a CLIP and a SigLIP."""
    folder = tmp_path_factory.mktemp("models")
    classifiers.convnext(folder / "animals", LABELS)
    classifiers.vit(folder / "many", LABELS[:3], problem_type="multi_label_classification")
    checkpoints.open_clip_folder(folder / "clip")
    checkpoints.open_clip_folder(folder / "siglip", checkpoints.SIGLIP, checkpoints.SIGLIP_PREPROCESSING)
    return folder


def made(models: Path, embedding: str = "clip", **given: Any) -> Signal:
    signal = make_signal("category", given, Models(models))
    signal.needed = {"embedding": make_signal("embedding", {"checkpoint": embedding}, Models(models))}
    signal.check()
    signal.load()
    return signal


def scores(signal: Signal, given: list[Row]) -> list[Scores]:
    found = signal.score(given)
    assert all(isinstance(row, dict) for row in found)
    return found  # type: ignore[return-value]


def test_the_likeliest_label_and_its_probability(models: Path) -> None:
    classifier = Classifier("", models / "animals")
    classifier.load()
    p = classifier.probabilities([row.picture.bgr(classifier.side) for row in rows(6) if row.picture])
    together = np.concatenate([p[:, :4], p[:, 4:].sum(1, keepdims=True)], 1)  # the two cranes
    expected = [
        {"category": LABELS[i], "category_confidence": float(row[i])} for row in together for i in [row.argmax()]
    ]
    assert scores(made(models, checkpoint="animals"), rows(6)) == expected


def test_labels_are_renamed_and_grouped_and_the_rest_keep_their_names(models: Path) -> None:
    plain = made(models, checkpoint="animals")
    assert plain.names == {"tabby": [0], "tiger cat": [1], "beagle": [2], "pizza": [3], "crane": [4, 5]}  # type: ignore[attr-defined]
    signal = made(models, checkpoint="animals", labels={"tabby": "cat", "tiger cat": "cat", "beagle": "dog"})
    assert signal.names == {"cat": [0, 1], "dog": [2], "pizza": [3], "crane": [4, 5]}  # type: ignore[attr-defined]
    everything = made(models, checkpoint="animals", labels=dict.fromkeys(LABELS, "thing"))
    assert all(
        s["category"] == "thing" and s["category_confidence"] == pytest.approx(1) for s in scores(everything, rows(6))
    )


def test_one_number_that_is_none_spoils_the_row(models: Path) -> None:
    """Of labels that do not exclude each other, one may be NaN and the rest not."""
    signal = made(models, checkpoint="many")
    found = signal.scores_of({"a": 0.9, "b": float("nan"), "c": 0.2})  # type: ignore[attr-defined]
    assert np.isnan(found["category_confidence"])


@pytest.mark.parametrize("embedding", ["clip", "siglip"])
def test_prompts_of_one_name_are_averaged_and_compared_by_softmax(models: Path, embedding: str) -> None:
    signal = made(models, embedding, backend="zero_shot", prompts=PROMPTS)
    clip = signal.needed["embedding"].clip  # type: ignore[attr-defined]
    pictures = [row.picture.bgr(100) for row in rows(6) if row.picture]
    images = clip.images(pictures).astype(np.float16)
    people = clip.texts(PROMPTS["people"]).mean(0)
    texts = np.stack([people / np.linalg.norm(people), *clip.texts(["a photo of food", "a thing"])])
    logits = float(clip.model.logit_scale.exp()) * images.astype(np.float64) @ texts.T
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = scores(signal, [Row(None, {}, {"embedding": image}) for image in images])
    assert [s["category"] for s in found] == [list(PROMPTS)[i] for i in shares.argmax(1)]
    assert np.allclose([s["category_confidence"] for s in found], shares.max(1), atol=1e-5)
    assert np.allclose(np.linalg.norm(class_vectors(clip, [["a"], ["b", "c"]]), axis=1), 1, atol=1e-6)


def test_a_row_is_scored_alike_in_any_batch(models: Path) -> None:
    signal = made(models, backend="zero_shot", prompts=PROMPTS)
    images = np.random.default_rng(0).normal(size=(20, 32))
    given = [Row(None, {}, {"embedding": (i / np.linalg.norm(i)).astype(np.float16)}) for i in images]
    together = scores(signal, given)
    assert together == [scores(signal, [row])[0] for row in given]
    assert together == scores(signal, given[::-1])[::-1]


@pytest.mark.parametrize(("given", "says"), [
    ({}, "signals.category.checkpoint: no such model comes with curate; give a checkpoint, for instance `category: {checkpoint: vit-imagenet}`"),
    ({"checkpoint": "animals", "labels": {"tabbi": "cat"}}, 'signals.category.labels: {models}/animals/config.json: expected labels among '
        '"tabby", "tiger cat", "beagle", "pizza", "crane", "crane"; found "tabbi"; did you mean "tabby"?'),
    ({"backend": "zero_shot"}, "signals.category.prompts: field required"),
    ({"backend": "zero_shot", "prompts": {"a": "b"}}, "signals.category.prompts: dictionary should have at least 2 items"),
    ({"backend": "zero_shot", "prompts": {"a": [], "b": "c"}}, "signals.category.prompts.a: list should have at least 1 item"),
    ({"backend": "zero_shot", "prompts": {"a": "b", True: "c"}}, "signals.category.prompts: YAML reads one of the names here as true, no text"),
    ({"backend": "zero_shot", "prompts": {"a": "b", 1: "c"}}, "signals.category.prompts: YAML reads one of the names here as 1, no text"),
    ({"checkpoint": "animals", "labels": {False: "cat"}}, "signals.category.labels: YAML reads one of the names here as false, no text"),
])  # fmt: skip
def test_a_wrong_recipe_is_one_line_before_any_work(models: Path, given: dict[str, Any], says: str) -> None:
    assert says.replace("{models}", str(models)) in refusal("category", given, models)


def test_without_the_embedding_the_recipe_is_refused(tmp_path: Path, models: Path) -> None:
    with pytest.raises(
        UserError, match="signals.category: reads the signal embedding; add `embedding: {checkpoint: …}` to signals"
    ):
        scored(corpus(tmp_path), models, {"category": {"backend": "zero_shot", "prompts": PROMPTS}}, "category")
