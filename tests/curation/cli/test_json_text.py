"""What stands on stdout with `--json`: one valid object, whatever is asked and whatever goes wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from curation.json_text import distinct
from tests import bench
from tests.command import curate


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe of one indexed image."""
    folder = tmp_path_factory.mktemp("indexed")
    bench.write_tar(folder / "raw" / "00000.tar", {"a.jpg": bench.encoded(bench.picture(1))})
    bench.index(bench.recipe(folder))
    return folder


def only_object(text: str) -> dict[str, Any]:
    """Reads the one line of strict JSON, in which NaN is no value."""
    assert text.count("\n") == 1

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    value = json.loads(text, parse_constant=refuse)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(("sql", "row"), [
    ("select 1 as a, 2 as a, 3 as a_2 from images", {"a": 1, "a_3": 2, "a_2": 3}),
    ("select key, key from images", {"key": "c/00000/a", "key_2": "c/00000/a"}),
    ("select 'nan'::float x, '-inf'::double y, [1.5::double, 'nan'::double] z from images",
     {"x": None, "y": None, "z": [1.5, None]}),
    ("select date '2024-02-29' d, timestamp '2024-02-29 12:00:00' t from images",
     {"d": "2024-02-29", "t": "2024-02-29 12:00:00"}),
    ("select 0.1 d, 12345678901234567890.123456789 e, 2::hugeint ** 0 + 170141183460469231731687303715884105726 h"
     " from images", {"d": 0.1, "e": "12345678901234567890.123456789", "h": 1.7014118346046923e38}),
    ("select 170141183460469231731687303715884105727::hugeint h from images",
     {"h": 170141183460469231731687303715884105727}),
    ("select '\\xFF\\x00'::blob b from images", {"b": "ff00"}),
    ("select {'a': [{'b': 'nan'::float}], 'c': date '2024-02-29'} n, map {1: 'x'} m from images",
     {"n": {"a": [{"b": None}], "c": "2024-02-29"}, "m": {"1": "x"}}),
])  # fmt: skip
def test_every_value_of_a_query_is_valid_json(indexed: Path, sql: str, row: dict[str, Any]) -> None:
    said = only_object(curate("query", "recipe.yaml", sql, "--json", cwd=indexed).stdout)
    assert said == {"rows": [row], "more": False}


def test_equal_names_are_kept_apart() -> None:
    assert distinct(["a", "b", "a", "a"]) == ["a", "b", "a_2", "a_3"]


@pytest.mark.parametrize(("arguments", "key", "says"), [
    (["index", "none.yaml"], None, "none.yaml: no such recipe"),
    (["index", "recipe.yaml", "--set", "select.dedup.neer=3"], "select.dedup.neer", "recipe.yaml: select.dedup.neer: "),
    (["score", "recipe.yaml", "--set", "select.where.x=nothing > 3"], "select.where.x", 'there is no column "nothing"'),
    (["query", "recipe.yaml", "select nothing from images"], "query", 'there is no column "nothing"'),
    (["explain", "recipe.yaml", "c/00000/zebra"], None, "there is no image"),
    (["annotate", "import", "recipe.yaml", "none.csv"], None, "none.csv: no such file"),
    (["caption-eval", "table", "recipe.yaml"], None, "there is no sheet yet"),
    (["doctor", "recipe.yaml", "--set", "nonsense"], None, "--set nonsense"),
    (["index"], None, "Missing argument"), (["indx", "recipe.yaml"], None, "No such command 'indx'. Did you mean"),
    (["status", "recipe.yaml", "--nope"], None, "No such option"),
    (["annotate", "imprt", "recipe.yaml", "v.csv"], None, "No such command 'imprt'. Did you mean 'import'?"),
])  # fmt: skip
def test_a_mistake_is_an_object_too(indexed: Path, arguments: list[str], key: str | None, says: str) -> None:
    done = curate(*arguments, "--json", cwd=indexed, status=2)
    said = only_object(done.stdout)
    assert said["ok"] is False and says in said["error"] and said["key"] == key
    assert says.split(": ")[-1] in " ".join(done.stderr.split())


def test_a_stage_that_cannot_go_on_is_an_object_too(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": bench.encoded(bench.picture(1))})
    bench.index(bench.recipe(tmp_path))
    (tmp_path / "work" / "samples" / "c" / "00000.parquet").write_bytes(b"no table")
    said = only_object(curate("explain", "recipe.yaml", "c/00000/a", "--json", cwd=tmp_path, status=1).stdout)
    assert said["ok"] is False and "00000.parquet is damaged" in said["error"] and said["key"] is None


def test_a_table_in_a_pipe_cuts_no_value(indexed: Path) -> None:
    long = "a word " * 30
    said = curate("query", "recipe.yaml", f"select '{long}' as x, '{long}' as y, key from images", cwd=indexed).stdout
    assert said.count(long.strip()) == 2 and "c/00000/a" in said


def test_no_row_is_said_in_words(indexed: Path) -> None:
    assert curate("query", "recipe.yaml", "select key from images where width > 9999", cwd=indexed).stdout == "0 rows\n"
