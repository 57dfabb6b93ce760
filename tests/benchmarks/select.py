"""Stage `select` over 10,000,000 rows: six predicates over five signals, the wide files present."""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation.corpora.samples import samples_notes
from curation.recipe import Recipe, load_recipe
from curation.scoring.wide_table import refresh
from curation.selection.stage import Selection
from curation.signals.base import sidecar_fields
from curation.workspace.files import write_table
from curation.workspace.schemas import SAMPLES
from tests import bench
from tests.benchmarks.report import Figure, in_fresh_process, peak_mb, show

RECIPE = """
workspace: ./work
corpora: [{name: c, path: ./raw}]
signals: {photo: {}, caption: {}, faces: {}, ocr: {}, aesthetic: {}}
select:
  where:
    size: min_side >= 256
    shape: aspect_ratio between 0.4 and 2.5
    sharp: sharpness >= 8
    faces: face_count <= 6
    text: text_lines = 0 or ocr_confidence >= 0.6
    beauty: aesthetic >= 3 and caption_length >= 3
  dedup: {exact: false}
"""


def main() -> None:
    """Makes a workspace of generated scores, and measures on it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="measure on the workspace below this folder")
    given = parser.parse_args()
    if given.folder:
        measure(given.folder, given.rows)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "recipe.yaml").write_text(RECIPE)
        make(load_recipe(folder / "recipe.yaml"), given.rows, given.shards)
        in_fresh_process("tests.benchmarks.select", "--rows", str(given.rows), "--folder", temporary)


def measure(folder: Path, rows: int) -> None:
    """Prints the table."""
    recipe = load_recipe(folder / "recipe.yaml")
    began, cpu = time.monotonic(), time.process_time()
    selection = Selection(bench.opened(recipe))
    funnel = selection.funnel()
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    memory = peak_mb()
    began = time.monotonic()
    columns = "min_side, aspect_ratio, sharpness, face_count, text_lines, ocr_confidence, aesthetic, caption_length"
    selection.connection.execute(
        f"SELECT {', '.join(f'max({c})' for c in columns.split(', '))} FROM {selection.wide}"
    ).fetchall()
    floor = time.monotonic() - began
    began = time.monotonic()
    selection.write()
    written = time.monotonic() - began
    assert funnel.input == rows and funnel.complete
    show(
        [
            Figure(f"select --dry-run, {rows:,} rows, wall", wall, "s", floor, 1.5),
            Figure("the same, CPU", cpu, "s"),
            Figure("the same, peak memory", memory, "MB", None, 500),
            Figure("writing every row's fate, wall", written, "s"),
        ]
    )


def make(recipe: Recipe, rows: int, shards: int) -> None:
    """Samples, sidecars and wide files of random scores; as stages write them, without the images."""
    opened = bench.opened(recipe)
    workspace, cascade = opened.workspace, opened.cascade
    rng = np.random.default_rng(0)
    for shard in range(shards):
        name, count = f"{shard:05d}", (shard + 1) * rows // shards - shard * rows // shards
        samples = samples_table(name, count, rng)
        write_table(workspace.samples("c", name), samples, "1", source="", rows_digest=name, caption_digest=name)
        notes = samples_notes(workspace, "c", name)
        for signal in cascade.signals.values():
            columns = {f.name: _scores(f, count, rng) for f in sidecar_fields(signal)}
            path = workspace.signal(signal.name, "c", name)
            write_table(path, pa.table({"key": samples["key"]} | columns), cascade.fingerprint(signal.name, notes))
        refresh(opened, "c", name)


def samples_table(shard: str, count: int, rng: np.random.Generator) -> pa.Table:
    width, height = rng.integers(100, 3000, count), rng.integers(100, 3000, count)
    values = {
        "key": [f"c/{shard}/{n:09d}" for n in range(count)],
        "width": width, "height": height, "min_side": np.minimum(width, height), "aspect_ratio": width / height,
        "sha256": [rng.bytes(32).hex() for _ in range(count)],
        "status": ["ok"] * count, "length": rng.integers(10_000, 900_000, count),
    }  # fmt: skip
    return pa.table([pa.array(values.get(f.name, [None] * count)).cast(f.type) for f in SAMPLES], schema=SAMPLES)


def _scores(field: pa.Field, count: int, rng: np.random.Generator) -> pa.Array:
    """Scores that most rows pass, so that no predicate spares the next its work."""
    if field.name.endswith("_state"):
        return pa.array(["scored"] * count)
    if pa.types.is_floating(field.type):
        high = {"sharpness": 60, "aesthetic": 10}.get(field.name, 1)
        return pa.array((rng.random(count) ** 0.3 * high).round(4), field.type)
    if pa.types.is_integer(field.type):
        return pa.array(rng.integers(0, 8, count).astype(np.uint64), pa.uint64()).cast(field.type)
    return pa.nulls(count, field.type)


if __name__ == "__main__":
    main()
