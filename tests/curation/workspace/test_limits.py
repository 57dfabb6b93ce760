"""A query ends at its limit of time and of memory, and the process goes on with the limits that it had."""

import resource
import time
from pathlib import Path

import duckdb
import pytest

from curation.workspace.limits import MemoryLimit, TimeLimit, limited
from curation.workspace.sql import connect


def test_the_limit_of_time_ends_a_query_in_any_step() -> None:
    with connect(threads=1) as connection:
        for sql in ("SELECT count(*) FROM range(100000000000)", "SELECT * FROM range(100000000000)"):
            began = time.perf_counter()
            with pytest.raises(TimeLimit), limited(connection, 0.3, 10**9):
                result = connection.execute(sql)
                while result.fetchmany(1000):
                    pass
            assert time.perf_counter() - began < 5
        assert connection.execute("SELECT 1").fetchall() == [(1,)]  # no late interruption


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT list(x) FROM range(1000000000) AS t(x)",
        "SELECT max(length(repeat(x, 1000))) FROM (SELECT repeat('x', 1000000) AS x FROM range(3))",
        "SELECT count(*) FROM (SELECT DISTINCT hash(x), x FROM range(300000000) AS t(x))",
    ],
)
def test_the_limit_of_memory_holds_for_what_duckdb_does_not_count(sql: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with connect(threads=1, memory="200MB") as connection:
        with pytest.raises(MemoryLimit), limited(connection, 60, 200_000_000):
            connection.execute(sql).fetchall()
        assert resource.getrlimit(resource.RLIMIT_DATA) == before
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_other_errors_pass_and_nothing_is_left_behind() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with connect(threads=1) as connection:
        with pytest.raises(duckdb.ConversionException), limited(connection, 60, 10**9):
            connection.execute("SELECT 'x'::INTEGER").fetchall()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_temporary_files_lie_in_the_given_folder_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, spill = tmp_path / "here", tmp_path / ".spill.1"
    here.mkdir()
    monkeypatch.chdir(here)
    sql = (
        "SELECT x FROM (SELECT hash(range) AS x, repeat('x', 20) FROM range(3000000)) ORDER BY x LIMIT 1 OFFSET 2000000"
    )
    with connect(threads=1, memory="50MB", spill=spill) as connection:
        connection.execute("CREATE TEMP TABLE t AS SELECT range AS x, hash(range) AS y FROM range(10000000)")
        assert any(spill.iterdir())
        assert connection.execute(sql).fetchall()
    assert not spill.exists()  # it is removed with the connection
    with connect(threads=1, memory="50MB") as connection:
        with pytest.raises(duckdb.OutOfMemoryException):
            connection.execute("CREATE TEMP TABLE t AS SELECT range AS x, hash(range) AS y FROM range(10000000)")
    assert list(here.iterdir()) == []
