"""An in-memory table of the values that predicates read, so that counts follow a slider while it moves.

The counts are those of `curation/selection/stage.py` before duplicates, by the same SQL. Only numeric and boolean
columns are held. The predicate whose slider moves, the current one, has a table of its own: the rows that reach it, and
the fate of each row if it passes. As long as only this predicate moves, no other is evaluated.
"""

from collections import Counter
from dataclasses import replace
from itertools import accumulate
from typing import Any

import duckdb

from curation.recipe.predicates import Predicate
from curation.recipe.thresholds import Threshold, number_text
from curation.scoring.decider import run_error
from curation.scoring.opened import Opened
from curation.selection.funnel import NEAR_UNDECIDED
from curation.selection.stage import Selection
from curation.views.tune.answers import ColumnHistogram, FunnelCounts, Neighbour, TuneAnswer
from curation.views.tune.axis import Axis, axis_of
from curation.views.tune.loaded import Loaded
from curation.views.tune.split import Values, part_columns, split
from curation.workspace.sql import parquet_files, quoted

ALL, HERE = "tune.images", "here"
"""Names of the tables: `ALL` is compressed; `HERE`, which is scanned at every move, is not."""
FILES_AT_ONCE = 25
"""Number of files read before the table is compressed: more need more memory, fewer take more time."""
SAMPLE = 200_000
"""Number of evenly spread rows from which the range of an axis is taken."""

_ALWAYS = Predicate("", "true", frozenset())


class Table:
    """The images of a workspace, as `curate tune` needs them.

    Raises:
        UserError: a predicate is not admitted, or nothing is indexed.
        StageError: a sidecar does not fit its samples file.
    """

    def __init__(self, opened: Opened) -> None:
        selection = Selection(opened)
        self.recipe = opened.recipe
        self.cascade = selection.cascade
        self.shards, self.files = selection.shards, selection.files
        self.workspace, self._connection = selection.workspace, selection.connection
        self.splits = [split(p, n, self.cascade.columns) for n, p in enumerate(self.cascade.predicates)]
        self._skips = self._read_signals()
        self.loaded = Loaded(self.workspace, self.shards)
        self._load()
        self._built: object = None
        self._before: dict[int, int] = {}
        self._axes: dict[tuple[str, int], Axis] = {
            (t.predicate, t.number): self._make_axis(at, t) for at, s in enumerate(self.splits) for t in s.thresholds
        }

    def save(self, values: Values) -> None:
        """Makes moved thresholds those of the recipe, without loading anything again."""
        self.splits = [s.saved(values, self.cascade.columns) for s in self.splits]
        self.cascade = replace(self.cascade, predicates=[s.predicate for s in self.splits])
        where = self.recipe.select.where | {s.predicate.name: s.predicate.sql for s in self.splits}
        select = self.recipe.select.model_copy(update={"where": where})
        self.recipe = self.recipe.model_copy(update={"select": select})

    def funnel(self, values: Values) -> FunnelCounts:
        """Counts every row's fate under moved thresholds.

        Raises:
            UserError: a predicate fails on a value.
        """
        return self._as_funnel(self._counts(f"SELECT {self._fate(self._moved(values))} AS n FROM {self._view}"))

    def answer(self, values: Values, threshold: Threshold, neighbours: int) -> TuneAnswer:
        """Makes a threshold's predicate the current one, and returns all that the page shows of the threshold.

        This is fast as long as no threshold of another predicate moves; otherwise the rows that reach the predicate are
        gathered first.

        Args:
            values: the moved thresholds.
            threshold: the threshold shown.
            neighbours: maximum number of rows to return on each side of the threshold.
        """
        at = self._place(threshold.predicate)
        self._build(values, at)
        place, passes = _bin(threshold), self._passes(values, threshold)
        fates: Counter[int] = Counter(self._before)
        histogram = ColumnHistogram.empty(self.axis(threshold))
        fate_sql = self._fate_here(values, at)
        for fate, where, side, count in self._rows(
            f"SELECT {fate_sql}, {place}, {passes}, count(*) FROM {self._view_of(HERE)} GROUP BY ALL"
        ):
            fates[fate] += count
            histogram.add(where, side, count)
        funnel = self._as_funnel(fates)
        up = threshold.operator in (">", ">=")

        def nearest(where: str, counts: list[int], ascending: bool) -> list[Neighbour]:
            first, last = _bins_of(counts, neighbours, ascending)
            order = f"{quoted(threshold.column)} {'ASC' if ascending else 'DESC'}, hash(row)"
            rows = f"SELECT * FROM {HERE} WHERE {where} AND {place} BETWEEN {first} AND {last} ORDER BY {order}"
            view = self._view_of(f"({rows} LIMIT {neighbours})")
            fates = f"SELECT row, {quoted(threshold.column)}, {fate_sql} FROM {view} ORDER BY {order}"
            return [Neighbour(row, float(value), *self._fate_name(n)) for row, value, n in self._rows(fates)]

        below = nearest(f"NOT ({passes})", histogram.failing, not up)
        return TuneAnswer(funnel, histogram, below, nearest(passes, histogram.passing, up))

    def histogram(self, values: Values, threshold: Threshold) -> ColumnHistogram:
        """Returns the histogram of one threshold's column, without changing the current predicate."""
        reaching = self._reaching(self._moved(values), self._place(threshold.predicate))
        axis, histogram = self.axis(threshold), ColumnHistogram.empty(self.axis(threshold))
        for group in self._rows(
            f"SELECT {axis.bin_sql}, {self._passes(values, threshold)}, count(*)"
            f" FROM {self._view} WHERE {reaching} GROUP BY ALL"
        ):
            histogram.add(*group)
        return histogram

    def axis(self, threshold: Threshold) -> Axis:
        """Returns the axis of a threshold, which stays the same while thresholds move."""
        return self._axes[threshold.predicate, threshold.number]

    def threshold(self, predicate: str, number: int) -> Threshold | None:
        """Returns one threshold of the recipe; None if there is none with this number."""
        candidates = (t for s in self.splits if s.predicate.name == predicate for t in s.thresholds)
        return next((t for t in candidates if t.number == number), None)

    def _read_signals(self) -> dict[str, int]:
        """Assigns a bit to each signal whose absence makes a row undecided; returns the bits by name of the signal."""
        read = {s for p in self.cascade.predicates for s in self.cascade.reads(p)} | set(
            self.cascade.ranked_by(self.recipe.select.dedup)
        )
        return {name: bit for bit, name in enumerate(n for n in self.cascade.signals if n in read)}

    def _load(self) -> None:
        """Loads the wide files in the order of the shards, so that a row's number tells its shard."""
        columns = [quoted(c) for c in sorted(set().union(*(s.columns for s in self.splits)))] + part_columns(
            self.splits
        )
        bits = [f"CASE WHEN {name}_is_skipped THEN {1 << bit} ELSE 0 END" for name, bit in self._skips.items()]
        kind = next(k for k, size in (("UTINYINT", 8), ("UINTEGER", 32), ("UBIGINT", 64)) if len(bits) <= size)
        columns.append(f"({' + '.join(bits) or '0'})::{kind} AS skipped")
        self._run("ATTACH ':memory:' AS tune (COMPRESS)")
        for start in range(0, len(self.files), FILES_AT_ONCE):
            files = parquet_files(self.files[start : start + FILES_AT_ONCE])
            rows = f"SELECT {', '.join(columns)} FROM {files} WHERE is_ok"
            self._run(f"INSERT INTO {ALL} {rows}" if start else f"CREATE TABLE {ALL} AS {rows}")
            self._run("CHECKPOINT tune")
        counts = self._rows(
            f"SELECT file_index, count(*) FILTER (is_ok), count(*) FROM {parquet_files(self.files)} GROUP BY 1"
        )
        ok = {file: good for file, good, _ in counts}
        rows_before = 0
        for number, shard in enumerate(self.shards):
            self.loaded.rows[shard] = range(rows_before, rows_before + ok.get(number, 0))
            rows_before += ok.get(number, 0)
        self.ok, self.input = rows_before, sum(total for _, _, total in counts)
        samples = [str(self.workspace.samples(*shard)) for shard in self.shards]
        self.gone = self._rows(f"SELECT count(*) FROM {parquet_files(samples)} WHERE status = 'gone'")[0][0]

    def _make_axis(self, at: int, threshold: Threshold) -> Axis:
        """Makes an axis for the rows that reach the predicate or, if none has a value, for all rows with a value."""
        column = quoted(threshold.column)
        whole = "INT" in self.cascade.columns[threshold.column]
        every = f"rowid % {max(1, self.ok // SAMPLE)} = 0"
        for where in (self._reaching(self._moved({}), at), "TRUE"):
            where_known = f"{every} AND isfinite({column}::DOUBLE) AND {where}"
            sql = f"SELECT quantile_disc({column}, [0, 0.005, 0.995, 1]) FROM {self._view} WHERE {where_known}"
            quantiles = self._rows(sql)[0][0]
            if quantiles:
                return axis_of(threshold, [float(value) for value in quantiles], whole)
        ends = sorted((0.0, 2 * threshold.value))
        return axis_of(threshold, [ends[0], *ends, ends[1]], whole)

    @property
    def _view(self) -> str:
        return self._view_of(ALL, "rowid, ")

    def _view_of(self, source: str, more: str = "") -> str:
        """Returns a subquery that adds the columns that `Cascade.fate_sql` reads; rows of the source are all ok."""
        skips = "".join(f", (skipped & {1 << bit}) <> 0 AS {name}_is_skipped" for name, bit in self._skips.items())
        return f"(SELECT {more}*, true AS is_ok{skips} FROM {source})"

    def _moved(self, values: Values) -> list[Predicate]:
        return [s.over_table(values) for s in self.splits]

    def _fate(self, predicates: list[Predicate]) -> str:
        """Returns SQL for the fate's number: one more than kept for a passing row that cannot be ranked yet."""
        fate = replace(self.cascade, predicates=predicates).fate_sql
        unranked = " OR ".join(f"{name}_is_skipped" for name in self.cascade.ranked_by(self.recipe.select.dedup))
        kept = 2 * len(predicates)
        return f"CASE ({fate}) WHEN {kept} THEN {kept} + ({unranked})::INTEGER ELSE ({fate}) END" if unranked else fate

    def _reaching(self, predicates: list[Predicate], at: int) -> str:
        return " AND ".join(f"(\n{p.test}\n)" for p in predicates[:at]) or "TRUE"

    def _passes(self, values: Values, threshold: Threshold) -> str:
        """Returns SQL for the comparison of one threshold, as the predicate makes it."""
        predicate_split = self.splits[self._place(threshold.predicate)]
        inner = predicate_split.inner[threshold.number]
        value = values.get(threshold.predicate, {}).get(threshold.number, threshold.value)
        text = predicate_split.sql[inner.start : inner.stop] if value == threshold.value else number_text(value)
        return f"{quoted(threshold.column)} {threshold.operator} {text}"

    def _in_hand(self, values: Values, at: int) -> bool:
        return self._built == self._others(values, at)

    def _others(self, values: Values, at: int) -> object:
        return at, [p.sql for n, p in enumerate(self._moved(values)) if n != at]

    def _build(self, values: Values, at: int) -> None:
        if self._in_hand(values, at):
            return
        self._built = None
        predicates = self._moved(values)
        later = self._fate([_ALWAYS] * (at + 1) + predicates[at + 1 :])
        current = self.splits[at]
        columns = [quoted(c) for c in sorted(current.columns | set(current.parts))]
        columns += [f"{self.axis(t).bin_sql} AS {_bin(t)}" for t in current.thresholds]
        reaching = self._reaching(predicates, at)
        self._run(f"DROP TABLE IF EXISTS {HERE}")
        self._run(
            f"CREATE TABLE {HERE} AS SELECT {', '.join([*columns, 'skipped'])},"
            f" rowid::{'UINTEGER' if self.ok < 1 << 32 else 'UBIGINT'} AS row, ({later})::SMALLINT AS later"
            f" FROM {self._view} WHERE {reaching}"
        )
        before = [*predicates[:at], *[_ALWAYS] * (len(predicates) - at)]
        fates = f"SELECT {replace(self.cascade, predicates=before).fate_sql} AS n FROM {self._view}"
        self._before = {n: count for n, count in self._counts(fates).items() if n < 2 * at}
        self._built = self._others(values, at)

    def _fate_here(self, values: Values, at: int) -> str:
        """Returns SQL for the fate's number of a row that reaches the current predicate."""
        alone = [_ALWAYS] * len(self.splits)
        alone[at] = self.splits[at].over_table(values)
        fate = replace(self.cascade, predicates=alone).fate_sql
        return f"CASE ({fate}) WHEN {2 * len(alone)} THEN later ELSE ({fate}) END"

    def _fate_name(self, number: int) -> tuple[str, str | None]:
        if number > 2 * len(self.splits):
            return "undecided", NEAR_UNDECIDED
        return self.cascade.unpack_fate(number)

    def _counts(self, fates: str) -> dict[int, int]:
        return dict(self._rows(f"SELECT n, count(*) FROM ({fates}) GROUP BY n"))

    def _as_funnel(self, counts: dict[int, int]) -> FunnelCounts:
        funnel = FunnelCounts(self.input, self.input - self.ok, self.gone, {s.predicate.name: 0 for s in self.splits})
        for number, count in counts.items():
            fate, predicate = self._fate_name(number)
            if fate == "kept":
                funnel.passing = count
            else:
                (funnel.dropped if fate == "dropped" else funnel.undecided)[str(predicate)] = count
        return funnel

    def _place(self, predicate: str) -> int:
        return next(n for n, s in enumerate(self.splits) if s.predicate.name == predicate)

    def _run(self, sql: str) -> None:
        self._rows(sql)

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise run_error(error) from None


def _bin(threshold: Threshold) -> str:
    """Returns the name of the column of `HERE` with each row's bin for this threshold."""
    return f"bin_{threshold.number}"


def _bins_of(counts: list[int], least: int, ascending: bool) -> tuple[int, int]:
    """Returns the first and last bin that together hold at least `least` rows, from the threshold outwards."""
    order = range(len(counts)) if ascending else range(len(counts) - 1, -1, -1)
    filled = [n for n in order if counts[n]] or [0]
    sums = accumulate(counts[n] for n in filled)
    enough = next((n for n, so_far in zip(filled, sums, strict=True) if so_far >= least), filled[-1])
    return min(filled[0], enough), max(filled[0], enough)
