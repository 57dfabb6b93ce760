"""Stage `score`: computes signals for the rows that the cascade lets reach them, and stores them beside the samples.

One pass over a shard reads and decodes each image at most once per reduction, in micro-batches of 32. What is scored
already is kept; a row that fails costs only itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from curation.corpora.listing import open_source
from curation.corpora.samples import known_shard, meta_schema, shard_path
from curation.errors import UserError
from curation.models.checkpoints import Models
from curation.recipe import Recipe
from curation.recipe.sections import Corpus
from curation.scoring.cascade import Cascade
from curation.scoring.decider import Decider
from curation.scoring.estimate import Work
from curation.scoring.shard_pass import LoadedCascade, Pass, Scan, passes_of
from curation.scoring.sidecars import Columns
from curation.scoring.wide_table import refresh
from curation.tasks import Demand, Outcome, Plan, Watch
from curation.workspace import Workspace
from curation.workspace.files import stamps
from curation.workspace.ledger import Ledger


@dataclass(frozen=True, slots=True)
class ScoreTask:
    """Scores one shard."""

    recipe: Recipe
    source_corpus: Corpus
    shard: str
    path: str
    rows: int
    """Rows of the shard."""
    passes: tuple[Pass, ...]
    """What is still to be done, each on a worker of its own kind; this task is the first of them."""
    retry_failed: bool = False

    @property
    def corpus(self) -> str:
        """The corpus's name."""
        return self.source_corpus.name

    @property
    def demands(self) -> tuple[Demand, ...]:
        """See Task."""
        return tuple(one.demand for one in self.passes)

    def run(self, watch: Watch) -> Outcome:
        """Scores what is missing and writes the sidecars that changed, and the shard's wide file."""
        workspace = Workspace(self.recipe.workspace)
        machinery = _machinery(self.recipe)
        cascade, wanted = machinery.cascade, self.passes[0]
        columns = Columns.read(workspace, cascade, self.corpus, self.shard, self.retry_failed)
        source = open_source(self.source_corpus, self.shard, self.path)
        try:
            outcome = Scan(machinery, wanted, columns, source, watch).run()
        finally:
            source.close()
        for name in wanted.signals:
            columns.write(workspace, self.corpus, self.shard, cascade.signals[name])
        if len(self.passes) > 1:
            outcome.then = replace(self, passes=self.passes[1:])
            return outcome
        refresh(workspace, self.recipe, cascade, self.corpus, self.shard)
        outcome.passed = sum(stop == len(cascade.predicates) for stop in columns.stops(cascade, Decider()))
        outcome.line = self._line(workspace, cascade, columns) | {"passed": outcome.passed}
        return outcome

    def _line(self, workspace: Workspace, cascade: Cascade, columns: "Columns") -> dict[str, Any]:
        """What the ledger keeps: the files, what they were made from, and the failures by reason."""
        return {
            "files": stamps(score_files(workspace, cascade, self.corpus)(self.shard)),
            "mark": mark(cascade),
            "rows": columns.samples.num_rows,
            "failed": dict(sorted(columns.failures(cascade).items())),
            "scored": {name: columns.done(name) for name in cascade.signals},
        }


def plan(recipe: Recipe, retry_failed: bool = False) -> Plan:
    """The shards with something to score, or of which that is not known.

    What each row needs is found by the workers: the ledger tells which shards they need not even look at.

    Raises:
        UserError: a model is missing, damaged or does not fit; nothing has begun then.
    """
    workspace = Workspace(recipe.workspace)
    cascade = Cascade.of(recipe, meta_schema(workspace, [c.name for c in recipe.corpora]))
    indexed, ledger = None, Ledger(workspace, "score", writable=True)
    now, found, work = ledger.define_mark(mark(cascade)), Plan(), Work(recipe, cascade)
    passes = passes_of(recipe, cascade)
    changed = cache(lambda before: _changed(ledger, before, now, cascade))  # of the few marks that shards have
    for corpus in recipe.corpora:
        files = score_files(workspace, cascade, corpus.name)
        for shard in workspace.shards(corpus.name):
            found.total += 1
            reason = ledger.stale(corpus.name, shard, files(shard), now)
            line = ledger.lines.get(f"{corpus.name}/{shard}")
            if reason is None and retry_failed and line and line.get("failed"):
                reason = "to be tried again"
            if reason is not None:
                indexed = indexed or Ledger(workspace, "index")
                known = known_shard(workspace, indexed, corpus.name, shard)
                if known is None:
                    raise UserError(f"{corpus.name}/{shard} is not indexed; run `curate index RECIPE`")
                path = shard_path(corpus, known["footer"])
                found.add(ScoreTask(recipe, corpus, shard, path, known["rows"], passes, retry_failed), reason)
                work.add(changed(str((line or {}).get("mark"))), line or {}, known["rows"])
    if found.tasks:
        cascade.check_models()
        found.estimate = work.told(workspace, len(found.tasks))
    Models.of(recipe).note(cascade.made_with)
    return found


def _changed(ledger: Ledger, before_mark: str, now: str, cascade: Cascade) -> list[str]:
    """The signals of which a shard's mark does not speak as they are now."""
    before = ledger.definitions.get(before_mark) or {}
    changed = {name for name in cascade.signals if before.get(name) != ledger.definitions[now][name]}
    return [name for name in cascade.signals if changed & {name, *cascade.reads_through(name)}]


def score_files(workspace: Workspace, cascade: Cascade, corpus: str) -> Callable[[str], list[str]]:
    """The files that a shard's line in the ledger speaks of: its samples file, then every sidecar."""
    folders = [workspace.samples(corpus, "x"), *(workspace.signal(n, corpus, "x") for n in cascade.signals)]
    prefixes = [str(path.parent) + "/" for path in folders]
    return lambda shard: [f"{prefix}{shard}.parquet" for prefix in prefixes]


def mark(cascade: Cascade) -> dict[str, Any]:
    """What a shard's scores depend on beside its images: each signal's identity, and the predicates before the last.

    The predicates that come after the last first use of a signal decide about no score.
    """
    deciding = cascade.predicates[: max(cascade.first_use.values(), default=0)]
    where = {f"where.{p.name}": " ".join(p.sql.split()) for p in deciding}
    order = {"where.order": [p.name for p in deciding]}  # a mapping alone would forget it
    own = {name: cascade.own_identity(name) for name in cascade.signals}  # what it reads has a part of its own
    return own | where | order


_kept: dict[str, LoadedCascade] = {}


def _machinery(recipe: Recipe) -> LoadedCascade:
    """The machinery for a recipe, kept for the next shard of the same worker."""
    meta = meta_schema(Workspace(recipe.workspace), [c.name for c in recipe.corpora])
    key = recipe.model_dump_json() + str(meta)
    if key not in _kept or _kept[key].outdated:
        _kept.clear()
        _kept[key] = LoadedCascade(Cascade.of(recipe, meta))
    return _kept[key]
