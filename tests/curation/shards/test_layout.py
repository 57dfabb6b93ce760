"""The plan of the product: its order against a plain sort, and the memory that it takes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

from curation.annotation.levels import decide_levels
from curation.captions.stage import plan as plan_captions
from curation.keys import key_hash
from curation.recipe import Recipe, load_recipe
from curation.selection.stage import Selection
from curation.shards import layout
from curation.shards.layout import Layout, read_part
from curation.shards.rows import lines_path, read_rows, rows_left
from curation.shards.stage import BuildTask, plan
from curation.tasks import Watch
from curation.workspace import Workspace
from curation.workspace.files import read_table, write_table
from curation.workspace.schemas import DECISIONS, LEVELS
from tests import bench
from tests.benchmarks.build_plan import RECIPE, make_places, places

MEASURED = """
import sys
from curation.recipe import load_recipe
from curation.scoring.opened import open_recipe
from curation.shards.stage import plan
from tests.benchmarks.report import peak_mb
few, many = (open_recipe(load_recipe(path)) for path in sys.argv[1:])
plan(few)
before = peak_mb()
print(plan(many)[0].images, peak_mb() - before)
"""


def generated(folder: Path, rows: int, shards: int) -> Recipe:
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    made = load_recipe(folder / "recipe.yaml")
    make_places(made, rows, shards)
    return made


def keys_of(made: Recipe) -> list[str]:
    workspace = Workspace(made.workspace)
    return [k for s in workspace.shards("c") for k in read_table(workspace.places("c", s))["key"].to_pylist()]


def planned(made: Recipe, phase: str, shards: int) -> list[list[tuple[str, int]]]:
    """The rows of each product shard by raw shard and the place of their lines."""
    parts = [read_part(Workspace(made.workspace), phase, number) for number in range(shards)]
    return [list(zip(part["raw"].to_pylist(), part["start"].to_pylist(), strict=True)) for part in parts]


def test_the_plan_of_many_rows_takes_little_memory(tmp_path: Path) -> None:
    """A row of which Python holds a dict takes 2,000 bytes and more; its place in DuckDB and the copy that is sorted
    take less than 500, most of that the same for any number of rows.
    """
    rows = 200_000
    generated(tmp_path / "few", 1000, 2)
    generated(tmp_path / "many", rows, 20)
    recipes = [str(tmp_path / name / "recipe.yaml") for name in ("few", "many")]
    done = subprocess.run([sys.executable, "-c", MEASURED, *recipes], capture_output=True, text=True, check=True)
    images, grown = done.stdout.split()
    assert int(images) == rows
    assert float(grown) * 2**20 / rows < 1000


def test_the_order_is_that_of_a_plain_sort_by_hash_and_the_shards_are_even(tmp_path: Path) -> None:
    made = generated(tmp_path / "made", 10_007, 7)
    concept, quality = plan(bench.opened(made))
    workspace = Workspace(made.workspace)
    where = {}
    for shard in workspace.shards("c"):
        table = read_table(workspace.places("c", shard)).to_pylist()
        where |= {row["key"]: (f"c/{shard}", row["start"]) for row in table}
    ordered = sorted(where, key=lambda key: (key_hash(key, "order"), key))
    got = planned(made, "concept", concept.shards)
    assert [place for part in got for place in part] == [where[key] for key in ordered]
    assert (concept.images, concept.shards) == (10_007, 11) and {len(part) for part in got} == {909, 910}
    assert [task.rows for task in concept.stale] == [len(part) for part in got]
    best = [where[key] for key in ordered if int(key[-9:]) % 100 == 0]
    assert [place for part in planned(made, "quality", quality.shards) for place in part] == best


def test_rows_of_equal_hashes_go_by_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = generated(tmp_path / "made", 3000, 3)
    workspace = Workspace(made.workspace)
    rng = np.random.default_rng(1)
    for shard in workspace.shards("c"):
        keys = read_table(workspace.places("c", shard))["key"].to_pylist()
        table = places(list(rng.permutation([*keys[1:], f"c/{shard}/图"])), rng)
        write_table(workspace.places("c", shard), table.set_column(1, "rank", pa.array([7] * len(keys), pa.uint64())))
    by_place = {(f"c/{s}", r["start"]): r["key"] for s in workspace.shards("c")
                for r in read_table(workspace.places("c", s)).to_pylist()}  # fmt: skip
    monkeypatch.setattr(layout, "STREAMED", 100)
    with Layout(bench.opened(made), [("c", shard) for shard in workspace.shards("c")]) as laid_out:
        parts = list(laid_out.deal("concept", None, 999))
    names = [part.column("raw").to_pylist() for part in parts]
    assert [len(n) for n in names] == [750] * 4
    got = [by_place[place] for part in planned(made, "concept", 4) for place in part]
    assert got == sorted(by_place.values())


def test_tasks_carry_no_rows(tmp_path: Path) -> None:
    made = generated(tmp_path / "made", 5000, 2)
    task = plan(bench.opened(made))[0].stale[0]
    assert isinstance(task, BuildTask) and task.rows == 1000
    others = {name for name in BuildTask.__slots__ if name not in ("recipe", "demands")}
    assert len(json.dumps({name: getattr(task, name) for name in others})) < 200


@pytest.fixture
def corpus(tmp_path: Path) -> Recipe:
    """Six captioned pictures in two raw shards, of which one has no text."""
    for shard in range(2):
        files = {f"{n}.jpg": bench.encoded(bench.picture(3 * shard + n)) for n in range(3)}
        bench.write_tar(tmp_path / "raw" / f"{shard:05d}.tar", files)
    made = bench.recipe(tmp_path)
    bench.index(made)
    bench.score(made)
    Selection(bench.opened(made)).write()
    for task in plan_captions(bench.opened(made)).tasks:
        task.run(Watch())
    return made


def test_workers_make_the_lines_that_the_plan_would_make_itself(corpus: Recipe) -> None:
    workspace = Workspace(corpus.workspace)
    assert [task.run(Watch()).rows for task in rows_left(bench.opened(corpus))] == [3, 3] and not rows_left(
        bench.opened(corpus)
    )
    paths = [lines_path(workspace, "c", shard) for shard in ("00000", "00001")]
    lines = [path.read_bytes() for path in paths]
    stamps = [path.stat().st_mtime_ns for path in paths]
    plan(bench.opened(corpus))
    assert [path.stat().st_mtime_ns for path in paths] == stamps
    for path in paths:
        path.unlink()
    plan(bench.opened(corpus))
    assert [path.read_bytes() for path in paths] == lines


def test_a_vote_makes_no_line_anew_and_only_its_shard_stale(corpus: Recipe) -> None:
    workspace = Workspace(corpus.workspace)
    mark = plan(bench.opened(corpus))[0].stale[0].mark
    assert {row["level"] for row in read_rows(workspace, read_part(workspace, "concept", 0))} == {None}
    levels = pa.table([["c/00000/1"], [4], ["decided"], ["majority"], [3], [1.0]], names=LEVELS.names).cast(LEVELS)
    write_table(workspace.levels, levels)
    assert not rows_left(bench.opened(corpus))
    assert plan(bench.opened(corpus))[0].stale[0].mark != mark
    rows = read_rows(workspace, read_part(workspace, "concept", 0))
    assert {row["key"]: row["level"] for row in rows if row["level"]} == {"c/00000/1": 4}


def test_what_is_left_out_is_counted_with_a_safety_review_before_a_missing_text(corpus: Recipe) -> None:
    values = corpus.model_dump() | {"captions": corpus.captions.model_dump() | {"tolerate": []}}
    made = Recipe.model_validate(values)
    workspace = Workspace(made.workspace)
    for task in rows_left(bench.opened(made)):
        task.run(Watch())
    path = workspace.places("c", "00000")
    table = read_table(path)
    table = table.set_column(3, "size", pa.array([0, 0, table["size"][2].as_py()], pa.int32()))
    write_table(path, table)
    status = ["safety_review", "safety_review"]
    levels = pa.table([["c/00000/1", "c/00001/2"], [None, None], status, [None, None], [1, 1], [None, None]],
                      names=LEVELS.names).cast(LEVELS)  # fmt: skip
    write_table(workspace.levels, levels)
    with Layout(bench.opened(made), [("c", "00000"), ("c", "00001")]) as laid_out:
        assert list(laid_out.left_out().items()) == [("no_text", 1), ("safety_review", 2)]
        assert [part.num_rows for part in laid_out.deal("concept", None, 1000)] == [3]


def test_what_a_decision_puts_at_level_1_is_left_out(corpus: Recipe) -> None:
    workspace = Workspace(corpus.workspace)
    for task in rows_left(bench.opened(corpus)):
        task.run(Watch())
    verdicts = [
        {"key": "c/00000/1", "level": 1, "kind": "safety_review"},
        {"key": "c/00000/2", "level": 2, "kind": "gold"},
    ]
    write_table(workspace.decisions, pa.Table.from_pylist(verdicts, schema=DECISIONS))
    decide_levels(workspace, 3)
    with Layout(bench.opened(corpus), [("c", "00000"), ("c", "00001")]) as laid_out:
        everything = laid_out.deal("all", None, 1000)
        assert laid_out.left_out() == {"level_1": 1}
        levels = [level for part in everything for level in part["level"].to_pylist()]
    assert 2 in levels and 1 not in levels
