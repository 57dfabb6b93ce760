"""The summary of a stage's run, for people and for `--json`."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from curation.annotation.level_model.words import in_lines
from curation.counts import counted, per_second
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
    captions: dict[str, int]
    """Number of original captions by note, see `curation.corpora.captions.CAPTION_NOTES` (`index`)."""
    other_files: dict[str, int]
    """Number of files that are neither images nor belong to one, by ending (`index`)."""
    funnel: dict[str, Any]
    """The fields of `Funnel` (`select`)."""
    spent: dict[str, float]
    """Tokens and dollars that the captions took (`caption`)."""
    flagged: dict[str, int]
    """Number of captions by flag (`caption`)."""
    levels: dict[str, int]
    """Counts of votes and levels (`annotate import`)."""
    level_model: dict[str, Any]
    """What is known of the model that predicts levels, see `curation.annotation.level_model` (`annotate learn`)."""
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
    stopped: bool = False
    """Whether the stage stopped before all shards were tried, since all others would have failed in the same way."""
    too_many_failed: bool = False
    """Whether more rows failed than the recipe's `max_failed_share` allows."""
    failed_share: float | None = None
    """Share (0 to 1) of failed rows that `judge` was told; None where a stage has no such bound."""
    allowed_share: float = 1.0
    """The recipe's `max_failed_share`, if `judge` was told it."""
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

    def judge(self, failed: int, rows: int, allowed: float) -> None:
        """Decides whether too many of the rows failed, those of earlier runs included.

        Args:
            failed: number of failed rows.
            rows: number of all rows.
            allowed: the recipe's `max_failed_share`.
        """
        self.too_many_failed = failed > allowed * max(1, rows)
        self.failed_share, self.allowed_share = failed / max(1, rows), allowed

    @property
    def ok(self) -> bool:
        """Whether the stage succeeded, so that the exit status is 0."""
        return not (self.errors or self.damaged or self.too_many_failed)

    def as_dict(self) -> dict[str, Any]:
        """Returns the summary as a dict, for JSON: the fields, the further facts, and `ok`."""
        return (
            {
                k: v
                for k, v in asdict(self).items()
                if k not in ("more", "printed", "stopped", "failed_share", "allowed_share")
            }
            | self.more
            | {"ok": self.ok}
        )

    def lines(self) -> list[str]:
        """Returns the summary as lines of text, for people."""
        rate = f", {per_second(self.rows / self.seconds)}" if self.rows and self.seconds > 1 else ""
        current = self.shards - self.done - len(self.errors)
        up_to_date = f", {current} up to date" if current > 0 else ""
        lines = (
            [
                f"{self.stage}: {self.done:,} of {counted(self.shards, 'shards')} done{up_to_date}, "
                f"{counted(self.rows, 'rows')} in {self.seconds:.1f} s{rate}"
            ]
            if self.shards
            else [self.stage]
        )
        if "funnel" in self.more:
            lines = [f"{self.stage}: {counted(self.rows, 'rows')} in {self.seconds:.1f} s"]
            lines += _funnel_lines(Funnel(**self.more["funnel"]))
        if "level_model" in self.more:
            lines += [f"  {line}" for line in in_lines(self.more["level_model"])]
        for name, value in self.more.items():
            told = name in ("funnel", "level_model")
            if told or not value or (name == "images_failed" and value == sum(self.failed.values())):
                continue  # the failures are told by reason
            text = (
                ", ".join(_size(phase, size) for phase, size in value.items())
                if name == "products" and isinstance(value, dict)
                else ", ".join(
                    f"{k} {v if not isinstance(v, dict) else ' '.join(f'{n} {a}' for a, n in v.items())}"
                    for k, v in value.items()
                )
                if isinstance(value, dict)
                else value
            )
            lines.append(f"  {name.replace('_', ' ')}: {text}")
        lines += [f"  failed: {count} × {reason}" for reason, count in self.failed.items()]
        for note, times in Counter(self.notes).items():
            lines.append(f"  note: {note}" + (f" ({times:,} times)" if times > 1 else ""))
        lines += [f"  DAMAGED: {damage}" for damage in self.damaged]
        lines += [f"  NOT DONE: {error}" for error in self.errors[:20]]
        if len(self.errors) > 20:
            lines.append(f"  … and {len(self.errors) - 20} more; --json lists them all")
        if self.too_many_failed:
            share = f"{self.failed_share:.1%} of the rows failed, " if self.failed_share is not None else ""
            allowed = f"max_failed_share allows {self.allowed_share:.1%}"
            lines.append(f"  TOO MANY FAILED: {share}{allowed}; the other rows are done, and the exit status is 1")
        return lines


def _size(phase: str, size: "PhaseSize") -> str:
    if phase == "quality" and not size["images"]:
        return "quality none, as it holds what people voted Level 5 (`curate annotate import`)"
    return f"{phase} {counted(size['images'], 'images')} in {counted(size['shards'], 'shards')}"


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
