"""Stage `score`: computes signals for the rows that the cascade lets reach them, and stores them beside the samples.

One pass over a shard reads and decodes each image at most once per reduction, in micro-batches of 32. What is scored
already is kept; a row that fails costs only itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from curation.cascade import Cascade, Decider, meta_schema
from curation.checkpoints import Models
from curation.columns import Columns
from curation.corpus import open_source
from curation.errors import UserError
from curation.estimate import Work
from curation.index import known_shard
from curation.ledger import Ledger, Plan, stamps
from curation.recipe import Corpus, Recipe, Resources
from curation.scan import Leg, Machinery, Scan
from curation.tasks import Demand, Outcome, Watch
from curation.wide import refresh
from curation.workspace import Workspace, footer


@dataclass(frozen=True, slots=True)
class ScoreTask:
    """Scores one shard."""

    recipe: Recipe
    source_corpus: Corpus
    shard: str
    path: str
    rows: int
    """Rows of the shard."""
    legs: tuple[Leg, ...]
    """What is still to be done, each on a worker of its own kind; this task is the first of them."""
    retry_failed: bool = False

    @property
    def corpus(self) -> str:
        """The corpus's name."""
        return self.source_corpus.name

    @property
    def demands(self) -> tuple[Demand, ...]:
        """See Task."""
        return tuple(leg.demand for leg in self.legs)

    def run(self, watch: Watch) -> Outcome:
        """Scores what is missing and writes the sidecars that changed, and the shard's wide file."""
        workspace = Workspace(self.recipe.workspace)
        machinery = _machinery(self.recipe)
        cascade, leg = machinery.cascade, self.legs[0]
        columns = Columns.read(workspace, cascade, self.corpus, self.shard, self.retry_failed)
        source = open_source(self.source_corpus, self.shard, self.path)
        try:
            outcome = Scan(machinery, leg, columns, source, watch).run()
        finally:
            source.close()
        for name in leg.signals:
            columns.write(workspace, self.corpus, self.shard, cascade.signals[name])
        if len(self.legs) > 1:
            outcome.then = replace(self, legs=self.legs[1:])
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
    legs = legs_of(recipe, cascade)
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
                path = _below(corpus, known["footer"])
                found.add(ScoreTask(recipe, corpus, shard, path, known["rows"], legs, retry_failed), reason)
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


def legs_of(recipe: Recipe, cascade: Cascade) -> tuple[Leg, ...]:
    """The cascade in parts that ask for the same kind of worker: signals that want a GPU, and those that do not.

    A GPU then does not wait for what needs none, for the price of reading and decoding once more. On one machine
    there is one kind of worker, and one leg.
    """
    if recipe.engine == "local":
        return (Leg(tuple(cascade.signals), Demand(models=True)),)
    given = recipe.ray.resources
    default = given.get("score", Resources())
    groups: list[list[str]] = []
    for name in (n for _at, names in cascade.order for n in names):
        gpus = given.get(name, default).gpus > 0
        if groups and (given.get(groups[-1][0], default).gpus > 0) == gpus:
            groups[-1].append(name)
        else:
            groups.append([name])
    return tuple(Leg(tuple(group), _demand([given.get(n, default) for n in group])) for group in groups or [[]])


def _demand(resources: list[Resources]) -> Demand:
    """What one worker needs for several signals: the models lie in memory side by side, the work is done in turn."""
    return Demand(
        max((r.cpus for r in resources), default=1.0),
        sum(r.gpus for r in resources),
        sum(r.memory for r in resources),
        models=True,
    )


def raw_path(corpus: Corpus, workspace: Workspace, shard: str) -> str:
    """Where the raw shard lies, from the note that the index left."""
    return _below(corpus, footer(workspace.samples(corpus.name, shard)) or {})


def _below(corpus: Corpus, notes: dict[str, str]) -> str:
    return "/".join(part for part in (corpus.path.rstrip("/"), notes.get("source", "")) if part)


_kept: dict[str, Machinery] = {}


def _machinery(recipe: Recipe) -> Machinery:
    """The machinery for a recipe, kept for the next shard of the same worker."""
    meta = meta_schema(Workspace(recipe.workspace), [c.name for c in recipe.corpora])
    key = recipe.model_dump_json() + str(meta)
    if key not in _kept or _kept[key].outdated:
        _kept.clear()
        _kept[key] = Machinery(Cascade.of(recipe, meta))
    return _kept[key]
