"""A recipe being tuned: its table, its images and its file, used by one request at a time."""

import json
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from curation.errors import StageError, UserError
from curation.recipe.thresholds import Threshold
from curation.scoring.opened import Opened
from curation.views.tune.answers import DiffAnswer, KeysAnswer, LastSelect, PredicateState, State, ThresholdState
from curation.views.tune.images import Images, plain
from curation.views.tune.recipe_text import RecipeText
from curation.views.tune.split import Split, Values
from curation.views.tune.table import Table

NEIGHBOURS = 12
"""Number of images shown on each side of a threshold."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Moved(_Body):
    """One threshold with its new value."""

    predicate: str
    number: int
    value: Annotated[float, Field(allow_inf_nan=False)]


class Place(_Body):
    """One threshold."""

    predicate: str
    number: int


class Question(_Body):
    """Moved thresholds, and the threshold that the question is about."""

    values: list[Moved] = Field([], max_length=10_000)
    at: Place | None = None


class Writing(_Body):
    """Moved thresholds to be written, and the diff that the user confirmed."""

    values: list[Moved] = Field(max_length=10_000)
    diff: list[str]


class Rows(_Body):
    """Rows of the table."""

    rows: list[int] = Field(max_length=10 * NEIGHBOURS)


class Tuner:
    """A recipe, its table and its file; serves one request at a time.

    Raises:
        UserError: the recipe's file cannot be read, a predicate is not admitted, or nothing is indexed.
        StageError: a sidecar does not fit its samples file.
    """

    def __init__(self, recipe_file: Path, opened: Opened) -> None:
        self.file = RecipeText(recipe_file)
        self.table = Table(opened)
        self.images = Images(opened, self.table.loaded)
        self._lock = threading.Lock()
        self.saved = self.table.funnel({})

    def state(self) -> State:
        """Returns all that the page shows when it is opened."""
        with self._lock:
            return {
                "recipe": self.file.path.name,
                "folder": str(self.file.path.parent),
                "name": self.table.recipe.name,
                "version": self.table.loaded.version,
                "predicates": [self._predicate(s) for s in self.table.splits],
                "saved": asdict(self.saved),
                "last": self._last_select(),
            }

    def move(self, question: Question) -> dict[str, Any]:
        """Returns the fields of `TuneAnswer`; only its funnel if the question names no threshold."""
        with self._lock:
            values = self._values(question.values)
            if question.at is None:
                return {"funnel": asdict(self.table.funnel(values))}
            answer = asdict(self.table.answer(values, self._threshold(question.at), NEIGHBOURS))
            for neighbour in (*answer["failing"], *answer["passing"]):
                neighbour["value"] = plain(neighbour["value"])
            return answer

    def histogram(self, question: Question) -> dict[str, Any]:
        """Returns the fields of `ColumnHistogram` of one threshold, without making its predicate the current one.

        Raises:
            UserError: the question names no threshold.
        """
        if question.at is None:
            raise UserError("at: which threshold?")
        with self._lock:
            values = self._values(question.values)
            return asdict(self.table.histogram(values, self._threshold(question.at)))

    def diff(self, question: Question) -> DiffAnswer:
        """Returns the lines of the recipe that writing the moved thresholds would change."""
        with self._lock:
            return {"diff": self.file.diff(self._edited(self._values(question.values)))}

    def write(self, writing: Writing) -> State:
        """Writes moved thresholds into the recipe's file; returns the new state.

        Raises:
            UserError: the file cannot be edited in place, or is write-protected.
            StageError: the file has changed, or the lines to be changed are not those that the user confirmed.
        """
        with self._lock:
            values = self._values(writing.values)
            predicates = {s.predicate.name: s.text(values) for s in self.table.splits if s.predicate.name in values}
            text = self._edited(values)
            if self.file.diff(text) != writing.diff:
                raise StageError("these are not the lines that were shown; look at them again")
            written = self.file.write(text)
            if any(written.select.where.get(name) != sql for name, sql in predicates.items()):
                raise StageError(f"{self.file.path}: does not read as it was written; look at it")
            self.table.save(values)
            self.saved = self.table.funnel({})
        return self.state()

    def keys(self, rows: list[int]) -> KeysAnswer:
        """Returns the keys of rows, in the same order."""
        return {"keys": [self.images.key(row) for row in rows]}

    def _edited(self, values: Values) -> str:
        thresholds = {s.predicate.name: s.thresholds for s in self.table.splits}
        return self.file.edited(self.table.recipe, {name: (thresholds[name], moved) for name, moved in values.items()})

    def _values(self, moves: list[Moved]) -> Values:
        values: dict[str, dict[int, float]] = {}
        for move in moves:
            threshold = self._threshold(move)
            if move.value != threshold.value:
                values.setdefault(move.predicate, {})[move.number] = move.value
        return values

    def _threshold(self, place: Place | Moved) -> Threshold:
        threshold = self.table.threshold(place.predicate, place.number)
        if threshold is None:
            raise UserError(f"there is no threshold {place.number}", f"select.where.{place.predicate}")
        return threshold

    def _predicate(self, split: Split) -> PredicateState:
        states: list[ThresholdState] = []
        for t in split.thresholds:
            axis = self.table.axis(t)
            states.append(
                {
                    "number": t.number, "column": t.column, "operator": t.operator, "value": t.value,
                    "start": t.start, "stop": t.stop, "low": axis.low, "high": axis.high, "bins": axis.bins,
                    "step": axis.step, "whole": axis.whole,
                }
            )  # fmt: skip
        name, sql = split.predicate.name, split.predicate.sql
        overridden = self.file.where.get(name) != sql
        return {
            "name": name,
            "sql": sql,
            "thresholds": states,
            "signals": self.table.cascade.reads(split.predicate),
            "overridden": overridden,
        }

    def _last_select(self) -> LastSelect | None:
        """Returns the counts of the last `curate select`, and whether it used the recipe's predicates."""
        try:
            notes = json.loads(self.table.workspace.funnel.read_text(encoding="utf-8"))
            return {
                "duplicates": sum(notes["funnel"]["duplicate"].values()),
                "balanced": notes["funnel"].get("balance", 0),
                "kept": notes["funnel"]["kept"],
                "current": notes["where"] == self.table.recipe.select.where,
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
