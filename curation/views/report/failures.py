"""The report's section on failures: which rows failed and why, by stage and reason, with examples."""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.corpora.samples import known_shard, samples_notes
from curation.errors import reason_of
from curation.views.report.fates import Fates
from curation.views.report.pictures import Gallery, ShownPicture
from curation.workspace.files import fingerprint
from curation.workspace.ledger import IndexLine, Ledger
from curation.workspace.schemas import FAILED, SKIPPED

EXAMPLES = 6
"""Number of pictures shown for each reason."""
REASONS = 40
"""Number of reasons shown, the most frequent first."""


@dataclass
class Reason:
    """One reason for which rows failed in one stage."""

    stage: str
    reason: str
    count: int
    examples: list[ShownPicture]


@dataclass
class Failures:
    """All failures of the corpora."""

    statuses: Counter[str]
    """Number of rows by the status that the index gave them: ok, failed or gone."""
    signals: dict[str, Counter[str]]
    """Number of rows by state (scored, failed or skipped), for each signal."""
    reasons: list[Reason] = field(default_factory=list)
    further: int = 0
    """Number of reasons that are not shown."""
    damaged: list[str] = field(default_factory=list)
    """Raw shards that could be read only in part, with the error."""
    without_image: int = 0
    """Number of rows of the source tables whose download had failed; they have no image and are not indexed."""


def failures(fates: Fates, gallery: Gallery) -> Failures:
    """Counts the failures of all shards and picks examples."""
    result = Failures(Counter(), {name: Counter() for name in fates.cascade.signals})
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    selection = fates.selection
    ledger = Ledger[IndexLine](selection.workspace, "index")
    for number, (corpus, shard) in enumerate(selection.shards):
        notes = known_shard(selection.workspace, ledger, corpus, shard) or {}
        result.without_image += notes.get("without_image") or 0
        if notes.get("damage"):
            result.damaged.append(f"{corpus}/{shard}: {notes['damage']}")
        for stage, rows, errors in _failed(fates, result, corpus, shard):
            for row, error in zip(rows.tolist(), errors, strict=True):
                name = (stage, reason_of(error))
                index = int(fates.starts[number]) + row
                counts[name] += 1
                heap = examples.setdefault(name, [])
                entry = (-int(fates.hashes[index]), index, error)  # the heap's root has the largest hash
                (heapq.heappush if len(heap) < EXAMPLES else heapq.heappushpop)(heap, entry)
    ranked = sorted(counts, key=lambda r: (-counts[r], r))
    result.further = max(0, len(ranked) - REASONS)
    for stage, reason in ranked[:REASONS]:
        some = sorted(examples[stage, reason], reverse=True)
        pictures = [gallery.picture(index, note=error) for _, index, error in some]
        result.reasons.append(Reason(stage, reason, counts[stage, reason], pictures))
    return result


def _failed(fates: Fates, result: Failures, corpus: str, shard: str) -> Iterator[tuple[str, np.ndarray, list[str]]]:
    """Yields stage, failed rows (int64) and their errors, stage by stage; adds the rows' states to `result`."""
    workspace = fates.selection.workspace
    samples = pq.read_table(workspace.samples(corpus, shard), columns=["status", "error"])
    result.statuses.update(_counted(samples["status"]))
    yield "index", *_rows(samples, pc.not_equal(samples["status"], "ok"), "error")
    notes = samples_notes(workspace, corpus, shard)
    for name in fates.cascade.signals:
        path = workspace.signal(name, corpus, shard)
        if fingerprint(path) != fates.cascade.fingerprint(name, notes):
            result.signals[name][SKIPPED] += samples.num_rows
            continue
        states = pq.read_table(path, columns=[f"{name}_state", f"{name}_error"])
        result.signals[name].update(_counted(states[f"{name}_state"]))
        yield name, *_rows(states, pc.equal(states[f"{name}_state"], FAILED), f"{name}_error")
    path = workspace.captions(corpus, shard)
    if path.exists():
        captions = pq.read_table(path, columns=["caption_en", "flags", "attempts"])
        if captions.num_rows != samples.num_rows:  # captions of an earlier index
            return
        wrong = pc.and_(captions["attempts"].is_valid(), captions["caption_en"].is_null())
        rows = np.flatnonzero(wrong.to_numpy())
        flags = captions["flags"].take(pa.array(rows)).to_pylist()
        yield "captions", rows, [flag[0] if flag else "unknown" for flag in flags]


def _rows(table: pa.Table, chosen: pa.ChunkedArray, column: str) -> tuple[np.ndarray, list[str]]:
    rows = np.flatnonzero(chosen.to_numpy())
    return rows, [error or "unknown" for error in table[column].take(pa.array(rows)).to_pylist()]


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}
