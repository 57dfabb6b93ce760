"""The watermark by a classifier's labels, beside the classical default of the same signal."""

from pathlib import Path
from typing import Any

import pytest

from curation.errors import UserError
from curation.images import Picture
from curation.models.checkpoints import Models
from curation.models.vision.hf_classifier import Classifier
from curation.signals.base import Row, make_signal, signal_backends
from curation.signals.watermark import WatermarkByClassifier
from tests import bench, classifiers

LABELS = ["No Watermark", "Watermark"]
GIVEN: dict[str, Any] = {"backend": "hf_classifier", "checkpoint": "marks", "labels": {"Watermark": "watermark"}}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier of the kind that is published for this: a SigLIP with a head."""
    folder = tmp_path_factory.mktemp("models")
    classifiers.siglip(folder / "marks", LABELS)
    return folder


def test_the_column_is_the_probability_of_the_label(models: Path) -> None:
    rows = [Row(Picture(bench.encoded(bench.picture(i, (120, 80)), "PNG")), {}, {}) for i in range(3)]
    classifier = Classifier("", models / "marks")
    classifier.load()
    expected = classifier.probabilities([row.picture.bgr(classifier.side) for row in rows if row.picture])
    signal = make_signal("watermark", GIVEN, Models(models))
    signal.check()
    signal.load()
    assert signal.score(rows) == [{"watermark": float(p[1])} for p in expected]


def test_it_is_not_the_default_and_needs_no_other_signal(models: Path) -> None:
    assert next(iter(signal_backends("watermark"))) == "classical"
    assert signal_backends("watermark")["hf_classifier"] is WatermarkByClassifier
    signal = make_signal("watermark", GIVEN, Models(models))
    assert signal.needs == () and list(signal.columns) == ["watermark"]


@pytest.mark.parametrize(("given", "says"), [
    ({"backend": "hf_classifier"}, "signals.watermark.checkpoint: no such model comes with curate; give a checkpoint, for instance `watermark: {"),
    (GIVEN | {"labels": {}}, 'signals.watermark.labels: no label gives the column "watermark"'),
    (GIVEN | {"labels": {"watermark": "watermark"}}, 'expected labels among "No Watermark", "Watermark"; found "watermark"; did you mean "Watermark"?'),
])  # fmt: skip
def test_a_wrong_recipe_is_one_line_before_any_work(models: Path, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        make_signal("watermark", given, Models(models)).check()
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_the_real_stage(tmp_path: Path, models: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {f"{n}.jpg": bench.encoded(bench.picture(n)) for n in range(4)})
    recipe = bench.recipe(tmp_path, models=str(models), signals={"watermark": GIVEN})
    bench.opened(recipe).cascade.check_models()
    bench.index(recipe)
    bench.score(recipe)
    found = bench.rows(tmp_path / "work/signals/watermark/c/00000.parquet")
    assert [row["watermark_state"] for row in found] == ["scored"] * 4
    assert all(0 < row["watermark"] < 1 for row in found)
