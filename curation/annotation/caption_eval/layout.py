"""Lays out the table of `curation.annotation.caption_eval.table` for a terminal and for a report."""

from collections.abc import Callable

from curation.annotation.caption_eval import published
from curation.annotation.caption_eval.files import CRITERIA
from curation.annotation.caption_eval.table import COLUMNS, CONFIDENCE, MeanEstimate, Result
from curation.counts import counted

NOTHING = "—"
HEAD = ["", *(name.capitalize() for name in COLUMNS)]


def lines(result: Result) -> list[str]:
    """Returns the lines of the table for a terminal: each mean with half the width of its confidence interval."""
    cells = [HEAD, *_own(result, _plus_minus), _agreement(result)]
    others = _published()
    widths = [max(len(row[n]) for row in (*cells, *others)) for n in range(len(HEAD))]

    def aligned(row: list[str]) -> str:
        padded = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        return "  ".join(["", row[0].ljust(widths[0]), *padded]).rstrip()

    output = [f"caption-eval: {_basis(result)}", *map(aligned, cells), _published_basis(), *map(aligned, others)]
    output.append(f"± is half the width of the {CONFIDENCE:.0%} confidence interval (bootstrap over images)")
    return output + [f"note: {note}" for note in result.notes]


def markdown(result: Result) -> str:
    """Returns the table in Markdown for a report: each mean with its confidence interval."""
    rows = [_agreement(result), [f"*{_published_basis()}*", *[""] * len(COLUMNS)], *_published()]
    body = [HEAD, ["---", *["---:"] * len(COLUMNS)], *_own(result, _bounds), *rows]
    table = "\n".join(f"| {' | '.join(row)} |" for row in body)
    caption = f"{_basis(result)}. In brackets: {CONFIDENCE:.0%} confidence intervals (bootstrap over images)."
    notes = "".join(f"\n- {note}" for note in result.notes)
    return f"{table}\n\n{caption[:1].upper()}{caption[1:]}\n{notes}".rstrip() + "\n"


def _own(result: Result, formatted: Callable[[MeanEstimate, int], str]) -> list[list[str]]:
    return [
        [
            row.captioner,
            *(NOTHING if mean is None else formatted(mean, _digits(name)) for name, mean in row.estimates.items()),
        ]
        for row in result.rows
    ]


def _agreement(result: Result) -> list[str]:
    alphas = {name: f"{alpha:.2f}" for name, alpha in result.agreement.items() if alpha is not None}
    cells = [alphas.get(name, NOTHING) if name in CRITERIA else "" for name in COLUMNS]
    return ["Krippendorff's α (ordinal)", *cells]


def _published() -> list[list[str]]:
    rows = []
    for row in published.ROWS:
        values = [(name, getattr(row, name)) for name in COLUMNS]
        cells = [NOTHING if value is None else f"{value:.{_digits(name)}f}" for name, value in values]
        rows.append([row.captioner, *cells])
    return rows


def _basis(result: Result) -> str:
    counts = {"images": result.images, "captioners": len(result.rows), "evaluators": result.evaluators}
    return ", ".join(counted(count, name) for name, count in counts.items())


def _published_basis() -> str:
    others = f"{published.IMAGES} other images, {published.EVALUATORS} other evaluators"
    return f"{published.TITLE}: {others}; {NOTHING} where the figure is not known here"


def _digits(column: str) -> int:
    return 1 if column == "length" else 2


def _plus_minus(estimate: MeanEstimate, digits: int) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.{digits}f}"
    return f"{estimate.mean:.{digits}f} ± {(estimate.high - estimate.low) / 2:.{digits}f}"


def _bounds(estimate: MeanEstimate, digits: int) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.{digits}f}"
    return f"{estimate.mean:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"
