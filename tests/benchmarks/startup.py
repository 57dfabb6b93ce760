"""Start-up, in CPU seconds (user and system, the least of several runs): verbs with nothing to do, and fresh workers.

The floor of each is an interpreter that only imports the packages it cannot do without.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from curation.corpora.index import plan as plan_index
from curation.recipe import load_recipe
from curation.scoring.opened import open_recipe
from curation.scoring.stage import plan as plan_score
from curation.tasks import Task
from pipelines.local import LocalEngine
from tests.benchmarks.corpora import jpegs, write_webdataset
from tests.benchmarks.report import Figure, show

RUNS = 5
STAGES = ("index", "score", "select", "caption", "build-shards")
VIEWS = {
    "status": (),
    "query": ("select count(*) from images",),
    "explain": ("sample/00000/000000000",),
}
NEEDED = "typer, pydantic, yaml, filelock, fsspec, duckdb, pyarrow.parquet"
"""What every verb imports that opens a workspace."""
NEEDED_BY_WORKER = {
    "index": "pydantic, yaml, filelock, fsspec, pyarrow.parquet, PIL.Image",
    "score": "pydantic, yaml, filelock, fsspec, pyarrow.parquet, PIL.Image, duckdb, cv2, simplejpeg",
}
RECIPE = """
workspace: ./work
corpora: [{name: c, path: ./raw}]
signals: {photo: {}}
select: {where: {size: min_side >= 512}}
"""


def main() -> None:
    """Prints the table."""
    bare, verb_floor = _python("pass"), _python(f"import {NEEDED}")
    show([Figure("curate --help, CPU", _curate("--help"), "s", bare)])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _curate("demo", str(folder / "demo"), runs=1)
        for verb in STAGES:
            taken = _curate(verb, str(folder / "demo" / "demo.yaml"))
            show([Figure(f"curate {verb} with nothing to do, CPU", taken, "s", verb_floor, 1.0)])
        for verb, given in VIEWS.items():
            taken = _curate(verb, str(folder / "demo" / "demo.yaml"), *given)
            show([Figure(f"curate {verb}, CPU", taken, "s", verb_floor, 0.8)])
        _workers(folder)


def _workers(folder: Path) -> None:
    """A new worker process and one picture: what it takes for the picture itself is a few milliseconds."""
    write_webdataset(folder / "raw", jpegs(1))
    (folder / "recipe.yaml").write_text(RECIPE)
    opened = open_recipe(load_recipe(folder / "recipe.yaml"))
    plans = {"index": lambda: plan_index(opened.recipe, opened.workspace), "score": lambda: plan_score(opened)}
    for name, plan in plans.items():
        task = plan().tasks[0]
        taken = _least(lambda task=task: _in_new_worker(task))
        show(
            [
                Figure(
                    f"a new worker, first task {name}, CPU",
                    taken,
                    "s",
                    _python(f"import {NEEDED_BY_WORKER[name]}"),
                    0.5,
                )
            ]
        )


def _in_new_worker(task: Task) -> None:
    with LocalEngine(1) as engine:
        for _task, outcome in engine.run([task]):
            assert outcome.error is None, outcome.error


def _python(code: str) -> float:
    return _least(lambda: _run([sys.executable, "-c", code]))


def _curate(*arguments: str, runs: int = RUNS) -> float:
    return _least(lambda: _run([sys.executable, "-m", "curation.cli", *arguments]), runs)


def _run(command: list[str]) -> None:
    """With bytecode kept, as an installed package has it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, check=True)


def _least(work: Callable[[], object], runs: int = RUNS) -> float:
    """Least CPU seconds of the child processes that the work starts and waits for."""
    taken = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        work()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


if __name__ == "__main__":
    main()
