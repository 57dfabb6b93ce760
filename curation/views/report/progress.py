"""The report's section on progress: which stages are done, and which command comes next."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from curation.counts import counted
from curation.shards.phases import PHASES
from curation.views.report.fates import Fates
from curation.views.status import StageStatus, finished, status
from curation.workspace.digests import digest
from curation.workspace.files import fingerprint, json_object


@dataclass(frozen=True)
class Stage:
    """One stage of the job."""

    name: str
    done: bool
    says: str
    """The results of the stage so far, in words."""


@dataclass(frozen=True)
class Stored:
    """The stored selection, compared with what the recipe makes of the rows now."""

    state: str
    """`current`, `none`, `other rules`, or `older` (made before the signals, the index or the given list changed)."""
    kept: int | None = None


def stored_selection(fates: Fates) -> Stored:
    """Compares the selection that the last `curate select` stored with the present one."""
    workspace = fates.selection.workspace
    notes = json_object(workspace.funnel)
    funnel = notes.get("funnel")
    if not isinstance(funnel, dict):
        return Stored("none")
    rules = digest(fates.selection.recipe.select.rules)
    prints = [fingerprint(workspace.selection(*shard)) for shard in fates.selection.shards]
    if set(prints) - {None, rules}:
        return Stored("other rules", funnel.get("kept"))
    same = None not in prints and funnel == fates.funnel.as_dict()
    return Stored("current" if same else "older", funnel.get("kept"))


def stages(fates: Fates, signals: Mapping[str, Counter[str]], captioned: int | None, levels: int) -> list[Stage]:
    """Returns the stages in order.

    Args:
        fates: the fates of all rows.
        signals: number of rows by state, for each signal.
        captioned: number of kept images with captions; None if nothing is captioned.
        levels: number of images with votes.
    """
    funnel = fates.funnel
    statuses = status(fates.selection.opened)["stages"]
    done = {name: finished(facts) for name, facts in statuses.items()}
    undecided = sum(funnel.undecided.values())
    shards = len(fates.selection.shards)
    images = f"{counted(funnel.input, 'images')} in {counted(shards, 'shards')}"
    result = [Stage("index", done["index"], images)]
    if signals:
        scored = ", ".join(f"{name} {states['scored']:,}" for name, states in signals.items())
        waiting = f"; waiting for a signal: {counted(undecided, 'images')}" if undecided else ""
        result.append(Stage("score", done["score"] and not undecided, f"images scored: {scored}{waiting}"))
    stored = stored_selection(fates)
    says = {
        "current": f"{counted(funnel.kept, 'images')} kept",
        "none": "not run",
        "other rules": "was run by other rules than the recipe's",
        "older": "was run before the index, the signals or the given list changed",
    }[stored.state]
    result.append(Stage("select", stored.state == "current", says))
    of_kept = "not run" if captioned is None else f"{captioned:,} of {counted(funnel.kept, 'kept images')} captioned"
    result.append(Stage("caption", done["caption"], of_kept + _left(statuses["caption"])))
    result.append(
        Stage("annotate import", levels > 0, f"{counted(levels, 'images')} with votes" if levels else "no votes")
    )
    products = {phase: statuses["build-shards"].get(phase) for phase in PHASES}
    built = ", ".join(f"{phase} {n:,}" for phase, n in products.items() if n is not None)
    says = f"images in the product: {built}" if built else "not run"
    result.append(Stage("build-shards", done["build-shards"], says + _left(statuses["build-shards"])))
    return result


def _left(facts: StageStatus) -> str:
    """Returns the reasons for which a stage that has run must be run again, in words; empty if it need not be."""
    reasons = [facts["stale"]] if facts.get("stale") else list(facts.get("left", {}))
    return f"; to be run again: {'; '.join(reasons[:3])}" if reasons and reasons != ["new"] else ""


def next_command(stages_in_order: list[Stage]) -> str | None:
    """Returns the command of the first stage that is not done; None if all automatic stages are done."""
    for stage in stages_in_order:
        if not stage.done and stage.name != "annotate import":
            return f"curate {stage.name} RECIPE"
    return None
