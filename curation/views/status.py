"""`curate status`: reads the progress of a job from its workspace, without writing to it or waiting for it."""

import json
import os
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from curation.captions.rows import caption_files, caption_mark
from curation.corpora.samples import known_shard
from curation.counts import counted
from curation.recipe import Recipe
from curation.scoring.opened import Opened, open_recipe
from curation.scoring.stage import mark, score_files
from curation.selection.stage import made_of as selection_made_of
from curation.shards.phases import PHASES, Phase
from curation.shards.phases import made_of as product_made_of
from curation.workspace import Workspace
from curation.workspace.files import json_object
from curation.workspace.ledger import CaptionLine, IndexLine, Ledger, LedgerLine, ScoreLine, changes

SILENT = 60
"""Seconds without an update of its progress file after which a run on another machine counts as dead."""

_STAMPS = {"index and signals", "selection and captions", "levels", "listed"}
"""Inputs of a stage that are known by the times of their files: that they changed is known, but not how."""
_COUNTS: tuple[Literal["gone", "damaged_shards"] | Phase, ...] = ("gone", "damaged_shards", *PHASES)
"""The counts that only some stages have, in the order in which they are printed."""


class Running(TypedDict):
    """The stage that is running now, as its progress file tells."""

    stage: str
    pid: int
    """Process id, on the machine `host`."""
    host: str
    done: int
    """Number of units that are done, out of `total`."""
    total: int
    unit: str
    """Name of what `done`, `total` and `rate` count, in the plural."""
    rows: int
    """Number of rows of the shards that have ended."""
    failed: dict[str, int]
    """Number of failed rows by reason."""
    seconds: float
    """Seconds from the stage's start to the last update of the progress file."""
    rate: float
    """Units per second."""
    seconds_left: int | None
    """Estimated seconds until the stage ends; None if they are not known."""
    kept_share: float | None
    """Share (0 to 1) of the rows so far that passed the predicates; None if it is not known."""


class StageStatus(TypedDict, total=False):
    """The progress of one stage, with those keys that the stage has; empty if it has not run yet."""

    shards: int
    """Number of all shards."""
    done: int
    """Number of shards that are up to date."""
    images: int
    """Number of rows that the stage knows of (`index`, `select`)."""
    kept: int
    """Number of rows that were selected (`select`)."""
    kept_share: float
    """`kept` as a share (0 to 1) of `images` (`select`)."""
    concept: int
    """Number of images in the product of the concept phase (`build-shards`)."""
    quality: int
    """Number of images in the product of the quality phase (`build-shards`)."""
    left: dict[str, int]
    """Number of shards still to be processed, by reason."""
    gone: int
    """Number of rows whose image no longer exists (`index`)."""
    damaged_shards: int
    """Number of raw shards that could be read only in part (`index`)."""
    failed: dict[str, int]
    """Number of failed rows by reason."""
    stale: str
    """Reasons for which the whole stage must be run again (`select`, `build-shards`); absent if it need not be."""


class Status(TypedDict):
    """The progress of a job; `curate status --json` prints it as it is."""

    workspace: str
    """Path of the workspace."""
    running: Running | None
    """The stage that is running; None if none is."""
    stages: dict[str, StageStatus]
    """The stages by name, in the order in which they run."""


def status(opened: Opened) -> Status:
    """Returns the progress of each stage."""
    workspace, shards = opened.workspace, opened.shards()
    stages = dict.fromkeys(("index", "score", "select", "caption", "build-shards"), StageStatus())
    stages["index"] = _index(opened.recipe, workspace, shards)
    if shards:
        if not opened.meta_known:  # by now the index has run: a predicate may name no other column
            opened = open_recipe(opened.recipe)
        stages["score"] = _score(opened, shards)
        stages["select"] = _select(opened)
        if stages["select"]:
            stages["caption"] = _caption(opened, shards)
            stages["build-shards"] = _build(opened)
    return {"workspace": str(workspace.root), "running": running(workspace), "stages": stages}


def finished(facts: StageStatus) -> bool:
    """Returns whether a stage, given its entry in `status`, has nothing left to do."""
    return bool(facts) and not facts.get("left") and not facts.get("stale")


def running(workspace: Workspace) -> Running | None:
    """Reads the progress file of the stage that is running; returns None if no stage is running."""
    try:
        word = json.loads(workspace.running.read_text())
        alive = _alive(word)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not alive:
        return None
    seconds = max(1e-6, word["at"] - word["began"])
    rate = word["done"] / seconds
    word |= {
        "seconds": round(seconds, 1),
        "rate": round(rate, 2),
        "seconds_left": round((word["total"] - word["done"]) / rate) if rate else None,
        "kept_share": round(word["passed"] / word["judged"], 4) if word["passed"] and word["judged"] else None,
    }
    return cast(Running, {key: value for key, value in word.items() if key not in ("at", "began", "passed", "judged")})


def lines(state: Status) -> list[str]:
    """Formats the result of `status` as lines of text."""
    lines = [state["workspace"]]
    now = state["running"]
    if now:
        kept = f", {now['kept_share']:.0%} kept so far" if now["kept_share"] is not None else ""
        left = f", {_clock(now['seconds_left'])} left" if now["seconds_left"] is not None else ""
        lines.append(
            f"  {now['stage']} is running (process {now['pid']} on {now['host']}, for {_clock(now['seconds'])}): "
            f"{now['done']:,} of {counted(now['total'], now['unit'])}, {now['rate']:,.1f}/s{left}{kept}"
        )
        lines += [f"    failed: {count:,} × {reason}" for reason, count in sorted(now["failed"].items())]
    for stage, facts in state["stages"].items():
        lines.append(f"  {stage:13} {_facts(facts)}")
        lines += [f"    left: {count:,} × {reason}" for reason, count in list(facts.get("left", {}).items())[:10]]
        lines += [f"    failed: {count:,} × {reason}" for reason, count in facts.get("failed", {}).items()]
    return lines


def _index(recipe: Recipe, workspace: Workspace, shards: list[tuple[str, str]]) -> StageStatus:
    ledger, counts, reasons = Ledger[IndexLine](workspace, "index"), Counter[str](), Counter[str]()
    damaged = 0
    for corpus, shard in shards:
        line = known_shard(workspace, ledger, corpus, shard) or {}
        counts.update(rows=line.get("rows", 0), gone=line.get("gone", 0))
        counts["there"] += line.get("source", "") is not None
        reasons.update(line.get("reasons", {}))
        damaged += bool(line.get("damage"))
    totals = ledger.facts.get("shards") or {}
    total = sum(totals.get(corpus.name, 0) for corpus in recipe.corpora)
    if not total and not shards:
        return {}
    facts: StageStatus = {"shards": max(total, counts["there"]), "done": counts["there"], "images": counts["rows"]}
    if total > counts["there"]:
        facts["left"] = {"not indexed yet": total - counts["there"]}
    if counts["gone"]:
        facts["gone"] = counts["gone"]
    if damaged:
        facts["damaged_shards"] = damaged
    facts["failed"] = dict(reasons.most_common())
    return facts


def _score(opened: Opened, shards: list[tuple[str, str]]) -> StageStatus:
    files = score_files(opened.workspace, opened.cascade)
    paths = {shard: files(*shard) for shard in shards}
    return _listed(Ledger[ScoreLine](opened.workspace, "score"), paths, mark(opened.cascade))


def _caption(opened: Opened, shards: list[tuple[str, str]]) -> StageStatus:
    paths = {shard: caption_files(opened, *shard) for shard in shards}
    return _listed(Ledger[CaptionLine](opened.workspace, "caption"), paths, caption_mark(opened))


def _listed(
    ledger: Ledger[ScoreLine] | Ledger[CaptionLine],
    paths: dict[tuple[str, str], list[str]],
    made_from: dict[str, Any],
) -> StageStatus:
    """Counts a ledger's stale shards by reason, and the failed rows of the shards that are up to date."""
    now = ledger.define_mark(made_from)
    left, failed = Counter[str](), Counter[str]()
    for (corpus, shard), files in paths.items():
        reason = ledger.stale(corpus, shard, files, now)
        if reason is not None:
            left[reason] += 1
        else:
            failed.update(ledger.lines[f"{corpus}/{shard}"].get("failed", {}))
    return {
        "shards": len(paths),
        "done": len(paths) - sum(left.values()),
        "left": dict(left.most_common()),
        "failed": dict(failed.most_common()),
    }


def _select(opened: Opened) -> StageStatus:
    funnel = json_object(opened.workspace.funnel).get("funnel")
    if not isinstance(funnel, dict):
        return {}
    images, kept = funnel.get("input", 0), funnel.get("kept", 0)
    facts: StageStatus = {"images": images, "kept": kept, "kept_share": round(kept / max(1, images), 4)}
    return facts | _stale(opened.workspace, "select", selection_made_of(opened))


def _build(opened: Opened) -> StageStatus:
    workspace, facts = opened.workspace, StageStatus()
    for phase in PHASES:
        images = json_object(workspace.product(phase) / "stats.json").get("images")
        if isinstance(images, int):
            facts[phase] = images
    return facts | _stale(workspace, "build-shards", product_made_of(opened)) if facts else facts


def _stale(workspace: Workspace, stage: str, now: dict[str, Any]) -> StageStatus:
    """Returns, under `stale`, how the stage's inputs differ from those of its last run; empty if they are the same."""
    before = Ledger[LedgerLine](workspace, stage).facts.get("made_of")
    if before == now:
        return {}
    if not isinstance(before, dict):
        before = now  # what it was made of is not known
    reasons = []
    for part in dict.fromkeys([*before, *now]):
        old, new = before.get(part), now.get(part)
        if part in _STAMPS and old != new and old is not None and new is not None:
            reasons.append(f"{part} changed since")
        else:
            reasons += changes(part, old, new)
    return {"stale": "; ".join(reasons) or "made by another run than the one that is known"}


def _alive(word: dict[str, Any]) -> bool:
    """Returns whether the process that wrote a progress file is still running.

    On the process's own machine this is certain; for another machine it is inferred from the time of the last update.
    """
    if word["host"] != socket.gethostname():
        return time.time() - float(word["at"]) < SILENT
    try:
        facts = Path(f"/proc/{int(word['pid'])}/stat").read_text().rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return False
    started = time.time() - up + int(facts[19]) / os.sysconf("SC_CLK_TCK")
    return facts[0] != "Z" and started <= word["began"] + 1  # else its number was given to another process


def _facts(facts: StageStatus) -> str:
    parts = []
    if not facts:
        return "not yet"
    if isinstance(facts.get("shards"), int):
        parts.append(f"{facts['done']:,} of {counted(facts['shards'], 'shards')} done")
    if "kept" in facts:
        parts.append(f"{facts['kept']:,} of {facts['images']:,} kept, {facts['kept_share']:.1%}")
    elif "images" in facts:
        parts.append(counted(facts["images"], "images"))
    parts += [f"{name}: {facts[name]:,}" for name in _COUNTS if name in facts]
    parts += [f"stale: {facts['stale']}"] if "stale" in facts else []
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
