"""Lays out the table of `curation.annotation.caption_eval.table` for a terminal and for a report."""

from curation.annotation.caption_eval import published
from curation.annotation.caption_eval.table import COLUMNS, Result
from curation.annotation.layout import (
    ABOUT_BOUNDS,
    ABOUT_PLUS_MINUS,
    Formatted,
    Row,
    agreement_row,
    aligned,
    bounds,
    estimate_cells,
    markdown_table,
    plus_minus,
)
from curation.counts import counted

HEAD = ["", *(name.capitalize() for name in COLUMNS)]


def lines(result: Result) -> list[str]:
    """Returns the lines of the table for a terminal: each mean with half the width of its confidence interval."""
    own = _own(result, plus_minus)
    said = aligned([*own, *_published()])
    output = [f"caption-eval: {_basis(result)}", *said[: len(own)], _published_basis(), *said[len(own) :]]
    return [*output, ABOUT_PLUS_MINUS, *(f"note: {note}" for note in result.notes)]


def markdown(result: Result) -> str:
    """Returns the table in Markdown for a report: each mean with its confidence interval."""
    table = markdown_table([*_own(result, bounds), [f"*{_published_basis()}*", *[""] * len(COLUMNS)], *_published()])
    basis = _basis(result)
    notes = "".join(f"\n- {note}" for note in result.notes)
    return f"{table}\n\n{basis[:1].upper()}{basis[1:]}. {ABOUT_BOUNDS}\n{notes}".rstrip() + "\n"


def _own(result: Result, formatted: Formatted) -> list[Row]:
    rows = [
        [row.captioner, *estimate_cells([(mean, _digits(name)) for name, mean in row.estimates.items()], formatted)]
        for row in result.rows
    ]
    return [HEAD, *rows, agreement_row(result.agreement, COLUMNS)]


def _published() -> list[Row]:
    return [[row.captioner, *(f"{getattr(row, name):.{_digits(name)}f}" for name in COLUMNS)] for row in published.ROWS]


def _basis(result: Result) -> str:
    counts = {"images": result.images, "captioners": len(result.rows), "evaluators": result.evaluators}
    return ", ".join(counted(count, name) for name, count in counts.items())


def _published_basis() -> str:
    return f"{published.TITLE}: {published.IMAGES} other images, {published.EVALUATORS} other evaluators"


def _digits(column: str) -> int:
    return 1 if column == "length" else 2
