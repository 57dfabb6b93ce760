"""Runs the stages as a user does: locks the workspace, plans, places the tasks, counts, and sums up."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from curation.printing import tell
from curation.recipe.load import to_yaml
from curation.scoring.opened import Opened
from curation.tasks import Plan, Task
from curation.workspace import Workspace
from curation.workspace.files import write_text
from curation.workspace.ledger import CaptionLine, IndexLine, Ledger, ScoreLine
from curation.workspace.lock import lock
from pipelines import progress
from pipelines.placing import AnyEngine, place, placing
from pipelines.summary import Summary


def index(opened: Opened, engine: AnyEngine | None = None) -> Summary:
    """Runs stage `index`, which lists every image of the corpora; returns the summary."""
    from curation.corpora.index import plan
    from curation.corpora.samples import known_shard, meta_schema, spelling

    workspace = opened.workspace
    with lock(workspace, "index") as token:
        summary = place(opened, "index", plan(opened.recipe, workspace), "shards", token, engine)
        _keep_recipe(opened)
        meta = meta_schema(workspace, [corpus.name for corpus in opened.recipe.corpora], keep=True)
        for field in meta:
            if (spelled := spelling(field)) != field.name:
                summary.notes.append(f"{spelled} differs from another column only in case; it is {field.name}")
        counts: Counter[str] = Counter()
        ledger = Ledger[IndexLine](workspace, "index")
        for corpus, shard in opened.shards():
            line = known_shard(workspace, ledger, corpus, shard) or {}
            counts.update(rows=line.get("rows", 0), failed=line.get("failed", 0), gone=line.get("gone", 0))
            counts.update(without_image=line.get("without_image", 0))
            if line.get("damage"):
                summary.damaged.append(f"{corpus}/{shard}: {line['damage']}")
        summary.more = {
            "images": counts["rows"],
            "images_failed": counts["failed"],
            "images_gone": counts["gone"],
            "rows_without_image": counts["without_image"],
            **summary.more,
        }
        summary.judge(counts["failed"], counts["rows"], opened.recipe.max_failed_share)
        return summary


def score(opened: Opened, engine: AnyEngine | None = None, retry_failed: bool = False) -> Summary:
    """Runs stage `score`, which computes the signals; returns the summary.

    Args:
        opened: the opened recipe.
        engine: the engine to use; None starts one.
        retry_failed: whether to score rows again that failed before.
    """
    from curation.scoring.stage import plan

    workspace = opened.workspace
    with lock(workspace, "score") as token:
        summary = place(opened, "score", plan(opened, retry_failed), "rows", token, engine)
        _keep_recipe(opened)
        by_signal: Counter[str] = Counter()
        lines = Ledger[ScoreLine](workspace, "score").lines.values()  # of all shards, whichever run has scored them
        for line in lines:
            for reason, count in line.get("failed", {}).items():
                by_signal[reason.split()[0]] += count
        rows = sum(line.get("rows", 0) for line in lines)
        summary.judge(max(by_signal.values(), default=0), rows, opened.recipe.max_failed_share)
        return summary


def select(opened: Opened, engine: AnyEngine | None = None, dry_run: bool = False) -> Summary:
    """Runs stage `select`, which decides the fate of every image, in this process; returns the summary.

    Args:
        opened: the opened recipe.
        engine: not used.
        dry_run: whether to count only, and to write nothing.
    """
    from curation.selection.stage import Selection

    began = time.monotonic()
    workspace = opened.workspace
    with lock(workspace, "select"):
        selection = Selection(opened, lambda text: tell(f"select: {text}"))
        funnel = selection.funnel() if dry_run else selection.write()
        shards, seconds = len(selection.shards), round(time.monotonic() - began, 2)
        summary = Summary("select", shards, shards, funnel.input, seconds=seconds, more={"funnel": funnel.as_dict()})
        if not dry_run:
            _keep_recipe(opened)
            progress.note_run(workspace, "select", seconds, rows=funnel.input, shards=shards, done=shards)
    return summary


def caption(opened: Opened, engine: AnyEngine | None = None, retry_failed: bool = False) -> Summary:
    """Runs stage `caption`, which captions the kept images; returns the summary.

    Args:
        opened: the opened recipe.
        engine: the engine to use; None starts one.
        retry_failed: whether to caption rows again that have no caption.
    """
    from curation.captions.stage import plan

    workspace = opened.workspace
    with lock(workspace, "caption") as token:
        summary = place(opened, "caption", plan(opened, retry_failed), "texts", token, engine)
        lines = Ledger[CaptionLine](workspace, "caption").lines.values()
        failed = sum(sum(line.get("failed", {}).values()) for line in lines)
        captioned = sum(line.get("captioned", 0) for line in lines)
        summary.judge(failed, captioned, opened.recipe.max_failed_share)
        if summary.failed:
            summary.notes.append("rows that failed are tried again by `curate caption RECIPE --retry-failed`")
        _keep_recipe(opened)
        return summary


def import_votes(opened: Opened, file: Path) -> Summary:
    """Runs `annotate import`, which takes in a file of votes; returns the summary."""
    from curation.annotation.votes import import_votes as read_votes

    workspace = opened.workspace
    with lock(workspace, "annotate import"):
        counts = read_votes(opened, file)
    return Summary("annotate import", rows=counts["votes"], more={"levels": counts})


def learn_levels(opened: Opened) -> Summary:
    """Runs `annotate learn`, which predicts levels by a model that it learns from the votes; returns the summary."""
    from curation.annotation.level_model.stage import learn

    began = time.monotonic()
    with lock(opened.workspace, "annotate learn"):
        facts = learn(opened)
    seconds = round(time.monotonic() - began, 2)
    return Summary("annotate learn", rows=facts.get("predicted", 0), seconds=seconds, more={"level_model": facts})


def build_shards(opened: Opened, engine: AnyEngine | None = None) -> Summary:
    """Runs stage `build-shards`, which builds the product; returns the summary."""
    from curation.shards.rows import rows_left
    from curation.shards.stage import finish, plan

    workspace = opened.workspace
    with lock(workspace, "build-shards") as token, contextlib.ExitStack() as stack:
        if left := rows_left(opened):
            engine = engine or stack.enter_context(placing(opened))
            _make_rows(workspace, left, token, engine)
        plans = plan(opened)
        tasks, reasons = [task for p in plans for task in p.stale], sum((p.reasons for p in plans), Counter[str]())
        todo = Plan(tasks, sum(p.shards for p in plans), reasons)
        summary = place(opened, "build-shards", todo, "images", token, engine)
        if not summary.errors:
            summary.more = {"products": finish(opened, plans)}
        summary.judge(sum(summary.failed.values()), sum(p.images for p in plans), opened.recipe.max_failed_share)
        _keep_recipe(opened)
        return summary


def _make_rows(workspace: Workspace, tasks: Sequence[Task], token: str, engine: AnyEngine) -> None:
    """Lets workers make the rows of raw shards.

    It stops at the first error: the plan, which follows, makes the rows that are missing, and raises the error.
    """
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress.Progress("build-shards", len(tasks), "raw shards", workspace))
        ended = stack.enter_context(contextlib.closing(engine.run(tasks, bar.rows_in_hand, token)))
        for _task, outcome in ended:
            bar.advance(1, outcome)
            if outcome.error:
                break


STAGES: dict[str, Callable[[Opened, AnyEngine | None], Summary]] = {
    "index": index,
    "score": score,
    "select": select,
    "caption": caption,
    "build-shards": build_shards,
}
"""The automatic stages, in order."""


def _keep_recipe(opened: Opened) -> None:
    """Writes the recipe as it was run, with the versions of libraries, into the workspace."""
    from curation.models.environment import versions

    lines = "".join(f"# {name} {version}\n" for name, version in versions().items())
    write_text(opened.workspace.root / "recipe.yaml", lines + to_yaml(opened.recipe))


def caption_eval_sheet(opened: Opened, engine: AnyEngine | None = None) -> Summary:
    """Runs `caption-eval sheet`, which captions a sample and writes the evaluators' sheet; returns the summary."""
    from curation.annotation.caption_eval.plan import plan
    from curation.annotation.caption_eval.sample import draw
    from curation.annotation.caption_eval.sheet import check_untouched, write_sheet

    workspace = opened.workspace
    with lock(workspace, "caption-eval") as token:
        check_untouched(opened)
        sample = draw(opened)
        summary = place(opened, "caption-eval", plan(opened, sample), "rows", token, engine)
        if not summary.errors:
            summary.more["sheet"] = write_sheet(opened, sample)
        return summary


def import_scores(opened: Opened, file: Path) -> Summary:
    """Runs `caption-eval import`, which takes in a file of evaluators' scores; returns the summary."""
    from curation.annotation.caption_eval.scores import import_scores as read_scores

    workspace = opened.workspace
    with lock(workspace, "caption-eval import"):
        counts = read_scores(opened, file)
    return Summary("caption-eval import", rows=counts["scores"], more={"scores": counts})
