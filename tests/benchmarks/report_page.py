"""The report over 1,000,000 rows, the wide files present: six predicates over five signals, pictures from a few tars.

The scores are generated. A shard's rows take turns at the few real pictures of its tar.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.recipe import Recipe, load_recipe
from curation.scoring.wide_table import refresh
from curation.selection.stage import Selection
from curation.views.report import write_report
from curation.workspace import Workspace
from curation.workspace.files import footer, write_table
from curation.workspace.sql import quoted
from tests import bench
from tests.benchmarks import select
from tests.benchmarks.report import Figure, in_fresh_process, peak_mb, show

RECIPE = select.RECIPE.replace("dedup: {exact: false}", "dedup: {exact: false, near: 4}")
PICTURES = 20
"""Different pictures in each tar; the rows of a shard take turns."""


def main() -> None:
    """Makes a workspace of generated scores, and measures on it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="measure on the workspace below this folder")
    given = parser.parse_args()
    if given.folder:
        measure(given.folder, given.rows)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "recipe.yaml").write_text(RECIPE)
        recipe = load_recipe(folder / "recipe.yaml")
        select.make(recipe, given.rows, given.shards)
        for shard in range(given.shards):
            _place_pictures(recipe, folder, f"{shard:05d}", shard)
            _spread_hashes(recipe, f"{shard:05d}", shard)
        Selection(bench.opened(recipe)).write()
        in_fresh_process("tests.benchmarks.report_page", "--rows", str(given.rows), "--folder", temporary)


def measure(folder: Path, rows: int) -> None:
    """Prints the table."""
    recipe = load_recipe(folder / "recipe.yaml")
    began, cpu = time.monotonic(), time.process_time()
    path = write_report(bench.opened(recipe))
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    memory = peak_mb()
    selection = Selection(bench.opened(recipe))
    columns = ", ".join(f"max({quoted(name)})" for name in pq.read_schema(selection.files[0]).names)
    began = time.monotonic()
    selection.connection.execute(f"SELECT {columns} FROM {selection.wide}").fetchall()
    floor = time.monotonic() - began
    show(
        [
            Figure(f"report, {rows:,} rows, wall", wall, "s", floor, 30),
            Figure("the same, CPU", cpu, "s", None, 30),
            Figure("the same, peak memory", memory, "MB"),
            Figure("the page", path.stat().st_size / 1e6, "MB", 4.8, 15),
        ]
    )


def _place_pictures(recipe: Recipe, folder: Path, shard: str, seed: int) -> None:
    """Puts a tar of a few pictures where the shard should lie, and notes their places in its samples file."""
    pictures = [bench.encoded(bench.picture(PICTURES * seed + n, (1600, 1200))) for n in range(PICTURES)]
    tar = bench.write_tar(folder / "raw" / f"{shard}.tar", {f"{n}.jpg": data for n, data in enumerate(pictures)})
    data = tar.read_bytes()
    offsets = np.array([data.index(picture) for picture in pictures])
    lengths = np.array([len(picture) for picture in pictures])
    workspace = Workspace(recipe.workspace)
    path = workspace.samples("c", shard)
    samples = pq.read_table(path)
    turns = np.arange(samples.num_rows) % PICTURES
    for name, values in (("offset", offsets[turns]), ("length", lengths[turns])):
        at = samples.schema.get_field_index(name)
        samples = samples.set_column(at, name, pa.array(values, pa.int64()))
    at = samples.schema.get_field_index("member")
    samples = samples.set_column(at, "member", pa.array([f"{n}" for n in turns]))
    write_table(path, samples, "1", source=f"{shard}.tar", rows_digest=shard, caption_digest=shard)


def _spread_hashes(recipe: Recipe, shard: str, seed: int) -> None:
    """Perceptual hashes over all 64 bits, one row in ten equal to the one before it; and the shard's wide file."""
    workspace = Workspace(recipe.workspace)
    path = workspace.signal("photo", "c", shard)
    photo, notes = pq.read_table(path), footer(path) or {}
    hashes = np.random.default_rng(seed).integers(0, 2**64 - 1, photo.num_rows, np.uint64)
    hashes[1::10] = hashes[0:-1:10][: len(hashes[1::10])]
    photo = photo.set_column(photo.schema.get_field_index("phash"), "phash", pa.array(hashes))
    write_table(path, photo, notes["fingerprint"])
    refresh(bench.opened(recipe), "c", shard)


if __name__ == "__main__":
    main()
