"""Stage `caption`: an English caption and its Chinese translation for every kept row, each checked.

A caption once made stays: a later selection that keeps more rows captions only those.
"""

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.captions.base import Captioner, Request, Translator, make_captioner, make_translator
from curation.captions.checks import check_caption, check_translation
from curation.cascade import SKIPPED, Cascade, samples_notes
from curation.corpus import open_source
from curation.errors import StageError, UserError
from curation.images import ImageError, decode
from curation.ledger import Ledger, Plan, stamps
from curation.recipe import Corpus, Recipe, Resources, Select
from curation.scan import BATCH_PIXELS
from curation.score import raw_path
from curation.sources import Source
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
    }
)
"""`translated` says that `caption_zh` is a true translation; `flags` is what the checks found, those of the
translation with `zh_` before them; `captioned_as` is the source that the row had then (an image of the text-rich subset
is captioned otherwise), and null, as `attempts` is, for a row that was never to be captioned."""


@dataclass(frozen=True, slots=True)
class CaptionTask:
    """Captions one shard."""

    recipe: Recipe
    source_corpus: Corpus
    shard: str
    rows: int
    demands: tuple[Demand, ...] = (Demand(models=True),)

    @property
    def corpus(self) -> str:
        """The corpus's name."""
        return self.source_corpus.name

    def run(self, watch: Watch) -> Outcome:
        """Captions the kept rows that have none yet, and writes the shard's captions."""
        workspace = Workspace(self.recipe.workspace)
        captioner, translator = _backends(self.recipe)
        rows, todo = _load(workspace, self.recipe, captioner, self.corpus, self.shard)
        source = open_source(self.source_corpus, self.shard, raw_path(self.source_corpus, workspace, self.shard))
        outcome = Outcome(rows=len(todo))
        sizes = [(rows[r]["width"] or 1) * (rows[r]["height"] or 1) if captioner.side else 0 for r in todo]
        try:
            for batch in watch.batches(todo, sizes, captioner.batch_size, BATCH_PIXELS):
                watch.note(os.getpid(), batch[0], batch[-1] + 1, len(batch))
                for row, result in zip(batch, _caption(captioner, translator, source, rows, batch, watch), strict=True):
                    rows[row].update(result | {"captioned_as": rows[row]["source"]})
                    if result["caption_en"] is None:
                        outcome.failed[f"caption {result['flags'][0]}"] += 1
        finally:
            source.close()
        watch.note(os.getpid())
        arrays = [
            pa.array([row.get(name) for row in rows], kind)
            for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)
        ]
        table = pa.table(arrays, schema=SCHEMA)
        write_table(
            workspace.captions(self.corpus, self.shard),
            table,
            fingerprint(self.recipe, workspace, self.corpus, self.shard),
        )
        failed = Counter(f"caption {row['flags'][0]}" for row in rows if row.get("attempts") and not row["caption_en"])
        outcome.line = _line(self.recipe, workspace, self.corpus, self.shard, failed)
        return outcome


def plan(recipe: Recipe) -> Plan:
    """The shards with kept rows to caption.

    Raises:
        UserError: nothing is selected yet, or a backend is unknown or has wrong parameters.
    """
    workspace = Workspace(recipe.workspace)
    captioner, _ = _backends(recipe)
    given = recipe.ray.resources.get("caption", Resources())
    demands = (Demand(given.cpus, given.gpus, given.memory, models=True),)
    ledger, found = Ledger(workspace, "caption", writable=True), Plan()
    now = ledger.define_mark(mark(recipe))
    for corpus in recipe.corpora:
        for shard in workspace.shards(corpus.name):
            found.total += 1
            reason = ledger.stale(corpus.name, shard, caption_files(recipe, workspace, corpus.name, shard), now)
            if reason is None:
                continue
            _, todo = _load(workspace, recipe, captioner, corpus.name, shard, kept_only=True)
            if todo:
                found.add(CaptionTask(recipe, corpus, shard, len(todo), demands), reason)
            else:
                failed: Counter[str] = Counter((ledger.lines.get(f"{corpus.name}/{shard}") or {}).get("failed", {}))
                ledger.add(corpus.name, shard, _line(recipe, workspace, corpus.name, shard, failed))
    if not found.total:
        raise UserError(f"{workspace.root}: nothing is indexed yet; run `curate index RECIPE`")
    return found


def mark(recipe: Recipe) -> dict[str, Any]:
    """What captions depend on beside the images and which of them are kept: the backends, and what they read."""
    return _built(recipe)[3] | {"select": recipe.select.parts}


def caption_files(recipe: Recipe, workspace: Workspace, corpus: str, shard: str) -> list[str]:
    """The files that a shard's line in the ledger speaks of."""
    read = [n for n in _backends(recipe)[0].signals if n in recipe.signals]
    sidecars = [workspace.signal(name, corpus, shard) for name in read]
    own = [workspace.samples(corpus, shard), workspace.selection(corpus, shard), workspace.captions(corpus, shard)]
    return [str(path) for path in (*own, *sidecars)]


def _line(recipe: Recipe, workspace: Workspace, corpus: str, shard: str, failed: Counter[str]) -> dict[str, Any]:
    """What the ledger keeps of a shard."""
    files = stamps(caption_files(recipe, workspace, corpus, shard))
    return {"files": files, "mark": mark(recipe), "failed": dict(sorted(failed.items()))}


def fingerprint(recipe: Recipe, workspace: Workspace, corpus: str, shard: str) -> str:
    """What a caption depends on: backends, their parameters and models, the signals they read, and the rows."""
    return digest([_identity(recipe), samples_notes(workspace, corpus, shard)["rows_digest"]])


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


def _load(
    workspace: Workspace, recipe: Recipe, captioner: Captioner, corpus: str, shard: str, kept_only: bool = False
) -> tuple[list[dict[str, Any]], list[int]]:
    """The shard's rows with samples, signals and captions made before; and the numbers of those to be captioned."""
    samples = read_table(workspace.samples(corpus, shard))
    kept = kept_rows(recipe, workspace, corpus, shard, samples)
    path = workspace.captions(corpus, shard)
    before = _made_before(path, fingerprint(recipe, workspace, corpus, shard), samples)
    todo = [i for i, source in enumerate(kept) if source and before[i].get("captioned_as") != source]
    for name in captioner.signals:
        if todo and name in recipe.signals:
            _check_scored(workspace, name, corpus, shard, todo)
    if kept_only:
        return [], todo
    rows = samples.to_pylist()
    for name in captioner.signals:
        sidecar = workspace.signal(name, corpus, shard)
        if sidecar.exists():
            for row, scores in zip(rows, read_table(sidecar).to_pylist(), strict=True):
                row.update({k: v for k, v in scores.items() if k != "key"})
    for row, made, source in zip(rows, before, kept, strict=True):
        row.update({k: v for k, v in made.items() if k != "key"} | {"source": source})
    return rows, todo


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


def _caption(
    captioner: Captioner,
    translator: Translator | None,
    source: Source,
    rows: list[dict[str, Any]],
    batch: list[int],
    watch: Watch,
) -> list[dict[str, Any]]:
    """Captions and translates one batch; a row whose image cannot be read says so and costs no other."""
    requests, failed = [], {}
    for row in batch:
        try:
            requests.append(_request(captioner, source, rows[row], watch.verdict(row)))
        except (ImageError, OSError) as error:
            failed[row] = error.reason if isinstance(error, ImageError) else "unreadable"
    english = iter(captioner.caption(requests) if requests else [])
    texts = {row: next(english) for row in batch if row not in failed}
    sayable = [row for row, text in texts.items() if text]
    chinese = dict(zip(sayable, translator.translate([texts[r] for r in sayable]), strict=True)) if translator else {}
    names = {"captioner": captioner.name, "translator": translator.name if translator else None, "attempts": 1}
    return [
        names | (_nothing(failed[row]) if row in failed else _checked(texts[row], chinese.get(row))) for row in batch
    ]


def _request(captioner: Captioner, source: Source, row: dict[str, Any], condemned: str | None) -> Request:
    if condemned:
        raise ImageError(condemned)
    pixels = None
    if captioner.side is not None:
        pixels = decode(source.read(row["member"], row["offset"], row["length"]), captioner.side)
    return Request(row["key"], pixels, row)


def _nothing(flag: str) -> dict[str, Any]:
    return {"caption_en": None, "caption_zh": None, "translated": False, "flags": [flag]}


def _checked(english: str, chinese: str | None) -> dict[str, Any]:
    if not english:
        return _nothing("empty")
    wrong = [f"zh_{flag}" for flag in check_translation(english, chinese)] if chinese is not None else []
    true = chinese is not None and not wrong
    return {"caption_en": english, "caption_zh": chinese, "translated": true, "flags": check_caption(english) + wrong}


_kept: dict[str, tuple[Captioner, Translator | None, str, dict[str, Any]]] = {}


def _backends(recipe: Recipe) -> tuple[Captioner, Translator | None]:
    """The recipe's captioner and translator, kept for the next shard of the same process."""
    return _built(recipe)[:2]


def _identity(recipe: Recipe) -> str:
    """Digest of the backends and of the signals that the captioner reads."""
    return _built(recipe)[2]


def _backend(backend: Captioner | Translator) -> dict[str, Any]:
    """What its texts depend on."""
    parameters, models = backend.params.model_dump(mode="json"), backend.models(backend.params)
    return {"name": backend.name, "version": backend.version, "parameters": parameters, "models": models}


def _built(recipe: Recipe) -> tuple[Captioner, Translator | None, str, dict[str, Any]]:
    key = recipe.model_dump_json(include={"captions", "signals", "models"})
    if key not in _kept:
        _kept.clear()
        given = recipe.captions.translator
        captioner = make_captioner(recipe.captions.captioner)
        translator = make_translator(given) if given else None
        cascade = Cascade.of(recipe.model_copy(update={"select": Select()}), meta_known=False)
        identity = {
            "backends": {role: _backend(b) for role, b in (("captioner", captioner), ("translator", translator)) if b},
            "signals": {n: cascade.identity_of(n) for n in captioner.signals if n in cascade.signals},
        }
        _kept[key] = captioner, translator, digest(identity), identity
    return _kept[key]
