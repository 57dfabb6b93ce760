"""The cascade: which signal a row still needs, and what becomes of it.

Predicates are walked in the recipe's order and only TRUE passes. A signal is computed for a row when every predicate
before the signal's first use is TRUE. The same SQL decides a micro-batch of 32 rows and a selection of 10⁷.
"""

import base64
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa

from curation import signals
from curation.balance import group_columns
from curation.checkpoints import Models
from curation.errors import UserError
from curation.index import SCHEMA, known_shard
from curation.ledger import Ledger, stamps
from curation.predicates import Predicate, admit, connect, failing
from curation.recipe import Dedup, Recipe
from curation.signals.base import Signal
from curation.workspace import Workspace, canonical, digest, footer, write_text

SCORED, SKIPPED, FAILED = "scored", "skipped", "failed"
TAKEN = frozenset(
    (*SCHEMA.names, "is_ok", "sha_hi", "sha_lo", "file_index", "file_row_number", "corpus", "kept", "fate",
     "dropped_by", "duplicate_of", "balance_group", "source", "caption_en", "caption_zh", "translated", "flags",
     "captioner", "translator", "attempts", "captioned_as", "prompt", "original_en", "tokens_in", "tokens_out", "cost",
     "level", "level_status", "decided_by", "votes", "agreement",
     "phase", "shard", "index", "bucket", "license")
)  # fmt: skip
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

    @classmethod
    def of(cls, recipe: Recipe, meta: pa.Schema | None = None, meta_known: bool = True) -> "Cascade":
        """Builds it from a recipe.

        Args:
            meta: the `meta_*` columns of the samples files, if there are any yet.
            meta_known: False before the index has run, when a predicate may name a column that is still to come.

        Raises:
            UserError: an unknown signal, a wrong parameter, or a predicate that is not admitted.
        """
        made = _put_together(recipe)
        fields = [*SCHEMA, *(f for f in meta or [] if f.name.startswith("meta_"))]
        columns = duck_types(pa.schema(fields + [f for s in made.values() for f in sidecar_fields(s)]))
        cascade = cls([], made, columns, meta if meta is not None else pa.schema([]))
        for name, sql in recipe.select.where.items():
            try:
                cascade.predicates.append(cascade.admit(name, sql))
            except UserError as error:
                if meta_known or 'there is no column "meta_' not in str(error):
                    raise
        if recipe.shards.quality.where and meta_known:
            cascade.admit("", recipe.shards.quality.where, "shards.quality.where")
        if recipe.select.balance and meta_known:
            group_columns(cascade, recipe.select.balance)
        if recipe.select.text_in_the_wild and meta_known:
            cascade.admit("", recipe.select.text_in_the_wild, TEXT_RULE)
        if recipe.select.dedup.quality:
            cascade.quality_columns(recipe.select.dedup.quality)
        return cascade

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
        except UserError as error:
            for word in sql.replace("(", " ").replace(")", " ").split():
                owner = signals.owner_of_column(word) if word.isidentifier() else None
                if owner and owner not in self.signals and f'"{word}"' in str(error):
                    raise UserError(
                        f'{where}.{name}: the column "{word}" is given by the signal {owner}; '
                        f"add `{signals.example(owner)}` to signals"
                    ) from None
            raise

    def quality_columns(self, sql: str) -> frozenset[str]:
        """The columns of the expression that ranks duplicates. Raises UserError."""
        return admit("", f"({sql}) >= 0", self.columns, "select.dedup.quality").columns

    def ranked_by(self, rules: Dedup) -> list[str]:
        """The signals without which a row cannot be compared with others or ranked among them; none if none is."""
        compared = {"photo"} if rules.needs_phash else set()
        if rules.cosine is not None:
            compared.add("embedding")
        if not compared:
            return []
        read = self.quality_columns(rules.quality) if rules.quality else {"aesthetic"}
        return sorted(compared | {self.owners[c] for c in read if c in self.owners})

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
                raise UserError(f"signals: {', '.join(left)} need each other")
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
        """The same without what it needs."""
        return self.signals[name].full_identity

    def reads_through(self, name: str) -> set[str]:
        """The signals that a signal needs, and those that they need."""
        needs = self.signals[name].needs
        return set(needs).union(*(self.reads_through(n) for n in needs))


def _put_together(recipe: Recipe) -> dict[str, Signal]:
    """The recipe's signals, each with those that it reads. Raises UserError if one is missing or two share a column."""
    models = Models.of(recipe)
    made = {name: signals.make(name, given, models) for name, given in recipe.signals.items()}
    givers: dict[str, str] = {}
    for name, signal in made.items():
        missing = next((n for n in signal.needs if n not in made), None)
        if missing:
            raise UserError(f"signals.{name}: reads the signal {missing}; add `{signals.example(missing)}` to signals")
        signal.needed = {n: made[n] for n in signal.needs}
        for column in signal.columns:
            if column in givers:
                raise UserError(f'signals.{name}: the column "{column}" is given by {givers[column]} too')
            if column in TAKEN or column.startswith("meta_") or column.endswith(("_state", "_error", "_is_skipped")):
                raise UserError(f'signals.{name}: "{column}" is the name of another column; choose another')
        givers |= dict.fromkeys(signal.columns, name)
    return made


def sidecar_fields(signal: Signal) -> list[pa.Field]:
    """Columns of a signal's sidecar beside the key."""
    return [
        pa.field(f"{signal.name}_state", pa.string()),
        pa.field(f"{signal.name}_error", pa.string()),
        *(pa.field(n, t) for n, t in signal.columns.items()),
    ]


_DUCK_TYPES = {
    pa.bool_(): "BOOLEAN", pa.string(): "VARCHAR",
    pa.float16(): "FLOAT", pa.float32(): "FLOAT", pa.float64(): "DOUBLE",
    pa.int8(): "TINYINT", pa.int16(): "SMALLINT", pa.int32(): "INTEGER", pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT", pa.uint16(): "USMALLINT", pa.uint32(): "UINTEGER", pa.uint64(): "UBIGINT",
}  # fmt: skip


def duck_types(schema: pa.Schema) -> dict[str, str]:
    """DuckDB's type of each column. DuckDB is asked for the rare ones only: it would import pandas, a second."""
    return {f.name: _duck_type(f.type) for f in schema}


def _duck_type(kind: pa.DataType) -> str:
    if kind in _DUCK_TYPES:
        return _DUCK_TYPES[kind]
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"{_duck_type(kind.value_type)}[]"
    with duckdb.connect(config={"threads": 1}) as connection:
        return str(connection.from_arrow(pa.schema({"x": kind}).empty_table()).types[0])


def meta_schema(workspace: Workspace, corpora: list[str], keep: bool = False) -> pa.Schema:
    """All `meta_*` columns of the indexed shards; where shards differ in a type, the wider one or text.

    Args:
        keep: whether to leave the answer in the workspace, since it takes a look at every shard; the caller holds the
            lock.
    """
    folders = stamps([str(workspace.samples(corpus, "").parent) for corpus in corpora])  # change with any file in them
    key = canonical([str(workspace.root.resolve()), corpora, folders])
    path = workspace.ledger("meta").with_suffix(".json")
    if key not in _meta_schemas:
        _meta_schemas.clear()
        _meta_schemas[key] = _kept_schema(path, key) or _all_meta(workspace, corpora)
    if keep:
        write_text(path, json.dumps({"of": key, "schema": _as_text(_meta_schemas[key])}))
    return _meta_schemas[key]


def _all_meta(workspace: Workspace, corpora: list[str]) -> pa.Schema:
    ledger = Ledger(workspace, "index")
    lines = (known_shard(workspace, ledger, c, shard) or {} for c in corpora for shard in workspace.shards(c))
    fields: dict[str, pa.DataType] = {}
    for name in dict.fromkeys(line["meta"] for line in lines if line.get("meta")):
        for f in _from_text(ledger.definitions[name]):
            known = fields.get(f.name, pa.null())
            fields[f.name] = f.type if known in (pa.null(), f.type) else _wider(known, f.type)
    return pa.schema(fields)


def _kept_schema(path: Path, key: str) -> pa.Schema | None:
    try:
        kept = json.loads(path.read_text())
        return _from_text(kept["schema"]) if kept["of"] == key else None
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def _as_text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize()).decode()


def _from_text(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


_meta_schemas: dict[str, pa.Schema] = {}


def _wider(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if pa.types.is_null(b):
        return a
    try:
        return pa.unify_schemas([pa.schema({"x": a}), pa.schema({"x": b})], promote_options="permissive")[0].type
    except pa.ArrowException:
        return pa.string()


def samples_notes(workspace: Workspace, corpus: str, shard: str) -> dict[str, str]:
    """The notes in the footer of a samples file. Raises UserError if the shard is not indexed."""
    notes = footer(workspace.samples(corpus, shard))
    if notes is None:
        raise UserError(f"{corpus}/{shard} is not indexed; run `curate index RECIPE`")
    return notes


class Decider:
    """Evaluates this module's SQL over small tables held in memory, one after the other."""

    def __init__(self) -> None:
        self._connection = connect(threads=1)

    def numbers(self, table: pa.Table, sql: str, key: str = "a predicate of the recipe") -> list[int]:
        """One number for each row.

        Args:
            key: the recipe's key of the expression; a predicate of `select.where` tells its own.

        Raises:
            UserError: a predicate fails on a value (a cast, a division).
        """
        self._connection.register("rows", table)
        try:
            return list(self._connection.execute(f"SELECT {sql} AS n FROM rows").fetchnumpy()["n"].tolist())
        except duckdb.Error as error:
            found = failing(sql, lambda part: self._connection.execute(f"SELECT max({part}) FROM rows"))
            raise run_error(error, found or key) from None
        finally:
            self._connection.unregister("rows")


def run_error(error: duckdb.Error, key: str = "select.where") -> UserError:
    """An expression of the recipe that is right in itself but fails on a value."""
    return UserError(f"{key}: {str(error).splitlines()[0]}")
