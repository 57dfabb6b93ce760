"""Stage `select`: the fate of every row, by predicates over stored signals and by duplicates. Touches no pixels.

Fates: failed · dropped · undecided · duplicate · kept. They sum to the input.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from curation import dedup
from curation.cascade import Cascade, meta_schema, run_error
from curation.duplicates import Duplicates
from curation.errors import StageError, UserError
from curation.ledger import Ledger, stamps
from curation.predicates import connect, parquet_files
from curation.recipe import Recipe
from curation.wide import refresh
from curation.workspace import Workspace, digest, footer, read_table, write_table, write_text

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
        if self.waits != "false" and (unhashed := self._unhashed()):
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
        Ledger(self.workspace, "select", writable=True).note("made_of", made_of(self.recipe, self.workspace))
        return funnel

    @cached_property
    def duplicates(self) -> Duplicates:
        """The duplicates among the rows that pass every predicate."""
        rules = self.recipe.select.dedup
        if not rules.exact and rules.near is None and rules.against is None:
            return Duplicates.none()
        return Duplicates.find(self._candidates(), rules)

    @cached_property
    def _wide(self) -> str:
        return parquet_files(self.files)

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            self._check_wide()
            raise run_error(error) from None

    def _check_wide(self) -> None:
        """Where a query failed: was it a damaged file? Removes such ones, which another run makes again."""
        damaged = [path for path in self.files if not _readable(Path(path))]
        for path in damaged:
            Path(path).unlink(missing_ok=True)
        if damaged:
            raise StageError(f"{damaged[0]} was damaged and is removed; run the same command again to make it anew")

    def _passing(self) -> str:
        return f"({self.cascade.fate_sql}) = {2 * len(self.cascade.predicates)}"

    def _unhashed(self) -> int:
        """Rows that pass, but that cannot be compared or ranked yet."""
        sql = f"SELECT count(*) FROM {self._wide} WHERE ({self.waits}) AND {self._passing()}"
        return self._rows(sql)[0][0]

    @property
    def waits(self) -> str:
        """SQL over the wide files: whether a row lacks what duplicates are compared or ranked by."""
        skipped = (f"{name}_is_skipped" for name in self.cascade.ranked_by(self.recipe.select.dedup))
        return " OR ".join(skipped) or "false"

    def _candidates(self) -> pa.Table:
        """Rows that pass every predicate, best first: file, row, key, phash, sha_hi, sha_lo."""
        phash = "phash" if self.recipe.select.dedup.needs_phash else "NULL::UBIGINT"
        sql = f"""
            SELECT file, row, key, phash, sha_hi, sha_lo FROM (
                SELECT file_index::INTEGER AS file, file_row_number AS row, key, {phash} AS phash, sha_hi, sha_lo,
                       {self._quality()} AS quality, width::BIGINT * height AS pixels, length AS bytes
                FROM {self._wide} WHERE {self._passing()} AND NOT ({self.waits}))
            ORDER BY {dedup.rank_order("quality")}"""
        try:
            return self.connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            self._check_wide()
            raise run_error(error) from None

    def _quality(self) -> str:
        given = self.recipe.select.dedup.quality
        if given:
            return f"({given})"
        return "aesthetic" if "aesthetic" in self.cascade.owners else "NULL"

    def _write_shard(self, number: int, corpus: str, shard: str) -> None:
        sql = f"SELECT key, {self.cascade.fate_sql} AS n FROM {parquet_files([self.files[number]])}"
        table = self.connection.sql(sql).to_arrow_table()
        fates = [self.cascade.unpack_fate(n) for n in table["n"].to_pylist()]
        copies: list[str | None] = [None] * len(fates)
        for row, original in self.duplicates.of_file(number):
            fates[row] = ("duplicate", None)
            copies[row] = original
        out = pa.table([table["key"], [f for f, _ in fates], [p for _, p in fates], copies], schema=SCHEMA)
        path, rules = self.workspace.selection(corpus, shard), digest(self.recipe.select.rules)
        if not _says(path, out, rules):
            write_table(path, out, rules)  # one that says the same stays, and so does what was made from it

    def _forget_others(self) -> None:
        """Removes selections of shards that are no longer in the recipe's corpora."""
        ours = {self.workspace.selection(*shard) for shard in self.shards}
        for path in (self.workspace.root / "selection").glob("*/*.parquet"):
            if path not in ours:
                path.unlink()


def made_of(recipe: Recipe, workspace: Workspace) -> dict[str, Any]:
    """What a selection depends on: the rules, and the folders of index and signals, which change with any file."""
    corpora = [corpus.name for corpus in recipe.corpora]
    signals = [workspace.signal(name, corpus, "x").parent for name in recipe.signals for corpus in corpora]
    folders = [workspace.samples(corpus, "x").parent for corpus in corpora] + signals
    return recipe.select.parts | {
        "index and signals": stamps(map(str, folders)),
        "listed": stamps([recipe.select.dedup.against or ""]),
    }


def _says(path: Path, table: pa.Table, rules: str) -> bool:
    """Whether a selection's file already says this, by these rules."""
    if (footer(path) or {}).get("fingerprint") != rules:
        return False
    try:
        return read_table(path).equals(table)
    except StageError:
        return False


def _readable(path: Path) -> bool:
    try:
        read_table(path)
    except (StageError, FileNotFoundError):
        return False
    return True
