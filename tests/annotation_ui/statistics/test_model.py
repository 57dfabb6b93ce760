"""What the lead is told of the model of levels."""

import json
from pathlib import Path

import pytest

from annotation_ui.statistics.model import Estimate, level_model
from curation.workspace import Workspace

FACTS = {
    "decided": 34,
    "accuracy": {
        "accuracy": [0.6, 0.5, 0.7],
        "baseline_accuracy": [0.4, 0.3, 0.5],
        "agreement": None,
        "level5_auc": [0.8, 0.7, 0.9],
    },
    "remaining": {"images": 40, "level5": 12, "low": 8, "high": 16},
}


def write(folder: Path, text: str) -> Workspace:
    workspace = Workspace(folder)
    workspace.level_model.parent.mkdir(exist_ok=True)
    workspace.level_model.write_text(text)
    return workspace


def test_its_accuracy_stands_beside_what_guessing_gives(tmp_path: Path) -> None:
    found = level_model(write(tmp_path, json.dumps(FACTS)))
    assert found is not None and found.is_useful and found.agreement is None
    assert (found.accuracy, found.baseline) == (
        Estimate(value=0.6, low=0.5, high=0.7),
        Estimate(value=0.4, low=0.3, high=0.5),
    )
    assert (found.undecided, found.level5) == (40, Estimate(value=12, low=8, high=16))


@pytest.mark.parametrize("auc", [[0.6, 0.5, 0.7], [0.3, 0.2, 0.4], None])
def test_one_that_may_be_no_better_than_chance_is_not_useful(tmp_path: Path, auc: list[float] | None) -> None:
    facts = FACTS | {"accuracy": {**FACTS["accuracy"], "level5_auc": auc}}  # type: ignore[dict-item]
    found = level_model(write(tmp_path, json.dumps(facts)))
    assert found is not None and not found.is_useful


def test_what_it_lacks_is_told(tmp_path: Path) -> None:
    found = level_model(write(tmp_path, json.dumps({"note": "30 decided images are needed"})))
    assert found is not None and found.note == "30 decided images are needed" and found.accuracy is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"accuracy": 5}', '{"decided": 3, "accuracy": {}, "remaining": {}}']
)
def test_a_file_that_cannot_be_read_is_no_model(tmp_path: Path, text: str) -> None:
    assert level_model(write(tmp_path, text)) is None
    assert level_model(Workspace(tmp_path / "nothing")) is None
