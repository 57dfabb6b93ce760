"""Stage `score`: computes signals for the rows that the cascade lets reach them, and stores them beside the samples.

One pass over a shard reads and decodes each image at most once per reduction, in micro-batches of 32. Existing scores
are kept; a row that fails costs only itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

from curation.corpora.listing import open_source
from curation.corpora.samples import known_shard, shard_path
from curation.errors import UserError
from curation.recipe import Recipe
from curation.recipe.sections import Corpus
from curation.scoring.cascade import Cascade
from curation.scoring.decider import Decider
from curation.scoring.estimate import Work
from curation.scoring.opened import Opened, opened_in_worker
from curation.scoring.shard_pass import LoadedCascade, Pass, Scan, passes_of
from curation.scoring.sidecars import Columns
from curation.scoring.wide_table import refresh
from curation.tasks import Demand, Outcome, Plan, Watch
from curation.workspace import Workspace
from curation.workspace.files import stamps
from curation.workspace.ledger import IndexLine, Ledger, ScoreLine


@dataclass(frozen=True, slots=True)
class ScoreTask:
    """Scores one shard."""

    recipe: Recipe
    source_corpus: Corpus
    shard: str
    path: str
    rows: int
    """Number of rows of the shard."""
    passes: tuple[Pass, ...]
    """The passes that are left, each for its own kind of worker; this task makes the first one."""
    retry_failed: bool = False

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.source_corpus.name

    @property
    def demands(self) -> tuple[Demand, ...]:
        """See Task."""
        return tuple(one.demand for one in self.passes)

    def run(self, watch: Watch) -> Outcome:
        """Computes the missing scores, and writes the sidecars that changed and, after the last pass, the wide file."""
        opened = opened_in_worker(self.recipe)
        workspace, cascade, wanted = opened.workspace, opened.cascade, self.passes[0]
        columns = Columns.read(workspace, cascade, self.corpus, self.shard, self.retry_failed)
        source = open_source(self.source_corpus, self.shard, self.path)
        try:
            outcome = Scan(_loaded(opened), wanted, columns, source, watch).run()
        finally:
            source.close()
        if any(failure.endswith(" changed") for failure in outcome.failed):
            outcome.changed = [(self.corpus, self.shard)]
        for name in wanted.signals:
            columns.write(workspace, self.corpus, self.shard, cascade.signals[name])
        if len(self.passes) > 1:
            outcome.then = replace(self, passes=self.passes[1:])
            return outcome
        refresh(opened, self.corpus, self.shard)
        outcome.passed = sum(stop == len(cascade.predicates) for stop in columns.stops(cascade, Decider()))
        outcome.line = self._line(workspace, cascade, columns) | {"passed": outcome.passed}
        return outcome

    def _line(self, workspace: Workspace, cascade: Cascade, columns: "Columns") -> ScoreLine:
        """Returns a shard's ledger line: its files, their fingerprints, and failures by reason."""
        return {
            "files": stamps(score_files(workspace, cascade)(self.corpus, self.shard)),
            "mark": mark(cascade),
            "rows": columns.samples.num_rows,
            "failed": dict(sorted(columns.failures(cascade).items())),
            "scored": {name: columns.done(name) for name in cascade.signals},
        }


def plan(opened: Opened, retry_failed: bool = False) -> Plan:
    """Plans a task for each shard that has rows to score or whose state is unknown.

    The workers find out what each row needs; the ledger tells which shards they can leave out.

    Raises:
        UserError: nothing is indexed, or a model is missing, damaged or does not fit; nothing has begun then.
    """
    recipe, workspace, cascade = opened.recipe, opened.workspace, opened.cascade
    indexed, ledger = None, Ledger[ScoreLine](workspace, "score", writable=True)
    now, result, work = ledger.define_mark(mark(cascade)), Plan(), Work(recipe, cascade)
    passes = passes_of(recipe, cascade)
    changed = cache(lambda before: _changed(ledger, before, now, cascade))  # of the few marks that shards have
    files = score_files(workspace, cascade)
    for name, shard in opened.indexed_shards():
        result.total += 1
        reason = ledger.stale(name, shard, files(name, shard), now)
        line = ledger.lines.get(f"{name}/{shard}")
        if reason is None and retry_failed and line and line.get("failed"):
            reason = "to be tried again"
        if reason is not None:
            indexed = indexed or Ledger[IndexLine](workspace, "index")
            known = known_shard(workspace, indexed, name, shard)
            if known is None:
                raise UserError(f"{name}/{shard} is not indexed; run `curate index RECIPE`")
            corpus = recipe.corpus(name)
            path = shard_path(corpus, known["footer"] or {})
            result.add(ScoreTask(recipe, corpus, shard, path, known["rows"], passes, retry_failed), reason)
            work.add(changed(str((line or {}).get("mark"))), line or {}, known["rows"])
    if result.tasks:
        cascade.check_models()
        result.estimate = work.describe(workspace, len(result.tasks))
    opened.models.note(cascade.made_with)
    return result


def _changed(ledger: Ledger[ScoreLine], before_mark: str, now: str, cascade: Cascade) -> list[str]:
    """Returns the signals whose definition has changed since a shard's mark was written."""
    before = ledger.definitions.get(before_mark) or {}
    changed = {name for name in cascade.signals if before.get(name) != ledger.definitions[now][name]}
    return [name for name in cascade.signals if changed & {name, *cascade.reads_through(name)}]


def score_files(workspace: Workspace, cascade: Cascade) -> Callable[[str, str], list[str]]:
    """Returns a function that lists the files of a shard's ledger line: its samples file and every sidecar.

    The function takes corpus and shard. It joins text, since making Path objects for 10⁴ shards would take most of a
    plan's time.
    """
    folders = [workspace.samples("", ""), *(workspace.signal(name, "", "") for name in cascade.signals)]
    prefixes = [str(path.parent) for path in folders]
    return lambda corpus, shard: [f"{prefix}/{corpus}/{shard}.parquet" for prefix in prefixes]


def mark(cascade: Cascade) -> dict[str, Any]:
    """Returns all that a shard's scores depend on besides its images: the signals' identities, and some predicates.

    Predicates that come after the first use of every signal decide about no score, and are left out.
    """
    deciding = cascade.predicates[: max(cascade.first_use.values(), default=0)]
    where = {f"where.{p.name}": " ".join(p.sql.split()) for p in deciding}
    order = {"where.order": [p.name for p in deciding]}  # a mapping alone would forget it
    own = {name: cascade.own_identity(name) for name in cascade.signals}  # what it reads has a part of its own
    return own | where | order


@lru_cache(1)
def _loaded(opened: Opened) -> LoadedCascade:
    """Returns the cascade with its models, kept for the next shard of the same worker."""
    return LoadedCascade(opened.cascade)
