"""`status`: how far a job has come, read from its workspace by anyone at any time; nothing is written or waited for."""

import json
import os
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

from curation.captions import stage as captions
from curation.cascade import Cascade, meta_schema
from curation.index import known_shard
from curation.ledger import Ledger
from curation.recipe import Recipe
from curation.score import mark, score_files
from curation.shards.build import PHASES
from curation.workspace import Workspace

SILENT = 60
"""Seconds without a word after which a run on another machine is taken for dead."""


def status(recipe: Recipe) -> dict[str, Any]:
    """How far each stage has come.

    Returns:
        `workspace`; `running` (see `running`), null if nothing runs; and `stages`, by name, each with what is known
        of it: `shards`, `done`, `left` (shards by the reason why they are to be done), `failed` (rows by reason), and
        counts of its own.
    """
    workspace = Workspace(recipe.workspace)
    shards = [(corpus.name, shard) for corpus in recipe.corpora for shard in workspace.shards(corpus.name)]
    stages: dict[str, dict[str, Any]] = {"index": _index(workspace, shards)}
    if shards:
        stages["score"] = _score(recipe, workspace, shards)
        stages["select"] = _select(recipe, workspace)
        if workspace.funnel.exists():
            stages["caption"] = _caption(recipe, workspace, shards)
            stages["build-shards"] = _build(workspace)
    return {"workspace": str(workspace.root), "running": running(workspace), "stages": stages}


def running(workspace: Workspace) -> dict[str, Any] | None:
    """What the stage that runs now has done: `stage`, `pid`, `host`, `done` and `total` in `unit`, `rate` a second,
    `seconds` so far and `seconds_left`, `rows`, `failed` by reason, `kept_share` of the rows so far; None if none runs.
    """
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
        "kept_share": round(word["passed"] / word["rows"], 4) if word["passed"] and word["rows"] else None,
    }
    return {key: value for key, value in word.items() if key not in ("at", "began", "passed")}


def lines(found: dict[str, Any]) -> list[str]:
    """The status as text."""
    said = [found["workspace"]]
    now = found["running"]
    if now:
        kept = f", {now['kept_share']:.0%} kept so far" if now["kept_share"] is not None else ""
        left = f", {_clock(now['seconds_left'])} left" if now["seconds_left"] is not None else ""
        said.append(
            f"  {now['stage']} is running (process {now['pid']} on {now['host']}, for {_clock(now['seconds'])}): "
            f"{now['done']:,} of {now['total']:,} {now['unit']}, {now['rate']:,.1f}/s{left}{kept}"
        )
        said += [f"    failed: {count:,} × {reason}" for reason, count in sorted(now["failed"].items())]
    for stage, facts in found["stages"].items():
        said.append(f"  {stage:13} {_facts(facts)}")
        said += [f"    left: {count:,} × {reason}" for reason, count in list(facts.get("left", {}).items())[:10]]
        said += [f"    failed: {count:,} × {reason}" for reason, count in facts.get("failed", {}).items()]
    return said


def _index(workspace: Workspace, shards: list[tuple[str, str]]) -> dict[str, Any]:
    ledger, counts, reasons = Ledger(workspace, "index"), Counter[str](), Counter[str]()
    damaged = 0
    for corpus, shard in shards:
        line = known_shard(workspace, ledger, corpus, shard) or {}
        counts.update({name: line.get(name, 0) for name in ("rows", "gone")})
        reasons.update(line.get("reasons", {}))
        damaged += bool(line.get("damage"))
    facts: dict[str, Any] = {"shards": len(shards), "done": len(shards), "images": counts["rows"]}
    facts |= {"gone": counts["gone"]} if counts["gone"] else {}
    facts |= {"damaged_shards": damaged} if damaged else {}
    return facts | {"failed": dict(reasons.most_common())}


def _score(recipe: Recipe, workspace: Workspace, shards: list[tuple[str, str]]) -> dict[str, Any]:
    cascade = Cascade.of(recipe, meta_schema(workspace, [c.name for c in recipe.corpora]))
    files = {corpus.name: score_files(workspace, cascade, corpus.name) for corpus in recipe.corpora}
    paths = {(corpus, shard): files[corpus](shard) for corpus, shard in shards}
    return _listed(Ledger(workspace, "score"), paths, mark(cascade))


def _caption(recipe: Recipe, workspace: Workspace, shards: list[tuple[str, str]]) -> dict[str, Any]:
    paths = {(corpus, shard): captions.caption_files(recipe, workspace, corpus, shard) for corpus, shard in shards}
    return _listed(Ledger(workspace, "caption"), paths, captions.mark(recipe))


def _listed(ledger: Ledger, paths: dict[tuple[str, str], list[str]], made_from: dict[str, Any]) -> dict[str, Any]:
    """What a ledger says of its shards, which may be stale, and of rows that failed in those that are done."""
    now = ledger.define_mark(made_from)
    left, failed = Counter[str](), Counter[str]()
    for (corpus, shard), files in paths.items():
        reason = ledger.stale(corpus, shard, files, now)
        if reason is not None:
            left[reason] += 1
        else:
            failed.update(ledger.lines[f"{corpus}/{shard}"].get("failed", {}))
    done = len(paths) - sum(left.values())
    return {"shards": len(paths), "done": done, "left": dict(left.most_common()), "failed": dict(failed.most_common())}


def _select(recipe: Recipe, workspace: Workspace) -> dict[str, Any]:
    try:
        notes = json.loads(workspace.funnel.read_text())
    except (OSError, ValueError):
        return {"done": False}
    funnel = notes["funnel"]
    facts = {"images": funnel["input"], "kept": funnel["kept"]}
    facts["kept_share"] = round(funnel["kept"] / max(1, funnel["input"]), 4)
    if notes["where"] != recipe.select.where or notes["dedup"] != recipe.select.dedup.model_dump(exclude={"against"}):
        facts["stale"] = "the recipe's predicates have changed since"
    return facts


def _build(workspace: Workspace) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for phase in PHASES:
        try:
            stats = json.loads((workspace.product(phase) / "stats.json").read_text())
        except (OSError, ValueError):
            continue
        facts[phase] = stats["images"]
    return facts


def _alive(word: dict[str, Any]) -> bool:
    """Whether the process that left word is still there: certain on its own machine, elsewhere by its silence."""
    if word["host"] != socket.gethostname():
        return time.time() - float(word["at"]) < SILENT
    try:
        os.kill(int(word["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not Path("/proc").exists() or "Z" not in _state(int(word["pid"]))


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def _facts(facts: dict[str, Any]) -> str:
    said = []
    if isinstance(facts.get("shards"), int):
        said.append(f"{facts['done']:,} of {facts['shards']:,} shards done")
    elif facts.get("done") is False or not facts:
        return "not yet"
    if "kept" in facts:
        said.append(f"{facts['kept']:,} of {facts['images']:,} kept, {facts['kept_share']:.1%}")
    elif "images" in facts:
        said.append(f"{facts['images']:,} images")
    said += [f"{name}: {facts[name]:,}" for name in ("gone", "damaged_shards", *PHASES) if name in facts]
    said += [f"stale: {facts['stale']}"] if "stale" in facts else []
    return ", ".join(said)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
