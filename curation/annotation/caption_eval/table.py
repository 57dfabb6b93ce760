"""Computes the result of an evaluation: means, confidence intervals and agreement, as in the paper's Table 2.

Captioners are compared over the same images: those for which every captioner has a caption and each caption a score.
The notes say how many images are left out and why. Every image has the same weight, however many evaluators scored it.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.annotation.agreement import krippendorff_alpha
from curation.annotation.bootstrap import CONFIDENCE, MeanEstimate, mean_estimates
from curation.annotation.caption_eval import published
from curation.annotation.caption_eval.files import CRITERIA, EvalFiles
from curation.annotation.caption_eval.scores import Score, counting_scores, read_scores, sheet_items
from curation.annotation.caption_eval.sheet import ComparedCaption
from curation.counts import counted
from curation.errors import UserError
from curation.recipe import Recipe
from curation.scoring.opened import Opened
from curation.workspace.files import read_table

COLUMNS = ("length", *CRITERIA, "avg")
"""Columns of the table: `length` is the mean number of Chinese characters of the Chinese captions; `avg` is the mean of
the four criteria."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """The row of one captioner in the table."""

    captioner: str
    estimates: dict[str, MeanEstimate | None]
    """The mean of each column of `COLUMNS`; None where no image has a value."""


@dataclass(frozen=True, slots=True)
class Result:
    """The table, and the data that it is based on."""

    rows: list[TableRow]
    agreement: dict[str, float | None]
    """Krippendorff's alpha (ordinal) of each criterion; None where it is not defined."""
    images: int
    """Number of images compared."""
    evaluators: int
    """Number of evaluators who scored these images."""
    scores: int
    """Number of these evaluators' scores of these images."""
    notes: list[str]
    """Notices that tell what is left out, and why."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the result as a dict for JSON."""
        beside = {"table": published.TITLE, "images": published.IMAGES, "evaluators": published.EVALUATORS}
        rows = [
            {"captioner": row.captioner} | {n: f and asdict(f) for n, f in row.estimates.items()} for row in self.rows
        ]
        return asdict(self) | {
            "rows": rows,
            "confidence": CONFIDENCE,
            "published": beside | {"rows": [asdict(row) for row in published.ROWS]},
        }


def table(opened: Opened) -> Result:
    """Computes the result from the scores imported so far.

    Raises:
        UserError: there is no sheet, no score yet, or no image on which all captioners can be compared.
    """
    files = EvalFiles(opened.workspace)
    known = sheet_items(files)
    rows = _captions(files)
    on_record = counting_scores(read_scores(files))
    scores = [score for score in on_record if score["item"] in known]
    if not scores:
        raise UserError(f"{files.root}: there are no scores yet; run `curate caption-eval import RECIPE scores.csv`")
    names = list(dict.fromkeys(row["captioner"] for row in rows))
    images: dict[int, list[ComparedCaption]] = {}
    for row in rows:
        images.setdefault(row["image"], []).append(row)
    scored = {score["item"] for score in scores}
    complete = {image: own for image, own in images.items() if all(row["item"] for row in own)}
    compared = [own for own in complete.values() if all(row["item"] in scored for row in own)]
    notes = _notes(opened.recipe, names, images, len(complete), len(compared), len(on_record) - len(scores))
    if not compared:
        raise UserError(f"{files.root}: no image has scores for all of {', '.join(names)} yet; {'; '.join(notes)}")
    counting = {row["item"] for own in compared for row in own}
    scores = [score for score in scores if score["item"] in counting]
    counts = _counts(scores)
    return Result(
        _rows(names, _values(compared, counts)),
        {
            name: _rounded(krippendorff_alpha(np.stack([c[n] for c in counts.values()])))
            for n, name in enumerate(CRITERIA)
        },
        len(compared),
        len({score["evaluator"] for score in scores}),
        len(scores),
        notes,
    )


def _captions(files: EvalFiles) -> list[ComparedCaption]:
    try:
        return read_table(files.captions).to_pylist()
    except FileNotFoundError:
        raise UserError(f"{files.captions}: is missing; run `curate caption-eval sheet RECIPE`") from None


def _counts(scores: list[Score]) -> dict[str, NDArray[np.int64]]:
    """Counts, for each item, how many evaluators gave each score: int64 (criteria, 5), by item."""
    counts: dict[str, NDArray[np.int64]] = {}
    for score in scores:
        own = counts.setdefault(score["item"], np.zeros((len(CRITERIA), 5), np.int64))
        for number, name in enumerate(CRITERIA):
            own[number, score[name] - 1] += 1
    return counts


def _values(compared: list[list[ComparedCaption]], counts: dict[str, NDArray[np.int64]]) -> NDArray[np.float64]:
    """Returns the value of each caption: float64 (images, captioners, COLUMNS); NaN for a missing length."""
    values = np.empty((len(compared), len(compared[0]), len(COLUMNS)))
    for image, own in enumerate(compared):
        for captioner, row in enumerate(own):
            own_counts = counts[str(row["item"])]
            means = own_counts @ np.arange(1, 6) / own_counts.sum(axis=1)
            length = np.nan if row["length"] is None else row["length"]
            values[image, captioner] = [length, *means, means.mean()]
    return values


def _rows(names: list[str], values: NDArray[np.float64]) -> list[TableRow]:
    estimates = iter(mean_estimates(values.reshape(len(values), -1)))
    return [TableRow(name, {column: next(estimates) for column in COLUMNS}) for name in names]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def _notes(
    recipe: Recipe,
    names: list[str],
    images: dict[int, list[ComparedCaption]],
    complete: int,
    compared: int,
    outdated: int,
) -> list[str]:
    notes = []
    if complete < len(images):
        lacking = {name: sum(row["item"] is None for own in images.values() for row in own if row["captioner"] == name)
                   for name in names}  # fmt: skip
        each = ", ".join(f"{name} {count:,}" for name, count in lacking.items() if count)
        notes.append(f"left out: {len(images) - complete:,} of {counted(len(images), 'images')}, no caption by {each}")
    if compared < complete:
        notes.append(
            f"left out: {complete - compared:,} of {counted(len(images), 'images')}, not scored for all captioners yet"
        )
    if outdated:
        notes.append(f"{counted(outdated, 'scores')} on record, of captions that the sheet no longer has")
    if names != list(recipe.compared_captioners):
        now = ", ".join(recipe.compared_captioners)
        notes.append(f"the recipe now names {now}; run `curate caption-eval sheet RECIPE` to compare these")
    lengths = [row["length"] for own in images.values() for row in own if row["item"]]
    if None in lengths:
        notes.append(f"without Chinese: {counted(lengths.count(None), 'captions')}; Length is the mean of the others")
    return notes
