"""Stage `score`: computes signals for the rows that the cascade lets reach them, and stores them beside the samples.

One pass over a shard reads and decodes each image at most once per reduction, in micro-batches of 32. What is scored
already is kept; a row that fails costs only itself.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from curation.cascade import SCORED, SKIPPED, Cascade, Decider, meta_schema
from curation.columns import Columns
from curation.corpus import open_source
from curation.errors import StageError, UserError
from curation.images import ImageError, Picture, reduction
from curation.index import known_shard
from curation.ledger import Ledger, Plan, stamps
from curation.recipe import Corpus, Recipe, Resources
from curation.signals.base import Row, Scores, Signal, SignalError
from curation.sources import Source
from curation.tasks import Demand, Outcome, Watch
from curation.wide import refresh
from curation.workspace import Workspace, footer

BATCH = 32
BATCH_PIXELS = 24_000_000
"""Decoded pixels that a micro-batch may hold (72 MB); pictures after the first of a batch wait for the next."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of the cascade that is computed by one kind of worker."""

    signals: tuple[str, ...]
    demand: Demand


@dataclass(frozen=True, slots=True)
class ScoreTask:
    """Scores one shard."""

    recipe: Recipe
    source_corpus: Corpus
    shard: str
    path: str
    rows: int
    """Rows of the shard."""
    legs: tuple[Leg, ...]
    """What is still to be done, each on a worker of its own kind; this task is the first of them."""
    retry_failed: bool = False

    @property
    def corpus(self) -> str:
        """The corpus's name."""
        return self.source_corpus.name

    @property
    def demands(self) -> tuple[Demand, ...]:
        """See Task."""
        return tuple(leg.demand for leg in self.legs)

    def run(self, watch: Watch) -> Outcome:
        """Scores what is missing and writes the sidecars that changed, and the shard's wide file."""
        workspace = Workspace(self.recipe.workspace)
        machinery = _machinery(self.recipe)
        cascade, leg = machinery.cascade, self.legs[0]
        columns = Columns.read(workspace, cascade, self.corpus, self.shard, self.retry_failed)
        source = open_source(self.source_corpus, self.shard, self.path)
        try:
            outcome = _Pass(machinery, leg, columns, source, watch).run()
        finally:
            source.close()
        for name in leg.signals:
            columns.write(workspace, self.corpus, self.shard, cascade.signals[name])
        if len(self.legs) > 1:
            outcome.then = replace(self, legs=self.legs[1:])
            return outcome
        refresh(workspace, self.recipe, cascade, self.corpus, self.shard)
        outcome.passed = sum(stop == len(cascade.predicates) for stop in columns.stops(cascade, Decider()))
        outcome.line = self._line(workspace, cascade, columns) | {"passed": outcome.passed}
        return outcome

    def _line(self, workspace: Workspace, cascade: Cascade, columns: "Columns") -> dict[str, Any]:
        """What the ledger keeps: the files, what they were made from, and the failures by reason."""
        return {
            "files": stamps(score_files(workspace, cascade, self.corpus)(self.shard)),
            "mark": mark(cascade),
            "rows": columns.samples.num_rows,
            "failed": dict(sorted(columns.failures(cascade).items())),
        }


def plan(recipe: Recipe, retry_failed: bool = False) -> Plan:
    """The shards with something to score, or of which that is not known.

    What each row needs is found by the workers: the ledger tells which shards they need not even look at.
    """
    workspace = Workspace(recipe.workspace)
    cascade = Cascade.of(recipe, meta_schema(workspace, [c.name for c in recipe.corpora]))
    indexed, ledger = None, Ledger(workspace, "score", writable=True)
    now, found = ledger.define_mark(mark(cascade)), Plan()
    legs = legs_of(recipe, cascade)
    for corpus in recipe.corpora:
        files = score_files(workspace, cascade, corpus.name)
        for shard in workspace.shards(corpus.name):
            found.total += 1
            reason = ledger.stale(corpus.name, shard, files(shard), now)
            line = ledger.lines.get(f"{corpus.name}/{shard}")
            if reason is None and retry_failed and line and line.get("failed"):
                reason = "to be tried again"
            if reason is not None:
                indexed = indexed or Ledger(workspace, "index")
                known = known_shard(workspace, indexed, corpus.name, shard)
                if known is None:
                    raise UserError(f"{corpus.name}/{shard} is not indexed; run `curate index RECIPE`")
                path = "/".join(p for p in (corpus.path.rstrip("/"), known["footer"].get("source", "")) if p)
                found.add(ScoreTask(recipe, corpus, shard, path, known["rows"], legs, retry_failed), reason)
    return found


def score_files(workspace: Workspace, cascade: Cascade, corpus: str) -> Callable[[str], list[str]]:
    """The files that a shard's line in the ledger speaks of: its samples file, then every sidecar."""
    folders = [workspace.samples(corpus, "x"), *(workspace.signal(n, corpus, "x") for n in cascade.signals)]
    prefixes = [str(path.parent) + "/" for path in folders]
    return lambda shard: [f"{prefix}{shard}.parquet" for prefix in prefixes]


def mark(cascade: Cascade) -> dict[str, Any]:
    """What a shard's scores depend on beside its images: each signal's identity, and the predicates before the last.

    The predicates that come after the last first use of a signal decide about no score.
    """
    deciding = cascade.predicates[: max(cascade.first_use.values(), default=0)]
    where = {f"where.{p.name}": " ".join(p.sql.split()) for p in deciding}
    order = {"where.order": [p.name for p in deciding]}  # a mapping alone would forget it
    return {name: cascade.identity_of(name) for name in cascade.signals} | where | order


def legs_of(recipe: Recipe, cascade: Cascade) -> tuple[Leg, ...]:
    """The cascade in parts that ask for the same kind of worker: signals that want a GPU, and those that do not.

    A GPU then does not wait for what needs none, for the price of reading and decoding once more. On one machine
    there is one kind of worker, and one leg.
    """
    if recipe.engine == "local":
        return (Leg(tuple(cascade.signals), Demand(models=True)),)
    given = recipe.ray.resources
    default = given.get("score", Resources())
    groups: list[list[str]] = []
    for name in (n for _at, names in cascade.order for n in names):
        gpus = given.get(name, default).gpus > 0
        if groups and (given.get(groups[-1][0], default).gpus > 0) == gpus:
            groups[-1].append(name)
        else:
            groups.append([name])
    return tuple(Leg(tuple(group), _demand([given.get(n, default) for n in group])) for group in groups or [[]])


def _demand(resources: list[Resources]) -> Demand:
    """What one worker needs for several signals: the models lie in memory side by side, the work is done in turn."""
    return Demand(
        max((r.cpus for r in resources), default=1.0),
        sum(r.gpus for r in resources),
        sum(r.memory for r in resources),
        models=True,
    )


def raw_path(corpus: Corpus, workspace: Workspace, shard: str) -> str:
    """Where the raw shard lies, from the note that the index left."""
    notes = footer(workspace.samples(corpus.name, shard)) or {}
    return "/".join(part for part in (corpus.path.rstrip("/"), notes.get("source", "")) if part)


class _Pass:
    """One walk over the rows of a shard that need something."""

    def __init__(self, machinery: "_Machinery", leg: Leg, columns: Columns, source: Source, watch: Watch) -> None:
        self.machinery, self.cascade, self.columns = machinery, machinery.cascade, columns
        self.leg, self.source, self.watch = frozenset(leg.signals), source, watch
        self.seconds = dict.fromkeys(leg.signals, 0.0)
        self.steps = {name: number for number, name in enumerate(self.cascade.signals)}
        self.decider = Decider()
        self.places = columns.samples.select(["member", "offset", "length"]).to_pylist()
        inputs = {i for s in self.cascade.signals.values() for i in s.inputs}
        self.inputs = {i: columns.samples[i].to_pylist() for i in inputs}

    def run(self) -> Outcome:
        """Scores every row that needs something."""
        self.stops = self.columns.stops(self.cascade, self.decider)
        needy = self.columns.needy(self.cascade, self.stops)
        rows = sorted(set().union(*(rows for name, rows in needy.items() if name in self.leg)))
        outcome = Outcome(rows=len(rows))
        for name in self.cascade.signals if rows else ():
            if name in self.leg:  # no image is to blame for the memory that a model takes
                self.machinery.signal(name)
        for batch in self.watch.batches(rows, [self._pixels(r) for r in rows], BATCH, BATCH_PIXELS):
            self.watch.note(os.getpid(), batch[0], batch[-1] + 1, len(batch))
            self._batch(batch)
        self.watch.note(os.getpid())
        for name in self.leg:
            errors = self.columns.values[f"{name}_error"]
            outcome.failed.update(f"{name} {str(errors[r]).split(':')[0]}" for r in rows if errors[r])
        outcome.seconds = {name: round(seconds, 3) for name, seconds in self.seconds.items()}
        return outcome

    def _batch(self, rows: list[int]) -> None:
        pictures: dict[int, Picture | SignalError] = {}
        new = False  # whether a score of this batch may have moved a row on
        for at, all_names in self.cascade.order:
            names = [name for name in all_names if name in self.leg]
            waiting = [r for r in rows if any(self._skipped(n, r) for n in names)]
            if waiting and new:
                for row, stop in zip(waiting, self.columns.stops(self.cascade, self.decider, waiting), strict=True):
                    self.stops[row] = stop
            for name in names:
                todo = [r for r in waiting if self.stops[r] >= at and self._skipped(name, r)]
                if todo:
                    began = time.process_time()
                    self._score(self.machinery.signal(name), todo, pictures)
                    self.seconds[name] += time.process_time() - began
                    new = True

    def _skipped(self, name: str, row: int) -> bool:
        return self.columns.values[f"{name}_state"][row] == SKIPPED

    def _score(self, signal: Signal, rows: list[int], pictures: dict[int, Picture | SignalError]) -> None:
        """Scores some rows by one signal; rows that cannot even be shown to it are failed here."""
        self.watch.step(self.steps[signal.name])
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
        if verdict := self.watch.verdict(row, self.steps[signal.name]):
            return SignalError(verdict, "the image killed its worker process again and again")
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


class _Machinery:
    """The cascade, and the signals with their models, each loaded when it is first used."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self._signals: dict[str, Signal] = {}

    def signal(self, name: str) -> Signal:
        if name not in self._signals:
            self._signals[name] = self.cascade.signals[name](self.cascade.params[name])
        return self._signals[name]


_kept: dict[str, _Machinery] = {}


def _machinery(recipe: Recipe) -> _Machinery:
    """The machinery for a recipe, kept for the next shard of the same worker."""
    meta = meta_schema(Workspace(recipe.workspace), [c.name for c in recipe.corpora])
    key = recipe.model_dump_json() + str(meta)
    if key not in _kept:
        _kept.clear()
        _kept[key] = _Machinery(Cascade.of(recipe, meta))
    return _kept[key]
