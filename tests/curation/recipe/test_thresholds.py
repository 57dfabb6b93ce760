"""The movable numbers of a predicate: found where they stand, moved without touching anything else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import UserError
from curation.recipe.predicates import admit
from curation.recipe.thresholds import Threshold, moved, number_text, thresholds
from curation.workspace.sql import parsed

COLUMNS = {
    "x": "FLOAT", "y": "DOUBLE", "n": "INTEGER", "d": "DECIMAL(9,2)", "t": "VARCHAR", "b": "BOOLEAN", "boxes": "FLOAT[]",
    "é": "BIGINT",
}  # fmt: skip


def found(sql: str) -> list[Threshold]:
    return thresholds(admit("p", sql, COLUMNS), COLUMNS)


def brief(sql: str) -> list[tuple[str, str, float]]:
    return [(t.column, t.operator, t.value) for t in found(sql)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("x >= 30", [("x", ">=", 30)]),
        ("30 <= x", [("x", ">=", 30)]),
        ("x between 0.4 and 2.5", [("x", ">=", 0.4), ("x", "<=", 2.5)]),
        ("x BETWEEN-1 AND-.5", [("x", ">=", -1), ("x", "<=", -0.5)]),
        ('X < 1e-4 or "n" > 1_000', [("x", "<", 1e-4), ("n", ">", 1000)]),
        ("é > - 3 -- é > 4\n and (d <= (7.5))", [("é", ">", -3), ("d", "<=", 7.5)]),
        ("x >= +3", [("x", ">=", 3)]),
        ("x >= 1.5::float and y < cast(-2 as double)", [("x", ">=", 1.5), ("y", "<", -2)]),
        ("x > -7::real", [("x", ">", -7)]),
        ("t = 'x >= 5' or n >= 6 /* n >= 7 */", [("n", ">=", 6)]),
        ("length(t) > 3 or x > 2", [("x", ">", 2)]),
        ("x between 1 and y", [("x", ">=", 1)]),
    ],
)
def test_what_is_found(sql: str, expected: list[tuple[str, str, float]]) -> None:
    assert brief(sql) == expected
    for threshold in found(sql):
        text = sql[threshold.start : threshold.stop]
        assert float(text.replace(" ", "")) == threshold.value


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("not (x > 1)", [("x", "<=", 1)]),
        ("not x not between 1 and 2", [("x", ">=", 1), ("x", "<=", 2)]),
        ("x not between 1 and 2", [("x", "<", 1), ("x", ">", 2)]),
        ("not (x > 1 and not y < 2)", [("x", "<=", 1), ("y", "<", 2)]),
    ],
)
def test_under_not_the_operator_says_what_passes(sql: str, expected: list[tuple[str, str, float]]) -> None:
    assert brief(sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "x = 3", "x + 1 > 3", "x::int > 3", "n >= 3::int", "t >= 'a'", "b", "x > y", "3 > 2", "x is null", "x in (1, 2)",
        "case when x > 3 then b end", "(x > 3) is not false", "coalesce(x > 3, b)", "x > 1e400", "x > double '3'",
        "x > - - 3", "x > -(3)", "x > - /* minus */ 3", "boxes[1] > 3", "try_cast(3 as float) < x",
    ],
)  # fmt: skip
def test_what_is_left_alone(sql: str) -> None:
    assert found(sql) == []


def test_moving_changes_the_numbers_and_nothing_else() -> None:
    sql = "x>=30 -- not 30\n  AND  n BETWEEN-1 AND 2.50 /* é */"
    three = found(sql)
    assert moved(sql, three, {}) == sql
    assert moved(sql, three, {0: 30.0, 2: 2.5}) == sql  # what stays keeps its text
    assert moved(sql, three, {0: 25.5, 1: 4}) == "x>=25.5 -- not 30\n  AND  n BETWEEN 4 AND 2.50 /* é */"
    with pytest.raises(UserError, match="nan is not a number"):
        moved(sql, three, {0: float("nan")})


@pytest.mark.parametrize(
    ("value", "text"),
    [(30.0, "30"), (0.1, "0.1"), (-0.0, "0"), (1e-7, "0.0000001"), (1e17, "100000000000000000"), (1e300, "1e+300")],
)
def test_numbers_are_written_short(value: float, text: str) -> None:
    assert number_text(value) == text
    assert brief(f"x > {text}") == [("x", ">", value)]


NUMBERS = st.one_of(st.integers(-(10**6), 10**6).map(float), st.floats(-1e30, 1e30))
WRITTEN = st.sampled_from(["3", "-3", "+3", "- 3", ".5", "2.", "1e3", "1.5E-2", "(7)", "2::float", "-2::double", "1_0"])
SPACE = st.sampled_from([" ", "  ", "\n", " /* 4 é */ ", " -- 5\n"])


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    column, number, gap = draw(st.sampled_from(["x", "y", "n", "é", '"x"'])), draw(WRITTEN), draw(SPACE)
    if draw(st.booleans()):
        return f"{column} between{gap}{number} and {draw(WRITTEN)}"
    operator = draw(st.sampled_from([">", ">=", "<", "<="]))
    return f"{column}{gap}{operator}{gap}{number}" if draw(st.booleans()) else f"{number} {operator}{gap}{column}"


PREDICATES = st.recursive(
    comparisons() | st.sampled_from(["b", "t like '% 9 %'", "x = 4", "n in (1, 2)"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from([" and ", "\nOR "]), inner).map(lambda p: f"({p[0]}){p[1]}({p[2]})")
        | inner.map(lambda p: f"not ({p})")
    ),
    max_leaves=5,
)


@given(PREDICATES, st.lists(NUMBERS, min_size=10, max_size=10))
def test_what_is_moved_parses_to_the_same_tree_but_for_the_numbers(sql: str, numbers: list[float]) -> None:
    before = found(sql)
    values = dict(enumerate(numbers))
    after_text = moved(sql, before, values)
    after = found(after_text)
    assert [(t.column, t.operator) for t in after] == [(t.column, t.operator) for t in before]
    assert [t.value for t in after] == [values[t.number] for t in before[:10]] + [t.value for t in before[10:]]
    assert shape(after_text) == shape(sql)


def shape(sql: str) -> Any:
    """The syntax tree without places and numbers; the sign of a number belongs to the number."""

    def bare(node: Any) -> Any:
        if isinstance(node, list):
            return [bare(n) for n in node]
        if not isinstance(node, dict):
            return node
        if node.get("class") == "CONSTANT" and node["literal"]["kind"] in ("INTEGER", "NUMERIC"):
            return "number"
        if node.get("class") == "FUNCTION" and node["function_name"] in ("+", "-") and len(node["arguments"]) == 1:
            return bare(node["arguments"][0]["expression"])
        return {k: bare(v) for k, v in node.items() if not k.startswith("query_location")}

    return bare(parsed(f"SELECT (\n{sql}\n)")["statements"][0]["node"])
