"""Stage `build-shards`: the product. Kept images with their captions and levels, shuffled into even shards.

Concept phase: every kept image that has a text and is not held back for a safety review. Quality phase: of these the
ones at Level 5 that pass the recipe's `shards.quality.where` (Kolors, section 2.2).
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.annotation.votes import decide_levels, read_levels
from curation.captions.rows import fingerprint as caption_fingerprint
from curation.captions.training_text import trainable, training_text
from curation.corpora.samples import check_aligned, meta_schema, raw_path, samples_notes
from curation.errors import StageError, UserError
from curation.keys import key_hash
from curation.recipe import Recipe
from curation.recipe.sections import Resources
from curation.scoring.cascade import Cascade
from curation.scoring.decider import Decider
from curation.scoring.wide_table import refresh
from curation.selection.kept import kept_rows
from curation.shards.buckets import bucket_name, buckets, nearest_bucket
from curation.shards.card import write_card
from curation.shards.stats import product_stats
from curation.shards.writer import PRODUCT_VERSION, RowPlan, built_before, signal_columns, write_product_shard
from curation.tasks import Demand, Outcome, Watch
from curation.workspace import Workspace
from curation.workspace.digests import digest
from curation.workspace.files import footer, read_table, stamps, write_table, write_text
from curation.workspace.ledger import Ledger

PHASES = ("concept", "quality")


@dataclass(frozen=True, slots=True)
class BuildTask:
    """Builds one shard of the product from its plan."""

    recipe: Recipe
    phase: str
    number: int
    rows: int
    fingerprint: str
    demands: tuple[Demand, ...] = (Demand(),)

    @property
    def corpus(self) -> str:
        """The phase, where a raw corpus stands for other stages."""
        return self.phase

    @property
    def shard(self) -> str:
        """The shard's name."""
        return f"{self.number:06d}"

    def run(self, watch: Watch) -> Outcome:
        """Writes the tar, then the Parquet file whose footer says that both are done; or finds them as they must be."""
        workspace = Workspace(self.recipe.workspace)
        known = built_before(workspace.product(self.phase), self.number, self.fingerprint)
        written, failed = known or self._write(workspace, watch)
        files = stamps(product_files(workspace, self.phase, self.shard))
        line = {"files": files, "mark": self.fingerprint, "failed": dict(sorted(failed.items()))}
        return Outcome(rows=written, failed=failed, line=line)

    def _write(self, workspace: Workspace, watch: Watch) -> tuple[int, Counter[str]]:
        rows = [RowPlan(**row) for row in read_table(_plan_path(workspace, self.phase, self.number)).to_pylist()]
        return write_product_shard(
            self.recipe, workspace.product(self.phase), self.phase, self.number, rows, self.fingerprint, watch
        )


@dataclass(frozen=True)
class PhasePlan:
    """The shards of one phase: how many there are, and which must be built."""

    phase: str
    shards: int
    stale: list[BuildTask]
    left_out: Counter[str]
    """Kept rows that the phase has no place for, by reason."""
    reasons: Counter[str]
    """Why shards must be built, by reason."""
    images: int
    """Rows laid out; fewer are written where pictures turn out to be damaged."""


def plan(recipe: Recipe) -> list[PhasePlan]:
    """Lays out both phases and writes what goes into each shard.

    Raises:
        StageError: a stage before this one has not been run to its end.
    """
    workspace = Workspace(recipe.workspace)
    if not any(workspace.shards(corpus.name) for corpus in recipe.corpora):
        raise UserError(f"{workspace.root}: nothing is indexed yet; run `curate index RECIPE`")
    decide_levels(recipe)  # the recipe may ask for another number of votes than at the import
    rows, left_out = _rows(recipe, workspace)
    quality = [row for row, fit in zip(rows, _fit_for_quality(recipe, workspace, rows), strict=True) if fit]
    return [
        _lay_out(recipe, workspace, "concept", rows, left_out),
        _lay_out(recipe, workspace, "quality", quality, Counter()),
    ]


def finish(recipe: Recipe, plans: list[PhasePlan]) -> dict[str, Any]:
    """Removes shards that are no longer part of the product, and writes its index, statistics and card."""
    workspace = Workspace(recipe.workspace)
    summary = {}
    for phase_plan in plans:
        folder = workspace.product(phase_plan.phase)
        names = [f"{n:06d}" for n in range(phase_plan.shards)]
        for path in [*folder.glob("[0-9]" * 6 + ".tar"), *folder.glob("[0-9]" * 6 + ".parquet")]:
            if path.stem not in names:
                path.unlink()
        tables = [read_table(folder / f"{name}.parquet") for name in names]
        stats = product_stats(phase_plan.phase, tables)
        damaged = phase_plan.images - stats["images"]
        stats["left_out"] = dict(phase_plan.left_out) | ({"damaged": damaged} if damaged else {})
        index = [t.select(["key", "shard", "index"]) for t in tables]
        if index:
            write_table(folder / "index.parquet", pa.concat_tables(index))
        else:
            (folder / "index.parquet").unlink(missing_ok=True)
        write_text(folder / "stats.json", json.dumps(stats, indent=1, ensure_ascii=False) + "\n")
        write_card(recipe, workspace, phase_plan.phase, stats)
        summary[phase_plan.phase] = {"images": stats["images"], "shards": len(names)}
    Ledger(workspace, "build-shards", writable=True).note("made_of", made_of(recipe, workspace))
    return summary


def made_of(recipe: Recipe, workspace: Workspace) -> dict[str, Any]:
    """What the product depends on: parts of the recipe, and the folders of the stages before, and the levels."""
    folders = [
        place(corpus.name, "x").parent
        for corpus in recipe.corpora
        for place in (workspace.selection, workspace.captions)
    ]
    parts = recipe.model_dump(mode="json", include={"shards", "card", "annotation"})
    parts["captions"] = recipe.captions.model_dump(mode="json", include={"synthetic_share", "language", "tolerate"})
    return parts | {"selection and captions": stamps(map(str, folders)), "levels": stamps([str(workspace.levels)])}


def _lay_out(
    recipe: Recipe, workspace: Workspace, phase: str, rows: list[dict[str, Any]], left_out: Counter[str]
) -> PhasePlan:
    """Shuffles the rows by the hash of their keys and deals them into shards whose sizes differ by one at most."""
    given = recipe.ray.resources.get("build-shards", Resources())
    demands = (Demand(given.cpus, given.gpus, given.memory),)
    rows = sorted(rows, key=lambda row: (key_hash(row["key"], "order"), row["key"]))
    shards = -(-len(rows) // recipe.shards.samples_per_shard)
    stale, reasons = [], Counter[str]()
    ledger = Ledger(workspace, "build-shards")
    for number in range(shards):
        part = rows[number * len(rows) // shards : (number + 1) * len(rows) // shards]
        identity = digest([PRODUCT_VERSION, phase, recipe.shards.strip_metadata, part])
        write_table(_plan_path(workspace, phase, number), pa.Table.from_pylist(part), identity)
        files = product_files(workspace, phase, f"{number:06d}")
        reason = ledger.stale(phase, f"{number:06d}", files, identity)
        if reason is not None:
            reasons[reason] += 1
            stale.append(BuildTask(recipe, phase, number, len(part), identity, demands))
    return PhasePlan(phase, shards, stale, left_out, reasons, len(rows))


def product_files(workspace: Workspace, phase: str, shard: str) -> list[str]:
    """The files that a product shard's line in the ledger speaks of."""
    return [str(workspace.product(phase) / f"{shard}.{ending}") for ending in ("parquet", "tar")]


def _rows(recipe: Recipe, workspace: Workspace) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Every kept row that can be trained with, as it goes into the product; and why others cannot."""
    cascade = Cascade.of(recipe, meta_schema(workspace, [c.name for c in recipe.corpora]))
    levels = read_levels(workspace)
    sizes = buckets(recipe.shards.buckets.area, recipe.shards.buckets.step)
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for corpus in recipe.corpora:
        for shard in workspace.shards(corpus.name):
            path = raw_path(corpus, workspace, shard)
            for sample in _kept_samples(recipe, workspace, cascade, corpus.name, shard):
                level = levels.get(sample["key"], {})
                good = trainable(sample["flags"], recipe.captions.tolerate)
                text = training_text(
                    sample["key"],
                    sample["caption"],
                    sample["caption_en"] if good else None,
                    sample["caption_zh"] if good else None,
                    sample["translated"],
                    recipe.captions.synthetic_share,
                    recipe.captions.language.get("zh", 0.0),
                )
                if level.get("status") == "safety_review":
                    left_out["safety_review"] += 1
                elif text.text is None:
                    left_out["no_text"] += 1
                else:
                    bucket = bucket_name(nearest_bucket(sample["width"], sample["height"], sizes))
                    rows.append(_row(corpus.name, shard, path, sample, level, text, bucket))
    return rows, left_out


def _row(
    corpus: str, shard: str, path: str, sample: dict[str, Any], level: dict[str, Any], text: Any, bucket: str
) -> dict[str, Any]:
    return {
        "key": sample["key"],
        "corpus": corpus,
        "raw_shard": shard,
        "path": path,
        "member": sample["member"],
        "offset": sample["offset"],
        "length": sample["length"],
        "format": sample["format"],
        "width": sample["width"],
        "height": sample["height"],
        "source_sha256": sample["sha256"],
        "url": sample["url"],
        "license": sample.get("meta_license") or sample.get("meta_licence"),
        "text": text.text,
        "caption_source": text.source,
        "caption_language": text.language,
        "caption": sample["caption"],
        "caption_en": sample["caption_en"],
        "caption_zh": sample["caption_zh"],
        "translated": sample["translated"],
        "original_en": sample["original_en"],
        "flags": sample["flags"],
        "bucket": bucket,
        "source": sample["source"],
        "level": level.get("level"),
        "signals": json.dumps(sample["signals"], sort_keys=True),
    }


def _kept_samples(
    recipe: Recipe, workspace: Workspace, cascade: Cascade, corpus: str, shard: str
) -> list[dict[str, Any]]:
    """The kept rows of a raw shard with signals, no lists, and captions. Raises StageError if a caption is missing."""
    table = read_table(workspace.samples(corpus, shard))
    kept = kept_rows(recipe, workspace, corpus, shard, table)
    if not any(kept):
        return []
    path = workspace.captions(corpus, shard)
    current = (footer(path) or {}).get("fingerprint") == caption_fingerprint(recipe, workspace, corpus, shard)
    captions = read_table(path) if current else None
    made = captions["captioned_as"].to_pylist() if captions else [None] * len(kept)
    done = [source == captioned_as for source, captioned_as in zip(kept, made, strict=True)]
    missing = sum(source is not None and not ok for source, ok in zip(kept, done, strict=True))
    if captions is None or missing:
        raise StageError(f"{corpus}/{shard}: {missing} kept rows have no caption; run `curate caption RECIPE`")
    check_aligned(table, captions, path)
    wide = read_table(refresh(workspace, recipe, cascade, corpus, shard))
    names = _names(workspace, cascade, corpus, shard, table)
    scores = wide.select([n for n in wide.column_names if n in signal_columns(cascade.signals.values())])
    scores = pa.table({n: scores[n] for n in scores.column_names} | names)
    mask = pa.array([source is not None for source in kept])
    parts = [t.filter(mask).to_pylist() for t in (table, captions.drop_columns(["key"]), scores)]
    return [
        sample | caption | {"signals": {k: v for k, v in signals.items() if v is not None}, "source": source}
        for sample, caption, signals, source in zip(*parts, filter(None, kept), strict=True)
    ]


def _names(
    workspace: Workspace, cascade: Cascade, corpus: str, shard: str, samples: pa.Table
) -> dict[str, pa.ChunkedArray]:
    """Columns of text that signals give, such as `category`: from the sidecars, as wide files hold few of them."""
    notes = samples_notes(workspace, corpus, shard)
    found: dict[str, pa.ChunkedArray] = {}
    for name, signal in cascade.signals.items():
        columns = [c for c, kind in signal_columns([signal]).items() if pa.types.is_string(kind)]
        path = workspace.signal(name, corpus, shard)
        if columns and (footer(path) or {}).get("fingerprint") == cascade.fingerprint(name, notes):
            sidecar = read_table(path, ["key", *columns])
            check_aligned(samples, sidecar, path)
            found |= {column: sidecar[column] for column in columns}
    return found


def _fit_for_quality(recipe: Recipe, workspace: Workspace, rows: list[dict[str, Any]]) -> list[bool]:
    best = [row["level"] == 5 for row in rows]
    where = recipe.shards.quality.where
    if not where or not any(best):
        return best
    cascade = Cascade.of(recipe, meta_schema(workspace, [c.name for c in recipe.corpora]))
    cascade.admit("", where, "shards.quality.where")
    decider = Decider()
    passing: set[str] = set()
    for corpus, shard in sorted({(row["corpus"], row["raw_shard"]) for row in rows}):
        wide = read_table(refresh(workspace, recipe, cascade, corpus, shard))
        marks = decider.numbers(wide, f"(({where}) IS TRUE)::INT", "shards.quality.where")
        passing.update(key for key, mark in zip(wide["key"].to_pylist(), marks, strict=True) if mark)
    return [fit and row["key"] in passing for fit, row in zip(best, rows, strict=True)]


def _plan_path(workspace: Workspace, phase: str, number: int) -> Path:
    return workspace.root / "shards" / ".plan" / phase / f"{number:06d}.parquet"
