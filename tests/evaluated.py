"""Evaluates captions in a small workspace: captioned in this process, and scored with known means."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curation.annotation.caption_eval.files import CRITERIA
from curation.annotation.caption_eval.plan import plan
from curation.annotation.caption_eval.sample import draw
from curation.annotation.caption_eval.sheet import write_sheet
from curation.recipe import Recipe
from curation.selection.stage import Selection
from curation.tasks import Task, Watch
from tests import bench


def selected(folder: Path, **values: Any) -> Recipe:
    """Writes a recipe, and indexes, scores and selects its images."""
    made = bench.recipe(folder, **values)
    bench.index(made)
    bench.score(made)
    Selection(bench.opened(made)).write()
    return made


def sheet(made: Recipe) -> dict[str, int]:
    """Runs `curate caption-eval sheet` in this process; returns its counts."""
    sample = draw(bench.opened(made))
    for task in plan(bench.opened(made), sample).tasks:
        following: Task | None = task
        while following is not None:
            following = following.run(Watch()).then
    return write_sheet(bench.opened(made), sample)


def read_rows(made: Recipe, name: str) -> list[dict[str, Any]]:
    """Reads the rows of one of the evaluation's files."""
    return bench.rows(Path(made.workspace) / "caption_eval" / f"{name}.parquet")


def score_file(
    path: Path, rows: Sequence[Sequence[Any]], head: Sequence[str] = ("item", "evaluator", *CRITERIA)
) -> Path:
    """Writes a CSV file of scores, and returns its path."""
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in (head, *rows)), encoding="utf-8")
    return path


def opinions(
    captions: list[dict[str, Any]], means: dict[str, Sequence[float]], evaluators: int, seed: int, spread: float = 0.4
) -> list[list[Any]]:
    """Returns scores as people would give them: the caption's worth, and each evaluator's own opinion of it.

    Args:
        captions: rows of the sheet, with `item` and `captioner`.
        means: by captioner, the mean for each criterion; well within 1 to 5, so that nothing is clipped.
        evaluators: number of evaluators.
        seed: seed of the random numbers.
        spread: standard deviation from caption to caption, and from evaluator to evaluator.
    """
    random, rows = np.random.default_rng(seed), []
    for row in captions:
        worth = np.array(means[row["captioner"]]) + random.normal(0, spread, len(CRITERIA))
        for evaluator in range(evaluators):
            opinion = worth + random.normal(0, spread, len(CRITERIA))
            # Rounded up or down by chance, a mean stays what it is.
            whole = np.clip(np.floor(opinion + random.random(len(CRITERIA))), 1, 5).astype(int)
            rows.append([row["item"], f"e{evaluator}", *whole])
    return rows
