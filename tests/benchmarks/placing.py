"""What it costs the driver to place a shard, on both engines, from 10² to 10⁵ generated, empty ones.

Counted is all that happens for a shard: its task is handed out, its outcome is met, its line goes into the ledger,
progress is shown. The floor is a bare task that does nothing, on a bare pool or as a bare Ray task.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

from curation.recipe import Recipe, load_recipe
from curation.tasks import Demand, Outcome, Plan, Watch
from curation.workspace import Workspace
from curation.workspace.lock import lock
from pipelines.placing import AnyEngine, placing, run_tasks
from tests import bench
from tests.benchmarks.report import Figure, in_fresh_process, show

RECIPE = """
workspace: ./work
engine: {engine}
workers: 2
corpora: [{{name: c, path: ./raw}}]
signals: {{photo: {{}}, caption: {{}}, faces: {{}}, ocr: {{}}, aesthetic: {{}}}}
select:
  where:
    size: min_side >= 256
    sharp: sharpness >= 8
    faces: face_count <= 6
    text: text_lines = 0 or ocr_confidence >= 0.6
"""
REACH = {"local": 5.0, "ray": 20.0}
MOST = {"local": 100_000, "ray": 100_000}


@dataclass(frozen=True, slots=True)
class Empty:
    """A shard without rows, with all that travels for one."""

    recipe: Recipe
    shard: str
    corpus: str = "c"
    rows: int = 0
    demands: tuple[Demand, ...] = (Demand(models=True),)

    def run(self, watch: Watch) -> Outcome:
        watch.note(os.getpid())
        return Outcome(line={"files": ["1234:1795271512000000000"] * 6, "mark": {"photo": 1}, "rows": 0, "failed": {}})


def nothing(number: int) -> int:
    return number


def main() -> None:
    """Measures each engine in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=list(REACH))
    parser.add_argument("--most", type=int, default=100_000)
    given = parser.parse_args()
    for engine in [given.engine] if given.engine else REACH:
        if given.engine:
            measure(engine, given.most)
        else:
            in_fresh_process("tests.benchmarks.placing", "--engine", engine, "--most", str(given.most))


def measure(engine: str, most: int) -> None:
    """Prints the table of one engine."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "recipe.yaml").write_text(RECIPE.format(engine=engine))
        recipe = load_recipe(folder / "recipe.yaml")
        Workspace(recipe.workspace).root.mkdir()
        with placing(bench.opened(recipe)) as used, open(os.devnull, "w") as away:
            place(recipe, used, 20)  # workers have started
            floor = bare(engine)
            for shards in (n for n in (100, 1_000, 10_000, 100_000) if n <= most):
                began, wall = time.process_time(), time.monotonic()
                with redirect_stderr(away):
                    place(recipe, used, shards)
                cpu, wall = time.process_time() - began, time.monotonic() - wall
                what = f"placing a shard, {engine}, of {shards:,}: driver CPU"
                show([Figure(what, cpu * 1000 / shards, "ms", floor, REACH[engine])])
                print(f"{'':4}{wall:.1f} s in all", file=sys.stderr)


def place(recipe: Recipe, engine: AnyEngine, shards: int) -> None:
    todo = Plan([Empty(recipe, f"{n:06d}") for n in range(shards)], shards)
    with lock(Workspace(recipe.workspace), "score") as token:
        summary = run_tasks(bench.opened(recipe), "score", todo, "shards", token, engine)
    assert summary.done == shards and summary.ok, summary.errors[:3]


def bare(engine: str, tasks: int = 500) -> float:
    """Driver CPU milliseconds of a task that does nothing, one at a time on each of two workers."""
    if engine == "ray":
        import ray

        remote = ray.remote(num_cpus=0)(nothing)
        ray.get([remote.remote(n) for n in range(2)])
        began = time.process_time()
        for n in range(0, tasks, 2):
            ray.get([remote.remote(n), remote.remote(n + 1)])
        return (time.process_time() - began) * 1000 / tasks
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(nothing, range(2)))
        began = time.process_time()
        for n in range(0, tasks, 2):
            for future in [pool.submit(nothing, n), pool.submit(nothing, n + 1)]:
                future.result()
        return (time.process_time() - began) * 1000 / tasks


if __name__ == "__main__":
    main()
