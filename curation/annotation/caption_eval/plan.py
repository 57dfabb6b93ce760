"""Captions the sample with every captioner: one task for each shard and captioner.

The captioners take a shard one after the other (`Outcome.then`), so that the shard's cache of answers has only one
writer. All shards pass through the first captioner before any goes on to the second, so that workers rarely change
their model.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from curation.annotation.caption_eval.files import PART, EvalFiles
from curation.annotation.caption_eval.sample import Sample, ShardSample
from curation.captions.crew import Crew, caption_fingerprint, crew_of
from curation.captions.rows import LoadedShard, caption_rows, load_shard
from curation.captions.stage import PATIENCE, demand_of
from curation.errors import StageError, UserError
from curation.recipe import Recipe
from curation.scoring.opened import Opened, opened_in_worker
from curation.tasks import Demand, Outcome, Plan, Watch
from curation.workspace.digests import digest
from curation.workspace.files import fingerprint, read_table, write_table
from curation.workspace.schemas import SKIPPED


def opened_for(opened: Opened, captioner: str) -> Opened:
    """Returns the recipe with the settings of one of its captioners in place of its `captions` section."""
    return opened.with_captions(opened.recipe.compared_captioners[captioner])


@dataclass(frozen=True, slots=True)
class EvalTask:
    """Captions the images of the sample in one shard with the first of the remaining captioners."""

    recipe: Recipe
    part: ShardSample
    captioners: tuple[str, ...]
    demands: tuple[Demand, ...]
    """The resources that each captioner demands."""

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.part.corpus.name

    @property
    def shard(self) -> str:
        """Name of the shard."""
        return self.part.shard

    @property
    def rows(self) -> int:
        """Number of images of the sample in the shard."""
        return len(self.part.rows)

    def run(self, watch: Watch) -> Outcome:
        """Captions the images, writes the captions, and returns an outcome that names the task for the next captioner.

        Raises:
            StageError: the selection has changed since planning, or a signal that the captioner reads is not scored.
        """
        name = self.captioners[0]
        opened = opened_for(opened_in_worker(self.recipe), name)
        shard = load_shard(opened, self.part.corpus, self.shard)
        self._check(shard, crew_of(opened))
        made = {row: shard.rows[row] for row in self.part.rows if _captioned(shard, row)}
        todo = [row for row in self.part.rows if row not in made]
        outcome, texts = Outcome(), dict(made)
        if todo:
            outcome, new = caption_rows(opened, shard, todo, watch, self.demands[0].threads)
            texts |= {row: columns | {"key": shard.rows[row]["key"]} for row, columns in new.items()}
        rows = [{column: texts[row].get(column) for column in PART.names} for row in self.part.rows]
        path = EvalFiles(opened.workspace).part(name, self.corpus, self.shard)
        write_table(path, pa.Table.from_pylist(rows, schema=PART), _made_from(opened, self.part))
        outcome.rows = self.rows
        if self.captioners[1:]:
            outcome.then = replace(self, captioners=self.captioners[1:], demands=self.demands[1:])
        return outcome

    def _check(self, shard: LoadedShard, crew: Crew) -> None:
        where = f"{self.corpus}/{self.shard}"
        current = [(shard.rows[row]["key"], shard.kept[row]) for row in self.part.rows if row < len(shard.rows)]
        if current != list(zip(self.part.keys, self.part.sources, strict=True)):
            raise StageError(
                f"{where}: the selection has changed meanwhile; run `curate caption-eval sheet RECIPE` again"
            )
        for signal in crew.signals:
            if any(shard.rows[row].get(f"{signal}_state", SKIPPED) == SKIPPED for row in self.part.rows):
                raise StageError(
                    f"{where}: the captioner reads {signal}, which is not scored; run `curate score RECIPE`"
                )


def plan(opened: Opened, sample: Sample) -> Plan:
    """Plans a task for each shard in which some image still lacks a caption by some captioner.

    Raises:
        UserError: a captioner is unknown, has wrong parameters, or could not do its work; the message names it.
    """
    recipe, result = opened.recipe, Plan(total=len(sample.parts), notices=sample.notices)
    missing: dict[int, list[tuple[str, Demand]]] = {}
    for name in recipe.compared_captioners:
        with _named(recipe, name):
            own = opened_for(opened, name)
            crew = crew_of(own)
            stale = [n for n, part in enumerate(sample.parts) if not _up_to_date(own, name, part)]
            if stale:
                crew.check(here=recipe.engine == "local")
                result.notices += [notice for notice in crew.notices if notice not in result.notices]
            for number in stale:
                missing.setdefault(number, []).append((name, _patient(demand_of(recipe, crew))))
    for number, todo in sorted(missing.items()):
        names, demands = zip(*todo, strict=True)
        result.add(EvalTask(recipe, sample.parts[number], names, demands), f"no caption yet by {', '.join(names)}")
    return result


def _captioned(shard: LoadedShard, row: int) -> bool:
    """Returns whether the stage `caption` has already captioned the row with the same captioner."""
    columns = shard.rows[row]
    return bool(columns.get("caption_en")) and columns.get("captioned_as") == shard.kept[row]


def _up_to_date(opened: Opened, name: str, part: ShardSample) -> bool:
    """Returns whether the captions of a part are complete and current; a part with a failed caption is tried again."""
    path = EvalFiles(opened.workspace).part(name, part.corpus.name, part.shard)
    if fingerprint(path) != _made_from(opened, part):
        return False
    with contextlib.suppress(StageError):  # a damaged file is made again
        return read_table(path, columns=["caption_en"])["caption_en"].null_count == 0
    return False


def _made_from(opened: Opened, part: ShardSample) -> str:
    own = caption_fingerprint(opened, part.corpus.name, part.shard)
    return digest([own, part.keys, part.sources])


@contextlib.contextmanager
def _named(recipe: Recipe, name: str) -> Iterator[None]:
    """Makes errors within the block that name `captions` name the captioner's own section of the recipe instead."""
    try:
        yield
    except UserError as error:
        key = error.key
        if recipe.caption_eval.captioners and key.startswith("captions."):
            key = f"caption_eval.captioners.{name}.{key.removeprefix('captions.')}"
        raise UserError(error.detail, key) from None


def _patient(demand: Demand) -> Demand:
    """Returns the demand with a slow captioner's patience, so that captioners with equal demands share workers."""
    return replace(demand, patience=PATIENCE)
