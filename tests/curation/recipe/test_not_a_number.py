"""NaN in an expression counts as NULL: what depends on it is not known, and so does not pass."""

import pytest

from curation.recipe.not_a_number import nan_as_null
from curation.recipe.predicates import admit
from curation.workspace.sql import connect

COLUMNS = {"x": "FLOAT", "zero": "DOUBLE", "n": "INTEGER", "text": "VARCHAR"}
ROW = "(SELECT 1::FLOAT AS x, 0::DOUBLE AS zero, 3::INTEGER AS n, 'nan' AS text)"


def verdict(sql: str) -> bool | None:
    with connect(threads=1) as connection:
        row = connection.execute(f"SELECT (\n{admit('p', sql, COLUMNS).test}\n) FROM {ROW}").fetchone()
    assert row is not None
    answer: bool | None = row[0]
    return answer


@pytest.mark.parametrize("sql", [
    "0.0 / 0.0 > 5", "'nan'::float > 5", "zero / zero >= 5", "x > 0 and zero / zero > 5", "sqrt(-x) > 5", "5 < ln(-x)",
    "text::float > 5", "try_cast(text as double) != 3", "zero / zero between 1 and 1e300", "x between 0 and zero / zero",
    "not (zero / zero < 5)", "zero / zero not in (1, 2)", "greatest(x, zero / zero) > 0", "(zero / zero)::boolean",
    "case when n > 2 then zero / zero else x end > 5", "pow(-x, 0.5::double) > -1", "zero / zero = 'nan'::float",
])  # fmt: skip
def test_what_depends_on_nan_is_not_known(sql: str) -> None:
    assert verdict(sql) is None


@pytest.mark.parametrize(("sql", "passes"), [
    ("zero / zero is null", True), ("zero / zero is not null", False), ("isnan(zero / zero)", True),
    ("zero / zero > 5 or n = 3", True), ("coalesce(zero / zero, 0) < 5", None),
    ("zero / zero is distinct from 1.0", True), ("x / n < 0.4", True), ("n / 2 > 1", True), ("-x < -0.5", True),
    ("case when zero / zero > 5 then false else true end", True), ("text || '!' = 'nan!'", True),
    ("x / n between 0.3 and 0.4 and n % 2 = 1", True), ("length(text) in (3, 4)", True), ("(n * 2)::float > 5", True),
])  # fmt: skip
def test_all_else_is_as_before(sql: str, passes: bool | None) -> None:
    assert verdict(sql) is passes


def test_an_expression_that_computes_no_such_number_is_as_it_was_written() -> None:
    for sql in ("x >= 30", "n*2 > 5 AND text LIKE '%a%'", "x BETWEEN 0.4 AND 2.5 -- wide", "x > -1::FLOAT"):
        assert admit("p", sql, COLUMNS).test == sql


def test_a_rank_or_a_group_is_null_too() -> None:
    sql = nan_as_null("zero / zero", tuple(COLUMNS.items()))
    with connect(threads=1) as connection:
        assert connection.execute(f"SELECT {sql} FROM {ROW}").fetchone() == (None,)
