"""What a change of the recipe will cost is said before it begins."""

import re
from pathlib import Path
from typing import Any

import pytest

from curation.recipe import Recipe
from curation.scoring.stage import plan
from curation.signals.photo import Photo
from pipelines import stages
from tests import bench


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for shard in range(2):
        bench.write_tar(tmp_path / "raw" / f"{shard:05d}.tar",
                        {f"{n}.jpg": bench.encoded(bench.picture(10 * shard + n, (100 * (n + 1), 400))) for n in range(6)})  # fmt: skip
    return tmp_path


def recipe(folder: Path, **values: Any) -> Recipe:
    given = {
        "workers": 1,
        "signals": {"photo": {}, "faces": {"min_face": 40}},
        "select": {"where": {"size": "width >= 300", "sharp": "sharpness >= 0", "faces": "face_count >= 0"}},
    }
    return bench.recipe(folder, **(given | values))


def test_new_images_are_told_by_each_signals_usual_cost(corpus: Path) -> None:
    made = recipe(corpus)
    bench.index(made)
    faces, photo = 12 * made_cost("faces"), 12 * Photo.cost
    assert plan(bench.opened(made)).estimate == (
        f"at most {max(1, round((faces + photo) / 1000))} s with 1 worker: "
        f"faces 12 × {made_cost('faces'):.3g} ms, photo 12 × {Photo.cost:.3g} ms (usual costs)"
    )


def made_cost(name: str) -> float:
    from curation.signals.base import make_signal

    return make_signal(name, {}).cost


@pytest.mark.slow
def test_a_change_is_told_by_what_it_took_before_and_for_the_rows_that_it_concerns(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = recipe(corpus)
    stages.index(bench.opened(made))
    stages.score(bench.opened(made))
    assert plan(bench.opened(made)).estimate is None
    changed = recipe(corpus, signals={"photo": {}, "faces": {"min_face": 60}})
    told = plan(bench.opened(changed)).estimate or ""
    assert re.match(
        r"about \d+ s with 1 worker: faces 8 × [\d.e+]+ ms$", told
    )  # two of six in each shard are too small
    assert "photo" not in told and "usual" not in told
    capsys.readouterr()
    done = stages.score(bench.opened(changed))
    assert done.as_dict()["estimate"] == told
    assert not any(told in line for line in done.lines())  # it has been said, and is over
    assert stages.score(bench.opened(changed)).as_dict()["estimate"] is None
    said = capsys.readouterr().err
    assert "score: 0 of 2 shards up to date, 2 left:" in said
    assert "2 × faces.parameters.min_face: 40 → 60" in said and told in said


@pytest.mark.slow
def test_a_moved_threshold_names_no_cost_that_nobody_can_know(corpus: Path) -> None:
    made = recipe(corpus)
    stages.index(bench.opened(made))
    stages.score(bench.opened(made))
    where = {"size": "width >= 200", "sharp": "sharpness >= 0", "faces": "face_count >= 0"}
    todo = plan(bench.opened(recipe(corpus, select={"where": where})))
    assert len(todo.tasks) == 2 and todo.estimate is None
