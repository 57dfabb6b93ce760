"""Reads the log of runs: when each stage ran, how long it took, and what it counted."""

import json
from dataclasses import dataclass
from typing import Any

from curation.workspace.folder import Workspace


@dataclass(frozen=True)
class Run:
    """One run of a stage as recorded in the log; a field that the log lacks is None, 0 or empty."""

    stage: str
    began: float | None
    seconds: float | None
    rows: int | None
    shards: int | None
    done: int | None
    failed: int
    workers: int | None
    engine: str
    signals: dict[str, float]
    """CPU seconds spent on each signal."""
    signal_rows: dict[str, int]
    """Number of rows for which each signal was computed."""
    made_with: dict[str, str]
    """The settings that the cost of each signal depends on, by signal; see `curation.scoring.estimate`."""

    @property
    def rate(self) -> float | None:
        """Rows per second; None if not known."""
        return self.rows / self.seconds if self.rows and self.seconds else None


def runs(workspace: Workspace) -> list[Run]:
    """Returns the runs in `logs/runs.jsonl`, in its order; torn and invalid lines are skipped."""
    try:
        lines = workspace.runs.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("stage"), str):
            entries.append(_run(entry))
    return entries


def _run(entry: dict[str, Any]) -> Run:
    failed, made_with = entry.get("failed"), entry.get("made_with")
    return Run(
        entry["stage"],
        _amount(entry.get("began")),
        _amount(entry.get("seconds")),
        _count(entry.get("rows")),
        _count(entry.get("shards")),
        _count(entry.get("done")),
        sum(_count(n) or 0 for n in failed.values()) if isinstance(failed, dict) else 0,
        _count(entry.get("workers")),
        str(entry.get("engine") or ""),
        _amounts(entry.get("signal_seconds")),
        {name: int(rows) for name, rows in _amounts(entry.get("signal_rows")).items()},
        {str(k): str(v) for k, v in made_with.items()} if isinstance(made_with, dict) else {},
    )


def _amounts(values: Any) -> dict[str, float]:
    return {str(k): a for k, v in values.items() if (a := _amount(v)) is not None} if isinstance(values, dict) else {}


def _amount(value: Any) -> float | None:
    is_one = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15
    return float(value) if is_one else None


def _count(value: Any) -> int | None:
    amount = _amount(value)
    return None if amount is None else int(amount)
