"""`curate tune` over 10,000,000 rows: from a moved threshold to the funnel, its histogram and the rows on both sides."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from starlette.testclient import TestClient

from curation.recipe import load_recipe
from curation.views.tune.app import guard_app, make_app
from curation.views.tune.table import ALL
from curation.views.tune.tuner import Tuner
from curation.workspace.sql import quoted
from tests import bench
from tests.benchmarks.report import Figure, in_fresh_process, peak_mb, show
from tests.benchmarks.select import RECIPE, make

MOVES = 5
"""Moves of each threshold; the middle one counts."""


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
        in_fresh_process("tests.benchmarks.tune", "--rows", str(given.rows), "--folder", temporary)


def measure(folder: Path, rows: int) -> None:
    """Prints the table: the slowest threshold of all, asked as the page asks."""
    file, port, token = folder / "recipe.yaml", 8000, "token"
    began = time.monotonic()
    tuner = Tuner(file, bench.opened(load_recipe(file)))
    loaded = time.monotonic() - began
    client = TestClient(guard_app(make_app(tuner), token, port), base_url=f"http://127.0.0.1:{port}")
    client.get(f"/?token={token}")
    first, further, others, cpu = [], [], [], []
    for split in tuner.table.splits:
        for number, threshold in enumerate(split.thresholds):
            at = {"predicate": threshold.predicate, "number": threshold.number}

            def move(path: str, by: int, at: dict[str, object] = at, value: float = threshold.value) -> float:
                """Seconds until a threshold that is moved by some per cent is answered."""
                moved = [at | {"value": value * (1 + by / 100)}]
                return timed(lambda: client.post(path, json={"values": moved, "at": at}).raise_for_status())

            taken = move("/api/move", 0)
            if number == 0:
                first.append(taken)
            began = time.process_time()
            further.append(statistics.median(move("/api/move", by) for by in range(1, MOVES + 1)))
            cpu.append((time.process_time() - began) / MOVES)
            others.append(move("/api/histogram", 0))
    assert tuner.saved.input == rows
    memory = peak_mb()
    columns = sorted({t.column for s in tuner.table.splits for t in s.thresholds})
    scan = f"SELECT {', '.join(f'sum({quoted(c)})' for c in columns)} FROM {ALL}"
    floor = statistics.median(timed(lambda: tuner.table._connection.execute(scan).fetchall()) for _ in range(MOVES))
    load = f"SELECT {', '.join(f'sum({quoted(c)})' for c in columns)} FROM read_parquet({tuner.table.files})"
    reading = timed(lambda: tuner.table._connection.execute(load).fetchall())
    what = f"tune, {rows:,} rows, {len(columns)} columns"
    show(
        [
            Figure(f"{what}: a slider move, slowest threshold", max(further) * 1000, "ms", floor * 1000, 300),
            Figure("the same, CPU of all cores", max(cpu) * 1000, "ms"),
            Figure("the same, middle of all thresholds", statistics.median(further) * 1000, "ms", floor * 1000, 300),
            Figure("the same, first move at another predicate, slowest", max(first) * 1000, "ms", floor * 1000),
            Figure("a histogram beside it, slowest", max(others) * 1000, "ms", floor * 1000),
            Figure("reading the workspace, once", loaded, "s", reading),
            Figure("peak memory", memory, "MB", None, 600),
        ]
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds, wall."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
