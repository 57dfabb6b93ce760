"""Estimates how long scoring will take, from the times of earlier runs, or else from each signal's usual cost."""

import os
from collections import Counter
from collections.abc import Iterable

from curation.counts import counted
from curation.durations import in_words
from curation.recipe import Recipe
from curation.scoring.cascade import Cascade
from curation.workspace import Workspace
from curation.workspace.ledger import ScoreLine
from curation.workspace.run_log import runs

SHOWN = 4
"""Number of signals that the estimate names: the costliest ones."""

COSTLY = ("backend", "checkpoint", "model", "side", "max_side")
"""Parameters of signals that decide how long a signal takes."""


def made_with(recipe: Recipe) -> dict[str, str]:
    """Returns, for each signal, the values of the parameters on which its cost depends, as text."""
    return {n: " ".join(str(params.get(key, "")) for key in COSTLY).strip() for n, params in recipe.signals.items()}


class Work:
    """The work that is to be done, counted shard by shard."""

    def __init__(self, recipe: Recipe, cascade: Cascade) -> None:
        self.recipe, self.cascade = recipe, cascade
        self.rows: Counter[str] = Counter()
        self.bounded = True
        """Whether the number of rows that reach each signal is known; all rows of new shards are counted."""

    def add(self, names: Iterable[str], line: ScoreLine, rows: int) -> None:
        """Counts one shard.

        Args:
            names: the signals to be computed.
            line: the shard's line in the ledger; its `scored` holds the number of rows with each signal.
            rows: number of rows of the shard.
        """
        scored = line.get("scored") or {}
        for name in names:
            self.bounded &= name in scored
            self.rows[name] += scored.get(name, rows)

    def describe(self, workspace: Workspace, shards: int) -> str | None:
        """Returns the estimate in words, for work on so many shards; None if no signal is to be computed."""
        if not self.rows:
            return None
        took = {name: self._milliseconds(workspace, name) for name in self.rows}
        seconds = sum(self.rows[name] * ms / 1000 for name, (ms, _) in took.items())
        costly = sorted(took, key=lambda n: -self.rows[n] * took[n][0])[:SHOWN]
        detail = ", ".join(f"{n} {self.rows[n]:,} × {took[n][0]:.3g} ms" for n in costly)
        guessed = [n for n in costly if not took[n][1]]
        usual = f" (usual costs{'' if guessed == costly else ' of ' + ', '.join(guessed)})" if guessed else ""
        return f"{'about' if self.bounded else 'at most'} {self._time(seconds, shards)}: {detail}{usual}"

    def _time(self, seconds: float, shards: int) -> str:
        if self.recipe.engine == "ray":
            return f"{in_words(seconds)} of one core's time"
        workers = min(shards, self.recipe.workers or len(os.sched_getaffinity(0)))
        return f"{in_words(seconds / workers)} with {counted(workers, 'workers')}"

    def _milliseconds(self, workspace: Workspace, name: str) -> tuple[float, bool]:
        """Returns the milliseconds per row, and whether they were measured here, with this backend, model and size."""
        now = made_with(self.recipe)[name]
        same = [r for r in runs(workspace) if r.signal_rows.get(name) and r.made_with.get(name) == now]
        rows = sum(r.signal_rows[name] for r in same)
        if not rows:
            return self.cascade.signals[name].cost, False
        return 1000 * sum(r.signals.get(name, 0.0) for r in same) / rows, True
