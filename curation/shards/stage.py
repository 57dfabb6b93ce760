"""Stage `build-shards`: the product. Kept images with their captions and levels, shuffled into even shards.

Concept phase: every kept image that has a text, is not held back for a safety review, and was not put at Level 1 by a
decision. Quality phase: of these the ones at Level 5 that pass the recipe's `shards.quality.where` (Kolors, section
2.2).

Workers first make the rows of each raw shard (see `curation.shards.rows`); the driver puts in order only where they
lie, and hands out numbers of product shards.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pyarrow as pa

from curation.annotation.levels import decide_levels
from curation.errors import ChangedShard
from curation.keys import split_key
from curation.recipe import Recipe
from curation.scoring.opened import Opened, opened_in_worker
from curation.shards.card import write_card
from curation.shards.layout import Layout, read_part
from curation.shards.phases import made_of, product_files
from curation.shards.rows import maker_of, read_rows
from curation.shards.stats import STATS_COLUMNS, product_stats
from curation.shards.writer import PRODUCT_VERSION, RowPlan, built_before, write_product_shard
from curation.tasks import Demand, Outcome, Watch
from curation.workspace.digests import digest
from curation.workspace.files import read_table, stamps, write_table, write_text
from curation.workspace.ledger import BuildLine, Ledger

INDEX_COLUMNS = ["key", "shard", "index"]
"""Columns of `index.parquet`, which finds an image by its key."""


@dataclass(frozen=True, slots=True)
class BuildTask:
    """Builds one shard of the product from its plan."""

    recipe: Recipe
    phase: str
    number: int
    rows: int
    mark: str
    """Digest of what the shard is made of, as the ledger notes it."""
    demands: tuple[Demand, ...] = (Demand(),)

    @property
    def corpus(self) -> str:
        """The phase's name; it takes the role that a corpus has in other stages."""
        return self.phase

    @property
    def shard(self) -> str:
        """The shard's name."""
        return f"{self.number:06d}"

    def run(self, watch: Watch) -> Outcome:
        """Writes the tar, then the Parquet file whose footer marks both as done; keeps files that are up to date."""
        opened = opened_in_worker(self.recipe)
        workspace = opened.workspace
        folder, strip = workspace.product(self.phase), self.recipe.shards.strip_metadata
        rows = read_rows(workspace, read_part(workspace, self.phase, self.number))
        fingerprint = digest([PRODUCT_VERSION, self.phase, strip, rows])
        try:
            written, failed = built_before(folder, self.number, fingerprint) or write_product_shard(
                opened, folder, self.phase, self.number, [RowPlan(**row) for row in rows], fingerprint, watch
            )
        except ChangedShard as error:
            corpus, shard, _ = split_key(str(error).partition(": ")[0])
            return Outcome(error=str(error), changed=[(corpus, shard)])
        files = stamps(product_files(workspace, self.phase, self.shard))
        line: BuildLine = {"files": files, "mark": self.mark, "failed": dict(sorted(failed.items()))}
        return Outcome(rows=written, failed=failed, line=line)


@dataclass(frozen=True)
class PhasePlan:
    """The shards of one phase: how many there are, and which must be built."""

    phase: str
    shards: int
    stale: list[BuildTask]
    left_out: Counter[str]
    """Number of kept rows that the phase leaves out, by reason."""
    reasons: Counter[str]
    """Number of shards that must be built, by reason."""
    images: int
    """Number of rows laid out; fewer are written if pictures turn out to be damaged."""


class PhaseSize(TypedDict):
    """The size of one phase of the product, as the summary of the stage tells it."""

    images: int
    shards: int


def plan(opened: Opened) -> list[PhasePlan]:
    """Lays out both phases and writes what goes into each shard.

    Rows of raw shards that workers have not made (see `rows_left`) are made here.

    Raises:
        UserError: nothing is indexed.
        StageError: a stage before this one has not been run to its end.
    """
    shards = opened.indexed_shards()
    decide_levels(
        opened.workspace, opened.recipe.annotation.votes
    )  # the recipe may ask for another number of votes than at the import
    maker = maker_of(opened)
    for shard in shards:
        if not maker.is_fresh(*shard):
            maker.make(*shard)
    with Layout(opened, shards) as layout:
        left_out = layout.left_out()
        best = layout.best()
        return [
            _lay_out(opened, "concept", layout, None, left_out),
            _lay_out(opened, "quality", layout, best, Counter()),
        ]


def finish(opened: Opened, plans: list[PhasePlan]) -> dict[str, PhaseSize]:
    """Removes shards that are no longer part of the product, and writes its index, statistics and card.

    Returns:
        the size of each phase, by the phase's name.
    """
    workspace = opened.workspace
    summary: dict[str, PhaseSize] = {}
    for phase_plan in plans:
        folder = workspace.product(phase_plan.phase)
        names = {f"{n:06d}": None for n in range(phase_plan.shards)}
        for path in [*folder.glob("[0-9]" * 6 + ".tar"), *folder.glob("[0-9]" * 6 + ".parquet")]:
            if path.stem not in names:
                path.unlink()
        index: list[pa.Table] = []
        stats = product_stats(phase_plan.phase, _shards([folder / f"{name}.parquet" for name in names], index))
        damaged = phase_plan.images - stats["images"]
        stats["left_out"] = dict(phase_plan.left_out) | ({"damaged": damaged} if damaged else {})
        if index:
            write_table(folder / "index.parquet", pa.concat_tables(index), "", workspace.scratch)
        else:
            (folder / "index.parquet").unlink(missing_ok=True)
        write_text(folder / "stats.json", json.dumps(stats, indent=1, ensure_ascii=False) + "\n", workspace.scratch)
        write_card(opened, phase_plan.phase, stats)
        summary[phase_plan.phase] = {"images": stats["images"], "shards": len(names)}
    Ledger[BuildLine](workspace, "build-shards", writable=True).note("made_of", made_of(opened))
    return summary


def _shards(paths: list[Path], index: list[pa.Table]) -> Iterator[pa.Table]:
    """Yields the table of each product shard with the columns to be counted, and adds its keys to `index`."""
    for path in paths:
        table = read_table(path, [*STATS_COLUMNS, *INDEX_COLUMNS])
        index.append(table.select(INDEX_COLUMNS))
        yield table


def _lay_out(opened: Opened, phase: str, layout: Layout, keys: pa.Table | None, left_out: Counter[str]) -> PhasePlan:
    """Shuffles rows by the hash of their keys and deals them into shards whose sizes differ by at most one."""
    recipe, workspace = opened.recipe, opened.workspace
    demands = (recipe.ray.resources.of_stage("build-shards").demand,)
    ledger = Ledger[BuildLine](workspace, "build-shards")
    images, shards, stale, reasons = 0, 0, list[BuildTask](), Counter[str]()
    for part in layout.deal(phase, keys, recipe.shards.samples_per_shard):
        columns = [part[name].fill_null(0).to_numpy().tobytes().hex() for name in ("hash", "level")]
        mark = digest([PRODUCT_VERSION, phase, recipe.shards.strip_metadata, *columns])
        reason = ledger.stale(phase, f"{shards:06d}", product_files(workspace, phase, f"{shards:06d}"), mark)
        if reason is not None:
            reasons[reason] += 1
            stale.append(BuildTask(recipe, phase, shards, part.num_rows, mark, demands))
        images, shards = images + part.num_rows, shards + 1
    return PhasePlan(phase, shards, stale, left_out, reasons, images)
