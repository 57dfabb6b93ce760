"""Makes the product's rows of one raw shard: lines of JSON, and a table of their places.

Workers make both; the driver puts the rows in order, and reads only the tables for it. A product shard draws its rows
from many raw shards, so that its worker must read single lines. Both files are derived: they may be deleted, and are
made again when a source has changed.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.captions.crew import caption_fingerprint, crew_of
from curation.captions.training_text import TrainingText, trainable, training_text
from curation.corpora.samples import check_aligned, samples_notes
from curation.counts import counted
from curation.errors import StageError
from curation.keys import key_hash
from curation.recipe import Recipe
from curation.scoring.opened import Opened, opened_in_worker
from curation.scoring.wide_table import refresh
from curation.selection.kept import kept_rows
from curation.shards.buckets import bucket_name, buckets, nearest_bucket
from curation.shards.writer import signal_columns
from curation.tasks import Demand, Outcome, Watch
from curation.workspace import Workspace
from curation.workspace.digests import canonical, digest
from curation.workspace.files import fingerprint, footer, read_table, replacing, stamps, write_table
from curation.workspace.schemas import PLACES
from curation.workspace.sql import as_json

VERSION = 2
"""Version of the lines, part of their fingerprint; it is raised when the same sources give other lines."""
_SAMPLE = ("key", "member", "offset", "length", "format", "width", "height", "sha256", "url", "caption")
_LICENCE = re.compile(r"meta_licen[sc]e(_\d+)?", re.IGNORECASE)
_CAPTION = ["caption_en", "caption_zh", "translated", "original_en", "flags"]


@dataclass(frozen=True, slots=True)
class RowsTask:
    """Makes the lines of one raw shard."""

    recipe: Recipe
    corpus: str
    shard: str
    rows: int = 0
    demands: tuple[Demand, ...] = (Demand(),)

    def run(self, watch: Watch) -> Outcome:
        """Writes the file of lines and the table of places; returns the number of kept rows."""
        return Outcome(rows=maker_of(opened_in_worker(self.recipe)).make(self.corpus, self.shard))


def rows_left(opened: Opened) -> list[RowsTask]:
    """Returns a task for each raw shard whose lines are missing or out of date.

    Raises:
        UserError: nothing is indexed.
    """
    demands = (opened.recipe.ray.resources.of_stage("build-shards").demand,)
    shards, maker = opened.indexed_shards(), maker_of(opened)
    return [RowsTask(opened.recipe, *shard, demands=demands) for shard in shards if not maker.is_fresh(*shard)]


def lines_path(workspace: Workspace, corpus: str, shard: str) -> Path:
    """Returns the path of the file of lines of a raw shard."""
    return workspace.places(corpus, shard).with_suffix(".jsonl")


def line_hash(line: bytes) -> int:
    """Returns a 64-bit hash that identifies a line."""
    return int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "big")


class RowMaker:
    """Makes the lines of raw shards, for a recipe and the workspace as they are now."""

    def __init__(self, opened: Opened) -> None:
        self.opened, self.recipe = opened, opened.recipe
        self.workspace, self.cascade, recipe = opened.workspace, opened.cascade, opened.recipe
        self._corpora = {corpus.name: self._folders(corpus.name) for corpus in recipe.corpora}
        sizes = buckets(recipe.shards.buckets.area, recipe.shards.buckets.step)
        self._bucket = lru_cache(1 << 16)(lambda width, height: bucket_name(nearest_bucket(width, height, sizes)))
        captions = recipe.captions.model_dump(mode="json", include={"synthetic_share", "language", "tolerate"})
        self._made_by = digest(
            [VERSION, self.cascade.identity, recipe.select.rules, crew_of(opened).identity, captions,
             recipe.shards.buckets.model_dump(mode="json")]
        )  # fmt: skip

    def is_fresh(self, corpus: str, shard: str) -> bool:
        """Returns whether a raw shard's lines are those that `make` would make."""
        path = self.workspace.places(corpus, shard)
        notes = footer(path) or {}
        lines = stamps([str(path).removesuffix(".parquet") + ".jsonl"])
        return [notes.get("fingerprint"), notes.get("lines")] == [self._fingerprint(corpus, shard), *lines]

    def make(self, corpus: str, shard: str) -> int:
        """Writes the lines of a raw shard, then the table; returns the number of kept rows.

        Raises:
            StageError: a stage before this one has not been run to its end.
        """
        made_from, path = self._fingerprint(corpus, shard), lines_path(self.workspace, corpus, shard)
        places: dict[str, list[Any]] = {name: [] for name in PLACES.names}
        with replacing(path) as temporary, open(temporary, "wb") as file:
            for sample in self._kept_samples(corpus, shard):
                text = self._text(sample)
                line = canonical(self._row(corpus, shard, sample, text)).encode() if text.text is not None else b""
                place = (sample["key"], key_hash(sample["key"], "order"), file.tell(), len(line), line_hash(line))
                for column, value in zip(places.values(), place, strict=True):
                    column.append(value)
                file.write(line + b"\n" if line else b"")
        table = pa.table(places, schema=PLACES)
        write_table(self.workspace.places(corpus, shard), table, made_from, lines=str(*stamps([str(path)])))
        return table.num_rows

    def _folders(self, corpus: str) -> list[str]:
        """Returns the folders of the files from which lines are made.

        They are texts, since Path objects would dominate a plan's time.
        """
        places = [self.workspace.samples, self.workspace.selection, self.workspace.captions]
        signals = [self.workspace.signal(name, corpus, "x") for name in self.cascade.signals]
        return [str(path.parent) for path in [*(place(corpus, "x") for place in places), *signals]]

    def _fingerprint(self, corpus: str, shard: str) -> str:
        folders = self._corpora[corpus]
        return digest([self._made_by, stamps(f"{folder}/{shard}.parquet" for folder in folders)])

    def _text(self, sample: dict[str, Any]) -> TrainingText:
        rules = self.recipe.captions
        good = trainable(sample["flags"], rules.tolerate)
        return training_text(
            sample["key"],
            sample["caption"],
            sample["caption_en"] if good else None,
            sample["caption_zh"] if good else None,
            sample["translated"],
            rules.synthetic_share,
            rules.language.get("zh", 0.0),
        )

    def _row(self, corpus: str, shard: str, sample: dict[str, Any], text: TrainingText) -> dict[str, Any]:
        """Returns a line's content: a `RowPlan` without the level.

        The level is added later, because votes change independently.
        """
        return {
            "key": sample["key"],
            "corpus": corpus,
            "raw_shard": shard,
            "member": sample["member"],
            "offset": sample["offset"],
            "length": sample["length"],
            "format": sample["format"],
            "width": sample["width"],
            "height": sample["height"],
            "source_sha256": sample["sha256"],
            "url": sample["url"],
            "license": next((name for column in _licences(sample) if (name := as_json(sample[column]))), None),
            "text": text.text,
            "caption_source": text.source,
            "caption_language": text.language,
            "caption": sample["caption"],
            "caption_en": sample["caption_en"],
            "caption_zh": sample["caption_zh"],
            "translated": sample["translated"],
            "original_en": sample["original_en"],
            "flags": sample["flags"],
            "bucket": self._bucket(sample["width"], sample["height"]),
            "source": sample["source"],
            "signals": json.dumps(sample["signals"], sort_keys=True),
        }

    def _kept_samples(self, corpus: str, shard: str) -> list[dict[str, Any]]:
        """Returns the kept rows of a shard with their scalar signals and captions.

        Raises:
            StageError: a caption is missing.
        """
        table = read_table(self.workspace.samples(corpus, shard))
        kept = kept_rows(self.opened, corpus, shard, table)
        if not any(kept):
            return []
        path = self.workspace.captions(corpus, shard)
        made_from = caption_fingerprint(self.opened, corpus, shard)
        captions = read_table(path) if fingerprint(path) == made_from else None
        made = captions["captioned_as"].to_pylist() if captions else [None] * len(kept)
        done = [source == captioned_as for source, captioned_as in zip(kept, made, strict=True)]
        missing = sum(source is not None and not ok for source, ok in zip(kept, done, strict=True))
        if captions is None or missing:
            raise StageError(
                f"{corpus}/{shard}: no caption: {counted(missing, 'kept rows')}; run `curate caption RECIPE`"
            )
        check_aligned(table, captions, path)
        samples = table.select([*_SAMPLE, *_licences(table.column_names)])
        mask = pa.array([source is not None for source in kept])
        parts = (samples, captions.select(_CAPTION), self._scores(corpus, shard, table))
        return [
            sample | caption | {"signals": {k: v for k, v in signals.items() if v is not None}, "source": source}
            for sample, caption, signals, source in zip(
                *(part.filter(mask).to_pylist() for part in parts), filter(None, kept), strict=True
            )
        ]

    def _scores(self, corpus: str, shard: str, samples: pa.Table) -> pa.Table:
        """Returns the numeric signals from the wide file and the textual ones from the sidecars."""
        wide = read_table(refresh(self.opened, corpus, shard))
        numbers = [n for n in wide.column_names if n in signal_columns(self.cascade.signals.values())]
        return pa.table({n: wide[n] for n in numbers} | self._names(corpus, shard, samples))

    def _names(self, corpus: str, shard: str, samples: pa.Table) -> dict[str, pa.ChunkedArray]:
        """Returns the columns of text that signals give, such as `category`."""
        notes = samples_notes(self.workspace, corpus, shard)
        columns_of_text: dict[str, pa.ChunkedArray] = {}
        for name, signal in self.cascade.signals.items():
            columns = [c for c, kind in signal_columns([signal]).items() if pa.types.is_string(kind)]
            path = self.workspace.signal(name, corpus, shard)
            if columns and fingerprint(path) == self.cascade.fingerprint(name, notes):
                sidecar = read_table(path, ["key", *columns])
                check_aligned(samples, sidecar, path)
                columns_of_text |= {column: sidecar[column] for column in columns}
        return columns_of_text


def _licences(columns: Iterable[str]) -> list[str]:
    """Returns the columns that tell an image's licence, in whatever case and spelling, the likeliest first."""
    return sorted(
        (name for name in columns if _LICENCE.fullmatch(name)), key=lambda name: (name.lower(), name != name.lower())
    )


def read_rows(workspace: Workspace, places: pa.RecordBatch) -> list[dict[str, Any]]:
    """Reads the rows whose lines are at the given places, and sets each row's level from its place.

    Args:
        places: columns raw (CORPUS/SHARD), start, size, hash, level.

    Raises:
        StageError: a line has changed since its place was noted, or the file cannot be read.
    """
    entries = places.to_pylist()
    rows: list[dict[str, Any]] = [{}] * len(entries)
    by_file = sorted(range(len(entries)), key=lambda number: entries[number]["raw"])
    for raw, numbers in groupby(by_file, key=lambda number: entries[number]["raw"]):
        path, here = lines_path(workspace, *raw.split("/", 1)), list(numbers)
        for number, line in zip(here, _lines(path, [entries[n] for n in here]), strict=True):
            if line_hash(line) != entries[number]["hash"]:
                raise StageError(f"{path} is damaged; delete it and run `curate build-shards RECIPE` again")
            rows[number] = json.loads(line) | {"level": entries[number]["level"]}
    return rows


def _lines(path: Path, places: list[dict[str, Any]]) -> list[bytes]:
    try:
        with open(path, "rb", buffering=0) as file:
            return [os.pread(file.fileno(), place["size"], place["start"]) for place in places]
    except OSError as error:
        raise StageError(f"{path}: {error.strerror or error}; run `curate build-shards RECIPE` again") from None


@lru_cache(1)
def maker_of(opened: Opened) -> RowMaker:
    """Returns the maker of an opened recipe, which is kept for the next raw shard of the same process."""
    return RowMaker(opened)
