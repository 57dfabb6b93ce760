"""Stage `select`: the fate of every row, by predicates over stored signals and by duplicates. Touches no pixels.

Fates: failed · dropped · undecided · duplicate · kept. They sum to the input.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from curation import dedup
from curation.cascade import Cascade, meta_schema, run_error
from curation.errors import StageError, UserError
from curation.predicates import connect
from curation.recipe import Dedup, Recipe
from curation.wide import refresh
from curation.workspace import Workspace, digest, write_table, write_text

SCHEMA = pa.schema({"key": pa.string(), "fate": pa.string(), "dropped_by": pa.string(), "duplicate_of": pa.string()})
NEAR_UNDECIDED = "dedup"
"""Stands for a predicate's name where duplicates cannot be told apart yet, since the hash is not computed."""


@dataclass
class Funnel:
    """How many rows went where, in the order in which it was decided."""

    input: int = 0
    failed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    undecided: dict[str, int] = field(default_factory=dict)
    duplicate: dict[str, int] = field(default_factory=dict)
    """By kind: listed (in `dedup.against`), exact, near."""
    kept: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "input": self.input,
            "failed": self.failed,
            "dropped": self.dropped,
            "undecided": self.undecided,
            "duplicate": self.duplicate,
            "kept": self.kept,
        }

    @property
    def complete(self) -> bool:
        """Whether the fates sum to the input."""
        return self.input == self.failed + self.kept + sum(
            sum(part.values()) for part in (self.dropped, self.undecided, self.duplicate)
        )


class Selection:
    """One selection over a workspace: first `funnel`, then `write`.

    Raises:
        UserError: a predicate is not admitted, or nothing is indexed.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.workspace = Workspace(recipe.workspace)
        names = [corpus.name for corpus in recipe.corpora]
        self.cascade = Cascade.of(recipe, meta_schema(self.workspace, names))
        self.shards = [(name, shard) for name in names for shard in self.workspace.shards(name)]
        if not self.shards:
            raise UserError(f"{self.workspace.root}: nothing is indexed yet; run `curate index RECIPE`")
        self.files = [str(refresh(self.workspace, recipe, self.cascade, *shard)) for shard in self.shards]
        self.connection = connect([self.workspace.root], memory="4GB")

    def funnel(self) -> Funnel:
        """Counts every row's fate, duplicates included."""
        funnel = Funnel(dropped=dict.fromkeys(self.recipe.select.where, 0))
        for number, count in self._rows(f"SELECT {self.cascade.fate_sql} AS n, count(*) FROM {self._wide} GROUP BY n"):
            fate, predicate = self.cascade.unpack_fate(number)
            funnel.input += count
            if fate == "failed":
                funnel.failed = count
            elif fate == "kept":
                funnel.kept = count
            else:
                (funnel.dropped if fate == "dropped" else funnel.undecided)[str(predicate)] = count
        if self.recipe.select.dedup.needs_phash and (unhashed := self._unhashed()):
            funnel.undecided[NEAR_UNDECIDED] = unhashed
            funnel.kept -= unhashed
        funnel.duplicate = self.duplicates.counts()
        funnel.kept -= sum(funnel.duplicate.values())
        assert funnel.complete, funnel
        return funnel

    def write(self) -> Funnel:
        """Writes the fate of every row.

        Raises:
            StageError: rows are undecided, because signals are still to be computed; nothing is written.
        """
        funnel = self.funnel()
        if funnel.undecided:
            waiting = ", ".join(f"{name}: {count}" for name, count in funnel.undecided.items())
            raise StageError(
                f"{sum(funnel.undecided.values())} rows are undecided ({waiting}); run `curate score RECIPE` first"
            )
        for number, (corpus, shard) in enumerate(self.shards):
            self._write_shard(number, corpus, shard)
        self._forget_others()
        notes = {
            "funnel": funnel.as_dict(),
            "where": self.recipe.select.where,
            "dedup": self.recipe.select.dedup.model_dump(exclude={"against"}),
        }
        write_text(self.workspace.funnel, json.dumps(notes, indent=1, ensure_ascii=False) + "\n")
        return funnel

    @cached_property
    def duplicates(self) -> "Duplicates":
        """The duplicates among the rows that pass every predicate."""
        rules = self.recipe.select.dedup
        if not rules.exact and rules.near is None and rules.against is None:
            return Duplicates.none()
        return Duplicates.find(self._candidates(), rules)

    @cached_property
    def _wide(self) -> str:
        listed = ", ".join("'" + f.replace("'", "''") + "'" for f in self.files)
        return f"read_parquet([{listed}], union_by_name = true)"

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise run_error(error) from None

    def _passing(self) -> str:
        return f"({self.cascade.fate_sql}) = {2 * len(self.cascade.predicates)}"

    def _unhashed(self) -> int:
        sql = f"SELECT count(*) FROM {self._wide} WHERE photo_is_skipped AND {self._passing()}"
        return self._rows(sql)[0][0]

    def _candidates(self) -> pa.Table:
        """Rows that pass every predicate, best first: file, row, key, phash, sha_hi, sha_lo."""
        phash = "phash" if self.recipe.select.dedup.needs_phash else "NULL::UBIGINT"
        sql = f"""
            SELECT file, row, key, phash, sha_hi, sha_lo FROM (
                SELECT file_index::INTEGER AS file, file_row_number AS row, key, {phash} AS phash, sha_hi, sha_lo,
                       {self._quality()} AS quality, width::BIGINT * height AS pixels, length AS bytes
                FROM {self._wide} WHERE {self._passing()})
            ORDER BY {dedup.rank_order("quality")}"""
        try:
            return self.connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise run_error(error) from None

    def _quality(self) -> str:
        given = self.recipe.select.dedup.quality
        if given:
            return f"({given})"
        return "aesthetic" if "aesthetic" in self.cascade.owners else "NULL"

    def _write_shard(self, number: int, corpus: str, shard: str) -> None:
        sql = f"SELECT key, {self.cascade.fate_sql} AS n FROM read_parquet(?) "
        table = self.connection.sql(sql, params=[self.files[number]]).to_arrow_table()
        fates = [self.cascade.unpack_fate(n) for n in table["n"].to_pylist()]
        copies: list[str | None] = [None] * len(fates)
        for row, original in self.duplicates.of_file(number):
            fates[row] = ("duplicate", None)
            copies[row] = original
        out = pa.table([table["key"], [f for f, _ in fates], [p for _, p in fates], copies], schema=SCHEMA)
        write_table(self.workspace.selection(corpus, shard), out, digest([self.cascade.fate_sql]))

    def _forget_others(self) -> None:
        """Removes selections of shards that are no longer in the recipe's corpora."""
        ours = {self.workspace.selection(*shard) for shard in self.shards}
        for path in (self.workspace.root / "selection").glob("*/*.parquet"):
            if path not in ours:
                path.unlink()


KINDS = ("listed", "exact", "near")


@dataclass
class Duplicates:
    """The duplicates of a selection, sorted by file and row."""

    files: np.ndarray
    """int32 (n,): number of the wide file."""
    rows: np.ndarray
    """int64 (n,): row within it."""
    kinds: np.ndarray
    """int8 (n,): index in KINDS."""
    originals: pa.Array
    """Text (n,): key of the row that stays, or `listed:NAME` for a row that `dedup.against` lists."""

    @classmethod
    def none(cls) -> "Duplicates":
        """No duplicates."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, pa.array([], pa.string()))

    @classmethod
    def find(cls, candidates: pa.Table, rules: Dedup) -> "Duplicates":
        """Finds them among rows in rank order: first what is listed, then equal bytes, then near hashes."""
        count = candidates.num_rows
        kind = np.full(count, -1, np.int8)
        original = np.full(count, -1, np.int64)
        listed_names = pa.array([], pa.string())
        high, low = (_numbers(candidates[c]) for c in ("sha_hi", "sha_lo"))
        phash, hashed = _numbers(candidates["phash"]), candidates["phash"].is_valid().to_numpy()
        if rules.against:
            listed = Listed.read(rules.against)
            listed_names = listed.names
            found = listed.find(high, low, phash, hashed, rules.near or 0)
            kind[found >= 0], original[found >= 0] = 0, found[found >= 0]
        if rules.exact:
            left = np.flatnonzero(kind < 0)
            keeper = dedup.exact(high[left], low[left])
            twin = keeper >= 0
            kind[left[twin]], original[left[twin]] = 1, left[keeper[twin]]
        if rules.near is not None:
            left = np.flatnonzero(kind < 0)
            keeper = dedup.near(phash[left], hashed[left], rules.near)
            close = keeper >= 0
            kind[left[close]], original[left[close]] = 2, left[keeper[close]]
            twins = np.flatnonzero(kind == 1)  # a twin's keeper may have fallen to a better one: name that
            moved = twins[kind[original[twins]] == 2]
            original[moved] = original[original[moved]]
        return cls._sorted(candidates, kind, original, listed_names)

    @classmethod
    def _sorted(cls, candidates: pa.Table, kind: np.ndarray, original: np.ndarray, names: pa.Array) -> "Duplicates":
        file, row = candidates["file"].to_numpy(), candidates["row"].to_numpy()
        found = np.flatnonzero(kind >= 0)
        found = found[np.lexsort((row[found], file[found]))]
        of_listed = kind[found] == 0
        keys = candidates["key"].take(pa.array(np.where(of_listed, 0, original[found])))
        listed = pa.array(names).take(pa.array(np.where(of_listed, original[found], 0))) if len(names) else keys
        originals = pc.if_else(pa.array(of_listed), listed, keys)
        return cls(file[found], row[found], kind[found], originals)

    def counts(self) -> dict[str, int]:
        """How many of each kind there are."""
        counts = np.bincount(self.kinds, minlength=len(KINDS)) if len(self.kinds) else [0] * len(KINDS)
        return {kind: int(n) for kind, n in zip(KINDS, counts, strict=True) if n}

    def of_file(self, number: int) -> list[tuple[int, str]]:
        """Row and original of each duplicate in one file."""
        first, last = np.searchsorted(self.files, [number, number + 1])
        return list(zip(self.rows[first:last].tolist(), self.originals[first:last].to_pylist(), strict=True))


@dataclass
class Listed:
    """A given list of images, such as an evaluation set: by content hash, perceptual hash, or both."""

    names: pa.Array
    high: np.ndarray
    low: np.ndarray
    phash: np.ndarray
    hashed: np.ndarray

    @classmethod
    def read(cls, path: str) -> "Listed":
        """Reads a Parquet or CSV file with `sha256` (hex) and/or `phash` (number or 16 hex digits), perhaps `key`.

        Raises:
            UserError: the file is missing, unreadable, or has neither column, or a value is no hash.
        """
        where = f"select.dedup.against: {path}"
        try:
            table = (
                pq.read_table(path)
                if path.endswith(".parquet")
                else pacsv.read_csv(
                    path,
                    convert_options=pacsv.ConvertOptions(column_types={"sha256": pa.string(), "phash": pa.string()}),
                )
            )
        except FileNotFoundError:
            raise UserError(f"{where}: no such file") from None
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{where}: cannot be read: {' '.join(str(error).split())[:150]}") from None
        if not {"sha256", "phash"} & set(table.column_names):
            raise UserError(f"{where}: has neither a column sha256 nor phash; it has {', '.join(table.column_names)}")
        count = table.num_rows
        shas = table["sha256"].to_pylist() if "sha256" in table.column_names else [None] * count
        hashes = table["phash"].to_pylist() if "phash" in table.column_names else [None] * count
        keys = table["key"].to_pylist() if "key" in table.column_names else [f"row {i + 1}" for i in range(count)]
        try:
            digests = [int(s, 16) if s else None for s in shas]
            numbers = [int(h, 16) if isinstance(h, str) and h else h if h != "" else None for h in hashes]
        except ValueError as error:
            raise UserError(f"{where}: not a hash: {error}") from None
        return cls(
            pa.array([f"listed:{k}" for k in keys], pa.string()),
            np.array([0 if d is None else d >> 192 for d in digests], np.uint64),
            np.array([0 if d is None else d >> 128 & (1 << 64) - 1 for d in digests], np.uint64),
            np.array([0 if n is None else n for n in numbers], np.uint64),
            np.array([n is not None for n in numbers], bool),
        )

    def find(self, high: np.ndarray, low: np.ndarray, phash: np.ndarray, hashed: np.ndarray, radius: int) -> np.ndarray:
        """For each row the list's entry that it equals or is near, or -1."""
        found = dedup.exact_listed(high, low, self.high, self.low)
        entries = np.flatnonzero(self.hashed)
        if len(entries):
            near = dedup.near_listed(phash, hashed, self.phash[entries], radius)
            found = np.where(found >= 0, found, np.where(near >= 0, entries[near], -1))
        return found


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """uint64 values of a column, nulls as 0."""
    return pc.fill_null(column, pa.scalar(0, pa.uint64())).to_numpy()
