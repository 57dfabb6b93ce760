"""Stage `score`: computes signals for the rows that the cascade lets reach them, and stores them beside the samples.

One pass over a shard reads and decodes each image at most once per reduction, in micro-batches of 32. What is scored
already is kept; a row that fails costs only itself.
"""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.cascade import FAILED, SCORED, SKIPPED, Cascade, Decider, meta_schema, samples_notes, sidecar_fields
from curation.corpus import open_source
from curation.doctor import libraries
from curation.errors import StageError
from curation.images import ImageError, Picture, reduction
from curation.recipe import Corpus, Recipe
from curation.signals.base import Row, Scores, Signal, SignalError
from curation.sources import Source
from curation.tasks import Outcome, Watch
from curation.wide import refresh
from curation.workspace import Workspace, footer, write_table

BATCH = 32
BATCH_PIXELS = 24_000_000
"""Decoded pixels that a micro-batch may hold (72 MB); pictures after the first of a batch wait for the next."""


@dataclass(frozen=True, slots=True)
class ScoreTask:
    """Scores one shard."""

    recipe: Recipe
    source_corpus: Corpus
    shard: str
    path: str
    rows: int
    """Rows that need something."""
    retry_failed: bool = False

    @property
    def corpus(self) -> str:
        """The corpus's name."""
        return self.source_corpus.name

    def run(self, watch: Watch) -> Outcome:
        """Scores what is missing and writes the sidecars that changed, and the shard's wide file."""
        workspace = Workspace(self.recipe.workspace)
        cascade, instances = _machinery(self.recipe)
        columns = Columns.read(workspace, cascade, self.corpus, self.shard, self.retry_failed)
        source = open_source(self.source_corpus, self.shard, self.path)
        try:
            outcome = _Pass(cascade, instances, columns, source, watch).run()
        finally:
            source.close()
        for signal in cascade.signals.values():
            columns.write(workspace, self.corpus, self.shard, signal)
        refresh(workspace, self.recipe, cascade, self.corpus, self.shard)
        return outcome


def plan(recipe: Recipe, retry_failed: bool = False) -> tuple[list[ScoreTask], dict[str, int], int]:
    """The shards with something to score, the rows that each signal still needs, and how many shards there are.

    The rows counted are those that need the signal as far as is known now: what earlier predicates will drop or
    let through is known only when they are computed.
    """
    workspace = Workspace(recipe.workspace)
    cascade = Cascade.of(recipe, meta_schema(workspace, [c.name for c in recipe.corpora]))
    decider = Decider()
    tasks, needed, total = [], dict.fromkeys(cascade.signals, 0), 0
    for corpus in recipe.corpora:
        for shard in workspace.shards(corpus.name):
            total += 1
            columns = Columns.read(workspace, cascade, corpus.name, shard, retry_failed)
            rows = columns.needy(cascade, columns.stops(cascade, decider))
            for name, numbers in rows.items():
                needed[name] += len(numbers)
            if any(rows.values()):
                some = len(set().union(*rows.values()))
                path = raw_path(corpus, workspace, shard)
                tasks.append(ScoreTask(recipe, corpus, shard, path, some, retry_failed))
    return tasks, needed, total


def raw_path(corpus: Corpus, workspace: Workspace, shard: str) -> str:
    """Where the raw shard lies, from the note that the index left."""
    notes = footer(workspace.samples(corpus.name, shard)) or {}
    return "/".join(part for part in (corpus.path.rstrip("/"), notes.get("source", "")) if part)


class Columns:
    """A shard's samples and signals in memory: values by column, to be filled and written back."""

    def __init__(
        self,
        samples: pa.Table,
        values: dict[str, list[Any]],
        fields: dict[str, pa.DataType],
        fingerprints: dict[str, str],
    ) -> None:
        self.samples, self.values, self.fields, self.fingerprints = samples, values, fields, fingerprints
        self.changed: set[str] = set()
        self.ok = [status == "ok" for status in samples["status"].to_pylist()]

    @classmethod
    def read(cls, workspace: Workspace, cascade: Cascade, corpus: str, shard: str, retry_failed: bool) -> "Columns":
        """Reads the samples, and of each signal what is stored under the current fingerprint; the rest is skipped."""
        samples = cascade.with_meta(pq.read_table(workspace.samples(corpus, shard)))
        notes = samples_notes(workspace, corpus, shard)
        values: dict[str, list[Any]] = {}
        fields: dict[str, pa.DataType] = {}
        fingerprints = {}
        for name, signal in cascade.signals.items():
            fingerprints[name] = cascade.fingerprint(name, notes)
            path = workspace.signal(name, corpus, shard)
            stored = pq.read_table(path) if (footer(path) or {}).get("fingerprint") == fingerprints[name] else None
            for f in sidecar_fields(signal):
                fields[f.name] = f.type
                values[f.name] = stored[f.name].to_pylist() if stored is not None else [None] * samples.num_rows
            states = values[f"{name}_state"]
            values[f"{name}_state"] = [SKIPPED if s is None or (retry_failed and s == FAILED) else s for s in states]
        return cls(samples, values, fields, fingerprints)

    def table(self, rows: list[int] | None = None) -> pa.Table:
        """Samples and signals side by side, of some rows or of all; lists and bytes left out."""
        indices = None if rows is None else pa.array(rows, pa.int64())
        table = self.samples if indices is None else self.samples.take(indices)
        for name, kind in self.fields.items():
            if pa.types.is_nested(kind):
                continue
            values = self.values[name] if rows is None else [self.values[name][r] for r in rows]
            table = table.append_column(name, pa.array(values, kind))
        return table

    def stops(self, cascade: Cascade, decider: Decider, rows: list[int] | None = None) -> list[int]:
        """For each row the first predicate that is not TRUE, as far as is known now."""
        return decider.numbers(self.table(rows), cascade.stop_sql)

    def needy(self, cascade: Cascade, stops: list[int]) -> dict[str, list[int]]:
        """For each signal the rows that need it as far as is known now."""
        return {
            name: [
                r
                for r, stop in enumerate(stops)
                if stop >= at and self.ok[r] and self.values[f"{name}_state"][r] == SKIPPED
            ]
            for name, at in cascade.first_use.items()
        }

    def store(self, signal: type[Signal], row: int, result: Scores | SignalError) -> None:
        """Notes one row's scores, or why it has none. A score that is no finite number is a failure."""
        self.changed.add(signal.name)
        if not isinstance(result, SignalError):
            try:
                stored = {c: _rounded(result.get(c), kind) for c, kind in signal.columns.items()}
            except SignalError as error:
                result = error
        failed = isinstance(result, SignalError)
        self.values[f"{signal.name}_state"][row] = FAILED if failed else SCORED
        self.values[f"{signal.name}_error"][row] = str(result) if failed else None
        for column in signal.columns:
            self.values[column][row] = None if failed else stored[column]

    def write(self, workspace: Workspace, corpus: str, shard: str, signal: type[Signal]) -> None:
        """Writes the signal's sidecar if anything in it is new."""
        name = signal.name
        path = workspace.signal(name, corpus, shard)
        if name not in self.changed and (footer(path) or {}).get("fingerprint") == self.fingerprints[name]:
            return
        own = [f.name for f in sidecar_fields(signal)]
        arrays = {"key": self.samples["key"]} | {c: pa.array(self.values[c], self.fields[c]) for c in own}
        used = set(json.loads((footer(path) or {}).get("libraries", "[]"))) | {libraries()}
        write_table(path, pa.table(arrays), self.fingerprints[name], libraries=json.dumps(sorted(used)))


class _Pass:
    """One walk over the rows of a shard that need something."""

    def __init__(
        self, cascade: Cascade, instances: dict[str, Signal], columns: Columns, source: Source, watch: Watch
    ) -> None:
        self.cascade, self.instances, self.columns = cascade, instances, columns
        self.source, self.watch = source, watch
        self.decider = Decider()
        self.places = columns.samples.select(["member", "offset", "length"]).to_pylist()
        self.inputs = {i: columns.samples[i].to_pylist() for s in cascade.signals.values() for i in s.inputs}

    def run(self) -> Outcome:
        """Scores every row that needs something."""
        self.stops = self.columns.stops(self.cascade, self.decider)
        needy = self.columns.needy(self.cascade, self.stops)
        rows = sorted(set().union(*needy.values()))
        outcome = Outcome(rows=len(rows))
        for batch in self.watch.batches(rows, [self._pixels(r) for r in rows], BATCH, BATCH_PIXELS):
            self.watch.note(os.getpid(), batch[0], batch[-1] + 1, len(batch))
            self._batch(batch)
        self.watch.note(os.getpid())
        for name in self.cascade.signals:
            errors = self.columns.values[f"{name}_error"]
            outcome.failed.update(f"{name} {str(errors[r]).split(':')[0]}" for r in rows if errors[r])
        return outcome

    def _batch(self, rows: list[int]) -> None:
        pictures: dict[int, Picture | SignalError] = {}
        new = False  # whether a score of this batch may have moved a row on
        for at, names in self.cascade.order:
            waiting = [r for r in rows if any(self._skipped(n, r) for n in names)]
            if waiting and new:
                for row, stop in zip(waiting, self.columns.stops(self.cascade, self.decider, waiting), strict=True):
                    self.stops[row] = stop
            for name in names:
                todo = [r for r in waiting if self.stops[r] >= at and self._skipped(name, r)]
                if todo:
                    self._score(self.instances[name], todo, pictures)
                    new = True

    def _skipped(self, name: str, row: int) -> bool:
        return self.columns.values[f"{name}_state"][row] == SKIPPED

    def _score(self, signal: Signal, rows: list[int], pictures: dict[int, Picture | SignalError]) -> None:
        """Scores some rows by one signal; rows that cannot even be shown to it are failed here."""
        shown, given = [], []
        for row in rows:
            result = self._row(signal, row, pictures)
            if isinstance(result, SignalError):
                self.columns.store(type(signal), row, result)
            else:
                shown.append(row)
                given.append(result)
        for row, scores in zip(shown, _results(signal, given), strict=True):
            self.columns.store(type(signal), row, scores)

    def _row(self, signal: Signal, row: int, pictures: dict[int, Picture | SignalError]) -> Row | SignalError:
        if row in self.watch.condemned:
            return SignalError(self.watch.condemned[row], "the image killed its worker process twice")
        values = self.columns.values
        for needed in signal.needs:
            if values[f"{needed}_state"][row] != SCORED:
                return SignalError(f"needs_{needed}", str(values[f"{needed}_error"][row]))
        needs = {c: values[c][row] for n in signal.needs for c in self.cascade.signals[n].columns}
        sample = {i: self.inputs[i][row] for i in signal.inputs}
        if signal.side is None:
            return Row(None, sample, needs)
        if row not in pictures:
            pictures[row] = self._picture(row)
        picture = pictures[row]
        if isinstance(picture, SignalError):
            return picture
        try:
            picture.bgr(signal.side)
        except ImageError as error:
            pictures[row] = SignalError(error.reason, str(error).partition(": ")[2])
            return pictures[row]  # type: ignore[return-value]
        return Row(picture, sample, needs)

    def _picture(self, row: int) -> Picture | SignalError:
        place = self.places[row]
        try:
            data = self.source.read(place["member"], place["offset"], place["length"])
        except FileNotFoundError as error:
            if self.source.corpus.format in ("webdataset", "parquet"):  # the shard itself: nothing to note on rows
                raise StageError(f"{self.source.path}: {error.strerror}") from None
            return SignalError("unreadable", "the file is no longer there; run `curate index` again")
        except OSError as error:
            raise StageError(f"{self.source.path}: cannot be read: {error.strerror or error}") from None
        if len(data) != place["length"]:
            return SignalError("unreadable", "the raw shard has changed; run `curate index` again")
        return Picture(data)

    def _pixels(self, row: int) -> int:
        """Pixels that the row will hold in memory, at the largest reduction that any signal asks for."""
        width, height = self._sizes[row]
        side = max((s.side or 0 for s in self.cascade.signals.values()), default=0)
        factor = reduction(width, height, side)
        return (width // factor) * (height // factor) if side else 0

    @cached_property
    def _sizes(self) -> list[tuple[int, int]]:
        samples = self.columns.samples
        return list(zip(samples["width"].to_pylist(), samples["height"].to_pylist(), strict=True))


def _results(signal: Signal, rows: list[Row]) -> list[Scores | SignalError]:
    """The signal's results. If the batch as a whole goes wrong, each row is tried alone."""
    if not rows:
        return []
    try:
        return signal.score(rows)
    except Exception as error:  # a plug-in's own mistake must not cost the shard
        if len(rows) == 1:
            return [_as_failure(error)]
        return [result for row in rows for result in _results(signal, [row])]


def _as_failure(error: Exception) -> SignalError:
    if isinstance(error, ImageError):
        return SignalError(error.reason, str(error).partition(": ")[2])
    return SignalError("error", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _rounded(value: Any, kind: pa.DataType) -> Any:
    """A score as it is stored: float32 rounded to 4 decimals. Raises SignalError for NaN and infinities."""
    if value is None or not pa.types.is_float32(kind):
        return value
    if not np.isfinite(value):
        raise SignalError("not_finite", f"the score is {value}")
    return round(float(value), 4)


_kept: dict[str, tuple[Cascade, dict[str, Signal]]] = {}


def _machinery(recipe: Recipe) -> tuple[Cascade, dict[str, Signal]]:
    """The cascade and the signals with their models, kept for the next shard of the same worker."""
    key = recipe.model_dump_json()
    if key not in _kept:
        _kept.clear()
        workspace = Workspace(recipe.workspace)
        cascade = Cascade.of(recipe, meta_schema(workspace, [c.name for c in recipe.corpora]))
        _kept[key] = cascade, {name: signal(cascade.params[name]) for name, signal in cascade.signals.items()}
    return _kept[key]
