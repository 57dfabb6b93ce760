"""Decides, by the cascade of predicates, which signals a row still needs, and what its fate is.

Predicates are evaluated in the recipe's order, and only TRUE passes. A signal is computed for a row when every
predicate before the signal's first use is TRUE. The same SQL decides a micro-batch of 32 rows and a selection of 10⁷.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from curation.corpora.samples import spelling
from curation.errors import UnknownColumn, UserError
from curation.models.checkpoints import Models
from curation.recipe import Recipe
from curation.recipe.not_a_number import nan_as_null
from curation.recipe.predicates import Predicate, admit
from curation.recipe.sections import Balance, Dedup
from curation.signals.base import Signal, example_entry, make_signal, owner_of_column, sidecar_fields
from curation.workspace.digests import digest
from curation.workspace.schemas import LEVELS_IN_VIEW, SAMPLES, TABLES
from curation.workspace.sql import as_json, duck_types

OWN_TO_PRODUCT = "text"
"""A column of the product that a signal may also give: in the product it is the training text, and the column `text` of
the signal `ocr` is left out there."""
TAKEN = frozenset(name for table in TABLES for name in table.names if name != OWN_TO_PRODUCT) | {
    *LEVELS_IN_VIEW.values(), "corpus", "kept",  # of the view `images`
    "is_ok", "sha_hi", "sha_lo", "file_index", "file_row_number",  # of files made of signals
}  # fmt: skip
"""Names that no column of a signal may have, since other stages, or files made of signals, have columns so named."""
TEXT_RULE = "select.text_in_the_wild"
"""Key in the recipe of the rule that marks the text-rich subset."""


@dataclass(frozen=True)
class Cascade:
    """The recipe's predicates and signals, checked against each other."""

    predicates: list[Predicate]
    signals: dict[str, Signal]
    columns: dict[str, str]
    """The DuckDB type of every column that a predicate may name."""
    meta: pa.Schema
    """The `meta_*` columns of all shards; a single shard may lack some of them, or have them in another type."""
    text_rule: Predicate | None = None
    """The rule `select.text_in_the_wild`; None where the recipe has no such rule."""
    quality_rule: Predicate | None = None
    """The rule `shards.quality.where`; None where the recipe has no such rule."""
    rank_columns: frozenset[str] | None = None
    """The columns that `select.dedup.quality` reads; None where the recipe has no such expression."""
    group_columns: frozenset[str] = frozenset()
    """The columns that `select.balance.by` reads."""

    @classmethod
    def of(cls, recipe: Recipe, models: Models, meta: pa.Schema, meta_known: bool = True) -> "Cascade":
        """Builds the cascade of a recipe.

        Args:
            recipe: the recipe.
            models: the recipe's folder of checkpoints.
            meta: the `meta_*` columns of the samples files, as far as there are any yet.
            meta_known: whether the index has run; before that, a predicate may name a `meta_*` column that is yet to
                come.

        Raises:
            UserError: an unknown signal, a wrong parameter, or a predicate that is not admitted.
        """
        made = _put_together(recipe, models)
        fields = [*SAMPLES, *(f for f in meta if f.name.startswith("meta_"))]
        columns = duck_types(pa.schema(fields + [f for s in made.values() for f in sidecar_fields(s)]))
        cascade = cls([], made, columns, meta)
        for name, sql in recipe.select.where.items():
            try:
                cascade.predicates.append(cascade.admit(name, sql))
            except UnknownColumn as error:
                if meta_known or not error.column.startswith("meta_"):
                    raise
        rules: dict[str, Any] = {}
        if meta_known:
            if recipe.shards.quality.where:
                rules["quality_rule"] = cascade.admit("", recipe.shards.quality.where, "shards.quality.where")
            if recipe.select.balance:
                rules["group_columns"] = _group_columns(cascade, recipe.select.balance)
            if recipe.select.text_in_the_wild:
                rules["text_rule"] = cascade.admit("", recipe.select.text_in_the_wild, TEXT_RULE)
        if recipe.select.dedup.quality:
            rank = admit("", recipe.select.dedup.quality, columns, "select.dedup.quality", "(\n{}\n) >= 0")
            rules["rank_columns"] = rank.columns
        return replace(cascade, **rules)

    def with_meta(self, samples: pa.Table) -> pa.Table:
        """Returns a samples table with the `meta_*` columns of all shards, each in the type common to all shards."""
        places = {name: place for place, name in enumerate(samples.column_names)}
        for f in self.meta:
            place = places.get(spelling(f))
            if place is None:
                samples = samples.append_column(f.name, pa.nulls(samples.num_rows, f.type))
            elif samples.schema.field(place) != f:
                samples = samples.set_column(place, f.name, _as_type(samples.column(place), f.type))
        return samples

    def admit(self, name: str, sql: str, where: str = "select.where", form: str = "{}") -> Predicate:
        """Checks one predicate over these columns and returns it. Raises UserError, which names a missing signal."""
        try:
            return admit(name, sql, self.columns, where, form)
        except UnknownColumn as error:
            owner = owner_of_column(error.column)
            if owner is None or owner in self.signals:
                raise
            detail = f'the column "{error.column}" is given by the signal {owner}'
            raise UserError(f"{detail}; add `{example_entry(owner)}` to signals", error.key) from None

    def test(self, sql: str, read: frozenset[str]) -> str:
        """Returns an admitted expression as it is evaluated, with NaN as NULL; `read` are the columns that it reads."""
        return nan_as_null(sql, tuple((c, self.columns[c]) for c in sorted(read)))

    @property
    def text_columns(self) -> list[str]:
        """Text and list columns that the recipe's predicates and rankings read, sorted."""
        admitted = [*self.predicates, *filter(None, (self.text_rule, self.quality_rule))]
        read = frozenset().union(*(p.columns for p in admitted), self.rank_columns or (), self.group_columns)
        return sorted(c for c in read if self.columns[c] in ("VARCHAR", "BLOB") or self.columns[c].endswith("]"))

    def ranked_by(self, rules: Dedup) -> list[str]:
        """Returns the signals that a row needs to be compared and ranked; none if no rows are compared."""
        compared = {"photo"} if rules.needs_phash else set()
        if rules.cosine is not None:
            compared.add("embedding")
        if not compared:
            return []
        return sorted(compared | self.rank_signals)

    @property
    def rank_signals(self) -> set[str]:
        """The signals that rank one row above another: `aesthetic`, unless the recipe has another expression."""
        read = {"aesthetic"} if self.rank_columns is None else self.rank_columns
        return {self.owners[c] for c in read if c in self.owners}

    def group_signals(self, rules: Balance) -> list[str]:
        """Returns the signals without which a row has no group or no rank."""
        grouped = {self.owners[c] for c in self.group_columns if c in self.owners}
        return sorted(grouped | self.rank_signals | ({"embedding"} if rules.clusters else set()))

    @cached_property
    def owners(self) -> dict[str, str]:
        """The name of the signal that gives each signal column."""
        return {f.name: n for n, s in self.signals.items() for f in sidecar_fields(s)}

    def reads(self, predicate: Predicate) -> list[str]:
        """Returns the signals that a predicate reads, in the recipe's order."""
        used = {self.owners[c] for c in predicate.columns if c in self.owners}
        return [name for name in self.signals if name in used]

    @cached_property
    def first_use(self) -> dict[str, int]:
        """Position of the first predicate that reads each signal, either directly or through a signal that needs it.

        A signal that no predicate reads is computed last, for the rows that pass all predicates.
        """
        last = len(self.predicates)
        first = {
            name: next((i for i, p in enumerate(self.predicates) if name in self.reads(p)), last)
            for name in self.signals
        }
        for name in reversed(self._by_need()):
            for needed in self.signals[name].needs:
                first[needed] = min(first[needed], first[name])
        return first

    @cached_property
    def order(self) -> list[tuple[int, list[str]]]:
        """Positions at which signals are computed, each with its signals: needed ones come first, then cheap ones."""
        by_need = self._by_need()
        positions = sorted(set(self.first_use.values()))
        return [(at, [n for n in by_need if self.first_use[n] == at]) for at in positions]

    def _by_need(self) -> list[str]:
        """Returns the signals, each after those that it needs, and otherwise by cost. Raises UserError for a cycle."""
        left = sorted(self.signals, key=lambda n: (self.signals[n].cost, n))
        ordered: list[str] = []
        while left:
            name = next((n for n in left if all(m in ordered for m in self.signals[n].needs)), None)
            if name is None:
                raise UserError(f"{', '.join(left)} need each other", "signals")
            ordered.append(name)
            left.remove(name)
        return ordered

    @property
    def stop_sql(self) -> str:
        """SQL for the number of the first predicate that is not TRUE; the number of predicates if all are TRUE."""
        cases = [f"{p.mark} WHEN (\n{p.test}\n) IS NOT TRUE THEN {i}" for i, p in enumerate(self.predicates)]
        return f"CASE {' '.join(cases)} ELSE {len(cases)} END" if cases else "0"

    @property
    def fate_sql(self) -> str:
        """SQL over the wide files for a row's fate as a small number: see `unpack_fate`."""
        cases = ["WHEN NOT is_ok THEN -1"]
        for i, p in enumerate(self.predicates):
            skipped = " OR ".join(f"{s}_is_skipped" for s in self.reads(p))
            undecided = f"WHEN (\n{p.test}\n) IS NULL AND ({skipped}) THEN {2 * i + 1}" if skipped else ""
            fate = f"CASE {undecided} ELSE {2 * i} END" if undecided else str(2 * i)
            cases.append(f"{p.mark} WHEN (\n{p.test}\n) IS NOT TRUE THEN {fate}")
        return f"CASE {' '.join(cases)} ELSE {2 * len(self.predicates)} END"

    def unpack_fate(self, number: int) -> tuple[str, str | None]:
        """Returns the fate and the deciding predicate (or None) that a number of `fate_sql` stands for."""
        if number < 0:
            return "failed", None
        if number >= 2 * len(self.predicates):
            return "kept", None
        return ("undecided" if number % 2 else "dropped"), self.predicates[number // 2].name

    def fingerprint(self, name: str, samples_notes: dict[str, str]) -> str:
        """Returns the fingerprint of a signal's sidecar, from the notes in the footer of its samples file."""
        inputs = {column: samples_notes[f"{column}_digest"] for column in self.signals[name].inputs}
        return digest(self.identity_of(name) | {"rows": samples_notes["rows_digest"], "inputs": inputs})

    def find_models(self) -> None:
        """Raises UserError if a model that the recipe asks for is missing; takes less time than `check_models`."""
        for signal in self.signals.values():
            signal.find()

    def check_models(self) -> None:
        """Raises UserError if a model that the recipe asks for is missing, damaged, or does not fit."""
        for signal in self.signals.values():
            signal.check()

    @property
    def made_with(self) -> dict[str, dict[str, object]]:
        """Identity, model digests and vector widths of each signal, for machines without models; see `Models.note`."""
        notes: dict[str, dict[str, object]] = {}
        for name, signal in self.signals.items():
            widths = {c: kind.list_size for c, kind in signal.columns.items() if pa.types.is_fixed_size_list(kind)}
            notes[name] = {"identity": signal.identity, "models": signal.digests(), "widths": widths}
        return notes

    @cached_property
    def identity(self) -> str:
        """Digest of the definitions of all signals in the recipe, without the data on which they are computed."""
        return digest({name: self.identity_of(name) for name in self.signals})

    def identity_of(self, name: str) -> dict[str, object]:
        """Returns all that a signal's scores depend on besides the image: version, parameters, models, needs."""
        return self.own_identity(name) | {"needs": [self.identity_of(n) for n in self.signals[name].needs]}

    def own_identity(self, name: str) -> dict[str, object]:
        """Returns the signal's identity without the signals that it needs."""
        return self.signals[name].full_identity

    def reads_through(self, name: str) -> set[str]:
        """Returns the signals that a signal needs, directly or through other signals."""
        needs = self.signals[name].needs
        return set(needs).union(*(self.reads_through(n) for n in needs))


def _put_together(recipe: Recipe, models: Models) -> dict[str, Signal]:
    """Creates the recipe's signals, each with those that it needs.

    Raises:
        UserError: a needed signal is missing, or two signals give the same column.
    """
    made = {name: make_signal(name, params, models) for name, params in recipe.signals.items()}
    givers: dict[str, str] = {}
    for name, signal in made.items():
        missing = next((n for n in signal.needs if n not in made), None)
        if missing:
            raise UserError(f"reads the signal {missing}; add `{example_entry(missing)}` to signals", f"signals.{name}")
        signal.needed = {n: made[n] for n in signal.needs}
        for column in signal.columns:
            if column in givers:
                raise UserError(f'the column "{column}" is given by {givers[column]} too', f"signals.{name}")
            if column in TAKEN or column.startswith("meta_") or column.endswith(("_state", "_error", "_is_skipped")):
                raise UserError(f'"{column}" is the name of another column; choose another', f"signals.{name}")
        givers |= dict.fromkeys(signal.columns, name)
    return made


NO_GROUP = ""
"""Name of the group of rows that have no group."""


def _group_columns(cascade: Cascade, rules: Balance) -> frozenset[str]:
    """Returns the columns that `select.balance.by` reads; none if the groups are clusters.

    Raises:
        UserError: the expression is not admitted, it reads a list, or the signal `embedding` is not in the recipe.
    """
    if rules.by is None:
        if "embedding" not in cascade.signals:
            raise UserError("needs the signal embedding; add `embedding: …` to signals", "select.balance.clusters")
        return frozenset()
    read = cascade.admit("", rules.by, "select.balance.by", "(\n{}\n) IS NOT NULL").columns
    lists = sorted(column for column in read if cascade.columns[column].endswith("]"))
    if lists:
        raise UserError(f"{lists[0]} is a list; groups of embeddings are asked for by `clusters`", "select.balance.by")
    return read


def group_sql(cascade: Cascade, rules: Balance) -> str:
    """Returns SQL over the wide files for the name of a row's group; NULL if the groups are clusters."""
    if not rules.by:
        return "NULL"
    return f"coalesce((\n{cascade.test(rules.by, cascade.group_columns)}\n)::VARCHAR, '{NO_GROUP}')"


def _as_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Returns a column in the type common to all shards, which is text where their types have nothing in common."""
    try:
        return column.cast(kind)
    except pa.ArrowException:
        return pa.chunked_array([pa.array([as_json(value) for value in column.to_pylist()], pa.string())])
