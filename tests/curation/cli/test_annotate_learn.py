"""`curate annotate learn` as a user calls it, and what imports scikit-learn."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import levelled
from tests.command import curate, environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace of 200 images, 60 of which have votes."""
    own = levelled.worth(200)
    made = levelled.workspace(tmp_path, [own])
    votes = levelled.votes(own)[:60].tolist()
    levelled.vote(made, tmp_path, {f"c/00000/{row:06d}": levels for row, levels in enumerate(votes)})
    return tmp_path


def test_it_prints_honest_figures_and_writes_the_predictions(folder: Path) -> None:
    said = curate("annotate", "learn", "recipe.yaml", cwd=folder).stdout
    assert said.startswith("annotate learn\n  200 images predicted, by 60 with votes")
    assert "always the most frequent level" in said and "two people agree" in said and "Level 5 among the" in said
    assert {path.name for path in (folder / "work/annotation").iterdir()} == {"predictions.parquet", "model.json"}


def test_json_holds_the_same_as_the_file(folder: Path) -> None:
    found = json.loads(curate("annotate", "learn", "recipe.yaml", "--json", cwd=folder).stdout)
    assert found["ok"] and found["rows"] == 200
    assert found["level_model"] == json.loads((folder / "work/annotation/model.json").read_text())
    estimate, low, high = found["level_model"]["accuracy"]["accuracy"]
    assert 0 <= low <= estimate <= high <= 1


def test_too_few_votes_are_no_error(tmp_path: Path) -> None:
    levelled.workspace(tmp_path, [levelled.worth(20)])
    said = curate("annotate", "learn", "recipe.yaml", cwd=tmp_path).stdout
    assert "no model yet" in said and "at least 90 more votes" in said


def test_nothing_but_the_learning_imports_scikit_learn(folder: Path) -> None:
    """Neither the command line, nor a verb beside it, nor what a server that orders a queue needs."""
    code = (
        "import sys; from curation.cli import main\n"
        "import curation.annotation.level_model.files, curation.annotation.level_model.queue_order\n"
        "import pipelines.stages, pipelines.summary\n"
        "sys.argv = ['curate', 'annotate', 'import', 'recipe.yaml', 'votes.csv']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('LOADED', sorted({'sklearn', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    assert "annotate import" in done.stdout and "LOADED []" in done.stdout
