"""The cascade: which signal a row still needs, and what becomes of it.

Predicates are walked in the recipe's order and only TRUE passes. A signal is computed for a row when every predicate
before the signal's first use is TRUE. The same SQL decides a micro-batch of 32 rows and a selection of 10⁷.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from curation.errors import UnknownColumn, UserError
from curation.models.checkpoints import Models
from curation.recipe import Recipe
from curation.recipe.predicates import Predicate, admit
from curation.recipe.sections import Balance, Dedup
from curation.signals.base import Signal, example_entry, make_signal, owner_of_column, sidecar_fields
from curation.workspace.digests import digest
from curation.workspace.schemas import LEVELS_IN_VIEW, SAMPLES, TABLES
from curation.workspace.sql import duck_types

OWN_TO_PRODUCT = "text"
"""In the product this is the training text, and what the signal `ocr` gives by the same name is left out there."""
TAKEN = frozenset(name for table in TABLES for name in table.names if name != OWN_TO_PRODUCT) | {
    *LEVELS_IN_VIEW.values(), "corpus", "kept",  # of the view `images`
    "is_ok", "sha_hi", "sha_lo", "file_index", "file_row_number",  # of files made of signals
}  # fmt: skip
"""Columns of other stages, and of files made of signals: no signal may give one of that name."""
TEXT_RULE = "select.text_in_the_wild"
"""The recipe's key of the rule that marks the text-rich subset."""


@dataclass(frozen=True)
class Cascade:
    """The recipe's predicates and signals, checked against each other."""

    predicates: list[Predicate]
    signals: dict[str, Signal]
    columns: dict[str, str]
    """Every column that a predicate may name, with its DuckDB type."""
    meta: pa.Schema
    """The `meta_*` columns of all shards; one shard may have but some of them, or another type."""
    text_rule: Predicate | None = None
    """`select.text_in_the_wild`; None where the recipe has no such rule."""
    quality_rule: Predicate | None = None
    """`shards.quality.where`; None where the recipe has no such rule."""
    rank_columns: frozenset[str] | None = None
    """The columns that `select.dedup.quality` reads; None where the recipe has no such expression."""
    group_columns: frozenset[str] = frozenset()
    """The columns that `select.balance.by` reads."""

    @classmethod
    def of(cls, recipe: Recipe, models: Models, meta: pa.Schema, meta_known: bool = True) -> "Cascade":
        """Builds it from a recipe.

        Args:
            models: the recipe's folder of checkpoints.
            meta: the `meta_*` columns of the samples files, as far as there are any yet.
            meta_known: False before the index has run, when a predicate may name a column that is still to come.

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
            rank = admit("", f"({recipe.select.dedup.quality}) >= 0", columns, "select.dedup.quality")
            rules["rank_columns"] = rank.columns
        return replace(cascade, **rules)

    def with_meta(self, samples: pa.Table) -> pa.Table:
        """A samples table with every `meta_*` column there is, in the type that they have in common."""
        for f in self.meta:
            at = samples.schema.get_field_index(f.name)
            if at < 0:
                samples = samples.append_column(f.name, pa.nulls(samples.num_rows, f.type))
            elif samples.schema.field(at).type != f.type:
                samples = samples.set_column(at, f.name, samples[f.name].cast(f.type))
        return samples

    def admit(self, name: str, sql: str, where: str = "select.where") -> Predicate:
        """Admits one predicate over these columns. Raises UserError; a signal left out of the recipe is named."""
        try:
            return admit(name, sql, self.columns, where)
        except UnknownColumn as error:
            owner = owner_of_column(error.column)
            if owner is None or owner in self.signals:
                raise
            said = f'the column "{error.column}" is given by the signal {owner}'
            raise UserError(f"{said}; add `{example_entry(owner)}` to signals", error.key) from None

    @property
    def text_columns(self) -> list[str]:
        """Text and list columns that the recipe's predicates and rankings read, sorted."""
        admitted = [*self.predicates, *filter(None, (self.text_rule, self.quality_rule))]
        read = frozenset().union(*(p.columns for p in admitted), self.rank_columns or (), self.group_columns)
        return sorted(c for c in read if self.columns[c] in ("VARCHAR", "BLOB") or self.columns[c].endswith("]"))

    def ranked_by(self, rules: Dedup) -> list[str]:
        """The signals without which a row cannot be compared with others or ranked among them; none if none is."""
        compared = {"photo"} if rules.needs_phash else set()
        if rules.cosine is not None:
            compared.add("embedding")
        if not compared:
            return []
        return sorted(compared | self.rank_signals)

    @property
    def rank_signals(self) -> set[str]:
        """The signals by which one row is ranked above another: `aesthetic`, where the recipe says nothing else."""
        read = {"aesthetic"} if self.rank_columns is None else self.rank_columns
        return {self.owners[c] for c in read if c in self.owners}

    def group_signals(self, rules: Balance) -> list[str]:
        """The signals without which a row has no group or no rank."""
        grouped = {self.owners[c] for c in self.group_columns if c in self.owners}
        return sorted(grouped | self.rank_signals | ({"embedding"} if rules.clusters else set()))

    @cached_property
    def owners(self) -> dict[str, str]:
        """The signal that gives each signal column."""
        return {f.name: n for n, s in self.signals.items() for f in sidecar_fields(s)}

    def reads(self, predicate: Predicate) -> list[str]:
        """Signals that a predicate reads, in the recipe's order."""
        used = {self.owners[c] for c in predicate.columns if c in self.owners}
        return [name for name in self.signals if name in used]

    @cached_property
    def first_use(self) -> dict[str, int]:
        """Position of the first predicate that reads each signal, itself or through what needs it.

        A signal that no predicate reads is computed last, for the rows that pass them all.
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
        """Positions at which signals are computed, each with its signals: what is needed first, then by cost."""
        by_need = self._by_need()
        positions = sorted(set(self.first_use.values()))
        return [(at, [n for n in by_need if self.first_use[n] == at]) for at in positions]

    def _by_need(self) -> list[str]:
        """Signals so that each comes after those it needs; the cheap ones first."""
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
        """SQL for the number of the first predicate that is not TRUE; their count if all are."""
        cases = [f"{p.mark} WHEN (\n{p.sql}\n) IS NOT TRUE THEN {i}" for i, p in enumerate(self.predicates)]
        return f"CASE {' '.join(cases)} ELSE {len(cases)} END" if cases else "0"

    @property
    def fate_sql(self) -> str:
        """SQL over the wide files for a row's fate as a small number: see `unpack_fate`."""
        cases = ["WHEN NOT is_ok THEN -1"]
        for i, p in enumerate(self.predicates):
            skipped = " OR ".join(f"{s}_is_skipped" for s in self.reads(p))
            undecided = f"WHEN (\n{p.sql}\n) IS NULL AND ({skipped}) THEN {2 * i + 1}" if skipped else ""
            fate = f"CASE {undecided} ELSE {2 * i} END" if undecided else str(2 * i)
            cases.append(f"{p.mark} WHEN (\n{p.sql}\n) IS NOT TRUE THEN {fate}")
        return f"CASE {' '.join(cases)} ELSE {2 * len(self.predicates)} END"

    def unpack_fate(self, number: int) -> tuple[str, str | None]:
        """Fate and deciding predicate behind a number of `fate_sql`."""
        if number < 0:
            return "failed", None
        if number >= 2 * len(self.predicates):
            return "kept", None
        return ("undecided" if number % 2 else "dropped"), self.predicates[number // 2].name

    def fingerprint(self, name: str, samples_notes: dict[str, str]) -> str:
        """The fingerprint of a signal's sidecar, from the notes in the footer of its samples file."""
        inputs = {column: samples_notes[f"{column}_digest"] for column in self.signals[name].inputs}
        return digest(self.identity_of(name) | {"rows": samples_notes["rows_digest"], "inputs": inputs})

    def find_models(self) -> None:
        """Raises UserError if a model that the recipe asks for is missing; whether it fits takes longer to tell."""
        for signal in self.signals.values():
            signal.find()

    def check_models(self) -> None:
        """Raises UserError if a model that the recipe asks for is missing, damaged, or does not fit."""
        for signal in self.signals.values():
            signal.check()

    @property
    def made_with(self) -> dict[str, dict[str, object]]:
        """What each signal's scores are made with, for machines that have no models: see `Models.note`."""
        found: dict[str, dict[str, object]] = {}
        for name, signal in self.signals.items():
            widths = {c: kind.list_size for c, kind in signal.columns.items() if pa.types.is_fixed_size_list(kind)}
            found[name] = {"identity": signal.identity, "models": signal.digests(), "widths": widths}
        return found

    @cached_property
    def identity(self) -> str:
        """Digest of all signals as the recipe has them now, apart from what they are computed on."""
        return digest({name: self.identity_of(name) for name in self.signals})

    def identity_of(self, name: str) -> dict[str, object]:
        """What a signal's scores depend on beside the image: version, parameters, models, and what it needs."""
        return self.own_identity(name) | {"needs": [self.identity_of(n) for n in self.signals[name].needs]}

    def own_identity(self, name: str) -> dict[str, object]:
        """Returns the signal's identity without the signals that it needs."""
        return self.signals[name].full_identity

    def reads_through(self, name: str) -> set[str]:
        """The signals that a signal needs, and those that they need."""
        needs = self.signals[name].needs
        return set(needs).union(*(self.reads_through(n) for n in needs))


def _put_together(recipe: Recipe, models: Models) -> dict[str, Signal]:
    """The recipe's signals, each with those that it reads. Raises UserError if one is missing or two share a column."""
    made = {name: make_signal(name, given, models) for name, given in recipe.signals.items()}
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
"""Name of the group of rows that have none."""


def _group_columns(cascade: Cascade, rules: Balance) -> frozenset[str]:
    """The columns that `select.balance.by` reads; none where the groups are clusters.

    Raises:
        UserError: the expression is not admitted, it reads a list, or the signal `embedding` is not in the recipe.
    """
    if rules.by is None:
        if "embedding" not in cascade.signals:
            raise UserError("needs the signal embedding; add `embedding: …` to signals", "select.balance.clusters")
        return frozenset()
    read = cascade.admit("", f"(\n{rules.by}\n) IS NOT NULL", "select.balance.by").columns
    lists = sorted(column for column in read if cascade.columns[column].endswith("]"))
    if lists:
        raise UserError(f"{lists[0]} is a list; groups of embeddings are asked for by `clusters`", "select.balance.by")
    return read


def group_sql(rules: Balance) -> str:
    """SQL over the wide files for the name of a row's group; NULL where the groups are clusters."""
    return f"coalesce((\n{rules.by}\n)::VARCHAR, '{NO_GROUP}')" if rules.by else "NULL"
