"""Stage `caption`: writes and checks an English caption and its Chinese translation for every kept row.

Existing captions stay: after a later selection that keeps more rows, only the new rows are captioned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.captions.crew import Crew, caption_fingerprint, crew_of
from curation.captions.rows import caption_files, caption_mark, caption_rows, failure, failures, known_rows, load_shard
from curation.errors import StageError
from curation.recipe import Recipe
from curation.recipe.sections import Corpus
from curation.scoring.opened import Opened, opened_in_worker
from curation.tasks import Demand, Outcome, Plan, Watch
from curation.workspace import Workspace
from curation.workspace.files import read_table, stamps, write_table
from curation.workspace.ledger import CaptionLine, Ledger
from curation.workspace.schemas import CAPTIONS, SKIPPED

PATIENCE = 20.0
"""Number of times `image_timeout` that a batch of a generative captioner may take: it holds many images, and a busy
endpoint is asked again."""
FEEDERS = 4.0
"""Number of cores that prepare pictures for one GPU of this machine; one core prepares about 100 a second."""


@dataclass(frozen=True, slots=True)
class CaptionTask:
    """Captions the kept rows of one shard."""

    recipe: Recipe
    source_corpus: Corpus
    shard: str
    rows: int
    """Number of texts to be written: a caption of each row, and its translation if a model writes it."""
    demands: tuple[Demand, ...] = (Demand(models=True),)
    retry_failed: bool = False

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.source_corpus.name

    def run(self, watch: Watch) -> Outcome:
        """Captions the kept rows that have no caption yet, and writes the shard's captions."""
        opened = opened_in_worker(self.recipe)
        shard = load_shard(opened, self.source_corpus, self.shard)
        rows, todo = shard.rows, _wanting(shard.kept, shard.rows, self.retry_failed)
        outcome, texts = caption_rows(opened, shard, todo, watch, self.demands[0].threads)
        for row, columns in texts.items():
            rows[row].update(columns | {"captioned_as": shard.kept[row]})
        table = pa.table(
            {f.name: pa.array([row.get(f.name) for row in rows], f.type) for f in CAPTIONS}, schema=CAPTIONS
        )
        made_from = caption_fingerprint(opened, self.corpus, self.shard)
        write_table(opened.workspace.captions(self.corpus, self.shard), table, made_from)
        if outcome.failed["caption changed"]:
            outcome.changed = [(self.corpus, self.shard)]
        outcome.line = _line(opened, self.corpus, self.shard, rows)
        return outcome


def plan(opened: Opened, retry_failed: bool = False) -> Plan:
    """Plans a task for each shard with kept rows that need a caption.

    Args:
        opened: the recipe.
        retry_failed: whether rows that failed are to be tried again.

    Raises:
        UserError: nothing is indexed yet, or a backend is unknown, has wrong parameters, or could not do its work.
    """
    recipe, crew = opened.recipe, crew_of(opened)
    demands = (demand_of(recipe, crew),)
    texts = 1 + bool(crew.translator and crew.translator.generative)  # what a row's progress is counted in
    ledger, result = Ledger[CaptionLine](opened.workspace, "caption", writable=True), Plan()
    now = ledger.define_mark(caption_mark(opened))
    for corpus, shard in opened.indexed_shards():
        result.total += 1
        reason = ledger.stale(corpus, shard, caption_files(opened, corpus, shard), now)
        if reason is None and retry_failed and (ledger.lines.get(f"{corpus}/{shard}") or {}).get("failed"):
            reason = "to be tried again"
        if reason is None:
            continue
        todo, before = _todo(opened, corpus, shard, retry_failed)
        if todo:
            rows = len(todo) * texts
            result.add(CaptionTask(recipe, recipe.corpus(corpus), shard, rows, demands, retry_failed), reason)
        else:
            ledger.add(corpus, shard, _line(opened, corpus, shard, before))
    if result.tasks:
        crew.check(here=recipe.engine == "local")
        result.notices = crew.notices
    opened.models.note(crew.made_with)
    return result


def demand_of(recipe: Recipe, crew: Crew) -> Demand:
    """Returns the demand of a worker; on one machine, a backend that wants a GPU gets one, and cores to feed it."""
    resources = recipe.ray.resources.of_stage("caption")
    backends = crew.all.values()
    patience = PATIENCE if any(b.generative for b in backends) else 1.0
    if recipe.engine == "local" and any(b.on_gpu for b in backends) and not resources.gpus:
        return Demand(FEEDERS, 1.0, resources.memory, models=True, patience=patience)
    return Demand(resources.cpus, resources.gpus, resources.memory, models=True, patience=patience)


def _line(opened: Opened, corpus: str, shard: str, rows: Sequence[Mapping[str, Any]]) -> CaptionLine:
    """Returns the ledger line of a shard with these captions."""
    failed, captioned = failures(rows), sum(bool(row.get("attempts")) for row in rows)
    files = stamps(caption_files(opened, corpus, shard))
    return {
        "files": files,
        "mark": caption_mark(opened),
        "captioned": captioned,
        "failed": dict(sorted(failed.items())),
    }


def _todo(opened: Opened, corpus: str, shard: str, retry_failed: bool) -> tuple[list[int], list[dict[str, Any]]]:
    """Returns the numbers of the rows to be captioned, and the captions made before.

    Raises:
        StageError: a signal that the captioner reads is not scored for these rows.
    """
    _samples, kept, before = known_rows(opened, corpus, shard)
    todo = _wanting(kept, before, retry_failed)
    for name in crew_of(opened).signals if todo else ():
        _check_scored(opened.workspace, name, corpus, shard, todo)
    return todo, before


def _wanting(kept: list[str | None], before: list[dict[str, Any]], retry_failed: bool) -> list[int]:
    return [
        row
        for row, (source, made) in enumerate(zip(kept, before, strict=True))
        if source and (made.get("captioned_as") != source or _again(made, retry_failed))
    ]


def _again(made: dict[str, Any], retry_failed: bool) -> bool:
    """Returns whether a caption is made again: one that failed, if asked for, or whose raw shard had changed."""
    return bool(retry_failed and failure(made)) or "changed" in (made.get("flags") or ())


def _check_scored(workspace: Workspace, name: str, corpus: str, shard: str, rows: list[int]) -> None:
    """Checks that a signal is scored, so that captions do not depend on the order of stages. Raises StageError."""
    path = workspace.signal(name, corpus, shard)
    states = read_table(path, columns=[f"{name}_state"]).column(0).to_pylist() if path.exists() else []
    if not states or any(states[row] == SKIPPED for row in rows):
        raise StageError(
            f"{corpus}/{shard}: the captioner reads {name}, which is not scored; run `curate score RECIPE`"
        )
