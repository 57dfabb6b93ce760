"""How long scoring will take, told before it begins: by what earlier runs took, else by each signal's usual cost."""

import os
from collections import Counter
from collections.abc import Iterable

from curation.durations import in_words
from curation.recipe import Recipe
from curation.scoring.cascade import Cascade
from curation.workspace import Workspace
from curation.workspace.ledger import ScoreLine
from curation.workspace.run_log import runs

SHOWN = 4
"""Signals that the line tells of: the costliest."""


COSTLY = ("backend", "checkpoint", "model", "side", "max_side")
"""Parameters on which it depends how long a signal takes."""


def made_with(recipe: Recipe) -> dict[str, str]:
    """What each signal's cost depends on, in words."""
    return {n: " ".join(str(given.get(key, "")) for key in COSTLY).strip() for n, given in recipe.signals.items()}


class Work:
    """What is to be computed, counted shard by shard."""

    def __init__(self, recipe: Recipe, cascade: Cascade) -> None:
        self.recipe, self.cascade = recipe, cascade
        self.rows: Counter[str] = Counter()
        self.bounded = True
        """Whether it is known how many rows reach each signal; of new shards it is not, and all of them count."""

    def add(self, names: Iterable[str], line: ScoreLine, rows: int) -> None:
        """Counts one shard.

        Args:
            names: the signals to be computed anew.
            line: what the ledger says of the shard; `scored` in it tells how many rows each signal was computed for.
            rows: the shard's.
        """
        scored = line.get("scored") or {}
        for name in names:
            self.bounded &= name in scored
            self.rows[name] += scored.get(name, rows)

    def told(self, workspace: Workspace, shards: int) -> str | None:
        """The estimate in words, for work on so many shards; None if no signal is to be computed anew."""
        if not self.rows:
            return None
        took = {name: self._milliseconds(workspace, name) for name in self.rows}
        seconds = sum(self.rows[name] * ms / 1000 for name, (ms, _) in took.items())
        costly = sorted(took, key=lambda n: -self.rows[n] * took[n][0])[:SHOWN]
        told = ", ".join(f"{n} {self.rows[n]:,} × {took[n][0]:.3g} ms" for n in costly)
        guessed = [n for n in costly if not took[n][1]]
        usual = f" (usual costs{'' if guessed == costly else ' of ' + ', '.join(guessed)})" if guessed else ""
        return f"{'about' if self.bounded else 'at most'} {self._time(seconds, shards)}: {told}{usual}"

    def _time(self, seconds: float, shards: int) -> str:
        if self.recipe.engine == "ray":
            return f"{in_words(seconds)} of one core's time"
        workers = min(shards, self.recipe.workers or len(os.sched_getaffinity(0)))
        return f"{in_words(seconds / workers)} with {workers} worker{'s' * (workers > 1)}"

    def _milliseconds(self, workspace: Workspace, name: str) -> tuple[float, bool]:
        """Milliseconds a row, and whether that was measured here, with this backend, model and size of pictures."""
        now = made_with(self.recipe)[name]
        same = [r for r in runs(workspace) if r.signal_rows.get(name) and r.made_with.get(name) == now]
        rows = sum(r.signal_rows[name] for r in same)
        if not rows:
            return self.cascade.signals[name].cost, False
        return 1000 * sum(r.signals.get(name, 0.0) for r in same) / rows, True
