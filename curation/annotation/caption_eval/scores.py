"""The evaluators' scores: read from CSV or Parquet, checked value by value, and kept."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.annotation.caption_eval.files import CRITERIA, SCORES, EvalFiles
from curation.annotation.revisions import latest, revised
from curation.errors import UserError
from curation.scoring.opened import Opened
from curation.workspace.files import read_table, write_table
from curation.workspace.user_tables import read_user_table

SLOT = ("item", "evaluator")
"""A score replaces the earlier one with the same values of these."""
Score = dict[str, Any]
"""A row of SCORES."""


def import_scores(opened: Opened, file: Path) -> dict[str, int]:
    """Adds an evaluator's scores to those that are there.

    A score by the same evaluator on the same item replaces the earlier one, which stays on record with its lower
    revision. A row none of whose criteria is filled in is left out: the evaluator has not come that far.

    Args:
        file: columns item, evaluator, and the four criteria (whole numbers from 1 to 5); others are ignored.

    Returns:
        scores (newly added or changed), left_empty, evaluators, and how many items are scored, `of` how many.

    Raises:
        UserError: there is no sheet, or a value is wrong; the line names file, line and column. Nothing is imported.
    """
    files = EvalFiles(opened.workspace)
    known = sheet_items(files)
    stored = read_scores(files)
    given, empty = [], 0
    for where, row in read_user_table(file, ("item", "evaluator", *CRITERIA)).rows():
        score = _score(where, row, known, files.sheet)
        if score is None:
            empty += 1
        else:
            given.append(score)
    added = revised(stored, given, SLOT, said=CRITERIA)
    if added:
        write_table(files.scores, pa.Table.from_pylist(stored + added, schema=SCORES))
    counting = latest([*stored, *added], SLOT)
    scored = {item for item, _evaluator in counting} & known
    evaluators = {evaluator for item, evaluator in counting if item in known}
    counts = {"scores": len(added), "left_empty": empty, "evaluators": len(evaluators)}
    return counts | {"items": len(scored), "of": len(known)}


def sheet_items(files: EvalFiles) -> set[str]:
    """The items of the sheet. Raises UserError if there is none."""
    try:
        return set(read_table(files.sheet, columns=["item"])["item"].to_pylist())
    except FileNotFoundError:
        raise UserError(f"{files.sheet}: there is no sheet yet; run `curate caption-eval sheet RECIPE`") from None


def read_scores(files: EvalFiles) -> list[Score]:
    """All scores on record; empty if there are none."""
    return read_table(files.scores).to_pylist() if files.scores.exists() else []


def _score(where: str, row: dict[str, Any], known: set[str], sheet: Path) -> Score | None:
    """The row as a score; None if nothing is filled in."""
    item = _text(row["item"])
    if item not in known:
        raise UserError(f'{where}: item: there is no "{item}" in {sheet}')
    given = {name: _text(row[name]) for name in CRITERIA}
    if not any(given.values()):
        return None
    evaluator = _text(row["evaluator"])
    if not evaluator:
        raise UserError(f"{where}: evaluator: it is empty; write who has scored, the same name on every row of theirs")
    for name, value in given.items():
        if not value:
            raise UserError(f"{where}: {name}: it is empty, where others of the row are not; give all four or none")
    return {"item": item, "evaluator": evaluator} | {name: _whole(where, name, text) for name, text in given.items()}


def _text(value: Any) -> str:
    """The value as text; empty for null and for a number that is none."""
    return "" if value is None or value != value else str(value).strip()


def _whole(where: str, name: str, text: str) -> int:
    """A score; spreadsheets write whole numbers as 4.0 where others of the column are empty."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if number not in (1, 2, 3, 4, 5):
        raise UserError(f"{where}: {name}: expected a whole number from 1 to 5, found {text[:40]!r}")
    return int(number)
