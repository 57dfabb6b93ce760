"""Scores the rows of a shard in micro-batches, with the cascade between the signals; a failure costs only its row."""

import os
import time
from dataclasses import dataclass
from functools import cached_property

from curation.corpora.prefetch import Pictures
from curation.corpora.readers import Source
from curation.errors import RowError, reason_of
from curation.images import reduction
from curation.models.device import gpu_is_lost
from curation.recipe import Recipe
from curation.recipe.sections import Resources
from curation.scoring.cascade import Cascade
from curation.scoring.decider import Decider
from curation.scoring.sidecars import Columns
from curation.signals.base import Row, Scores, Signal
from curation.tasks import Demand, Outcome, Watch, WorkerLost
from curation.workspace.schemas import SCORED, SKIPPED

BATCH = 32
"""Number of rows in a micro-batch, for each CPU thread."""
BATCH_PIXELS = 24_000_000
"""Largest number of decoded pixels in a micro-batch (72 MB), for each CPU thread; a single larger picture is let in."""


@dataclass(frozen=True, slots=True)
class Pass:
    """The signals that one pass over a shard computes, and the kind of worker that makes it."""

    signals: tuple[str, ...]
    demand: Demand


class LoadedCascade:
    """A cascade whose signals load their models when they are first asked for."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self._loaded: set[str] = set()

    def signal(self, name: str, threads: int = 1) -> Signal:
        """Returns the signal with its models loaded; it may keep `threads` CPU threads busy beside a GPU."""
        signal = self.cascade.signals[name]
        if name not in self._loaded:
            signal.threads = threads
            signal.load()
            self._loaded.add(name)
        return signal


class Scan:
    """One pass over the rows of a shard that still need one of the signals wanted."""

    def __init__(self, loaded: LoadedCascade, wanted: Pass, columns: Columns, source: Source, watch: Watch) -> None:
        self.loaded, self.cascade, self.columns = loaded, loaded.cascade, columns
        self.wanted, self.watch = frozenset(wanted.signals), watch
        self.seconds = dict.fromkeys(wanted.signals, 0.0)
        self.counts = dict.fromkeys(wanted.signals, 0)
        self.steps = {name: number for number, name in enumerate(self.cascade.signals)}
        self.decider = Decider()
        self.threads = wanted.demand.threads
        self.clock = time.perf_counter if wanted.demand.gpus else time.process_time  # a GPU's work is nobody's CPU time
        self.pictures = Pictures(source, columns.samples, self.threads)
        inputs = {i for s in self.cascade.signals.values() for i in s.inputs}
        self.inputs = {i: columns.samples[i].to_pylist() for i in inputs}

    def run(self) -> Outcome:
        """Scores every row that needs a signal; returns the numbers of rows, failures and seconds."""
        self.stops = self.columns.stops(self.cascade, self.decider)
        needy = self.columns.needy(self.cascade, self.stops)
        rows = sorted(set().union(*(rows for name, rows in needy.items() if name in self.wanted)))
        outcome = Outcome(rows=len(rows))
        for name in self.wanted:  # now, as no image is to blame for the memory that a model takes
            if any(self._skipped(name, row) for row in rows):
                self.loaded.signal(name, self.threads)
        try:
            self._walk(rows)
        finally:
            self.pictures.close()
        self.watch.note(os.getpid())
        for name in self.wanted:
            errors = self.columns.values[f"{name}_error"]
            outcome.failed.update(f"{name} {reason_of(errors[r])}" for r in rows if errors[r])
        outcome.seconds = {name: round(seconds, 6) for name, seconds in self.seconds.items()}
        outcome.counts = dict(self.counts)
        return outcome

    def _walk(self, rows: list[int]) -> None:
        """Scores the rows batch by batch; with threads to spare, the next batch's pictures are decoded meanwhile."""
        size, pixels = BATCH * self.threads, BATCH_PIXELS * self.threads
        batches = self.watch.batches(rows, [self._pixels(r) for r in rows], size, pixels)
        batch: list[int] | None = next(batches, None)
        while batch:
            following = next(batches, None)
            coming = following if following and self.threads > 1 and not self.watch.suspects else batch
            self.watch.note(os.getpid(), batch[0], coming[-1] + 1, len(batch))
            if coming is not batch:
                self.pictures.ahead(*self._first_needed(coming))
            self._batch(batch)
            self.pictures.drop(batch)
            batch = following

    def _first_needed(self, rows: list[int]) -> tuple[list[int], int]:
        """Returns the rows that some signal will look at, as far as is known now, and the side that it wants."""
        for at, names in self.cascade.order:
            sides = [self.cascade.signals[name].side for name in names if name in self.wanted]
            wanted = max((side for side in sides if side), default=0)
            looked_at = [r for r in rows if self.stops[r] >= at and any(self._skipped(n, r) for n in names)]
            if wanted and looked_at:
                return looked_at, wanted
        return [], 0

    def _batch(self, rows: list[int]) -> None:
        new = False  # whether a score of this batch may have moved a row on
        for at, all_names in self.cascade.order:
            names = [name for name in all_names if name in self.wanted]
            waiting = [r for r in rows if any(self._skipped(n, r) for n in names)]
            if waiting and new:
                for row, stop in zip(waiting, self.columns.stops(self.cascade, self.decider, waiting), strict=True):
                    self.stops[row] = stop
            for name in names:
                todo = [r for r in waiting if self.stops[r] >= at and self._skipped(name, r)]
                if todo:
                    began = self.clock()
                    self._score(self.loaded.signal(name), todo)
                    self.seconds[name] += self.clock() - began
                    self.counts[name] += len(todo)
                    new = True

    def _skipped(self, name: str, row: int) -> bool:
        return self.columns.values[f"{name}_state"][row] == SKIPPED

    def _score(self, signal: Signal, rows: list[int]) -> None:
        """Scores some rows by one signal; a row that cannot be shown to the signal fails."""
        self.watch.step(self.steps[signal.name])
        shown, inputs = [], []
        for row in rows:
            result = self._row(signal, row)
            if isinstance(result, RowError):
                self.columns.store(signal, row, result)
            else:
                shown.append(row)
                inputs.append(result)
        for row, scores in zip(shown, _results(signal, inputs), strict=True):
            self.columns.store(signal, row, scores)

    def _row(self, signal: Signal, row: int) -> Row | RowError:
        if verdict := self.watch.verdict(row, self.steps[signal.name]):
            return RowError(verdict, "the image killed its worker process again and again")
        values = self.columns.values
        for needed in signal.needs:
            if values[f"{needed}_state"][row] != SCORED:
                return RowError(f"needs_{needed}", str(values[f"{needed}_error"][row]))
        needs = {c: values[c][row] for n in signal.needs for c in self.cascade.signals[n].columns}
        sample = {i: self.inputs[i][row] for i in signal.inputs}
        if signal.side is None:
            return Row(None, sample, needs)
        picture = self.pictures.of(row, signal.side)
        return picture if isinstance(picture, RowError) else Row(picture, sample, needs)

    def _pixels(self, row: int) -> int:
        """Returns the number of pixels of the row's picture, decoded for the signal with the largest side."""
        width, height = self._sizes[row]
        side = max((s.side or 0 for s in self.cascade.signals.values()), default=0)
        factor = reduction(width, height, side)
        return (width // factor) * (height // factor) if side else 0

    @cached_property
    def _sizes(self) -> list[tuple[int, int]]:
        samples = self.columns.samples
        return list(zip(samples["width"].to_pylist(), samples["height"].to_pylist(), strict=True))


def _results(signal: Signal, rows: list[Row]) -> list[Scores | RowError]:
    """Returns the signal's result for each row. If the batch as a whole fails, each row is tried alone."""
    if not rows:
        return []
    try:
        return signal.score(rows)
    except Exception as error:  # a plug-in's own mistake must not cost the shard
        if gpu_is_lost(error):
            raise WorkerLost from error
        if len(rows) == 1:
            return [_as_failure(error)]
        return [result for row in rows for result in _results(signal, [row])]


def _as_failure(error: Exception) -> RowError:
    if isinstance(error, RowError):
        return error
    transient = isinstance(error, (MemoryError, OSError))
    return RowError("error", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", transient)


def passes_of(recipe: Recipe, cascade: Cascade) -> tuple[Pass, ...]:
    """Returns the passes over a shard, each by one kind of worker: for signals that want a GPU, or for the others.

    A GPU then does not wait for signals that need none, at the price of reading and decoding once more. On one
    machine there is one kind of worker, and one pass.
    """
    if recipe.engine == "local":
        return (Pass(tuple(cascade.signals), Demand(models=True)),)
    resources = recipe.ray.resources
    groups: list[list[str]] = []
    for name in (n for _at, names in cascade.order for n in names):
        gpus = resources.of_signal(name).gpus > 0
        if groups and (resources.of_signal(groups[-1][0]).gpus > 0) == gpus:
            groups[-1].append(name)
        else:
            groups.append([name])
    return tuple(Pass(tuple(group), _demand([resources.of_signal(n) for n in group])) for group in groups or [[]])


def _demand(resources: list[Resources]) -> Demand:
    """Returns the demand of one worker for several signals: all models are in memory, the work is done in turn."""
    return Demand(
        max((r.cpus for r in resources), default=1.0),
        sum(r.gpus for r in resources),
        sum(r.memory for r in resources),
        models=True,
    )
