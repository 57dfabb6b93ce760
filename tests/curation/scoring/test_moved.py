"""A project that is moved, with models and raw shards elsewhere, is up to date: no absolute path is in a fingerprint."""

import os
import shutil
from pathlib import Path

import pytest

from pipelines import stages
from pipelines.summary import Summary
from tests import bench, classifiers, modelled


def project(folder: Path) -> Path:
    """Writes a corpus and a model into a folder; returns the folder."""
    (folder / "models").mkdir(parents=True)
    classifiers.vit(folder / "models/vit")
    return modelled.corpus(folder)


def run(folder: Path) -> list[Summary]:
    """Runs all stages by a recipe that names everything by absolute paths."""
    safety = {"backend": "hf_classifier", "checkpoint": str(folder / "models/vit"), "labels": {"nsfw": "unsafe"}}
    made = bench.recipe(
        folder,
        workspace=str(folder / "work"),
        corpora=[{"name": "c", "path": str(folder / "raw")}],
        signals={"photo": {}, "safety": safety},
    )
    summaries: list[Summary] = []
    for name, stage in stages.STAGES.items():
        summaries.append(stage(bench.opened(made, meta_known=name != "index"), None))
        assert summaries[-1].ok, summaries[-1].lines()
    return summaries


@pytest.mark.slow
def test_a_moved_project_is_up_to_date(tmp_path: Path) -> None:
    first, second = project(tmp_path / "first"), tmp_path / "second"
    assert [summary.done for summary in run(first) if summary.stage != "select"] == [1] * 4
    product = bench.tree(first / "work" / "shards")
    os.rename(first, second)
    assert [summary.done for summary in run(second) if summary.stage != "select"] == [0] * 4  # it always looks
    assert bench.tree(second / "work" / "shards") == product


@pytest.mark.slow
def test_a_copied_project_gives_the_same_bytes_and_scores_nothing_again(tmp_path: Path) -> None:
    first, second = project(tmp_path / "first"), tmp_path / "second"
    run(first)
    shutil.copytree(first, second, copy_function=shutil.copy)  # every file gets a new time
    index, score, *_ = run(second)
    assert (index.done, score.rows) == (1, 0)
    assert bench.tree(second / "work" / "shards") == bench.tree(first / "work" / "shards")
