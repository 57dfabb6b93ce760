"""A predicate as the table of `curate tune` holds it: all that no slider moves is evaluated once and becomes a column.

`caption LIKE '%dog%' OR ocr_confidence >= 0.6` becomes `part_3_0 OR (ocr_confidence >= 0.6)`: the caption stays on
disk, and the table gets a column of truth values and one of numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from curation.recipe.not_a_number import nan_as_null
from curation.recipe.predicates import Predicate
from curation.recipe.thresholds import Threshold, is_number, moved, thresholds
from curation.workspace.sql import as_text, nodes, parsed, quoted

Values = Mapping[str, Mapping[int, float]]
"""Moved thresholds: value by number of the threshold, by predicate. Those left out keep the recipe's value."""


@dataclass(frozen=True)
class Split:
    """One predicate, split into the comparisons that move and columns for everything else."""

    predicate: Predicate
    """The predicate as in the recipe."""
    thresholds: list[Threshold]
    """The thresholds in the recipe's text."""
    sql: str
    """The predicate's SQL over the table's columns."""
    columns: frozenset[str]
    """Columns of the images that `sql` reads."""
    parts: dict[str, str]
    """Further columns that `sql` reads: name to the SQL over the images that computes the column."""
    inner: list[Threshold]
    """The same thresholds as they occur in `sql`."""

    def text(self, values: Values) -> str:
        """Returns the recipe's text with moved thresholds."""
        return moved(self.predicate.sql, self.thresholds, values.get(self.predicate.name, {}))

    def over_table(self, values: Values) -> Predicate:
        """Returns the predicate with moved thresholds, to be evaluated over the table."""
        sql = moved(self.sql, self.inner, values.get(self.predicate.name, {}))
        return Predicate(self.predicate.name, sql, self.predicate.columns)

    def saved(self, values: Values, columns: Mapping[str, str]) -> "Split":
        """Returns the split for a recipe that has the moved thresholds; the table's columns stay as they are.

        The new text is not split again, since that could ask for other columns: DuckDB writes `8::FLOAT` as it reads
        it, but not `-5::FLOAT`.

        Args:
            values: the moved thresholds.
            columns: the columns of an image, name to DuckDB type.
        """
        outer, inner = replace(self.predicate, sql=self.text(values)), self.over_table(values)
        known = {c: columns[c] for c in self.columns}
        return replace(
            self, predicate=outer, thresholds=thresholds(outer, columns), sql=inner.sql, inner=thresholds(inner, known)
        )


def split(predicate: Predicate, number: int, columns: Mapping[str, str]) -> Split:
    """Splits a predicate.

    Args:
        predicate: the predicate, as in the recipe.
        number: its position in the recipe, from 0, which becomes part of its columns' names.
        columns: the columns of an image, name to DuckDB type.
    """
    moving = thresholds(predicate, columns)
    whole = f"part_{number}"
    alone = Split(predicate, [], whole, frozenset(), {whole: predicate.test}, [])
    if not moving:
        return alone
    prefix = "SELECT (\n"
    places = [tuple(len(f"{prefix}{predicate.sql[:at]}".encode()) for at in (t.start, t.stop)) for t in moving]
    parts: dict[str, str] = {}
    types = tuple((c, columns[c]) for c in sorted(predicate.columns))
    columns_kept: set[str] = set()

    def moves(node: Any) -> bool:
        return any(
            n["class"] == "CONSTANT" and any(a <= n["query_location"] < b for a, b in places) for n in nodes(node)
        )

    def reduced(node: Any) -> Any:
        """Replaces every subtree without a moving threshold by a column; plain numbers stay."""
        if isinstance(node, list):
            return [reduced(n) for n in node]
        if not isinstance(node, dict):
            return node
        if "class" not in node or node["class"] in ("CONSTANT", "TYPE"):
            return node
        if moves(node):
            return {key: reduced(value) for key, value in node.items()}
        named = next((c for c in columns if [c.lower()] == [n.lower() for n in node.get("column_names", [])]), None)
        if named in {t.column for t in moving}:
            columns_kept.add(str(named))
            return node
        part = f"{whole}_{len(parts)}"
        parts[part] = nan_as_null(as_text(node), types)
        return parsed(f"SELECT {part}")["statements"][0]["node"]["select_list"][0]

    tree = parsed(f"{prefix}{predicate.sql}\n)")["statements"][0]["node"]["select_list"][0]
    sql = as_text(reduced(tree))
    known = {c: columns[c] for c in columns_kept}
    inner = thresholds(Predicate(predicate.name, sql, frozenset(columns_kept)), known)
    if [(t.column, t.operator, t.value) for t in inner] != [(t.column, t.operator, t.value) for t in moving]:
        # DuckDB writes some numbers differently from how it reads them: `-1::FLOAT` becomes -(CAST(1 AS FLOAT)).
        light = all(is_number(columns[c]) or columns[c] == "BOOLEAN" for c in predicate.columns)
        light = light and predicate.test == predicate.sql
        return Split(predicate, moving, predicate.sql, predicate.columns, {}, moving) if light else alone
    return Split(predicate, moving, sql, frozenset(columns_kept), parts, inner)


def part_columns(splits: list[Split]) -> list[str]:
    """Returns the expressions of the SELECT that fills the table's part columns.

    Each is wrapped in TRY: a part is evaluated for every row, the predicate only for the rows that reach it, and a
    value that cannot be cast must not stop the others.
    """
    return [f"TRY((\n{sql}\n)) AS {quoted(name)}" for s in splits for name, sql in s.parts.items()]
