"""The plan of build-shards over 10⁷ kept rows of 10⁴ raw shards, and what its workers do for it before."""

import argparse
import os
import tempfile
import time
from hashlib import blake2b
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from curation.captions.crew import caption_fingerprint
from curation.corpora.samples import meta_schema
from curation.recipe import Recipe, load_recipe
from curation.shards.rows import RowMaker, RowsTask, lines_path
from curation.shards.stage import plan
from curation.tasks import Watch
from curation.workspace import Workspace
from curation.workspace.digests import digest
from curation.workspace.files import read_table, stamps, write_table
from curation.workspace.schemas import CAPTIONS, LEVELS, PLACES, SELECTION
from tests import bench
from tests.benchmarks.report import Figure, in_fresh_process, peak_mb, show
from tests.benchmarks.select import make as make_scores

RECIPE = """
workspace: ./work
corpora: [{name: c, path: ./raw}]
signals: {photo: {}, caption: {}, faces: {}, ocr: {}, aesthetic: {}}
"""
TRUE_ROWS, TRUE_SHARDS = 10_000, 2
"""Rows and raw shards that have sources, of which workers make the lines."""
VOTED = 100
"""One row in so many is at Level 5."""


def main() -> None:
    """Makes a workspace of generated rows, and measures on it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="measure on the workspace below this folder")
    given = parser.parse_args()
    if given.folder:
        measure(given.folder, given.rows)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recipes = [folder / name / "recipe.yaml" for name in ("rows", "plan")]
        for path in recipes:
            path.parent.mkdir()
            path.write_text(RECIPE)
        make_sources(load_recipe(recipes[0]), TRUE_ROWS, TRUE_SHARDS)
        make_places(load_recipe(recipes[1]), given.rows, given.shards)
        in_fresh_process("tests.benchmarks.build_plan", "--rows", str(given.rows), "--folder", temporary)


def measure(folder: Path, rows: int) -> None:
    """Prints the table."""
    recipe = load_recipe(folder / "plan" / "recipe.yaml")
    before = peak_mb()
    began, cpu = time.monotonic(), time.process_time()
    concept, quality = plan(bench.opened(recipe))
    wall, cpu, memory = time.monotonic() - began, time.process_time() - cpu, peak_mb()
    assert concept.images == rows and quality.images == rows // VOTED
    began, floor_cpu = time.monotonic(), time.process_time()
    _read_and_order(folder / "plan" / "work")
    floor, floor_cpu = time.monotonic() - began, time.process_time() - floor_cpu
    show(
        [
            Figure(f"plan of build-shards, {rows:,} kept rows, wall", wall, "s", floor, 60),
            Figure("the same, CPU", cpu, "s", floor_cpu),
            Figure("the same, peak memory", memory, "MB", None, 2000),
            Figure("the same, memory a row", (memory - before) * 2**20 / rows, "bytes"),
        ]
    )
    show([Figure("rows of a raw shard, by a worker, CPU", *_rows(folder / "rows"))])


def _read_and_order(work: Path) -> None:
    """The floor: DuckDB alone reads the same columns, and orders them."""
    files = ", ".join(f"'{path}'" for path in sorted(work.glob(".plan/rows/c/*.parquet")))
    with duckdb.connect() as connection:
        sql = f"SELECT start, size, hash FROM read_parquet([{files}]) ORDER BY rank, key"
        for _batch in connection.sql(sql).to_arrow_reader(1 << 17):
            pass


def _rows(folder: Path) -> tuple[float, str, float]:
    """CPU milliseconds a row of `RowsTask`, and of only reading the files that it reads."""
    recipe = load_recipe(folder / "recipe.yaml")
    workspace = Workspace(recipe.workspace)
    tasks = [RowsTask(recipe, "c", shard) for shard in workspace.shards("c")]
    tasks[0].run(Watch())  # what a worker does once
    began = time.process_time()
    rows = sum(task.run(Watch()).rows for task in tasks)
    took = time.process_time() - began
    began = time.process_time()
    for shard in workspace.shards("c"):
        for place in (workspace.samples, workspace.selection, workspace.captions, workspace.wide):
            read_table(place("c", shard))
    return took * 1000 / rows, "ms/row", (time.process_time() - began) * 1000 / rows


def make_sources(recipe: Recipe, rows: int, shards: int) -> None:
    """Samples, scores, selection and captions, as stages write them, without the images."""
    make_scores(recipe, rows, shards)
    workspace = Workspace(recipe.workspace)
    meta_schema(workspace, ["c"], keep=True)
    for shard in workspace.shards("c"):
        keys = read_table(workspace.samples("c", shard), ["key"])["key"]
        web = ["web"] * len(keys)
        selection = {"key": keys, "fate": ["kept"] * len(keys), "source": web}
        captions = {"key": keys, "captioned_as": web, "translated": [True] * len(keys), "flags": [[]] * len(keys),
                    "caption_en": [f"A picture of a tree beside house {n} in the rain." * 4 for n in range(len(keys))],
                    "caption_zh": [f"雨中房子 {n} 旁一棵树的照片。" * 4 for n in range(len(keys))]}  # fmt: skip
        made_by = caption_fingerprint(bench.opened(recipe), "c", shard)
        write_table(workspace.selection("c", shard), _filled(selection, SELECTION), digest(recipe.select.rules))
        write_table(workspace.captions("c", shard), _filled(captions, CAPTIONS), made_by)


def _filled(columns: dict[str, object], schema: pa.Schema) -> pa.Table:
    count = len(columns["key"])  # type: ignore[arg-type]
    return pa.table({f.name: columns.get(f.name, pa.nulls(count, f.type)) for f in schema}).cast(schema)


def make_places(recipe: Recipe, rows: int, shards: int) -> None:
    """Where the lines of so many rows lie, as workers leave it, and levels; the lines, of which a plan sees no more
    than size and time, and their sources are one file each.
    """
    workspace = Workspace(recipe.workspace)
    maker = RowMaker(bench.opened(recipe))
    names = [f"{number:05d}" for number in range(shards)]
    signals = [lambda c, s, name=name: workspace.signal(name, c, s) for name in maker.cascade.signals]
    sources = (workspace.samples, workspace.selection, workspace.captions, *signals)
    for place in (*sources, lambda c, s: lines_path(workspace, c, s)):
        first = place("c", names[0])
        first.parent.mkdir(parents=True, exist_ok=True)
        first.write_text("a source")
        for name in names[1:]:
            os.link(first, place("c", name))
    meta_schema(workspace, ["c"], keep=True)
    rng, best = np.random.default_rng(0), []
    for number, name in enumerate(names):
        keys = [f"c/{name}/{n:09d}" for n in range(number * rows // shards, (number + 1) * rows // shards)]
        made_from, lines = maker._fingerprint("c", name), stamps([str(lines_path(workspace, "c", name))])
        write_table(workspace.places("c", name), places(keys, rng), made_from, lines=str(*lines))
        best += [key for key in keys if int(key[-9:]) % VOTED == 0]
    levels = {"key": best, "level": [5] * len(best), "status": ["decided"] * len(best)}
    write_table(workspace.levels, _filled(levels, LEVELS))


def places(keys: list[str], rng: np.random.Generator) -> pa.Table:
    """Places of lines of about 1,500 bytes."""
    sizes = rng.integers(1000, 2000, len(keys))
    ranks = b"".join(blake2b(key.encode(), digest_size=8, person=b"order").digest() for key in keys)
    columns = [
        keys,
        np.frombuffer(ranks, ">u8").astype(np.uint64),
        np.cumsum(sizes) - sizes,
        sizes.astype(np.int32),
        rng.integers(0, 1 << 63, len(keys), np.uint64),
    ]
    return pa.table(columns, schema=PLACES)


if __name__ == "__main__":
    main()
