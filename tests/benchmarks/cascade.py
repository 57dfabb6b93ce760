"""What a recipe costs with its predicates in order and without them: CPU seconds and rows of each signal.

Runs the recipe that `curate init` writes on a folder of img2dataset's tars: ../shared/corpus where it is, else the sample.
"""

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path

from curation.cli.first_recipe import sample_folder, write_recipe
from curation.recipe import Recipe, load_recipe
from curation.scoring.stage import plan
from curation.selection.stage import Selection
from curation.tasks import Watch
from tests import bench
from tests.benchmarks.report import Figure, show

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=CORPUS if CORPUS.is_dir() else sample_folder())
    folder = parser.parse_args().folder.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        path = write_recipe("cascade", {"webdataset": folder})
        recipe = load_recipe(path)
        seconds, rows = run(recipe)
        all_seconds, all_rows = run(
            load_recipe(path, ["workspace=./without", "select.where={}", "select.dedup.near=null"])
        )
        print(f"the recipe of `curate init` on {folder.name}, {max(all_rows.values())} pictures")
        per_predicate(recipe, seconds, rows, all_seconds, all_rows)
    whole, without = sum(seconds.values()), sum(all_seconds.values())
    show([Figure("cascade: CPU of all signals, beside the same without it", whole, "s", without)])


def run(recipe: Recipe) -> tuple[Counter[str], Counter[str]]:
    """CPU seconds and rows by signal, of stage `score` run in this process."""
    bench.index(recipe)
    seconds, rows = Counter[str](), Counter[str]()
    for task in plan(bench.opened(recipe)).tasks:
        outcome = task.run(Watch())
        seconds.update(outcome.seconds)  # type: ignore[arg-type]
        rows.update(outcome.counts)
    return seconds, rows


def per_predicate(
    recipe: Recipe, seconds: Counter[str], rows: Counter[str], all_seconds: Counter[str], all_rows: Counter[str]
) -> None:
    """For each predicate: rows that reach it, rows it drops, and what the signals cost that it is the first to read."""
    cascade = bench.opened(recipe).cascade
    dropped = Selection(bench.opened(recipe)).funnel().dropped
    reaching = max(all_rows.values())
    print(
        f"{'predicate':12} {'reach it':>9} {'dropped':>9}  {'signals first read here':28} {'CPU s':>8} {'without':>8} {'saved':>6}"
    )
    for number, name in enumerate([*dropped, "(all passed)"]):
        first = [n for n, at in cascade.first_use.items() if at == number]
        spent, bare = sum(seconds[n] for n in first), sum(all_seconds[n] for n in first)
        saved = f"{1 - spent / bare:.0%}" if bare else ""
        told = ", ".join(f"{n} {rows[n]}" for n in first)
        costs = f"{spent:8.2f} {bare:8.2f} {saved:>6}" if first else ""
        print(f"{name:12} {reaching:9} {dropped.get(name, 0):9}  {told:28} {costs}".rstrip())
        reaching -= dropped.get(name, 0)


if __name__ == "__main__":
    main()
