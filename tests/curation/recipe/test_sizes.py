"""A predicate or query that would make gigabytes from a few characters is refused before any of it is evaluated."""

import resource
import time
from collections.abc import Iterator

import pytest

from curation.errors import UserError
from curation.recipe.predicates import admit, query_columns

REFUSED = (
    r"^((select\.where\.bomb|query): \w+ could make a value of more than 100 MB; "
    r"|select\.where\.bomb: the function \w+ is not allowed in a predicate)"
)
COLUMNS = {"width": "INTEGER", "caption": "VARCHAR", "tags": "VARCHAR[]"}
BOMBS = [
    "repeat('x', 1000000000) <> caption",
    "length('x'.repeat(10**9)) > width",
    "length(REPEAT(repeat('xxxxxxxxxx', 10000), 10000)) > width",
    "length(repeat('x', 1000000000::BIGINT)) > 1",
    "length(lpad('x', 2000000000, '.')) > 1",
    "length(rpad(caption, 2_000_000_000, '.')) > 1",
    "len(range(1000000000)) > 1",
    "len(range(-1000000000, 0)) > 1",
    "len(generate_series(1, 1000000000)) > 1",
    "len(list_resize([1], 1000000000)) > 1",
    "len(array_resize([caption], 1000000, caption)) > 1",
    "length(printf('%1000000000d', 1)) > 1",
    "length(printf('%*d', 1000000000, 1)) > 1",
    "length(format('{:1000000000}', 1)) > 1",
    "length(format('{:{}}', 1, 1000000000)) > 1",
    "length(bitstring('1', 1000000000)::VARCHAR) > 1",
    "length(" + "replace(" * 8 + "'a'" + ", 'a', 'aaaaaaaaaaaaaaaa')" * 8 + ") > 1",
    "length(" + "regexp_replace(" * 8 + "'a'" + ", '', 'aaaaaaaaaaaaaaaa', 'g')" * 8 + ") > 1",
    "length(" + "hex(" * 30 + "'a'" + ")" * 30 + ") > 1",
]
"""Predicates whose constants alone take gigabytes, or seconds."""


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Lets this process take no more than some hundred megabytes: who evaluates a bomb has not enough."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with open("/proc/self/status") as file:
        now = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (now + 300_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_at_load_by_its_functions_name(bomb: str, little_memory: None) -> None:
    began = time.perf_counter()
    for refused in (
        lambda: admit("bomb", bomb, COLUMNS),
        lambda: query_columns(f"WITH a AS (SELECT {bomb}) SELECT * FROM a"),
        lambda: query_columns(f"SELECT key FROM images WHERE key IN (SELECT key FROM images WHERE {bomb})"),
    ):
        with pytest.raises(UserError, match=REFUSED):
            refused()
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    "sql", ["length(repeat(caption, width)) > 1", "len(range(width)) > 1", "lpad('', width, caption) = ''"]
)
def test_a_column_says_how_large_a_value_is_in_a_query_alone(sql: str) -> None:
    with pytest.raises(UserError, match="could make a value|is not allowed"):
        admit("x", sql, COLUMNS)
    assert query_columns(f"SELECT {sql} FROM images") is not None


@pytest.mark.parametrize(
    "sql",
    [
        "lpad(width::VARCHAR, 8, '0') > '00000512'",
        "replace(replace(replace(replace(caption, 'photo of', ''), 'image of', ''), '“', '\"'), '”', '\"') LIKE '%\"%'",
        "printf('%08d', width) > '00000512'",
        "format('{:.2f}', width / 3) > '1'",
        "length(lower(trim(caption))) BETWEEN 5 AND 1000000000",
        "width * 1000000000 > 5",
        "caption NOT LIKE '%" + "x" * 5000 + "%'",
    ],
)
def test_what_a_recipe_needs_is_admitted(sql: str) -> None:
    assert admit("x", sql, COLUMNS).columns


def test_rows_are_counted_without_being_held() -> None:
    assert query_columns("SELECT count(*) FROM range(1000000000)") == set()
