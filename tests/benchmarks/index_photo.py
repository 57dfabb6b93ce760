"""Stages `index` and `score` with signal photo: CPU a picture, beside reading and hashing, and beside one decode."""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq

from curation.corpora.index import plan as plan_index
from curation.recipe import load_recipe
from curation.scoring.shard_pass import BATCH
from curation.scoring.stage import plan as plan_score
from curation.tasks import Task, Watch
from curation.workspace import Workspace
from tests import bench
from tests.benchmarks.corpora import jpegs, write_webdataset
from tests.benchmarks.report import Figure, in_fresh_process, peak_mb, show

SHARDS = 8
RECIPE = """
workspace: ./work
corpora: [{name: c, path: ./raw}]
signals: {photo: {}}
select: {where: {size: min_side >= 512}}
"""


def main() -> None:
    """Makes a corpus, and measures on it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--folder", type=Path, help="measure on the corpus below this folder")
    given = parser.parse_args()
    if given.folder:
        measure(given.folder, given.images)
        return
    with tempfile.TemporaryDirectory() as temporary:
        write_webdataset(Path(temporary) / "raw", jpegs(given.images), SHARDS)
        in_fresh_process("tests.benchmarks.index_photo", "--images", str(given.images), "--folder", temporary)


def measure(folder: Path, count: int) -> None:
    """Prints the table."""
    (folder / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(folder / "recipe.yaml")
    index, index_floor = _in_turn(
        plan_index(recipe, Workspace(recipe.workspace)).tasks, lambda shard: _read_and_hash(folder, shard)
    )
    photo, decode_floor = _in_turn(
        plan_score(bench.opened(recipe)).tasks, lambda shard: _read_and_decode(folder, shard)
    )
    per = count / SHARDS
    show(
        [
            Figure("index, CPU a picture", index / per, "ms", index_floor / per, 0.6),
            Figure("photo, CPU a picture", photo / per, "ms", decode_floor / per),
            Figure("photo, times its one decode", photo / decode_floor, "x", None, 1.4),
            Figure("index and photo, peak memory", peak_mb(), "MB", None, 400),
        ]
    )


def _in_turn(tasks: Sequence[Task], floor: Callable[[str], None]) -> tuple[float, float]:
    """Median CPU milliseconds of a shard, the work and its floor in turn; the first shard warms up."""
    work_times, floor_times = [], []
    for task in tasks:
        began = time.process_time()
        task.run(Watch())
        middle = time.process_time()
        floor(task.shard)
        work_times.append((middle - began) * 1000)
        floor_times.append((time.process_time() - middle) * 1000)
    return statistics.median(work_times[1:]), statistics.median(floor_times[1:])


def _places(folder: Path, shard: str) -> list[tuple[int, int]]:
    table = pq.read_table(folder / "work" / "samples" / "c" / f"{shard}.parquet", columns=["offset", "length"])
    return list(zip(table["offset"].to_pylist(), table["length"].to_pylist(), strict=True))


def _read_and_hash(folder: Path, shard: str) -> None:
    with open(folder / "raw" / f"{shard}.tar", "rb") as file:
        for offset, length in _places(folder, shard):
            file.seek(offset)
            hashlib.sha256(file.read(length)).hexdigest()


def _read_and_decode(folder: Path, shard: str) -> None:
    """The one decode that the signal needs: long side 1632, so half size.

    Data and pixels of a micro-batch are held, as the pass holds them: memory that is given back at once is faster, by as
    much as a quarter of a decode, in a process that has set aside more than it needs.
    """
    held: list[object] = []
    with open(folder / "raw" / f"{shard}.tar", "rb") as file:
        for offset, length in _places(folder, shard):
            if len(held) == BATCH:
                held.clear()
            file.seek(offset)
            data = file.read(length)
            held.append((data, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)))


if __name__ == "__main__":
    main()
