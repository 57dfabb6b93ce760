"""The stages as a user runs them: lock, plan, place the tasks, count, sum up."""

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curation.errors import UserError
from curation.estimate import made_with
from curation.ledger import Ledger, Plan
from curation.recipe import Recipe, to_yaml
from curation.tasks import Outcome, Task
from curation.workspace import Workspace, write_text
from pipelines import progress
from pipelines.engine import Engine

AnyEngine = Engine[Any]


@dataclass
class Summary:
    """What a stage did, for people and for `--json`."""

    stage: str
    shards: int = 0
    """Shards there are."""
    done: int = 0
    """Shards that this run did; the others were up to date."""
    rows: int = 0
    """Rows that this run looked at."""
    estimate: str | None = None
    """How long it was to take, as was said beforehand; None where nothing was."""
    failed: dict[str, int] = field(default_factory=dict)
    """Failed rows by reason."""
    errors: list[str] = field(default_factory=list)
    """Shards that could not be done."""
    notes: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """Raw shards of which only a part could be read; the rest of the job goes on without it."""
    seconds: float = 0.0
    too_many_failed: bool = False
    more: dict[str, Any] = field(default_factory=dict)
    said: bool = False
    """Whether it has been printed."""

    def add(self, task: Task, outcome: Outcome) -> None:
        """Counts what became of one task."""
        self.rows += outcome.rows
        self.notes += outcome.notes
        for reason, count in outcome.failed.items():
            self.failed[reason] = self.failed.get(reason, 0) + count
        if outcome.error:
            self.errors.append(f"{task.corpus}/{task.shard}: {outcome.error}")
        elif outcome.then is None:
            self.done += 1

    @property
    def ok(self) -> bool:
        """Whether the exit status is 0."""
        return not (self.errors or self.damaged or self.too_many_failed)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {k: v for k, v in asdict(self).items() if k not in ("more", "said")} | self.more | {"ok": self.ok}

    def lines(self) -> list[str]:
        """For people."""
        rate = f", {self.rows / self.seconds:,.0f}/s" if self.rows and self.seconds > 1 else ""
        current = self.shards - self.done - len(self.errors)
        up_to_date = f", {current} up to date" if current > 0 else ""
        lines = (
            [
                f"{self.stage}: {self.done} of {self.shards} shards done{up_to_date}, "
                f"{self.rows:,} rows in {self.seconds:.1f} s{rate}"
            ]
            if self.shards
            else [self.stage]
        )
        if "funnel" in self.more:
            lines = [f"{self.stage}: {self.rows:,} rows in {self.seconds:.1f} s", *_funnel_lines(self.more["funnel"])]
        for name, value in self.more.items():
            if name == "funnel" or not value:
                continue
            said = (
                ", ".join(
                    f"{k} {v if not isinstance(v, dict) else ' '.join(f'{n} {a}' for a, n in v.items())}"
                    for k, v in value.items()
                )
                if isinstance(value, dict)
                else value
            )
            lines.append(f"  {name.replace('_', ' ')}: {said}")
        lines += [f"  failed: {count} × {reason}" for reason, count in self.failed.items()]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  DAMAGED: {damage}" for damage in self.damaged]
        lines += [f"  NOT DONE: {error}" for error in self.errors[:20]]
        if len(self.errors) > 20:
            lines.append(f"  … and {len(self.errors) - 20} more; --json lists them all")
        if self.too_many_failed:
            lines.append("  more rows failed than max_failed_share allows")
        return lines


def index(recipe: Recipe, engine: AnyEngine | None = None) -> Summary:
    """Stage `index`."""
    from curation.cascade import meta_schema
    from curation.index import known_shard, plan

    workspace = Workspace(recipe.workspace)
    with workspace.lock("index") as fence:
        summary = _place(recipe, "index", plan(recipe), "shards", fence, engine)
        _keep_recipe(recipe, workspace)
        meta_schema(workspace, [c.name for c in recipe.corpora], keep=True)
        counts: Counter[str] = Counter()
        ledger = Ledger(workspace, "index")
        for corpus in recipe.corpora:
            for shard in workspace.shards(corpus.name):
                line = known_shard(workspace, ledger, corpus.name, shard) or {}
                counts.update({k: line.get(k, 0) for k in ("rows", "failed", "gone", "without_image")})
                if line.get("damage"):
                    summary.damaged.append(f"{corpus.name}/{shard}: {line['damage']}")
        summary.more = {
            "images": counts["rows"],
            "images_failed": counts["failed"],
            "images_gone": counts["gone"],
            "rows_without_image": counts["without_image"],
        }
        summary.too_many_failed = counts["failed"] > recipe.max_failed_share * max(1, counts["rows"])
        return summary


def score(recipe: Recipe, engine: AnyEngine | None = None, retry_failed: bool = False) -> Summary:
    """Stage `score`."""
    from curation.score import plan

    workspace = Workspace(recipe.workspace)
    with workspace.lock("score") as fence:
        todo = plan(recipe, retry_failed)
        if todo.total == 0:
            raise UserError(f"{workspace.root}: nothing is indexed yet; run `curate index RECIPE`")
        summary = _place(recipe, "score", todo, "rows", fence, engine)
        _keep_recipe(recipe, workspace)
        by_signal: Counter[str] = Counter()
        lines = Ledger(workspace, "score").lines.values()  # of all shards, whichever run has scored them
        for line in lines:
            for reason, count in line.get("failed", {}).items():
                by_signal[reason.split()[0]] += count
        rows = sum(line.get("rows", 0) for line in lines)
        summary.too_many_failed = max(by_signal.values(), default=0) > recipe.max_failed_share * max(1, rows)
        return summary


def select(recipe: Recipe, engine: AnyEngine | None = None, dry_run: bool = False) -> Summary:
    """Stage `select`."""
    from curation.select import Selection

    began = time.monotonic()
    workspace = Workspace(recipe.workspace)
    with workspace.lock("select"):
        selection = Selection(recipe, lambda text: print(f"select: {text}", file=sys.stderr, flush=True))
        funnel = selection.funnel() if dry_run else selection.write()
        shards, seconds = len(selection.shards), round(time.monotonic() - began, 2)
        summary = Summary("select", shards, shards, funnel.input, seconds=seconds, more={"funnel": funnel.as_dict()})
        if not dry_run:
            _keep_recipe(recipe, workspace)
            progress.note_run(workspace, "select", seconds, rows=funnel.input, shards=shards, done=shards)
    return summary


def caption(recipe: Recipe, engine: AnyEngine | None = None, retry_failed: bool = False) -> Summary:
    """Stage `caption`."""
    from curation.captions.stage import plan

    workspace = Workspace(recipe.workspace)
    with workspace.lock("caption") as fence:
        summary = _place(recipe, "caption", plan(recipe, retry_failed), "texts", fence, engine)
        lines = Ledger(workspace, "caption").lines.values()
        failed = sum(sum(line.get("failed", {}).values()) for line in lines)
        captioned = sum(line.get("captioned", 0) for line in lines)
        summary.too_many_failed = failed > recipe.max_failed_share * max(1, captioned)
        if summary.failed:
            summary.notes.append("rows that failed are tried again by `curate caption RECIPE --retry-failed`")
        _keep_recipe(recipe, workspace)
        return summary


def import_votes(recipe: Recipe, file: Path) -> Summary:
    """`annotate import`."""
    from curation.votes import import_votes as read_votes

    workspace = Workspace(recipe.workspace)
    with workspace.lock("annotate import"):
        counts = read_votes(recipe, file)
    return Summary("annotate import", rows=counts["votes"], more={"levels": counts})


def build_shards(recipe: Recipe, engine: AnyEngine | None = None) -> Summary:
    """Stage `build-shards`."""
    from curation.shards.build import finish, plan
    from curation.shards.rows import rows_left

    workspace = Workspace(recipe.workspace)
    with workspace.lock("build-shards") as fence, contextlib.ExitStack() as stack:
        if left := rows_left(recipe):
            engine = engine or stack.enter_context(placing(recipe))
            _make_rows(workspace, left, fence, engine)
        plans = plan(recipe)
        tasks, reasons = [task for p in plans for task in p.stale], sum((p.reasons for p in plans), Counter[str]())
        todo = Plan(tasks, sum(p.shards for p in plans), reasons)
        summary = _place(recipe, "build-shards", todo, "images", fence, engine)
        if not summary.errors:
            summary.more = {"products": finish(recipe, plans)}
        laid_out = sum(p.images for p in plans)
        summary.too_many_failed = sum(summary.failed.values()) > recipe.max_failed_share * max(1, laid_out)
        _keep_recipe(recipe, workspace)
        return summary


def _make_rows(workspace: Workspace, tasks: Sequence[Task], fence: str, engine: AnyEngine) -> None:
    """Lets workers make the rows of raw shards. What they could not do, the plan does next, and says why it cannot."""
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(progress.Progress("build-shards", len(tasks), "raw shards", workspace))
        ended = stack.enter_context(contextlib.closing(engine.run(tasks, shown.rows_in_hand, fence)))
        for _task, outcome in ended:
            shown.advance(1, outcome)
            if outcome.error:
                break


STAGES: dict[str, Callable[[Recipe, AnyEngine | None], Summary]] = {
    "index": index,
    "score": score,
    "select": select,
    "caption": caption,
    "build-shards": build_shards,
}
"""The automatic stages, in order."""


def _funnel_lines(funnel: dict[str, Any]) -> list[str]:
    """The funnel as a table: what each step takes away and what is left."""
    left = funnel["input"]
    lines = [f"  {'images':24}{'':>10} {left:>10,}"]
    steps = [("failed", funnel["failed"])]
    for name, count in funnel["dropped"].items():
        steps.append((f"dropped by {name}", count))
        if name in funnel["undecided"]:
            steps.append((f"undecided by {name}", funnel["undecided"][name]))
    steps += [(f"undecided by {n}", c) for n, c in funnel["undecided"].items() if n not in funnel["dropped"]]
    steps += [(f"duplicate ({kind})", count) for kind, count in funnel["duplicate"].items()]
    steps += [("balanced away", funnel["balance"])] if funnel["balance"] else []
    for name, count in steps:
        left -= count
        lines.append(f"  {name:24}{-count:>10,} {left:>10,}")
    lines.append(f"  {'kept':24}{'':>10} {funnel['kept']:>10,}")
    if "text_in_the_wild" in funnel:
        lines.append(f"  {'of these text in the wild':24}{'':>9} {funnel['text_in_the_wild']:>10,}")
    return lines


@contextlib.contextmanager
def placing(recipe: Recipe) -> Iterator[AnyEngine]:
    """The recipe's engine, whose workers serve one stage after the other."""
    engine: AnyEngine
    log = Workspace(recipe.workspace).root / "logs" / "workers.log"
    if recipe.engine == "ray":
        if not (recipe.ray.address or os.environ.get("RAY_ADDRESS")):
            # A Ray of one machine then listens on its loopback alone; Ray reads this while it is imported.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        from pipelines.ray_engine import RayEngine

        engine = RayEngine(recipe)
    else:
        from pipelines.local import LocalEngine

        engine = LocalEngine(recipe.workers, recipe.image_timeout, log, recipe.worker_memory)
    with engine:
        yield engine


def _place(recipe: Recipe, stage: str, todo: Plan, unit: str, fence: str, engine: AnyEngine | None) -> Summary:
    """Runs the tasks on an engine: the one given, or one for this stage alone."""
    with contextlib.nullcontext(engine) if engine or not todo.tasks else placing(recipe) as used:
        return _run(recipe, stage, todo, unit, fence, used)


def _run(recipe: Recipe, stage: str, todo: Plan, unit: str, fence: str, engine: AnyEngine | None) -> Summary:
    workspace = Workspace(recipe.workspace)
    summary = Summary(stage, shards=todo.total, estimate=todo.estimate)
    ledger = Ledger(workspace, stage, writable=True)
    by_rows = unit != "shards"
    amount = sum(t.rows for t in todo.tasks) if by_rows else len(todo.tasks)
    seconds: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    sums: dict[str, Counter[str]] = {}
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(progress.Progress(stage, amount, unit, workspace))
        for said in (*todo.notices, _left(todo)):
            shown.say(said)
        tick = shown.under_way if by_rows else shown.rows_in_hand
        ended = stack.enter_context(contextlib.closing(engine.run(todo.tasks, tick, fence))) if engine else ()
        for task, outcome in ended:
            summary.add(task, outcome)
            seconds.update(outcome.seconds)
            counts.update(outcome.counts)
            for name, amounts in outcome.sums.items():
                sums.setdefault(name, Counter()).update(amounts)
            if outcome.line is not None:
                ledger.add(task.corpus, task.shard, outcome.line)
            shown.advance((task.rows if by_rows else 1) if outcome.then is None else 0, outcome)
            if outcome.stop:
                summary.errors.append(
                    f"stopped: {todo.total - summary.done} of {todo.total} shards are left; run again"
                )
                break
    if engine is not None and engine.deaths:
        workspace.sweep()
    if stage != "build-shards":
        ledger.tidy(f"{c.name}/{shard}" for c in recipe.corpora for shard in workspace.shards(c.name))
    summary.failed = dict(sorted(summary.failed.items()))
    for name, total in sums.items():
        if total:
            summary.more[name] = {what: round(amount, 4) for what, amount in sorted(total.items())}
    summary.seconds = round(time.monotonic() - shown.begun, 2)
    if todo.tasks:
        facts = {"rows": summary.rows, "shards": summary.shards, "done": summary.done, "failed": summary.failed}
        facts |= {"engine": recipe.engine}
        if seconds:
            facts |= {"signal_seconds": dict(seconds), "signal_rows": dict(counts), "made_with": made_with(recipe)}
        progress.note_run(workspace, stage, summary.seconds, **facts)
    return summary


def _left(todo: Plan) -> str | None:
    """What a rerun finds: how much is done, what is left, and why; nothing where all of it is new."""
    done, left = todo.total - len(todo.tasks), len(todo.tasks)
    if not left:
        return None
    if not done and set(todo.reasons) <= {"new"}:
        return todo.estimate
    reasons = "".join(f"\n  {count:,} × {reason}" for reason, count in todo.reasons.most_common(10))
    reasons += f"\n  {todo.estimate}" if todo.estimate else ""
    return f"{done:,} of {todo.total:,} shards are up to date, {left:,} are left{':' if reasons else ''}{reasons}"


def _keep_recipe(recipe: Recipe, workspace: Workspace) -> None:
    """Leaves the recipe as run, with versions, in the workspace."""
    from curation.doctor import versions

    lines = "".join(f"# {name} {version}\n" for name, version in versions().items())
    write_text(workspace.root / "recipe.yaml", lines + to_yaml(recipe))


def caption_eval_sheet(recipe: Recipe, engine: AnyEngine | None = None) -> Summary:
    """`caption-eval sheet`."""
    from curation.caption_eval.plan import plan
    from curation.caption_eval.sample import draw
    from curation.caption_eval.sheet import check_untouched, write_sheet

    workspace = Workspace(recipe.workspace)
    with workspace.lock("caption-eval") as fence:
        check_untouched(recipe)
        sample = draw(recipe)
        summary = _place(recipe, "caption-eval", plan(recipe, sample), "rows", fence, engine)
        if not summary.errors:
            summary.more["sheet"] = write_sheet(recipe, sample)
        return summary


def import_scores(recipe: Recipe, file: Path) -> Summary:
    """`caption-eval import`."""
    from curation.caption_eval.scores import import_scores as read_scores

    workspace = Workspace(recipe.workspace)
    with workspace.lock("caption-eval import"):
        counts = read_scores(recipe, file)
    return Summary("caption-eval import", rows=counts["scores"], more={"scores": counts})
