"""Lays out tables of means with confidence intervals, for a terminal and for a report in Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from curation.annotation.bootstrap import CONFIDENCE, MeanEstimate

NOTHING = "—"
Row = list[str]
Formatted = Callable[[MeanEstimate, int], str]
ABOUT_PLUS_MINUS = f"± is half the width of the {CONFIDENCE:.0%} confidence interval (bootstrap over images)"
ABOUT_BOUNDS = f"In brackets: {CONFIDENCE:.0%} confidence intervals (bootstrap over images)."


def aligned(rows: Sequence[Row]) -> list[str]:
    """Returns the lines of a table for a terminal: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    )
    return ["  ".join(["", *cells]).rstrip() for cells in padded]


def markdown_table(rows: Sequence[Row]) -> str:
    """Returns a table in Markdown whose first row is its head; all columns but the first are to the right."""
    cells = [[" ".join(cell.split()).replace("|", r"\|") for cell in row] for row in rows]  # names are the user's
    body = [cells[0], ["---", *["---:"] * (len(rows[0]) - 1)], *cells[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in body)


def estimate_cells(estimates: Iterable[tuple[MeanEstimate | None, int]], formatted: Formatted) -> Row:
    """Returns a cell for each estimate and its number of decimals, by `plus_minus` or `bounds`."""
    return [NOTHING if estimate is None else formatted(estimate, digits) for estimate, digits in estimates]


def agreement_row(agreement: Mapping[Any, float | None], columns: Iterable[str]) -> Row:
    """Returns the row of Krippendorff's alpha, which has a cell for each column and is empty where none is meant."""
    alphas = {name: NOTHING if alpha is None else f"{alpha:.2f}" for name, alpha in agreement.items()}
    return ["Krippendorff's α (ordinal)", *(alphas.get(name, "") for name in columns)]


def plus_minus(estimate: MeanEstimate, digits: int) -> str:
    """Returns a mean with half the width of its interval, if it has one."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.{digits}f}"
    return f"{estimate.mean:.{digits}f} ± {(estimate.high - estimate.low) / 2:.{digits}f}"


def bounds(estimate: MeanEstimate, digits: int) -> str:
    """Returns a mean with the bounds of its interval, if it has one."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.{digits}f}"
    return f"{estimate.mean:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"
