"""Clusters of stored embeddings: kept as long as they hold, made again where they are lost, and told of beforehand."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation.errors import StageError
from curation.recipe import Recipe
from curation.selection.balance import clusters, kmeans
from curation.selection.balance.clusters import Clusters
from curation.workspace import Workspace
from tests import bench, checkpoints, embedded

SHARDS = [("c", "00000"), ("c", "00001")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    checkpoints.open_clip_folder(folder / "tiny")
    checkpoints.open_clip_folder(folder / "other", seed=5)
    return folder


@pytest.fixture
def made(tmp_path: Path, models: Path) -> Recipe:
    """Two shards of 300 and 200 rows around five directions."""
    recipe = embedded.recipe(tmp_path, models)
    for number, count in enumerate((300, 200)):
        embedded.write_samples(recipe, f"{number:05d}", count)
        embedded.write_embeddings(recipe, f"{number:05d}", embedded.clustered_vectors(count, 5, number)[0])
    return recipe


def labels(recipe: Recipe, groups: int = 5, scored: int = 500, said: list[str] | None = None) -> list[np.ndarray]:
    say = said.append if said is not None else lambda text: None
    return Clusters(Workspace(recipe.workspace), bench.opened(recipe).cascade, SHARDS, groups, scored, say).labels()


def files(recipe: Recipe) -> dict[str, int]:
    folder = Path(recipe.workspace) / "signals" / ".clusters"
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*.parquet")}


def no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("centroids are found again")

    monkeypatch.setattr(kmeans, "fit", refuse)


def test_rows_of_one_direction_are_in_one_cluster(made: Recipe) -> None:
    found = labels(made)
    assert [(len(own), own.dtype) for own in found] == [(300, np.int32), (200, np.int32)]
    of = np.concatenate([embedded.clustered_vectors(count, 5, seed)[1] for seed, count in enumerate((300, 200))])
    assert len({*zip(of.tolist(), np.concatenate(found).tolist(), strict=True)}) == 5


def test_what_is_stored_is_read_and_not_worked_out_again(made: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    found, stored = labels(made), files(made)
    assert set(stored) == {"5/centroids.parquet", "5/c/00000.parquet", "5/c/00001.parquet"}
    no_fit(monkeypatch)
    monkeypatch.setattr(kmeans, "assign", None)
    assert all((a == b).all() for a, b in zip(found, labels(made), strict=True))
    assert files(made) == stored


def test_deleted_clusters_are_made_again_with_the_same_bytes(made: Recipe) -> None:
    labels(made)
    folder = Path(made.workspace) / "signals" / ".clusters" / "5"
    before = {p: p.read_bytes() for p in folder.rglob("*.parquet")}
    for path in before:
        path.unlink()
    labels(made)
    assert {p: p.read_bytes() for p in folder.rglob("*.parquet")} == before


@pytest.mark.parametrize("lost", ["centroids.parquet", "c/00000.parquet"])
def test_damaged_files_are_made_again(made: Recipe, lost: str) -> None:
    found = labels(made)
    path = Path(made.workspace) / "signals" / ".clusters" / "5" / lost
    data = bytearray(path.read_bytes())
    data[100] ^= 0xFF
    path.write_bytes(data)
    assert all((a == b).all() for a, b in zip(found, labels(made), strict=True))


def test_rows_without_embedding_are_in_no_cluster(made: Recipe) -> None:
    states = ["scored"] * 200
    states[3], states[7] = "failed", "skipped"
    embedded.write_embeddings(made, "00001", embedded.clustered_vectors(200, 5, 1)[0], states)
    _, second = labels(made)
    assert np.flatnonzero(second == clusters.NONE).tolist() == [3, 7]


def test_rows_of_a_shard_without_embeddings_are_in_no_cluster(made: Recipe) -> None:
    Workspace(made.workspace).signal("embedding", "c", "00001").unlink()
    first, second = labels(made, scored=300)
    assert (first >= 0).all() and (second == clusters.NONE).all() and len(second) == 200


def test_nothing_scored_is_no_cluster(made: Recipe) -> None:
    for number, count in enumerate((300, 200)):
        embedded.write_embeddings(made, f"{number:05d}", np.zeros((count, embedded.WIDTH)), ["failed"] * count)
    assert all((own == clusters.NONE).all() for own in labels(made))


def test_a_few_more_embeddings_move_no_cluster(made: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a looser threshold brings them: only the shards with new ones are looked at again."""
    states = ["scored" if n < 120 else "skipped" for n in range(200)]
    embedded.write_embeddings(made, "00001", embedded.clustered_vectors(200, 5, 1)[0], states)
    first, second = labels(made, scored=420)
    stored = files(made)
    embedded.write_embeddings(made, "00001", embedded.clustered_vectors(200, 5, 1)[0])
    no_fit(monkeypatch)
    again, more = labels(made)
    assert (again == first).all() and (more[:120] == second[:120]).all() and (more >= 0).all()
    changed = files(made)
    assert [name for name in stored if stored[name] != changed[name]] == ["5/c/00001.parquet"]


def test_many_more_embeddings_give_better_clusters(made: Recipe) -> None:
    few = ["scored"] * 4 + ["skipped"] * 296
    embedded.write_embeddings(made, "00000", embedded.clustered_vectors(300, 5, 0)[0], few)
    Workspace(made.workspace).signal("embedding", "c", "00001").unlink()
    labels(made, scored=4)
    stored = files(made)
    embedded.write_embeddings(made, "00000", embedded.clustered_vectors(300, 5, 0)[0])
    embedded.write_embeddings(made, "00001", embedded.clustered_vectors(200, 5, 1)[0])
    found = labels(made)
    assert (
        len(np.unique(np.concatenate(found))) == 5
        and files(made)["5/centroids.parquet"] > stored["5/centroids.parquet"]
    )


def test_other_embeddings_give_other_clusters(tmp_path: Path, models: Path, made: Recipe) -> None:
    labels(made)
    stored = files(made)
    other = embedded.recipe(tmp_path, models, signals={"embedding": {"checkpoint": "other"}})
    assert all((own == clusters.NONE).all() for own in labels(other, scored=0))  # nothing is scored by that model yet
    for number, count in enumerate((300, 200)):
        embedded.write_embeddings(other, f"{number:05d}", embedded.clustered_vectors(count, 5, number + 7)[0])
    labels(other)
    assert all(files(other)[name] > stored[name] for name in stored)


def test_each_number_of_clusters_has_files_of_its_own(made: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    labels(made, 5)
    labels(made, 7)
    no_fit(monkeypatch)
    labels(made, 5)
    assert {name.split("/")[0] for name in files(made)} == {"5", "7"}


def test_how_rows_lie_in_shards_does_not_matter(tmp_path: Path, models: Path) -> None:
    """The same keys in another order give the same centroids: the sample is taken by their hashes."""
    vectors = embedded.clustered_vectors(400, 5)[0]
    found = []
    for name, order in (("a", np.arange(400)), ("b", np.random.default_rng(0).permutation(400))):
        (tmp_path / name).mkdir()
        recipe = embedded.recipe(tmp_path / name, models)
        embedded.write_samples(recipe, "00000", 400)
        embedded.write_embeddings(recipe, "00000", vectors)
        path = Workspace(recipe.workspace).signal("embedding", "c", "00000")
        table = pq.read_table(path)
        pq.write_table(table.take(order), path)
        made = Clusters(
            Workspace(recipe.workspace), bench.opened(recipe).cascade, SHARDS[:1], 5, 400, lambda text: None
        )
        found.append(made._sample().tobytes())
    assert found[0] == found[1]


def test_the_sample_is_no_larger_than_asked_for(made: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Clusters(Workspace(made.workspace), bench.opened(made).cascade, SHARDS, 5, 500, lambda text: None)._sample()
    monkeypatch.setattr(clusters, "PER_CLUSTER", 20)
    some = Clusters(Workspace(made.workspace), bench.opened(made).cascade, SHARDS, 5, 500, lambda text: None)._sample()
    assert len(whole) == 500 and len(some) == 100 and (some == whole[:100]).all()


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_embeddings_that_are_not_normalised_are_one_line(made: Recipe, factor: float) -> None:
    vectors = embedded.clustered_vectors(200, 5, 1)[0]
    vectors[17] *= np.float16(factor)
    embedded.write_embeddings(made, "00001", vectors)
    with pytest.raises(StageError, match=r"00001\.parquet: row 17 is an embedding of length .*; expected length 1"):
        labels(made)


@pytest.mark.slow
def test_what_takes_long_is_said_beforehand(made: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "QUICK", 0)
    monkeypatch.setattr(clusters._Pace, "INTERVAL", 0)
    said: list[str] = []
    labels(made, said=said)
    assert said[0].startswith("k-means: 5 clusters over 500 embeddings, about ")
    assert "% done" in said[1] and said[-1].startswith("k-means: 100% done") and said[-1].endswith("left")
    said.clear()
    Path(made.workspace, "signals", ".clusters", "5", "c", "00001.parquet").unlink()
    labels(made, said=said)
    assert said[0].startswith("k-means: 250 more embeddings to be put into 5 clusters, about ")
    said.clear()
    labels(made, said=said)
    assert said == []
