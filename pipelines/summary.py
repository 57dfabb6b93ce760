"""The summary of a stage's run, for people and for `--json`."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from curation.selection.funnel import Funnel
from curation.tasks import Outcome, Task

if TYPE_CHECKING:
    from curation.annotation.caption_eval.scores import ImportCounts
    from curation.annotation.caption_eval.sheet import SheetCounts
    from curation.shards.stage import PhaseSize


class StageFacts(TypedDict, total=False):
    """Facts that only some stages have; in JSON they stand beside the fields of the summary."""

    images: int
    """Number of rows of the corpora (`index`)."""
    images_failed: int
    """Number of rows that could not be indexed (`index`)."""
    images_gone: int
    """Number of rows whose image is gone from the source (`index`)."""
    rows_without_image: int
    """Number of rows of the source tables that have no image (`index`)."""
    funnel: dict[str, Any]
    """The fields of `Funnel` (`select`)."""
    spent: dict[str, float]
    """Tokens and dollars that the captions took (`caption`)."""
    flagged: dict[str, int]
    """Number of captions by flag (`caption`)."""
    levels: dict[str, int]
    """Counts of votes and levels (`annotate import`)."""
    products: "dict[str, PhaseSize]"
    """Size of each phase of the product (`build-shards`)."""
    sheet: "SheetCounts"
    """Counts of the evaluators' sheet (`caption-eval sheet`)."""
    scores: "ImportCounts"
    """Counts of the evaluators' scores (`caption-eval import`)."""


@dataclass
class Summary:
    """The summary of a stage's run, for people and for `--json`."""

    stage: str
    shards: int = 0
    """Number of all shards."""
    done: int = 0
    """Number of shards that this run processed; the others were up to date or failed."""
    rows: int = 0
    """Number of rows that this run processed."""
    estimate: str | None = None
    """The estimate of the run's time, as printed before it; None if there was none."""
    failed: dict[str, int] = field(default_factory=dict)
    """Number of failed rows by reason."""
    errors: list[str] = field(default_factory=list)
    """Shards that could not be processed, each with the error."""
    notes: list[str] = field(default_factory=list)
    """Remarks for the user, one line each."""
    damaged: list[str] = field(default_factory=list)
    """Raw shards of which only a part could be read, each with the error; the job goes on without the rest of them."""
    seconds: float = 0.0
    too_many_failed: bool = False
    """Whether more rows failed than the recipe's `max_failed_share` allows."""
    more: StageFacts = field(default_factory=StageFacts)
    printed: bool = False
    """Whether the summary has been printed."""

    def add(self, task: Task, outcome: Outcome) -> None:
        """Adds the outcome of one task to the counts."""
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
        """Whether the stage succeeded, so that the exit status is 0."""
        return not (self.errors or self.damaged or self.too_many_failed)

    def as_dict(self) -> dict[str, Any]:
        """Returns the summary as a dict, for JSON: the fields, the further facts, and `ok`."""
        return {k: v for k, v in asdict(self).items() if k not in ("more", "printed")} | self.more | {"ok": self.ok}

    def lines(self) -> list[str]:
        """Returns the summary as lines of text, for people."""
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
            text = (
                ", ".join(
                    f"{k} {v if not isinstance(v, dict) else ' '.join(f'{n} {a}' for a, n in v.items())}"
                    for k, v in value.items()
                )
                if isinstance(value, dict)
                else value
            )
            lines.append(f"  {name.replace('_', ' ')}: {text}")
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
    """Returns the funnel as a table, a line for each step: the rows that it takes away, and those that are left."""
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
