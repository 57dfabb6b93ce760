"""Holds a shard's samples and signals as columns in memory: reads, fills and writes the sidecars."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation.corpora.samples import check_aligned, samples_notes
from curation.errors import RowError, StageError, reason_of
from curation.models.environment import libraries
from curation.scoring.cascade import Cascade
from curation.scoring.decider import Decider
from curation.signals.base import Scores, Signal, sidecar_fields
from curation.workspace import Workspace
from curation.workspace.files import fingerprint, footer, read_table, write_table
from curation.workspace.schemas import FAILED, SCORED, SKIPPED
from curation.workspace.sql import as_lists


class Columns:
    """A shard's samples and signals in memory: values by column, to be filled and written back."""

    def __init__(
        self,
        samples: pa.Table,
        values: dict[str, list[Any]],
        fields: dict[str, pa.DataType],
        fingerprints: dict[str, str],
    ) -> None:
        self.samples, self.values, self.fields, self.fingerprints = samples, values, fields, fingerprints
        self.changed: set[str] = set()
        self.ok = [status == "ok" for status in samples["status"].to_pylist()]

    @classmethod
    def read(cls, workspace: Workspace, cascade: Cascade, corpus: str, shard: str, retry_failed: bool) -> "Columns":
        """Reads the samples and every sidecar with the current fingerprint; rows without a score are `skipped`."""
        samples = cascade.with_meta(read_table(workspace.samples(corpus, shard)))
        notes = samples_notes(workspace, corpus, shard)
        values: dict[str, list[Any]] = {}
        fields: dict[str, pa.DataType] = {}
        fingerprints = {}
        for name, signal in cascade.signals.items():
            fingerprints[name] = cascade.fingerprint(name, notes)
            path = workspace.signal(name, corpus, shard)
            stored = _stored(path, fingerprints[name], samples)
            for f in sidecar_fields(signal):
                fields[f.name] = f.type
                values[f.name] = _to_values(stored[f.name]) if stored is not None else [None] * samples.num_rows
            states = values[f"{name}_state"]
            changed = [reason_of(error or "") == "changed" for error in values[f"{name}_error"]]
            again = [s == FAILED and (retry_failed or c) for s, c in zip(states, changed, strict=True)]
            values[f"{name}_state"] = [SKIPPED if s is None or a else s for s, a in zip(states, again, strict=True)]
        return cls(samples, values, fields, fingerprints)

    def table(self, rows: list[int] | None = None, read: frozenset[str] = frozenset()) -> pa.Table:
        """Returns samples and signals side by side, of some rows or of all; list columns only if they are in `read`."""
        indices = None if rows is None else pa.array(rows, pa.int64())
        table = self.samples if indices is None else self.samples.take(indices)
        for name, kind in self.fields.items():
            if pa.types.is_nested(kind) and name not in read:
                continue
            values = self.values[name] if rows is None else [self.values[name][r] for r in rows]
            table = table.append_column(name, as_lists(_to_array(values, kind)))
        return table

    def stops(self, cascade: Cascade, decider: Decider, rows: list[int] | None = None) -> list[int]:
        """Returns for each row the number of the first predicate that is not TRUE, as far as is known now."""
        read = frozenset().union(*(predicate.columns for predicate in cascade.predicates))
        return decider.numbers(self.table(rows, read), cascade.stop_sql)

    def needy(self, cascade: Cascade, stops: list[int]) -> dict[str, list[int]]:
        """Returns for each signal the rows that need it, as far as is known now."""
        return {
            name: [
                r
                for r, stop in enumerate(stops)
                if stop >= at and self.ok[r] and self.values[f"{name}_state"][r] == SKIPPED
            ]
            for name, at in cascade.first_use.items()
        }

    def store(self, signal: Signal, row: int, result: Scores | RowError) -> None:
        """Stores one row's scores, or the reason of its failure; a score that is not a finite number is a failure."""
        self.changed.add(signal.name)
        if not isinstance(result, RowError):
            try:
                stored = {c: _rounded(result.get(c), kind) for c, kind in signal.columns.items()}
            except RowError as error:
                result = error
        failed = isinstance(result, RowError)
        self.values[f"{signal.name}_state"][row] = FAILED if failed else SCORED
        self.values[f"{signal.name}_error"][row] = str(result) if failed else None
        for column in signal.columns:
            self.values[column][row] = None if failed else stored[column]

    def done(self, name: str) -> int:
        """Returns the number of rows for which the signal was computed, including failures."""
        return sum(state != SKIPPED for state in self.values[f"{name}_state"])

    def failures(self, cascade: Cascade) -> Counter[str]:
        """Returns the number of failed rows by signal and reason."""
        return Counter(
            f"{name} {reason_of(error)}"
            for name in cascade.signals
            for error in self.values[f"{name}_error"]
            if error is not None
        )

    def write(self, workspace: Workspace, corpus: str, shard: str, signal: Signal) -> None:
        """Writes the signal's sidecar if it has changed."""
        name = signal.name
        path = workspace.signal(name, corpus, shard)
        if name not in self.changed and fingerprint(path) == self.fingerprints[name]:
            return
        own = [f.name for f in sidecar_fields(signal)]
        arrays = {"key": self.samples["key"]} | {c: _to_array(self.values[c], self.fields[c]) for c in own}
        used = libraries_of(path) | {libraries()}
        write_table(path, pa.table(arrays), self.fingerprints[name], libraries=json.dumps(sorted(used)))


def _stored(path: Path, made_from: str, samples: pa.Table) -> pa.Table | None:
    """Reads a sidecar if it is intact and up to date; otherwise returns None."""
    if fingerprint(path) != made_from:
        return None
    try:
        stored = read_table(path)
        check_aligned(samples, stored, path)
    except StageError:
        path.unlink(missing_ok=True)
        return None
    return stored


def _to_values(column: pa.ChunkedArray) -> list[Any]:
    """Returns a column's values; vectors as arrays, since lists of numbers take twenty times the memory."""
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_pylist()
    whole = column.combine_chunks()
    width = column.type.list_size
    vectors = whole.values.to_numpy(zero_copy_only=False).reshape(-1, width)[whole.offset : whole.offset + len(whole)]
    return [vector if valid else None for vector, valid in zip(vectors, whole.is_valid().to_pylist(), strict=True)]


def _to_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Converts values to a column of this type; vectors are arrays, None where there is none."""
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values, kind)
    vectors = np.zeros((len(values), kind.list_size), kind.value_type.to_pandas_dtype())
    missing = np.array([value is None for value in values], bool)
    for row in np.flatnonzero(~missing):
        vectors[row] = values[row]
    flat = pa.array(vectors.ravel(), kind.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=pa.array(missing))


def _rounded(value: Any, kind: pa.DataType) -> Any:
    """Rounds a float32 score to 4 decimals, as it is stored. Raises RowError if the score is not finite."""
    if value is not None and pa.types.is_fixed_size_list(kind):
        value = np.asarray(value, kind.value_type.to_pandas_dtype())
        if not np.isfinite(value).all():
            raise RowError("not_finite", "the vector holds values that are no finite numbers")
        return value
    if value is None or not pa.types.is_float32(kind):
        return value
    if not np.isfinite(value):
        raise RowError("not_finite", f"the score is {value}")
    return round(float(value), 4)


def libraries_of(path: Path) -> set[str]:
    """Returns the sets of library versions that a sidecar's scores were computed with, each as one text."""
    return set(json.loads((footer(path) or {}).get("libraries", "[]")))
