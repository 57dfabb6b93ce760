"""Stage `index`: records for each image the place of its bytes, its header's fields, caption, URL and metadata."""

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.corpora.listing import list_sources, open_source
from curation.corpora.meta_columns import metadata_columns
from curation.corpora.readers import GONE, RawSample, Source
from curation.corpora.samples import known_shard, ledger_line
from curation.counts import counted
from curation.errors import RowError, StageError, reason_of
from curation.images import ImageError, probe
from curation.keys import make_key, well_formed
from curation.recipe import Recipe
from curation.recipe.sections import Corpus
from curation.tasks import Demand, Outcome, Plan, Watch
from curation.workspace import Workspace
from curation.workspace.digests import digest, table_digest
from curation.workspace.files import footer, read_table, write_table
from curation.workspace.ledger import IndexLine, Ledger
from curation.workspace.schemas import SAMPLES

VERSION = 2


_DOMAIN = re.compile(r"^[a-z][a-z0-9+.-]*://(?:[^/@]*@)?(?:www\.)?([^/:?#]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class IndexTask:
    """Indexes one raw shard: writes its samples file."""

    workspace: str
    source_corpus: Corpus
    shard: str
    path: str
    members: list[str] | None
    rows: int = 0
    demands: tuple[Demand, ...] = (Demand(),)

    @property
    def corpus(self) -> str:
        """The corpus's name."""
        return self.source_corpus.name

    def run(self, watch: Watch) -> Outcome:
        """Reads the shard once and writes its samples file. Every image gets a row, even one that cannot be read."""
        source = open_source(self.source_corpus, self.shard, self.path, self.members)
        stamp = _made_of(source)
        table, outcome = _table(source, watch)
        workspace = Workspace(self.workspace)
        out = workspace.samples(self.corpus, self.shard)
        write_table(
            out,
            table,
            str(VERSION),
            source=source.relative_path,
            rows_digest=table_digest(table, ["key", "offset", "length", "sha256"]),
            caption_digest=table_digest(table, ["caption"]),
        )
        counts = Counter(table["status"].to_pylist())
        notes: IndexLine = {
            "source": stamp,
            "rows": table.num_rows,
            "failed": counts["failed"],
            "gone": counts["gone"],
            "without_image": source.without_image,
            "damage": source.damage,
            "reasons": dict(sorted(outcome.failed.items())),
        }
        outcome.line = ledger_line(out, notes)
        return outcome


@dataclass(frozen=True, slots=True)
class GoneTask:
    """Marks all rows of a raw shard that no longer exists as gone. If the shard comes back, it is indexed again."""

    workspace: str
    corpus: str
    shard: str
    rows: int = 0
    demands: tuple[Demand, ...] = (Demand(),)

    def run(self, watch: Watch) -> Outcome:
        """Rewrites the samples file with the status `gone` on every row."""
        path = Workspace(self.workspace).samples(self.corpus, self.shard)
        table, notes = read_table(path), footer(path) or {}
        for column, value in (("status", "gone"), ("error", str(RowError(GONE, "the shard is no longer there")))):
            at = table.schema.get_field_index(column)
            table = table.set_column(at, column, pa.array([value] * table.num_rows, pa.string()))
        write_table(path, table, notes.pop("fingerprint", ""), None, **notes)
        rows = table.num_rows
        line: IndexLine = {"source": None, "rows": rows, "failed": 0, "gone": rows, "without_image": 0}
        message = f"{self.corpus}/{self.shard} is gone; its rows are marked so"
        return Outcome(rows=rows, notes=[message], line=ledger_line(path, line))


def plan(recipe: Recipe, workspace: Workspace) -> Plan:
    """Returns one task for each shard that is new, changed or gone. Raises UserError if a corpus cannot be listed."""
    ledger = Ledger[IndexLine](workspace, "index", writable=True)
    stage_plan, totals = Plan(), {}
    demands = (recipe.ray.resources.of_stage("index").demand,)
    for corpus in recipe.corpora:
        known = _read_listing(workspace.folder_listing(corpus.name))
        listing = list_sources(corpus, known, recipe.workspace)
        sources = listing.sources
        stage_plan.notices += [*listing.notes, *_others(corpus, listing.others)]
        if corpus.format == "folder":
            _write_listing(workspace.folder_listing(corpus.name), sources, known)
        stage_plan.total += len(sources)
        totals[corpus.name] = len(sources)
        for shard in sorted(set(workspace.shards(corpus.name)) - {s.shard for s in sources}):
            if (known_shard(workspace, ledger, corpus.name, shard) or {}).get("source", "") is not None:
                stage_plan.total += 1
                stage_plan.add(GoneTask(recipe.workspace, corpus.name, shard, demands=demands), "gone")
        for source in sources:
            line = known_shard(workspace, ledger, corpus.name, source.shard)
            if line is None or line.get("source") != _made_of(source):
                path, members = source.path, source.members
                task = IndexTask(recipe.workspace, corpus, source.shard, path, members, demands=demands)
                reason = "the raw shard has changed" if line and line.get("source") else "the ledger does not know it"
                stage_plan.add(task, "new" if line is None else reason)
    ledger.note("shards", totals)
    return stage_plan


def _made_of(source: Source) -> str:
    """Returns a digest of all that a samples file depends on: its raw shard, and the names of columns."""
    columns = [dict(sorted(source.corpus.columns.items()))] if source.corpus.columns else []
    return digest([VERSION, source.stamp(), *columns])


def _others(corpus: Corpus, others: Counter[str]) -> list[str]:
    """Returns a line on the files of a folder that are no images; none if there are none."""
    if not others:
        return []
    kinds = ", ".join(f"{count:,} × {f'.{kind}' if kind else 'no ending'}" for kind, count in others.most_common(8))
    return [f"{corpus.path}: {counted(others.total(), 'other files')}, no images: {kinds}"]


def _read_listing(path: Path) -> dict[str, list[str]]:
    listing: dict[str, list[str]] = {}
    if path.exists():
        try:
            rows = read_table(path).to_pylist()
        except StageError:
            raise StageError(
                f"{path} is damaged; restore it, or delete it to deal the folder anew, which may change images' keys"
            ) from None
        for row in rows:
            listing.setdefault(row["shard"], []).append(row["member"])
    return listing


def _write_listing(path: Path, sources: list[Source], known: dict[str, list[str]]) -> None:
    if len(sources) == len(known):
        return
    pairs = [(s.shard, m) for s in sources for m in s.members or []]
    write_table(path, pa.table({"shard": [p[0] for p in pairs], "member": [p[1] for p in pairs]}))


def _table(source: Source, watch: Watch) -> tuple[pa.Table, Outcome]:
    samples: list[RawSample] = []
    facts: list[dict[str, Any]] = []
    for number, sample in enumerate(source.samples()):
        watch.note(os.getpid(), number, number + 1)
        if verdict := watch.verdict(number):
            sample.error = RowError(verdict, "the image killed its worker process again and again")
        facts.append(_facts(sample))
        sample.data = b""  # else a whole shard would be in memory
        samples.append(sample)
        watch.note(os.getpid())
    rows = [_row(source, sample, found) for sample, found in zip(samples, facts, strict=True)]
    table = pa.Table.from_pylist(rows, schema=SAMPLES)
    for name, column in metadata_columns(source, samples).items():
        table = table.append_column(name, column)
    outcome = Outcome(rows=len(rows), notes=list(source.notes))
    outcome.failed.update(reason_of(row["error"]) for row in rows if row["status"] == "failed")
    if source.damage:
        outcome.notes.append(f"{source.path}: {source.damage}; {counted(outcome.rows, 'images')} read")
    notes = Counter(sample.note for sample in samples if sample.note)
    outcome.sums = {"captions": dict(notes), "other_files": dict(source.others)}
    return table, outcome


def _facts(sample: RawSample) -> dict[str, Any]:
    """Returns what an image's bytes say: the columns from `length` on, `status` and `error`."""
    facts: dict[str, Any] = {"length": len(sample.data), "status": "ok"}
    if sample.error is not None:
        return facts
    facts["sha256"] = hashlib.sha256(sample.data).hexdigest()
    try:
        header = probe(sample.data)
    except ImageError as error:
        return facts | {"status": "failed", "error": str(error)}
    width, height = header.width, header.height
    return facts | {
        "width": width,
        "height": height,
        "min_side": min(width, height),
        "aspect_ratio": round(width / height, 4),
        "format": header.format,
    }


def _row(source: Source, sample: RawSample, facts: dict[str, Any]) -> dict[str, Any]:
    """Returns an image's row, once its name and caption are known."""
    row: dict[str, Any] = {
        "key": make_key(source.corpus.name, source.shard, sample.member),
        "member": sample.member,
        "offset": sample.offset,
        "length": facts["length"],
        "url": sample.url and well_formed(sample.url),
        "caption": sample.caption and well_formed(sample.caption),
        "caption_note": sample.note,
    }
    if sample.url and (domain := _DOMAIN.match(sample.url)):
        row["domain"] = domain[1].lower()
    if sample.error is not None:
        status = "gone" if sample.error.reason == GONE else "failed"
        return row | {"status": status, "error": str(sample.error)}
    return row | facts
