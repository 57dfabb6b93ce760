"""Learning from votes in a workspace: what is predicted, from what, and when there is no model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.annotation.level_model import stage
from curation.annotation.level_model.features import KeptFeatures
from curation.annotation.level_model.files import read_predictions, up_to_date
from curation.annotation.level_model.stage import learn
from curation.annotation.level_model.targets import read_voted
from curation.annotation.levels import read_levels
from curation.errors import StageError, UserError
from curation.recipe import Recipe
from curation.workspace import Workspace
from curation.workspace.files import fingerprint, read_table, write_table
from tests import bench, checkpoints, embedded, levelled

VOTED, SHARDS = 100, 2
SIZES = (300, 200)


def worths() -> list[np.ndarray]:
    return [levelled.worth(size, seed) for seed, size in enumerate(SIZES)]


def cast(own: list[np.ndarray], voted: int = VOTED) -> dict[str, list[int]]:
    """Returns the votes on the first images of each shard."""
    return {
        f"c/{number:05d}/{row:06d}": [int(level) for level in levels]
        for number, shard in enumerate(own)
        for row, levels in enumerate(levelled.votes(shard, number)[:voted])
    }


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    """Two shards of 500 images, of which 200 have votes."""
    made = levelled.workspace(tmp_path, worths())
    levelled.vote(made, tmp_path, cast(worths()))
    return made


def learned(made: Recipe) -> dict[str, Any]:
    return learn(bench.opened(made))


def predictions(made: Recipe) -> dict[str, dict[str, float]]:
    return {row["key"]: row for row in read_predictions(Workspace(made.workspace)).to_pylist()}


def chances(made: Recipe) -> np.ndarray:
    """Returns the predicted chances in the order of the images: (500, 5)."""
    table = predictions(made)
    keys = [f"c/{number:05d}/{row:06d}" for number, size in enumerate(SIZES) for row in range(size)]
    assert set(keys) == set(table)
    return np.array([[table[key][f"p{level}"] for level in range(1, 6)] for key in keys])


def test_it_finds_the_order_in_which_the_levels_lie(made: Recipe) -> None:
    found = learned(made)
    rows = predictions(made).values()
    p = chances(made)
    assert p.sum(axis=1) == pytest.approx(1, abs=1e-5) and p.min() >= 0
    assert [row["expected"] for row in rows] == pytest.approx(p @ np.arange(1, 6), abs=1e-4)
    true = np.concatenate(worths())
    assert np.corrcoef(p @ np.arange(1, 6), true)[0, 1] > 0.85
    best = p[:, 4] >= np.sort(p[:, 4])[-50]
    assert true[best].mean() > 1 and (true[best] > levelled.CUTS[3]).mean() > 0.8
    figures = found["accuracy"]
    assert figures["accuracy"][1] > figures["baseline_accuracy"][0]  # the low end of the interval
    assert figures["mean_error"][0] < 0.6 * figures["baseline_error"][0]
    assert figures["level5_auc"][0] > 0.9
    assert figures["level5_brier"][0] < 0.7 * figures["level5_brier_baseline"][0]


def test_its_figures_are_those_of_images_that_it_has_not_seen(made: Recipe) -> None:
    """Compares with the images that have no votes, whose levels the test knows."""
    found = learned(made)
    p = chances(made)
    true = 1 + np.digitize(np.concatenate(worths()), levelled.CUTS)
    other = np.array([row >= VOTED for size in SIZES for row in range(size)])
    hits = (p[other].argmax(axis=1) + 1 == true[other]).mean()
    _, low, high = found["accuracy"]["accuracy"]
    assert low - 0.05 < hits < high + 0.05
    assert found["remaining"]["low"] <= (true[other] == 5).sum() <= found["remaining"]["high"]


def test_predictions_replace_no_vote(made: Recipe) -> None:
    workspace = Workspace(made.workspace)
    before = [path.read_bytes() for path in (workspace.votes, workspace.levels)]
    learned(made)
    assert before == [path.read_bytes() for path in (workspace.votes, workspace.levels)]


def test_the_same_votes_give_the_same_bytes(made: Recipe) -> None:
    workspace = Workspace(made.workspace)
    found = []
    for _ in range(2):
        learned(made)
        found.append([path.read_bytes() for path in (workspace.predictions, workspace.level_model)])
    assert found[0] == found[1]


def test_predictions_are_out_of_date_once_votes_signals_or_rules_change(made: Recipe, tmp_path: Path) -> None:
    workspace = Workspace(made.workspace)
    assert not up_to_date(made, workspace)
    facts = learned(made)
    assert up_to_date(made, workspace) and facts["fingerprint"] == fingerprint(workspace.predictions)
    assert json.loads(workspace.level_model.read_text()) == facts
    levelled.vote(made, tmp_path, {"c/00001/000150": [5, 5, 5]})
    assert not up_to_date(made, workspace)
    learned(made)
    levelled.write_scores(made, "00001", levelled.photo_scores(worths()[1], 9), SIZES[1])
    assert not up_to_date(made, workspace)
    learned(made)
    assert up_to_date(made, workspace)
    stricter = bench.recipe(tmp_path, select={"dedup": {"exact": False}, "where": {"sharp": "sharpness >= 1"}})
    assert not up_to_date(stricter, workspace)


@pytest.mark.parametrize(
    ("voted", "missing"),
    [(0, "30 decided images that the selection keeps, and there are 0 decided images; at least 90 more votes"),
     (5, "at least ")],
)  # fmt: skip
def test_too_few_votes_make_no_model_and_say_how_many_are_lacking(tmp_path: Path, voted: int, missing: str) -> None:
    made = levelled.workspace(tmp_path, worths())
    if voted:
        levelled.vote(made, tmp_path, cast(worths(), voted))
    found = learned(made)
    assert missing in found["note"] and "\n" not in found["note"] and "accuracy" not in found
    assert not Workspace(made.workspace).predictions.exists()
    assert read_predictions(Workspace(made.workspace)).num_rows == 0


def test_votes_that_are_begun_count_towards_what_is_lacking(tmp_path: Path) -> None:
    made = levelled.workspace(tmp_path, worths())
    keys = [f"c/00000/{row:06d}" for row in range(40)]
    # 28 decided; one of the two that are missing needs a single vote more, the other two
    given = [[5, 5, 5]] * 14 + [[3, 3, 3]] * 14 + [[4, 4]] + [[4]]
    levelled.vote(made, tmp_path, dict(zip(keys, given, strict=False)))
    assert "there are 28 decided images; at least 3 more votes are needed" in learned(made)["note"]


def test_an_earlier_model_goes_where_votes_no_longer_suffice(made: Recipe, tmp_path: Path) -> None:
    learned(made)
    none_kept = bench.recipe(tmp_path, select={"dedup": {"exact": False}, "where": {"none": "sharpness < 0"}})
    levelled.select(none_kept)
    assert "there are 0 decided images" in learned(none_kept)["note"]
    assert not Workspace(made.workspace).predictions.exists()


def test_one_level_alone_makes_no_model(tmp_path: Path) -> None:
    made = levelled.workspace(tmp_path, worths())
    levelled.vote(made, tmp_path, {f"c/00000/{row:06d}": [4, 4, 4] for row in range(40)})
    assert "all 40 decided images are of Level 4" in learned(made)["note"]


def test_levels_without_any_image_have_a_small_chance(tmp_path: Path) -> None:
    """Neither Level 1, 2 nor 5 was voted: the figures of Level 5 are unknown, and no chance is 0 or not a number."""
    own = worths()
    made = levelled.workspace(tmp_path, own)
    levelled.vote(
        made, tmp_path, {key: [3 + (own[0][row] > 0)] * 3 for row in range(60) if (key := f"c/00000/{row:06d}")}
    )
    found = learned(made)
    assert found["accuracy"]["level5_auc"] is None and found["accuracy"]["accuracy"][0] > 0.7
    p = chances(made)
    assert (p[:, [0, 1, 4]] < 0.05).all() and (p[:, 4] > 0).all()
    assert found["remaining"]["low"] == 0 < found["remaining"]["high"]


def test_missing_values_and_signals_cost_no_image_its_prediction(made: Recipe, tmp_path: Path) -> None:
    """A shard's sharpness is null for half of the rows, and the other shard has no scores at all."""
    scores = levelled.photo_scores(worths()[0], 0)
    scores["sharpness"][::2] = np.nan
    levelled.write_scores(made, "00000", scores, SIZES[0])
    Workspace(made.workspace).signal("photo", "c", "00001").unlink()
    levelled.select(made)
    found = learned(made)
    p = chances(made)
    assert np.isfinite(p).all() and found["accuracy"]["level5_auc"][0] > 0.7
    assert np.ptp(p[SIZES[0] :, 4]) < 0.2 < np.ptp(p[: SIZES[0], 4])  # what is known of the second is its size alone


def test_undecided_images_teach_but_are_not_counted_as_right_or_wrong(tmp_path: Path) -> None:
    own = worths()
    made = levelled.workspace(tmp_path, own)
    levelled.vote(made, tmp_path, cast(own))
    statuses = read_levels(Workspace(made.workspace))["status"].to_pylist()
    assert {"decided", "tie", "safety_review"} <= set(statuses)
    found = learned(made)
    assert (found["voted"], found["decided"]) == (2 * VOTED, statuses.count("decided"))
    assert found["remaining"]["images"] == sum(SIZES) - statuses.count("decided")


def test_votes_on_images_that_wait_for_more_teach_too(made: Recipe, tmp_path: Path) -> None:
    before = learned(made)
    levelled.vote(made, tmp_path, {f"c/00000/{row:06d}": [5, 5] for row in range(200, 240)})
    found = learned(made)
    assert (found["voted"], found["decided"]) == (before["voted"] + 40, before["decided"])
    assert found["remaining"]["images"] == before["remaining"]["images"]


def test_of_several_votes_of_one_person_the_last_counts(tmp_path: Path) -> None:
    made = levelled.workspace(tmp_path, worths())
    levelled.vote(made, tmp_path, {"c/00000/000000": [2, 2, 3], "c/00000/000001": [5]})
    levelled.vote(made, tmp_path, {"c/00000/000000": [4, 4]})
    voted = read_voted(Workspace(made.workspace))
    assert voted.counts.tolist() == [[0, 0, 1, 2, 0], [0, 0, 0, 0, 1]]
    assert (voted.levels.tolist(), voted.ended.tolist()) == ([4, 0], [True, False])


def test_images_that_the_selection_drops_are_neither_learned_from_nor_predicted(tmp_path: Path) -> None:
    rule = {"select": {"dedup": {"exact": False}, "where": {"sharp": "sharpness >= 2"}}}
    made = levelled.workspace(tmp_path, worths(), **rule)
    levelled.vote(made, tmp_path, cast(worths()))
    found = learned(made)
    sharp = [levelled.photo_scores(own, seed)["sharpness"].round(4) >= 2 for seed, own in enumerate(worths())]
    assert found["predicted"] == sum(int(own.sum()) for own in sharp)
    assert found["voted"] == sum(int(own[:VOTED].sum()) for own in sharp)


def test_hashes_are_not_looked_at(made: Recipe) -> None:
    columns = KeptFeatures(bench.opened(made)).columns
    assert "phash" not in columns and {"sharpness", "min_side", "length"} <= set(columns)


def test_of_very_many_votes_a_random_part_is_learned_from(made: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "LEARNED", 70)  # 100 voted images in each shard
    found = learned(made)
    assert (found["voted"], found["learned"], found["predicted"]) == (200, 70, 500)


def test_nothing_selected_and_nothing_indexed_are_told(tmp_path: Path) -> None:
    made = bench.recipe(tmp_path)
    with pytest.raises(UserError, match="run `curate index RECIPE`"):
        learned(made)
    embedded.write_samples(made, "00000", 3)
    with pytest.raises(StageError, match="has no selection; run `curate select RECIPE`"):
        learned(made)


# --- Embeddings -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    checkpoints.open_clip_folder(folder / "tiny")
    return folder


def with_embeddings(folder: Path, models: Path, states: list[str] | None = None) -> Recipe:
    """Makes a workspace in which the embeddings alone tell the worth, for images that have one."""
    made = embedded.recipe(folder, models, select={"dedup": {"exact": False}})
    direction = np.random.default_rng(5).normal(size=embedded.WIDTH)
    for number, own in enumerate(worths()):
        shard = f"{number:05d}"
        embedded.write_samples(made, shard, len(own))
        vectors = np.random.default_rng(number).normal(size=(len(own), embedded.WIDTH)) + 0.5 * own[:, None] * direction
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        embedded.write_embeddings(made, shard, vectors.astype(np.float16), states and states[: len(own)])
    levelled.select(made)
    levelled.vote(made, folder, cast(worths()))
    return made


def test_embeddings_are_looked_at_where_they_exist(tmp_path: Path, models: Path) -> None:
    found = learned(with_embeddings(tmp_path, models))
    assert found["embeddings"] and found["accuracy"]["level5_auc"][0] > 0.85


def test_an_image_without_an_embedding_is_predicted_by_what_there_is(tmp_path: Path, models: Path) -> None:
    states = ["scored", "scored", "scored", "failed"] * 100
    made = with_embeddings(tmp_path, models, states)
    found = learned(made)
    p = chances(made)
    lacking = np.array([states[row] == "failed" for size in SIZES for row in range(size)])
    assert found["predicted"] == sum(SIZES) and np.isfinite(p).all()
    assert np.ptp(p[lacking, 4]) < 0.3 * np.ptp(p[~lacking, 4])


def test_embeddings_of_another_model_are_not_looked_at(tmp_path: Path, models: Path) -> None:
    made = with_embeddings(tmp_path, models)
    for number in range(SHARDS):
        path = Workspace(made.workspace).signal("embedding", "c", f"{number:05d}")
        write_table(path, read_table(path), "of another model")
    assert not learned(made)["embeddings"]
