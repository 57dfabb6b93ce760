"""The evaluators' scores: read from CSV or Parquet, checked value by value, and kept."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.annotation.caption_eval.files import CRITERIA, SCORES, EvalFiles
from curation.errors import UserError, in_one_line, nearest
from curation.scoring.opened import Opened
from curation.workspace.files import read_table, write_table

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
    now, added, empty = latest(stored), 0, 0
    for where, row in _rows(file):
        score = _score(where, row, known, files.sheet)
        if score is None:
            empty += 1
            continue
        slot = score["item"], score["evaluator"]
        before = now.get(slot)
        if before and all(before[name] == score[name] for name in CRITERIA):
            continue
        now[slot] = score | {"revision": before["revision"] + 1 if before else 1}
        stored.append(now[slot])
        added += 1
    if added:
        write_table(files.scores, pa.Table.from_pylist(stored, schema=SCORES))
    scored = {item for item, _evaluator in now} & known
    evaluators = {evaluator for item, evaluator in now if item in known}
    counts = {"scores": added, "left_empty": empty, "evaluators": len(evaluators)}
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


def latest(scores: list[Score]) -> dict[tuple[str, str], Score]:
    """Those that count, by item and evaluator."""
    return {(score["item"], score["evaluator"]): score for score in scores}


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row, and its place in words."""
    try:
        yield from _parquet(file) if file.suffix == ".parquet" else _csv(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: is not in UTF-8; save it as CSV in UTF-8") from None
    except (OSError, csv.Error, pa.ArrowException) as error:
        raise UserError(f"{file}: cannot be read: {in_one_line(error)}") from None


def _parquet(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    columns = ["item", "evaluator", *CRITERIA]
    _check_columns(file, pq.read_schema(file).names)
    for number, row in enumerate(pq.read_table(file, columns=columns).to_pylist(), start=1):
        yield f"{file}: row {number}", row


def _csv(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with open(file, newline="", encoding="utf-8-sig") as text:  # spreadsheets write a byte-order mark
        lines = csv.reader(text, strict=True)
        columns = [name.strip() for name in next(lines, [])]
        _check_columns(file, columns)
        line = lines.line_num + 1
        for values in lines:
            if values:
                where = f"{file}: line {line}"
                if len(values) != len(columns):
                    raise UserError(f"{where}: {len(values)} values, where the head names {len(columns)} columns")
                yield where, dict(zip(columns, values, strict=True))
            line = lines.line_num + 1  # a value in quotes may hold line breaks


def _check_columns(file: Path, found: list[str]) -> None:
    for column in ("item", "evaluator", *CRITERIA):
        if found.count(column) != 1:
            problem = "stands twice" if column in found else f"is missing{nearest(column, found)}"
            raise UserError(f'{file}: the column "{column}" {problem}')


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
