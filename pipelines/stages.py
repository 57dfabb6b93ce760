"""The stages as a user runs them: lock, plan, place the tasks, count, sum up."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curation.errors import UserError
from curation.recipe import Recipe, to_yaml
from curation.tasks import Task
from curation.workspace import Workspace, write_text
from pipelines.local import LocalEngine
from pipelines.progress import Progress


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


def index(recipe: Recipe) -> Summary:
    """Stage `index`."""
    from curation.index import plan, shard_notes

    workspace = Workspace(recipe.workspace)
    with workspace.lock("index"):
        tasks, total = plan(recipe)
        summary = _place(recipe, "index", tasks, total, "shards")
        _keep_recipe(recipe, workspace)
        counts: Counter[str] = Counter()
        for corpus in recipe.corpora:
            for shard in workspace.shards(corpus.name):
                notes = shard_notes(workspace.samples(corpus.name, shard)) or {}
                counts.update({k: notes.get(k, 0) for k in ("rows", "failed", "gone", "without_image")})
                if notes.get("damage"):
                    summary.damaged.append(f"{corpus.name}/{shard}: {notes['damage']}")
        summary.more = {
            "images": counts["rows"],
            "images_failed": counts["failed"],
            "images_gone": counts["gone"],
            "rows_without_image": counts["without_image"],
        }
        summary.too_many_failed = counts["failed"] > recipe.max_failed_share * max(1, counts["rows"])
        return summary


def score(recipe: Recipe, retry_failed: bool = False) -> Summary:
    """Stage `score`."""
    from curation.score import plan

    workspace = Workspace(recipe.workspace)
    with workspace.lock("score"):
        tasks, needed, total = plan(recipe, retry_failed)
        if total == 0:
            raise UserError(f"{workspace.root}: nothing is indexed yet; run `curate index RECIPE`")
        summary = _place(recipe, "score", tasks, total, "rows")
        _keep_recipe(recipe, workspace)
        summary.more = {"rows_to_score": {name: count for name, count in needed.items() if count}}
        by_signal: Counter[str] = Counter()
        for reason, count in summary.failed.items():
            by_signal[reason.split()[0]] += count
        summary.too_many_failed = max(by_signal.values(), default=0) > recipe.max_failed_share * max(1, summary.rows)
        return summary


def select(recipe: Recipe, dry_run: bool = False) -> Summary:
    """Stage `select`."""
    from curation.select import Selection

    began = time.monotonic()
    workspace = Workspace(recipe.workspace)
    with workspace.lock("select"):
        selection = Selection(recipe)
        funnel = selection.funnel() if dry_run else selection.write()
        if not dry_run:
            _keep_recipe(recipe, workspace)
    shards = len(selection.shards)
    return Summary(
        "select",
        shards,
        shards,
        funnel.input,
        seconds=round(time.monotonic() - began, 2),
        more={"funnel": funnel.as_dict()},
    )


def caption(recipe: Recipe) -> Summary:
    """Stage `caption`."""
    from curation.captions.stage import plan

    workspace = Workspace(recipe.workspace)
    with workspace.lock("caption"):
        tasks, total = plan(recipe)
        summary = _place(recipe, "caption", tasks, total, "rows")
        _keep_recipe(recipe, workspace)
        return summary


def import_votes(recipe: Recipe, file: Path) -> Summary:
    """`annotate import`."""
    from curation.votes import import_votes as read_votes

    workspace = Workspace(recipe.workspace)
    with workspace.lock("annotate import"):
        counts = read_votes(recipe, file)
    return Summary("annotate import", rows=counts["votes"], more={"levels": counts})


def build_shards(recipe: Recipe) -> Summary:
    """Stage `build-shards`."""
    from curation.shards.build import finish, plan

    workspace = Workspace(recipe.workspace)
    with workspace.lock("build-shards"):
        plans = plan(recipe)
        tasks = [task for p in plans for task in p.stale]
        summary = _place(recipe, "build-shards", tasks, sum(p.shards for p in plans), "images")
        if not summary.errors:
            summary.more = {"products": finish(recipe, plans)}
        laid_out = sum(p.images for p in plans)
        summary.too_many_failed = sum(summary.failed.values()) > recipe.max_failed_share * max(1, laid_out)
        _keep_recipe(recipe, workspace)
        return summary


STAGES: dict[str, Callable[[Recipe], Summary]] = {
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
    for name, count in steps:
        left -= count
        lines.append(f"  {name:24}{-count:>10,} {left:>10,}")
    return [*lines, f"  {'kept':24}{'':>10} {funnel['kept']:>10,}"]


def _place(recipe: Recipe, stage: str, tasks: Sequence[Task], total: int, unit: str) -> Summary:
    """Runs the tasks on the recipe's engine."""
    began = time.monotonic()
    summary = Summary(stage, shards=total)
    failed: Counter[str] = Counter()
    engine = LocalEngine(recipe.workers, recipe.image_timeout, Path(recipe.workspace) / "logs" / f"{stage}.log")
    by_rows = unit != "shards"
    amount = sum(t.rows for t in tasks) if by_rows else len(tasks)
    with Progress(stage, amount, unit) as progress:
        for task, outcome in engine.run(tasks, progress.under_way if by_rows else lambda rows: None):
            progress.advance(task.rows if by_rows else 1)
            summary.rows += outcome.rows
            summary.notes += outcome.notes
            failed.update(outcome.failed)
            if outcome.error:
                summary.errors.append(f"{task.corpus}/{task.shard}: {outcome.error}")
            else:
                summary.done += 1
    summary.failed = dict(sorted(failed.items()))
    summary.errors.sort()
    summary.seconds = round(time.monotonic() - began, 2)
    return summary


def _keep_recipe(recipe: Recipe, workspace: Workspace) -> None:
    """Leaves the recipe as run, with versions, in the workspace."""
    from curation.doctor import versions

    lines = "".join(f"# {name} {version}\n" for name, version in versions().items())
    write_text(workspace.root / "recipe.yaml", lines + to_yaml(recipe))
