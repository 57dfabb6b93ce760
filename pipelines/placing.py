"""Places the tasks of a stage on an engine, and counts their outcomes."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from curation.corpora.samples import distrust
from curation.counts import counted
from curation.scoring.estimate import made_with
from curation.scoring.opened import Opened
from curation.tasks import Plan
from curation.workspace.ledger import Ledger, LedgerLine
from curation.workspace.lock import sweep
from pipelines import progress
from pipelines.engine import Engine
from pipelines.summary import StageFacts, Summary

AnyEngine = Engine[Any]


@contextlib.contextmanager
def placing(opened: Opened) -> Iterator[AnyEngine]:
    """Yields the recipe's engine, whose workers serve one stage after the other, and closes it afterwards."""
    engine: AnyEngine
    recipe, log = opened.recipe, opened.workspace.root / "logs" / "workers.log"
    if recipe.engine == "ray":
        if not (recipe.ray.address or os.environ.get("RAY_ADDRESS")):
            # A Ray of one machine then listens on its loopback alone; Ray reads this while it is imported.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        from pipelines.ray_engine import RayEngine

        engine = RayEngine(recipe, opened.workspace)
    else:
        from pipelines.local import LocalEngine

        engine = LocalEngine(recipe.workers, recipe.image_timeout, log, recipe.worker_memory)
    with engine:
        yield engine


def place(opened: Opened, stage: str, todo: Plan, unit: str, token: str, engine: AnyEngine | None) -> Summary:
    """Runs the tasks of a stage on an engine, and returns the summary.

    Args:
        opened: the opened recipe.
        stage: name of the stage.
        todo: the tasks to run.
        unit: what the progress counts, in the plural: `shards`, or a name for rows.
        token: the fencing token of the run.
        engine: the engine to use; None starts one for this stage alone, if there are tasks.
    """
    with contextlib.nullcontext(engine) if engine or not todo.tasks else placing(opened) as used:
        return run_tasks(opened, stage, todo, unit, token, used)


def run_tasks(opened: Opened, stage: str, todo: Plan, unit: str, token: str, engine: AnyEngine | None) -> Summary:
    """Runs the tasks on this engine and shows their progress; returns the summary.

    Args:
        opened, stage, todo, unit, token: see `place`.
        engine: the engine to use; None if there are no tasks.
    """
    recipe, workspace = opened.recipe, opened.workspace
    summary = Summary(stage, shards=todo.total, estimate=todo.estimate)
    ledger = Ledger[LedgerLine](workspace, stage, writable=True)
    by_rows = unit != "shards"
    amount = sum(t.rows for t in todo.tasks) if by_rows else len(todo.tasks)
    seconds: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    sums: dict[str, Counter[str]] = {}
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress.Progress(stage, amount, unit, workspace))
        for text in (*todo.notices, _left(todo)):
            bar.say(text)
        tick = bar.under_way if by_rows else bar.rows_in_hand
        ended = stack.enter_context(contextlib.closing(engine.run(todo.tasks, tick, token))) if engine else ()
        for task, outcome in ended:
            summary.add(task, outcome)
            seconds.update(outcome.seconds)
            counts.update(outcome.counts)
            for name, amounts in outcome.sums.items():
                sums.setdefault(name, Counter()).update(amounts)
            for changed in outcome.changed:
                distrust(workspace, *changed)
            if outcome.line is not None:
                ledger.add(task.corpus, task.shard, outcome.line)
            bar.advance((task.rows if by_rows else 1) if outcome.then is None else 0, outcome)
            if outcome.stop:
                summary.stopped = True
                summary.errors.append(
                    f"stopped: {todo.total - summary.done:,} of {counted(todo.total, 'shards')} left; run again"
                )
                break
    if engine is not None and engine.deaths:
        sweep(workspace)
    if stage != "build-shards":
        ledger.tidy("/".join(shard) for shard in opened.shards())
    summary.failed = dict(sorted(summary.failed.items()))
    for name, total in sums.items():
        if total:
            summary.more |= cast(StageFacts, {name: {key: round(n, 4) for key, n in sorted(total.items())}})
    summary.seconds = round(time.monotonic() - bar.begun, 2)
    if todo.tasks:
        facts = {"rows": summary.rows, "shards": summary.shards, "done": summary.done, "failed": summary.failed}
        facts |= {"engine": recipe.engine}
        if seconds:
            facts |= {"signal_seconds": dict(seconds), "signal_rows": dict(counts), "made_with": made_with(recipe)}
        progress.note_run(workspace, stage, summary.seconds, **facts)
    return summary


def _left(todo: Plan) -> str | None:
    """Returns a text on the shards done and left, with the reasons; only the estimate if all shards are new."""
    done, left = todo.total - len(todo.tasks), len(todo.tasks)
    if not left:
        return None
    if not done and set(todo.reasons) <= {"new"}:
        return todo.estimate
    reasons = "".join(f"\n  {count:,} × {reason}" for reason, count in todo.reasons.most_common(10))
    reasons += f"\n  {todo.estimate}" if todo.estimate else ""
    return f"{done:,} of {counted(todo.total, 'shards')} up to date, {left:,} left{':' if reasons else ''}{reasons}"
