"""Stage `select`: decides the fate of every row, by predicates over stored signals, duplicates and balance.

No pixels are read. The fates are failed, dropped, undecided, duplicate, balance and kept; their counts sum to the
number of rows.
"""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from curation.counts import counted
from curation.errors import StageError, UserError
from curation.recipe.predicates import failing
from curation.scoring.cascade import TEXT_RULE, group_sql
from curation.scoring.opened import Opened
from curation.scoring.vectors import Vectors, read_vectors
from curation.scoring.wide_table import WideRows, refresh
from curation.selection.balance.clusters import Clusters
from curation.selection.balance.quotas import Balanced, described
from curation.selection.dedup import search
from curation.selection.dedup.duplicates import Duplicates, Embeddings
from curation.selection.funnel import BALANCE_UNDECIDED, NEAR_UNDECIDED, Funnel
from curation.workspace.digests import digest
from curation.workspace.files import fingerprint, read_table, stamps, write_table, write_text
from curation.workspace.ledger import Ledger, LedgerLine
from curation.workspace.schemas import SELECTION, TEXT_IN_THE_WILD, WEB
from curation.workspace.sql import parquet_files

VERSION = 1
"""Number that is raised when other duplicates are found in the same embeddings."""


class Selection(WideRows):
    """A selection over a workspace: `funnel` counts the fates, and `write` also stores them.

    Args:
        opened: the recipe.
        say: a function that takes a line of text before work that takes long.

    Raises:
        UserError: a predicate is not admitted, or nothing is indexed.
    """

    def __init__(self, opened: Opened, say: Callable[[str], None] = lambda text: None) -> None:
        self.opened, self.recipe, self.cascade, self.say = opened, opened.recipe, opened.cascade, say
        self.shards = opened.indexed_shards()
        super().__init__(opened.workspace, [str(refresh(opened, *shard)) for shard in self.shards])

    def funnel(self) -> Funnel:
        """Counts every row's fate, duplicates and balance included.

        Raises:
            UserError: a predicate fails on a value, or `balance.shares` names a group that does not exist.
        """
        funnel = Funnel(dropped=dict.fromkeys(self.recipe.select.where, 0))
        for number, count in self.fetch(f"SELECT {self.cascade.fate_sql} AS n, count(*) FROM {self.wide} GROUP BY n"):
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
        if self.balance.waiting:
            funnel.undecided[BALANCE_UNDECIDED] = self.balance.waiting
        funnel.balance = self.balance.count
        funnel.kept -= funnel.balance + self.balance.waiting
        if self.recipe.select.balance and not funnel.undecided:
            self.balance.check(self.recipe.select.balance)
        if self.recipe.select.text_in_the_wild:
            funnel.text_in_the_wild = sum(map(len, self._text_in_the_wild.values()))
        assert funnel.complete, funnel
        return funnel

    def write(self) -> Funnel:
        """Writes the fate of every row, and returns the funnel.

        Raises:
            StageError: rows are undecided, because signals are still to be computed; nothing is written.
        """
        funnel = self.funnel()
        if funnel.undecided:
            rows = counted(sum(funnel.undecided.values()), "rows")
            waiting = ", ".join(f"{name}: {count}" for name, count in funnel.undecided.items())
            raise StageError(f"undecided: {rows} ({waiting}); run `curate score RECIPE` first")
        for number, (corpus, shard) in enumerate(self.shards):
            self._write_shard(number, corpus, shard)
        self._forget_others()
        notes = {
            "funnel": funnel.as_dict(),
            "where": self.recipe.select.where,
            "dedup": self.recipe.select.dedup.model_dump(exclude={"against"}),
            "balance": self.recipe.select.balance and described(self.recipe.select.balance),
        }
        write_text(self.workspace.funnel, json.dumps(notes, indent=1, ensure_ascii=False) + "\n")
        Ledger[LedgerLine](self.workspace, "select", writable=True).note("made_of", made_of(self.opened))
        return funnel

    @cached_property
    def duplicates(self) -> Duplicates:
        """The duplicates among the rows that pass every predicate."""
        rules = self.recipe.select.dedup
        if not rules.exact and rules.near is None and rules.cosine is None and rules.against is None:
            return Duplicates.none()
        if rules.cosine is None:
            return Duplicates.find(self._candidates(), rules)
        path = self.workspace.duplicates  # comparing embeddings takes long: the result of one command serves the next
        listed = [rules.against or ""]
        decided_by = self.recipe.select.model_dump_json(exclude={"dedup": {"against"}, "balance": True})
        made_of = [VERSION, self.shards, stamps(self.files), listed, stamps(listed), decided_by]
        known = Duplicates.read(path, digest(made_of))
        if known is not None:
            return known
        candidates = self._candidates()
        duplicates = Duplicates.find(candidates, rules, self._embeddings(candidates))
        duplicates.write(path, digest(made_of))
        return duplicates

    def vectors(self, files: np.ndarray, rows: np.ndarray) -> Vectors:
        """Returns the embeddings of some rows, by number of the shard and row within it: see `read_vectors`."""
        paths = [self.workspace.signal("embedding", *shard) for shard in self.shards]
        return read_vectors(paths, files, rows, "embedding", self._width)

    @cached_property
    def balance(self) -> Balanced:
        """The result of balancing the rows that are not duplicates. It is empty while any of them still lacks a
        signal."""
        rules = self.recipe.select.balance
        if rules is None:
            return Balanced.none()
        ranked = self._ranked([f"{group_sql(self.cascade, rules)} AS name", f"({self.balance_waits}) AS waits"])
        at = self._index(ranked["file"].to_numpy(), ranked["row"].to_numpy())
        left = ~self._copies[at]
        waiting = int(np.count_nonzero(left & ranked["waits"].to_numpy()))
        if waiting or not left.any():
            return Balanced.none(waiting)
        names = ranked["name"] if rules.clusters is None else pa.array(self._clusters(rules.clusters)[at])
        balanced = Balanced.find(ranked.filter(left), names.filter(left), rules)
        for note in balanced.notes(rules):
            self.say(note)
        return balanced

    @cached_property
    def _copies(self) -> np.ndarray:
        """Whether each row is a duplicate: bool (rows of all files,)."""
        copies = np.zeros(self._starts[-1], bool)
        copies[self._index(self.duplicates.files, self.duplicates.rows)] = True
        return copies

    @cached_property
    def _text_in_the_wild(self) -> dict[int, set[int]]:
        """The kept rows of the text-rich subset, by number of the file."""
        rule = self.cascade.text_rule
        if rule is None:
            return {}
        wanted = f"{self._passing()} AND NOT ({self.waits}) AND (\n{rule.test}\n)"
        table = self._table(f"SELECT file_index AS file, file_row_number AS row FROM {self.wide} WHERE {wanted}")
        files, rows = table["file"].to_numpy(), table["row"].to_numpy()
        gone = self._copies.copy()
        gone[self._index(self.balance.files[self.balance.away], self.balance.rows[self.balance.away])] = True
        left = ~gone[self._index(files, rows)]
        return {int(n): set(rows[left & (files == n)].tolist()) for n in np.unique(files[left])}

    @property
    def balance_waits(self) -> str:
        """SQL over the wide files that is TRUE for a row without a signal that balancing groups or ranks it by."""
        rules = self.recipe.select.balance
        names = self.cascade.group_signals(rules) if rules else []
        return " OR ".join(f"{name}_is_skipped" for name in names) or "false"

    def _clusters(self, groups: int) -> np.ndarray:
        """Returns the cluster of every row of all files: int32 (rows of all files,)."""
        scored = self.fetch(f"SELECT count(*) FROM {self.wide} WHERE NOT embedding_is_skipped")[0][0]
        return np.concatenate(Clusters(self.workspace, self.cascade, self.shards, groups, scored, self.say).labels())

    @property
    def _width(self) -> int:
        return self.cascade.signals["embedding"].columns["embedding"].list_size

    def _embeddings(self, candidates: pa.Table) -> Embeddings:
        files, rows = candidates["file"].to_numpy(), candidates["row"].to_numpy()
        return Embeddings(self._width, lambda some: self.vectors(files[some], rows[some]), self.say)

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Returns the rows of a query, as in WideRows; an error names the rule of the recipe that failed on a value."""
        try:
            return super().fetch(sql)
        except UserError as error:
            raise self._named(error) from None

    def _table(self, sql: str) -> pa.Table:
        try:
            return super()._table(sql)
        except UserError as error:
            raise self._named(error) from None

    def _named(self, error: UserError) -> UserError:
        """Returns the error of an expression that failed on a value, with the recipe key under which the
        expression stands."""
        rules = self.recipe.select

        def ask(sql: str) -> None:
            self.connection.execute(f"SELECT max({sql}) FROM {self.wide}").fetchall()

        if key := failing(self.cascade.fate_sql, ask):
            return UserError(error.detail, key)
        of_rows_that_pass = {
            "select.dedup.quality": rules.dedup.quality,
            "select.balance.by": rules.balance and rules.balance.by,
            TEXT_RULE: rules.text_in_the_wild,
        }
        for key, sql in of_rows_that_pass.items():
            try:
                if sql:
                    ask(f"CASE WHEN {self._passing()} THEN (\n{sql}\n) END")
            except duckdb.Error:
                return UserError(error.detail, key)
        return error

    def _passing(self) -> str:
        return f"({self.cascade.fate_sql}) = {2 * len(self.cascade.predicates)}"

    def _unhashed(self) -> int:
        """Counts the rows that pass all predicates but lack a signal needed to compare or rank them."""
        sql = f"SELECT count(*) FROM {self.wide} WHERE ({self.waits}) AND {self._passing()}"
        return self.fetch(sql)[0][0]

    @property
    def waits(self) -> str:
        """SQL over the wide files that is TRUE for a row without a signal that finds duplicates or text-rich images."""
        names = self.cascade.ranked_by(self.recipe.select.dedup)
        if rule := self.cascade.text_rule:
            names = sorted({*names, *self.cascade.reads(rule)})
        return " OR ".join(f"{name}_is_skipped" for name in names) or "false"

    def _candidates(self) -> pa.Table:
        """Returns the rows that pass every predicate, best first: file, row, key, phash, sha_hi, sha_lo."""
        phash = "phash" if self.recipe.select.dedup.needs_phash else "NULL::UBIGINT"
        return self._ranked(["key", f"{phash} AS phash", "sha_hi", "sha_lo"])

    def _ranked(self, columns: list[str]) -> pa.Table:
        """Returns the comparable rows that pass every predicate, best first: file, row, and the columns asked for."""
        sql = f"""
            SELECT * EXCLUDE (rank_quality, rank_pixels, rank_bytes, rank_key) FROM (
                SELECT file_index::INTEGER AS file, file_row_number AS row, {", ".join(columns)},
                       {self._quality()} AS rank_quality, width::BIGINT * height AS rank_pixels,
                       length AS rank_bytes, key AS rank_key
                FROM {self.wide} WHERE {self._passing()} AND NOT ({self.waits}))
            ORDER BY {search.rank_order("rank_quality", "rank_pixels", "rank_bytes", "rank_key")}"""
        return self._table(sql)

    def _quality(self) -> str:
        expression = self.recipe.select.dedup.quality
        if expression:
            return f"(\n{self.cascade.test(expression, self.cascade.rank_columns or frozenset())}\n)"
        return "aesthetic" if "aesthetic" in self.cascade.owners else "NULL"

    def _write_shard(self, number: int, corpus: str, shard: str) -> None:
        sql = f"SELECT key, {self.cascade.fate_sql} AS n FROM {parquet_files([self.files[number]])}"
        table = self.connection.sql(sql).to_arrow_table()
        fates = [self.cascade.unpack_fate(n) for n in table["n"].to_pylist()]
        copies: list[str | None] = [None] * len(fates)
        groups: list[str | None] = [None] * len(fates)
        for row, original in self.duplicates.of_file(number):
            fates[row] = ("duplicate", None)
            copies[row] = original
        for row, group, away in self.balance.of_file(number):
            groups[row] = group
            if away:
                fates[row] = ("balance", None)
        rich = self._text_in_the_wild.get(number, set())
        kept = [fate == "kept" for fate, _ in fates]
        sources = [(TEXT_IN_THE_WILD if row in rich else WEB) if keep else None for row, keep in enumerate(kept)]
        values = [table["key"], [f for f, _ in fates], [p for _, p in fates], copies, groups, sources]
        out = pa.table(values, schema=SELECTION)
        path, rules = self.workspace.selection(corpus, shard), digest(self.recipe.select.rules)
        if not _holds(path, out, rules):
            write_table(path, out, rules)  # an equal file stays, and so do the files made from it

    def _forget_others(self) -> None:
        """Removes selections of shards that are no longer in the recipe's corpora."""
        ours = {self.workspace.selection(*shard) for shard in self.shards}
        for path in (self.workspace.root / "selection").glob("*/*.parquet"):
            if path not in ours:
                path.unlink()


def made_of(opened: Opened) -> dict[str, Any]:
    """Returns all that a selection depends on: its rules, and stamps of the folders of index and signals."""
    recipe, workspace = opened.recipe, opened.workspace
    corpora = [corpus.name for corpus in recipe.corpora]
    signals = [workspace.signal(name, corpus, "x").parent for name in recipe.signals for corpus in corpora]
    folders = [workspace.samples(corpus, "x").parent for corpus in corpora] + signals
    return recipe.select.parts | {
        "index and signals": stamps(map(str, folders)),
        "listed": stamps([recipe.select.dedup.against or ""]),
    }


def _holds(path: Path, table: pa.Table, rules: str) -> bool:
    """Returns whether a selection file already holds these fates, made by these rules."""
    if fingerprint(path) != rules:
        return False
    try:
        return read_table(path).equals(table)
    except StageError:
        return False
