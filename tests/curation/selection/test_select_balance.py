"""The balance within a selection: after duplicates, the best of each group, undecided where the group is not known."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import StageError, UserError
from curation.recipe import Recipe
from curation.selection.balance import kmeans
from curation.selection.stage import Selection
from curation.views.explain import explain
from curation.views.query import run_query
from curation.views.status import status
from curation.workspace import Workspace
from pipelines import stages
from tests import bench, checkpoints, embedded

CATEGORIES = ["people"] * 50 + ["food"] * 30 + ["cars"] * 10 + [None] * 6 + [""] * 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    checkpoints.open_clip_folder(folder / "tiny")
    return folder


@pytest.fixture
def folder(tmp_path: Path, models: Path) -> Path:
    """A hundred rows in two shards, of categories and of five directions; the first of each shard are the largest."""
    made = embedded.recipe(tmp_path, models)
    order = np.random.default_rng(0).permutation(100)
    for number, rows in enumerate((order[:60], order[60:])):
        shard = f"{number:05d}"
        columns = {"meta_category": [CATEGORIES[n] for n in rows], "meta_stars": rows.astype(np.int64)}
        embedded.write_samples(made, shard, len(rows), **columns)
        embedded.write_embeddings(made, shard, embedded.clustered_vectors(len(rows), 5, number)[0])
    return tmp_path


def recipe(folder: Path, models: Path, balance: dict[str, Any], **select: Any) -> Recipe:
    return embedded.recipe(folder, models, select={"balance": balance} | select)


def rows(folder: Path) -> list[dict[str, Any]]:
    found = []
    for shard in ("00000", "00001"):
        samples = bench.rows(folder / f"work/samples/c/{shard}.parquet")
        chosen = bench.rows(folder / f"work/selection/c/{shard}.parquet")
        found += [sample | row for sample, row in zip(samples, chosen, strict=True)]
    return found


def kept(folder: Path) -> Counter[str]:
    return Counter(row["balance_group"] for row in rows(folder) if row["fate"] == "kept")


def test_no_more_than_so_many_of_each_value_are_kept(folder: Path, models: Path) -> None:
    funnel = Selection(bench.opened(recipe(folder, models, {"by": "meta_category", "at_most": 20}))).write()
    assert (funnel.balance, funnel.kept, funnel.complete) == (40, 60, True)
    assert kept(folder) == {"people": 20, "food": 20, "cars": 10, "": 10}  # no value, and an empty one, are one group
    for row in rows(folder):
        assert row["balance_group"] == (row["meta_category"] or "")
        assert row["fate"] in ("kept", "balance") and row["dropped_by"] is row["duplicate_of"] is None
    food = [row for row in rows(folder) if row["balance_group"] == "food"]
    assert min(r["width"] for r in food if r["fate"] == "kept") >= max(
        r["width"] for r in food if r["fate"] == "balance"
    )


def test_the_best_by_the_recipes_quality_stay(folder: Path, models: Path) -> None:
    made = recipe(folder, models, {"by": "meta_category", "at_most": 5}, dedup={"quality": "-meta_stars"})
    Selection(bench.opened(made)).write()
    assert {r["meta_stars"] for r in rows(folder) if r["fate"] == "kept" and r["balance_group"] == "people"} == {
        *range(5)
    }


@pytest.mark.parametrize(("balance", "stay"), [
    ({"by": "meta_category", "total": 50, "power": 1}, {"people": 25, "food": 15, "cars": 5, "": 5}),
    ({"by": "meta_category", "total": 50, "power": 0}, {"people": 15, "food": 15, "cars": 10, "": 10}),
    ({"by": "meta_category", "total": 20, "shares": {"food": 0.5, "cars": 0.25, None: 0.25}}, {"food": 10, "cars": 5, "": 5}),
    ({"by": "meta_stars >= 80", "at_most": 12}, {"true": 12, "false": 12}),
    ({"by": "meta_stars >= 80", "total": 10, "shares": {True: 0.7, False: 0.3}}, {"true": 7, "false": 3}),
    ({"by": "CASE WHEN meta_stars < 50 THEN 1 ELSE 2 END -- halves", "total": 10, "shares": {1: 0.2, 2: 0.8}}, {"1": 2, "2": 8}),
])  # fmt: skip
def test_resampling(folder: Path, models: Path, balance: dict[str, Any], stay: dict[str, int]) -> None:
    funnel = Selection(bench.opened(recipe(folder, models, balance))).write()
    assert kept(folder) == stay
    assert funnel.kept == sum(stay.values()) and funnel.balance == 100 - funnel.kept


def test_duplicates_are_taken_out_before(folder: Path, models: Path) -> None:
    """Forty copies of the best picture of people do not use up the places of the others."""
    for shard in ("00000", "00001"):
        path = folder / f"work/samples/c/{shard}.parquet"
        table = bench.pq.read_table(path)
        copies = [c == "people" and s >= 10 for c, s in zip(*(table[n].to_pylist() for n in ("meta_category", "meta_stars")), strict=True)]  # fmt: skip
        shas = ["f" * 64 if copy else sha for copy, sha in zip(copies, table["sha256"].to_pylist(), strict=True)]
        at = table.schema.get_field_index("sha256")
        bench.pq.write_table(table.set_column(at, "sha256", [shas]), path)
    funnel = Selection(bench.opened(recipe(folder, models, {"by": "meta_category", "at_most": 11}))).write()
    assert funnel.duplicate == {"exact": 39} and kept(folder)["people"] == 11
    assert all(row["balance_group"] is None for row in rows(folder) if row["fate"] == "duplicate")
    assert funnel.as_dict() | {"input": 100, "balance": 19, "kept": 42} == funnel.as_dict()


def test_dropped_rows_have_no_group_and_take_no_place(folder: Path, models: Path) -> None:
    made = recipe(folder, models, {"by": "meta_category", "at_most": 20}, where={"stars": "meta_stars >= 10"})
    funnel = Selection(bench.opened(made)).write()
    assert funnel.dropped == {"stars": 10} and kept(folder)["people"] == 20
    assert all(row["balance_group"] is None for row in rows(folder) if row["fate"] == "dropped")


def test_without_balance_there_are_no_groups(folder: Path, models: Path) -> None:
    Selection(bench.opened(embedded.recipe(folder, models))).write()
    assert {row["balance_group"] for row in rows(folder)} == {None}


def test_clusters_are_capped_and_told_by_number(folder: Path, models: Path) -> None:
    said: list[str] = []
    funnel = Selection(bench.opened(recipe(folder, models, {"clusters": 5, "at_most": 8})), said.append).write()
    assert kept(folder) == {str(n): 8 for n in range(5)} and funnel.balance == 60
    of = np.concatenate([embedded.clustered_vectors(n, 5, seed)[1] for seed, n in enumerate((60, 40))])
    assert len({*zip(of.tolist(), (row["balance_group"] for row in rows(folder)), strict=True)}) == 5
    assert said == []


def test_another_cap_finds_no_clusters_again(folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Selection(bench.opened(recipe(folder, models, {"clusters": 5, "at_most": 8}))).write()
    monkeypatch.setattr(kmeans, "fit", None)
    monkeypatch.setattr(kmeans, "assign", None)
    made = recipe(folder, models, {"clusters": 5, "at_most": 3}, where={"stars": "meta_stars >= 3"})
    assert Selection(bench.opened(made)).write().kept == 15


def test_rows_whose_embedding_failed_are_a_group_of_their_own(folder: Path, models: Path) -> None:
    made = recipe(folder, models, {"clusters": 5, "at_most": 8})
    states = ["failed"] * 10 + ["scored"] * 30
    embedded.write_embeddings(made, "00001", embedded.clustered_vectors(40, 5, 1)[0], states)
    said: list[str] = []
    Selection(bench.opened(made), said.append).write()
    assert kept(folder)[""] == 8 and kept(folder).total() == 48
    assert said == ["balance: 10 images with no embedding, a group of their own"]


def test_rows_whose_embedding_is_skipped_are_undecided(
    folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe(folder, models, {"clusters": 5, "at_most": 8})
    embedded.write_embeddings(
        made, "00001", embedded.clustered_vectors(40, 5, 1)[0], ["skipped"] * 10 + ["scored"] * 30
    )
    monkeypatch.setattr(kmeans, "fit", None)  # it would be found again when all are there
    selection = Selection(bench.opened(made))
    assert (
        selection.funnel().as_dict() | {"undecided": {"balance": 10}, "balance": 0, "kept": 90}
        == selection.funnel().as_dict()
    )
    with pytest.raises(StageError, match=r"undecided: 10 rows \(balance: 10\); run `curate score RECIPE`"):
        selection.write()
    dropped = recipe(folder, models, {"clusters": 5, "at_most": 8}, where={"shard": "key not like 'c/00001/%'"})
    monkeypatch.undo()
    assert Selection(bench.opened(dropped)).write().kept == 40  # of rows that do not pass nothing is asked


def test_a_signal_by_which_groups_or_ranks_are_told_is_waited_for(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {f"{n}.jpg": bench.encoded(bench.picture(n)) for n in range(4)})
    photo = {"signals": {"photo": {}, "aesthetic": {}}}
    by = {"balance": {"by": "sharpness > 10", "at_most": 1}, "dedup": {"exact": False}}
    bench.index(bench.recipe(tmp_path, **photo))
    assert Selection(bench.opened(bench.recipe(tmp_path, select=by))).funnel().undecided == {"balance": 4}
    bench.score(bench.recipe(tmp_path))
    assert Selection(bench.opened(bench.recipe(tmp_path, select=by))).funnel().undecided == {}
    assert Selection(bench.opened(bench.recipe(tmp_path, select=by, **photo))).funnel().undecided == {
        "balance": 4
    }  # aesthetic
    bench.score(bench.recipe(tmp_path, **photo))
    assert Selection(bench.opened(bench.recipe(tmp_path, select=by, **photo))).write().kept == 1


@pytest.mark.parametrize(("balance", "says"), [
    ({"by": "meta_categorie", "at_most": 5}, 'select.balance.by: there is no column "meta_categorie"; did you mean "meta_category"?'),
    ({"by": "(select 1)", "at_most": 5}, "select.balance.by: a subquery is not allowed"),
    ({"by": "random() > 0.5", "at_most": 5}, "select.balance.by: the function random is not allowed"),
    ({"by": "meta_stars); drop table x; --", "at_most": 5}, "select.balance.by: a predicate is one expression"),
    ({"by": "embedding", "at_most": 5}, "select.balance.by: embedding is a list; groups of embeddings are asked for by `clusters`"),
    ({"by": "meta_category", "total": 9, "shares": {"peple": 0.5}}, 'select.balance.shares: no image that passes is of the group "peple"; did you mean "people"?'),
])  # fmt: skip
def test_a_wrong_balance_is_one_line(folder: Path, models: Path, balance: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        Selection(bench.opened(recipe(folder, models, balance))).funnel()
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


def test_a_wrong_balance_is_refused_before_any_work(folder: Path, models: Path) -> None:
    with pytest.raises(UserError, match=r'select\.balance\.by: there is no column "widht"; did you mean "width"'):
        _ = bench.opened(recipe(folder, models, {"by": "widht", "at_most": 5})).cascade
    later = recipe(folder, models, {"by": "meta_to_come", "at_most": 5})
    assert bench.opened(later, meta_known=False).cascade.signals.keys() == {
        "embedding"
    }  # the index may bring that column


def test_clusters_without_embeddings_are_refused(folder: Path, models: Path) -> None:
    made = bench.recipe(folder, signals={}, select={"balance": {"clusters": 5, "at_most": 8}})
    with pytest.raises(UserError, match=r"select\.balance\.clusters: needs the signal embedding; add `embedding: "):
        Selection(bench.opened(made))


def test_a_dry_run_shows_it_and_writes_no_selection(folder: Path, models: Path) -> None:
    made = recipe(folder, models, {"by": "meta_category", "at_most": 20})
    summary = stages.select(bench.opened(made), dry_run=True)
    assert summary.more["funnel"]["balance"] == 40
    lines = [line.split() for line in summary.lines()]
    assert ["balanced", "away", "-40", "60"] in lines and ["kept", "60"] in lines
    assert not (folder / "work/selection").exists()


def test_what_is_left_behind_tells_of_it(folder: Path, models: Path) -> None:
    made = recipe(folder, models, {"by": "meta_category", "at_most": 20})
    stages.select(bench.opened(made))
    notes = json.loads((folder / "work/selection/funnel.json").read_text())
    assert notes["balance"] == "by meta_category: at most 20 of each" and notes["funnel"]["balance"] == 40
    away = next(row for row in rows(folder) if row["fate"] == "balance")
    assert explain(bench.opened(made), away["key"])["selection"] == {
        "fate": "balance",
        "balance_group": away["balance_group"],
    }
    counts = "select balance_group, count(*) from images where fate = 'balance' group by 1 order by 1"
    assert run_query(bench.opened(made), counts, 9)[1] == [("food", 10), ("people", 30)]
    assert "stale" not in status(bench.opened(made))["stages"]["select"]
    other = recipe(folder, models, {"by": "meta_category", "at_most": 10})
    assert status(bench.opened(other))["stages"]["select"]["stale"] == "balance.at_most: 20 → 10"


def test_selecting_twice_gives_the_same_bytes(folder: Path, models: Path) -> None:
    made = recipe(folder, models, {"clusters": 4, "total": 40, "power": 0.5})
    Selection(bench.opened(made)).write()
    before = bench.tree(folder / "work")
    Selection(bench.opened(made)).write()
    assert bench.tree(folder / "work") == before and kept(folder).total() == 40


def test_another_balance_compares_no_embeddings_again(folder: Path, models: Path) -> None:
    dedup = {"cosine": 0.9}
    first = Selection(bench.opened(recipe(folder, models, {"by": "meta_category", "at_most": 3}, dedup=dedup))).write()
    stamp = Workspace(folder / "work").duplicates.stat().st_mtime_ns
    wide = {p: p.stat().st_mtime_ns for p in (folder / "work/signals/.wide").rglob("*.parquet")}
    second = Selection(bench.opened(recipe(folder, models, {"by": "meta_category", "at_most": 2}, dedup=dedup))).write()
    assert first.duplicate == second.duplicate != {} and second.kept < first.kept
    assert all(p.stat().st_mtime_ns == then for p, then in wide.items())
    assert Workspace(folder / "work").duplicates.stat().st_mtime_ns == stamp
