"""Imports the evaluators' scores from CSV or Parquet, checks every value, and keeps them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import pyarrow as pa

from curation.annotation.caption_eval.files import CRITERIA, SCORES, EvalFiles
from curation.annotation.revisions import latest, revised
from curation.errors import UserError
from curation.scoring.opened import Opened
from curation.workspace.files import GIVEN, read_table, write_table
from curation.workspace.user_tables import cell_text, read_user_table, whole_number

UNIQUE_BY = ("item", "evaluator")
"""A score replaces the earlier one with the same values in these columns."""


class Score(TypedDict):
    """One evaluator's scores of one caption, a row of SCORES: four whole numbers from 1 to 5.

    In a row that takes earlier scores back, all four are None; such rows do not count.
    """

    item: str
    evaluator: str
    completeness: int
    correlation: int
    hallucination: int
    subjectivity: int
    revision: NotRequired[int]
    """Number of the revision, from 1; it is given when the score is stored."""


class ImportCounts(TypedDict):
    """The outcome of an import."""

    scores: int
    """Number of scores that were added or changed."""
    left_empty: int
    """Number of rows that the evaluator has not filled in."""
    evaluators: int
    """Number of evaluators whose scores of the sheet's items are on record."""
    items: int
    """Number of the sheet's items that are scored."""
    of: int
    """Number of all items of the sheet."""


def import_scores(opened: Opened, file: Path) -> ImportCounts:
    """Adds an evaluator's scores to those on record.

    A score by the same evaluator on the same item replaces the earlier one, which stays on record with its lower
    revision. A row without any score is left out, as the evaluator has not come that far.

    Args:
        file: a table with the columns item, evaluator and the four criteria (whole numbers from 1 to 5); other columns
            are ignored.

    Returns:
        the numbers of scores, evaluators and items.

    Raises:
        UserError: there is no sheet, or a value is wrong; the line names file, line and column. Nothing is imported.
    """
    files = EvalFiles(opened.workspace)
    known = sheet_items(files)
    stored = read_scores(files)
    new: list[Score] = []
    empty = 0
    for where, row in read_user_table(file, ("item", "evaluator", *CRITERIA)).rows():
        score = _score(where, row, known, files.sheet)
        if score is None:
            empty += 1
        else:
            new.append(score)
    added = cast(list[Score], revised(stored, new, UNIQUE_BY, content=CRITERIA))
    if added:
        write_table(files.scores, pa.Table.from_pylist([*stored, *added], schema=SCORES))
    counting = counting_scores([*stored, *added])
    scored = {score["item"] for score in counting} & known
    evaluators = {score["evaluator"] for score in counting if score["item"] in known}
    return {
        "scores": len(added),
        "left_empty": empty,
        "evaluators": len(evaluators),
        "items": len(scored),
        "of": len(known),
    }


def sheet_items(files: EvalFiles) -> set[str]:
    """Returns the items of the sheet. Raises UserError if there is no sheet."""
    try:
        return set(read_table(files.sheet, columns=["item"])["item"].to_pylist())
    except FileNotFoundError:
        raise UserError(f"{files.sheet}: there is no sheet yet; run `curate caption-eval sheet RECIPE`") from None


def counting_scores(scores: Iterable[Score]) -> list[Score]:
    """Returns the scores that count: the latest of each item and evaluator, unless they were taken back."""
    return [score for score in latest(scores, UNIQUE_BY).values() if score[CRITERIA[0]] is not None]


def read_scores(files: EvalFiles) -> list[Score]:
    """Reads all scores on record; returns an empty list if there are none."""
    return read_table(files.scores, remedy=GIVEN).to_pylist() if files.scores.exists() else []


def _score(where: str, row: dict[str, Any], known: set[str], sheet: Path) -> Score | None:
    """Converts a row of the table to a score; returns None if no criterion is filled in. Raises UserError."""
    item = cell_text(row["item"])
    if item not in known:
        raise UserError(f'{where}: item: there is no "{item}" in {sheet}')
    texts = {name: cell_text(row[name]) for name in CRITERIA}
    if not any(texts.values()):
        return None
    evaluator = cell_text(row["evaluator"])
    if not evaluator:
        raise UserError(f"{where}: evaluator: it is empty; write who has scored, the same name on every row of theirs")
    for name, text in texts.items():
        if not text:
            raise UserError(f"{where}: {name}: it is empty, where others of the row are not; give all four or none")
    completeness, correlation, hallucination, subjectivity = (
        whole_number(where, name, text, 1, 5) for name, text in texts.items()
    )
    return {
        "item": item,
        "evaluator": evaluator,
        "completeness": completeness,
        "correlation": correlation,
        "hallucination": hallucination,
        "subjectivity": subjectivity,
    }
