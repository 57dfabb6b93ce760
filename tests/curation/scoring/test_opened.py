"""The opened recipe: made once, and made anew in a worker when what it is made of has changed."""

from pathlib import Path

import pytest

from curation.errors import UserError
from curation.recipe import predicates
from curation.scoring import cascade
from curation.scoring.opened import opened_in_worker
from curation.shards.rows import rows_left
from tests import bench


def test_pairs_of_corpus_and_shard_come_in_the_recipes_order(tmp_path: Path) -> None:
    corpora = [{"name": name, "path": f"./{name}"} for name in ("b", "a")]
    for name, shard in (("a", "00001"), ("a", "00000"), ("b", "00002")):
        bench.write_tar(tmp_path / name / f"{shard}.tar", {"0.jpg": bench.encoded(bench.picture(1))})
    made = bench.recipe(tmp_path, corpora=corpora)
    assert bench.opened(made).shards() == []
    with pytest.raises(UserError, match="nothing is indexed yet; run `curate index RECIPE`"):
        bench.opened(made).indexed_shards()
    bench.index(made)
    assert bench.opened(made).indexed_shards() == [("b", "00002"), ("a", "00000"), ("a", "00001")]


def test_a_worker_opens_a_recipe_once_until_the_index_brings_other_columns(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"0.jpg": bench.encoded(bench.picture(1))})
    made = bench.recipe(tmp_path)
    bench.index(made)
    first = opened_in_worker(made)
    assert opened_in_worker(made.model_copy()) is first
    bench.write_tar(
        tmp_path / "raw" / "00001.tar", {"0.jpg": bench.encoded(bench.picture(2)), "0.json": b'{"likes": 3}'}
    )
    bench.index(made)
    again = opened_in_worker(made)
    assert again is not first and "meta_likes" in again.cascade.columns


def test_no_predicate_is_admitted_for_each_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shard in range(3):
        bench.write_tar(tmp_path / "raw" / f"{shard:05d}.tar", {"0.jpg": bench.encoded(bench.picture(shard))})
    select = {
        "text_in_the_wild": "sharpness > 1",
        "dedup": {"quality": "sharpness"},
        "balance": {"by": "format", "at_most": 9},
    }
    made = bench.recipe(tmp_path, select=select, shards={"quality": {"where": "min_side >= 100"}})
    bench.index(made)
    admitted: list[str] = []
    monkeypatch.setattr(
        cascade, "admit", lambda name, sql, *rest: (admitted.append(sql), predicates.admit(name, sql, *rest))[1]
    )
    opened = bench.opened(made)
    assert len(rows_left(opened)) == 3 and opened.cascade.text_columns == ["format"]
    assert len(admitted) == 4
