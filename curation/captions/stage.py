"""Stage `caption`: an English caption and its Chinese translation for every kept row, each checked.

A caption once made stays: a later selection that keeps more rows captions only those.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.captions.answers import Answers
from curation.captions.crew import Crew
from curation.captions.passes import NO_TRANSLATOR, UNTRANSLATED, Passes, Texts
from curation.cascade import SKIPPED, samples_notes
from curation.checkpoints import Models
from curation.corpus import open_source
from curation.errors import StageError, UserError
from curation.ledger import Ledger, Plan, stamps
from curation.pictures import Pictures
from curation.recipe import Corpus, Recipe, Resources
from curation.score import raw_path
from curation.tasks import Demand, Outcome, Watch
from curation.wide import check_aligned
from curation.workspace import Workspace, digest, footer, read_table, write_table

SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "caption_en": pa.string(),
        "caption_zh": pa.string(),
        "translated": pa.bool_(),
        "flags": pa.list_(pa.string()),
        "captioner": pa.string(),
        "translator": pa.string(),
        "attempts": pa.int8(),
        "captioned_as": pa.string(),
        "prompt": pa.string(),
        "original_en": pa.string(),
        "tokens_in": pa.int32(),
        "tokens_out": pa.int32(),
        "cost": pa.float64(),
    }
)
"""`translated` says that `caption_zh` is a true translation; `flags` is what the checks found, those of the
translation with `zh_` before them, those of `original_en` (a Chinese original in English) with `original_`;
`captioned_as` is the source that the row had then (an image of the text-rich subset is captioned otherwise), and null,
as `attempts` is, for a row that was never to be captioned; `prompt` is the name of what was asked, null where nothing
is asked in words; tokens and cost (US dollars) are those of all attempts and translations."""

PATIENCE = 20.0
"""A batch of a generative captioner may take this many times `image_timeout`: it holds many images, and an endpoint
that is busy is asked again."""
FEEDERS = 4.0
"""Cores that make pictures ready for one GPU of this machine; one core prepares about 100 a second."""


@dataclass(frozen=True, slots=True)
class CaptionTask:
    """Captions one shard."""

    recipe: Recipe
    source_corpus: Corpus
    shard: str
    rows: int
    """Texts to be written: a caption of each row, and its translation where a model makes that."""
    demands: tuple[Demand, ...] = (Demand(models=True),)
    retry_failed: bool = False

    @property
    def corpus(self) -> str:
        """The corpus's name."""
        return self.source_corpus.name

    def run(self, watch: Watch) -> Outcome:
        """Captions the kept rows that have none yet, and writes the shard's captions."""
        workspace = Workspace(self.recipe.workspace)
        shard = load_shard(self.recipe, self.source_corpus, self.shard)
        rows, todo = shard.rows, _wanting(shard.kept, shard.rows, self.retry_failed)
        outcome, texts = caption_rows(self.recipe, shard, todo, watch, threads_of(self.demands[0]))
        for row, columns in texts.items():
            rows[row].update(columns | {"captioned_as": shard.kept[row]})
        table = pa.table({f.name: pa.array([row.get(f.name) for row in rows], f.type) for f in SCHEMA}, schema=SCHEMA)
        made_from = fingerprint(self.recipe, workspace, self.corpus, self.shard)
        write_table(workspace.captions(self.corpus, self.shard), table, made_from)
        outcome.line = _line(self.recipe, workspace, self.corpus, self.shard, rows)
        return outcome


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as captioners see it."""

    corpus: Corpus
    name: str
    samples: pa.Table
    rows: list[dict[str, Any]]
    """Samples columns, `source`, the columns of the signals that are read, and of captions made before."""
    kept: list[str | None]
    """See `kept_rows`."""


def load_shard(recipe: Recipe, corpus: Corpus, name: str) -> Shard:
    """Reads a shard's samples, signals, selection and captions. Raises StageError as `kept_rows`."""
    workspace, crew = Workspace(recipe.workspace), crew_of(recipe)
    samples = read_table(workspace.samples(corpus.name, name))
    kept = kept_rows(recipe, workspace, corpus.name, name, samples)
    made_from = fingerprint(recipe, workspace, corpus.name, name)
    before = _made_before(workspace.captions(corpus.name, name), made_from, samples)
    rows = samples.to_pylist()
    for signal in crew.signals:
        sidecar = workspace.signal(signal, corpus.name, name)
        if sidecar.exists():
            for row, scores in zip(rows, read_table(sidecar).to_pylist(), strict=True):
                row.update({k: v for k, v in scores.items() if k != "key"})
    for row, made, source in zip(rows, before, kept, strict=True):
        row.update({k: v for k, v in made.items() if k != "key"} | {"source": source})
    return Shard(corpus, name, samples, rows, kept)


def caption_rows(
    recipe: Recipe, shard: Shard, todo: Sequence[int], watch: Watch, threads: int = 1
) -> tuple[Outcome, dict[int, dict[str, Any]]]:
    """Captions some rows of a shard by the recipe's section `captions`.

    Args:
        todo: the rows' numbers, ascending.
        threads: CPU threads that make pictures ready beside a GPU.

    Returns:
        What became of them, and the columns of SCHEMA of each but for `key` and `captioned_as`.
    """
    workspace, crew = Workspace(recipe.workspace), crew_of(recipe, threads)
    corpus, name = shard.corpus, shard.name
    source = open_source(corpus, name, raw_path(corpus, workspace, name))
    looks = crew.captioner.side is not None
    pictures = Pictures(source, shard.samples, threads, crew.captioner.prepare) if looks else None
    answers = Answers(workspace.answers(corpus.name, name))
    passes = Passes(recipe.captions, crew, shard.rows, pictures, answers, watch)
    try:
        texts = passes.run(todo)
    finally:
        answers.close()
        if pictures:
            pictures.close()
        source.close()
    outcome = Outcome(rows=len(todo), notes=[f"{corpus.name}/{name}: {said}" for said in passes.notes])
    columns = {row: _columns(crew, said) for row, said in texts.items()}
    outcome.failed = _failures(columns.values())
    flags = Counter(flag for said in texts.values() for flag in said.flags)
    outcome.sums = {"spent": passes.spent, "flagged": dict(flags)}
    return outcome, columns


def threads_of(demand: Demand) -> int:
    """Threads that make pictures ready beside a GPU: as many as the cores that go with it."""
    return max(1, int(demand.cpus)) if demand.gpus else 1


def plan(recipe: Recipe, retry_failed: bool = False) -> Plan:
    """The shards with kept rows to caption.

    Args:
        retry_failed: whether rows that got no caption are to be tried again.

    Raises:
        UserError: nothing is selected yet, or a backend is unknown, has wrong parameters, or could not do its work.
    """
    workspace = Workspace(recipe.workspace)
    crew = crew_of(recipe)
    demands = (demand_of(recipe, crew),)
    texts = 1 + bool(crew.translator and crew.translator.generative)  # what a row's progress is counted in
    ledger, found = Ledger(workspace, "caption", writable=True), Plan()
    now = ledger.define_mark(mark(recipe))
    for corpus in recipe.corpora:
        for shard in workspace.shards(corpus.name):
            found.total += 1
            reason = ledger.stale(corpus.name, shard, caption_files(recipe, workspace, corpus.name, shard), now)
            if reason is None and retry_failed and (ledger.lines.get(f"{corpus.name}/{shard}") or {}).get("failed"):
                reason = "to be tried again"
            if reason is None:
                continue
            todo, before = _todo(workspace, recipe, crew, corpus.name, shard, retry_failed)
            if todo:
                found.add(CaptionTask(recipe, corpus, shard, len(todo) * texts, demands, retry_failed), reason)
            else:
                ledger.add(corpus.name, shard, _line(recipe, workspace, corpus.name, shard, before))
    if not found.total:
        raise UserError(f"{workspace.root}: nothing is indexed yet; run `curate index RECIPE`")
    if found.tasks:
        crew.check(here=recipe.engine == "local")
        found.notices = crew.notices
    Models.of(recipe).note(crew.made_with)
    return found


def demand_of(recipe: Recipe, crew: Crew) -> Demand:
    """What a worker is given. On one machine a backend that wants a GPU is given one, with the cores to feed it."""
    given = recipe.ray.resources.get("caption", Resources())
    backends = crew.all.values()
    patience = PATIENCE if any(b.generative for b in backends) else 1.0
    if recipe.engine == "local" and any(b.on_gpu for b in backends) and not given.gpus:
        return Demand(FEEDERS, 1.0, given.memory, models=True, patience=patience)
    return Demand(given.cpus, given.gpus, given.memory, models=True, patience=patience)


def mark(recipe: Recipe) -> dict[str, Any]:
    """What captions depend on beside the images and which of them are kept: the backends, and what they read."""
    return crew_of(recipe).identity | {"select": recipe.select.parts}


def caption_files(recipe: Recipe, workspace: Workspace, corpus: str, shard: str) -> list[str]:
    """The files that a shard's line in the ledger speaks of."""
    sidecars = [workspace.signal(name, corpus, shard) for name in crew_of(recipe).signals]
    own = [workspace.samples(corpus, shard), workspace.selection(corpus, shard), workspace.captions(corpus, shard)]
    return [str(path) for path in (*own, *sidecars)]


def _line(
    recipe: Recipe, workspace: Workspace, corpus: str, shard: str, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the ledger keeps of a shard, whose captions are these."""
    failed, captioned = _failures(rows), sum(bool(row.get("attempts")) for row in rows)
    files = stamps(caption_files(recipe, workspace, corpus, shard))
    return {"files": files, "mark": mark(recipe), "captioned": captioned, "failed": dict(sorted(failed.items()))}


def fingerprint(recipe: Recipe, workspace: Workspace, corpus: str, shard: str) -> str:
    """What a caption depends on: backends, their parameters and models, the signals they read, and the rows."""
    return digest([digest(crew_of(recipe).identity), samples_notes(workspace, corpus, shard)["rows_digest"]])


def kept_rows(recipe: Recipe, workspace: Workspace, corpus: str, shard: str, samples: pa.Table) -> list[str | None]:
    """The source (web, text_in_the_wild) of each row of a shard that the selection keeps; None of the others.

    Raises:
        StageError: there is no selection, or one by other rules.
    """
    path = workspace.selection(corpus, shard)
    if not path.exists():
        raise StageError(f"{corpus}/{shard} has no selection; run `curate select RECIPE`")
    if (footer(path) or {}).get("fingerprint") != digest(recipe.select.rules):
        raise StageError(f"{corpus}/{shard} was selected by other rules than the recipe's; run `curate select RECIPE`")
    selection = read_table(path)
    check_aligned(samples, selection, path)
    return selection["source"].to_pylist()


def _todo(
    workspace: Workspace, recipe: Recipe, crew: Crew, corpus: str, shard: str, retry_failed: bool
) -> tuple[list[int], list[dict[str, Any]]]:
    """The rows to be captioned, and the captions made before.

    Raises:
        StageError: a signal that is read is not scored for them.
    """
    samples = read_table(workspace.samples(corpus, shard))
    kept = kept_rows(recipe, workspace, corpus, shard, samples)
    before = _made_before(workspace.captions(corpus, shard), fingerprint(recipe, workspace, corpus, shard), samples)
    todo = _wanting(kept, before, retry_failed)
    for name in crew.signals if todo else ():
        _check_scored(workspace, name, corpus, shard, todo)
    return todo, before


def _failures(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Rows that were captioned without a result, or whose translation failed, by reason."""
    return Counter(reason for row in rows if row.get("attempts") and (reason := _failure(row)))


def _failure(row: Mapping[str, Any]) -> str | None:
    """Why a row has no caption, or no translation though there might be one another time."""
    if not row["caption_en"]:
        return f"caption {row['flags'][0]}"
    lost = [f.removeprefix("zh_") for f in row["flags"] if f.startswith("zh_") and not row["caption_zh"]]
    return next((f"translation {word}" for word in lost if word not in (NO_TRANSLATOR, UNTRANSLATED)), None)


def _wanting(kept: list[str | None], before: list[dict[str, Any]], retry_failed: bool) -> list[int]:
    return [
        row
        for row, (source, made) in enumerate(zip(kept, before, strict=True))
        if source and (made.get("captioned_as") != source or (retry_failed and _failure(made)))
    ]


def _made_before(path: Path, made_from: str, samples: pa.Table) -> list[dict[str, Any]]:
    """The captions that the shard has already; where the file is damaged, none, and it is made again."""
    if (footer(path) or {}).get("fingerprint") == made_from:
        with contextlib.suppress(StageError):
            table = read_table(path)
            check_aligned(samples, table, path)
            return table.to_pylist()
    return [{} for _ in range(samples.num_rows)]


def _check_scored(workspace: Workspace, name: str, corpus: str, shard: str, rows: list[int]) -> None:
    """A caption must not depend on whether a signal was scored before or after it. Raises StageError."""
    path = workspace.signal(name, corpus, shard)
    states = read_table(path, columns=[f"{name}_state"]).column(0).to_pylist() if path.exists() else []
    if not states or any(states[row] == SKIPPED for row in rows):
        raise StageError(
            f"{corpus}/{shard}: the captioner reads {name}, which is not scored; run `curate score RECIPE`"
        )


def _columns(crew: Crew, texts: Texts) -> dict[str, Any]:
    """The columns of one row."""
    asked = texts.prompt if crew.captioner.generative else None
    names = {"captioner": crew.captioner.name, "translator": crew.translator.name if crew.translator else None}
    return asdict(texts) | names | {"prompt": asked}


_kept: dict[str, Crew] = {}
_loaded: set[str] = set()


def crew_of(recipe: Recipe, threads: int | None = None) -> Crew:
    """The recipe's captioner and translators, kept for the next shard of the same process.

    Args:
        threads: CPU threads that may be busy beside a GPU; None does not load the models.
    """
    key = recipe.model_dump_json(include={"captions", "signals", "models", "workspace"})
    if key not in _kept or _kept[key].outdated:
        _kept.clear()
        _loaded.clear()
        _kept[key] = Crew(recipe)
    if threads is not None and key not in _loaded:
        _kept[key].load(threads)
        _loaded.add(key)
    return _kept[key]
