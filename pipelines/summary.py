"""What a stage did, for people and for `--json`."""

from dataclasses import asdict, dataclass, field
from typing import Any

from curation.selection.funnel import Funnel
from curation.tasks import Outcome, Task


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
            lines = [f"{self.stage}: {self.rows:,} rows in {self.seconds:.1f} s"]
            lines += _funnel_lines(Funnel(**self.more["funnel"]))
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


def _funnel_lines(funnel: Funnel) -> list[str]:
    """The funnel as a table: what each step takes away and what is left."""
    texts = {
        "failed": "failed",
        "dropped": "dropped by {}",
        "undecided": "undecided by {}",
        "duplicate": "duplicate ({})",
        "balance": "balanced away",
    }
    lines = [f"  {'images':24}{'':>10} {funnel.input:>10,}"]
    for kind, name, count, left in funnel.steps():
        if count or kind != "balance":
            lines.append(f"  {texts[kind].format(name):24}{-count:>10,} {left:>10,}")
    lines.append(f"  {'kept':24}{'':>10} {funnel.kept:>10,}")
    if funnel.text_in_the_wild is not None:
        lines.append(f"  {'of these text in the wild':24}{'':>9} {funnel.text_in_the_wild:>10,}")
    return lines
