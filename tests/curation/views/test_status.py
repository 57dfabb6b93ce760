"""How far a job has come, as its workspace tells."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from curation.recipe import Recipe
from curation.views.status import finished, lines, running, status
from curation.workspace import Workspace
from pipelines import stages
from tests import bench


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for shard in range(2):
        members = {f"{n}.jpg": bench.encoded(bench.picture(10 * shard + n)) for n in range(3)} | {
            "bad.jpg": b"no image"
        }
        bench.write_tar(tmp_path / "raw" / f"{shard:05d}.tar", members)
    return tmp_path


def recipe(folder: Path, **values: Any) -> Recipe:
    given = {
        "workers": 1,
        "max_failed_share": 1,
        "select": {"where": {"sharp": "sharpness >= 0", "size": "width >= 1"}},
    }
    return bench.recipe(folder, **given | values)


def of(made: Recipe) -> dict[str, Any]:
    return status(bench.opened(made))["stages"]


@pytest.mark.slow
def test_each_stage_in_turn_and_what_makes_it_stale(folder: Path) -> None:
    made = recipe(folder)
    assert not any(finished(facts) for facts in of(made).values())
    for name, stage in stages.STAGES.items():
        assert not finished(of(made)[name])
        assert stage(bench.opened(made), None).ok
        assert finished(of(made)[name]), of(made)[name]
    assert all(finished(facts) for facts in of(made).values())
    assert of(made)["index"]["failed"] == {"not_an_image": 2} and of(made)["select"]["kept_share"] == 0.75

    moved = of(recipe(folder, select={"where": {"sharp": "sharpness >= 1", "size": "width >= 1"}}))
    assert moved["score"]["done"] == 2  # no signal comes after the predicate that was moved
    assert moved["select"]["stale"] == "where.sharp: sharpness >= 0 → sharpness >= 1"
    other = of(recipe(folder, captions={"captioner": {"backend": "describe", "max_text": 3}}))
    assert other["caption"]["left"] == {"backends.captioner.parameters.max_text: 80 → 3": 2}
    mixed = of(recipe(folder, captions={"synthetic_share": 1.0}))
    assert finished(mixed["caption"])
    assert mixed["build-shards"]["stale"] == "captions.synthetic_share: 0.5 → 1.0"


def test_a_lost_samples_file_is_left_to_index(folder: Path) -> None:
    made = recipe(folder)
    stages.index(bench.opened(made))
    (folder / "work/samples/c/00001.parquet").unlink()
    assert of(made)["index"]["left"] == {"not indexed yet": 1}
    assert "1 of 2 shards done" in "\n".join(lines(status(bench.opened(made))))


@pytest.mark.slow
def test_new_scores_make_the_selection_stale(folder: Path) -> None:
    made = recipe(folder)
    for stage in stages.STAGES.values():
        stage(bench.opened(made), None)
    (folder / "work/signals/photo/c/00000.parquet").unlink()
    assert of(made)["score"]["left"] == {"a file is missing or was changed": 1}
    assert of(made)["select"]["stale"] == "index and signals changed since"


def word(**values: Any) -> dict[str, Any]:
    given = {"stage": "score", "pid": os.getpid(), "host": socket.gethostname(), "began": time.time() - 10, "at": time.time(),
             "done": 20, "total": 60, "unit": "rows", "rows": 20, "passed": 5, "judged": 20, "failed": {"photo truncated": 1}}  # fmt: skip
    return given | values


def put(folder: Path, left: dict[str, Any]) -> Workspace:
    workspace = Workspace(folder / "work")
    workspace.root.mkdir(exist_ok=True)
    workspace.running.write_text(json.dumps(left))
    return workspace


def test_rate_time_left_and_kept_share_of_what_runs(tmp_path: Path) -> None:
    # This process is younger than the stage would be, were its number not given to it later.
    began = time.time() - 2
    now = running(put(tmp_path, word(began=began, at=began + 2)))
    assert now is not None
    assert (now["rate"], now["seconds_left"], now["kept_share"]) == (10.0, 4, 0.25)
    said = "\n".join(lines({"workspace": "w", "running": now, "stages": {}}))
    assert "20 of 60 rows, 10.0/s, 0:00:04 left, 25% kept so far" in said and "1 × photo truncated" in said


@pytest.mark.parametrize("values", [
    {"pid": 2**22 + 1}, {"began": 0.0}, {"host": "elsewhere", "at": time.time() - 3600}, {"host": "elsewhere", "at": "x"},
])  # fmt: skip
def test_what_no_longer_runs_is_not_shown(tmp_path: Path, values: dict[str, Any]) -> None:
    assert running(put(tmp_path, word(**values))) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", '{"stage": "score"}'])
def test_a_word_that_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    workspace = put(tmp_path, {})
    workspace.running.write_text(text)
    assert running(workspace) is None


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["{}", "[]", "{", ""])
def test_damaged_notes_are_as_none(folder: Path, damage: str) -> None:
    made = recipe(folder)
    for stage in stages.STAGES.values():
        stage(bench.opened(made), None)
    (folder / "work/selection/funnel.json").write_text(damage)
    (folder / "work/shards/concept/stats.json").write_text(damage)
    assert of(made)["select"] == {}
    assert lines(status(bench.opened(made)))
