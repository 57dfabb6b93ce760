"""Predicates: one harmless scalar expression, or one line that says why not."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from curation.errors import UserError
from curation.recipe.predicates import admit, query_columns
from curation.workspace.sql import connect

COLUMNS = {
    "min_side": "INTEGER",
    "aspect_ratio": "FLOAT",
    "sharpness": "FLOAT",
    "ocr_confidence": "FLOAT",
    "text_lines": "INTEGER",
    "phash": "UBIGINT",
    "caption": "VARCHAR",
    "domain": "VARCHAR",
    "face_boxes": "FLOAT[4][]",
    "meta_user name": "VARCHAR",
}


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("min_side >= 512", {"min_side"}),
        ("aspect_ratio between 0.4 and 2.5", {"aspect_ratio"}),
        ("ocr_confidence >= 0.8 or text_lines = 0", {"ocr_confidence", "text_lines"}),
        ("MIN_SIDE > 1 AND Min_Side < 9", {"min_side"}),
        ("caption is not null and length(trim(caption)) >= 5", {"caption"}),
        ("domain is null or domain not in ('a.com', 'b.org')", {"domain"}),
        ("lower(caption) like '%sale%'", {"caption"}),
        ("not regexp_matches(caption, '(?i)stock photo')", {"caption"}),
        ("case when text_lines = 0 then true else ocr_confidence > 0.5 end", {"text_lines", "ocr_confidence"}),
        ("coalesce(sharpness, 0) > 3", {"sharpness"}),
        ("len(face_boxes) < 3", {"face_boxes"}),
        ("bit_count(xor(phash, 12345::ubigint)) > 6", {"phash"}),
        ("try_cast(caption as integer) is null", {"caption"}),
        ("min_side % 2 = 0 and (sharpness + 1) * 2 > 3 - 1", {"min_side", "sharpness"}),
        ("min_side is distinct from 3", {"min_side"}),
        ("\"meta_user name\" = 'x'", {"meta_user name"}),
        ("min_side >= 512 -- the short side", {"min_side"}),
        ("min_side >= 512\n  and /* both */ sharpness > 3", {"min_side", "sharpness"}),
        ("caption = 'a; b) or (select'", {"caption"}),
        ("true", set()),
        ("null", set()),
    ],
)
def test_admitted(sql: str, columns: set[str]) -> None:
    predicate = admit("p", sql, COLUMNS)
    assert (predicate.name, predicate.sql, predicate.columns) == ("p", sql, columns)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("", "empty"),
        ("  \n ", "empty"),
        ("-- nothing but a comment", ""),
        ("(select max(min_side) from images) > 3", "subquery"),
        ("exists (select 1)", "subquery"),
        ("min_side in (select 1)", "subquery"),
        ("min_side > all (select 1)", "subquery"),
        ("select true", ""),
        ("true; drop table images", "one expression"),
        ("true; select true", "one expression"),
        ("true) from range(3) where (true", "one expression"),
        ("true) from (select 1", "one expression"),
        ("true) where (true", "one expression"),
        ("true) limit (1", "one expression"),
        ("true) qualify (true", "one expression"),
        ("true) having (true", "one expression"),
        ("true), (false", "one expression"),
        ("true) union all (select true", "one expression"),
        ("true) window w as (", ""),
        ("min_side > 1) or (min_side < 0", ""),
        ("min_side > 1) is null or (true", ""),
        ("true /*", "one expression"),
        ("min_side >=", "one expression"),
        ("row_number() over () > 1", "window"),
        ("sum(min_side) over (order by min_side) > 1", "window"),
        ("sum(min_side) > 1", "function sum"),
        ("count(*) > 1", "not allowed"),
        ("any_value(min_side) > 1", "function any_value"),
        ("random() < 0.5", "function random"),
        ("uuid() is not null", "function uuid"),
        ("now() > '2020-01-01'", "function now"),
        ("today() > '2020-01-01'", "function today"),
        ("current_date > '2020-01-01'", "current_date"),
        ("current_timestamp > '2020-01-01'", "current_timestamp"),
        ("age(timestamp '2020-01-01') > interval 1 day", "function age"),
        ("getenv('HOME') = 'x'", "function getenv"),
        ("current_setting('threads') = '1'", "function current_setting"),
        ("getvariable('x') = 1", "function getvariable"),
        ("read_text('/etc/hostname') is null", "function read_text"),
        ("unnest([true])", "unnest"),
        ("? > 3", "parameter"),
        ("$1 > 3", "parameter"),
        ("len(list_filter([1, 2], lambda x: x > 1)) > 0", "lambda"),
        ("len(list_filter([1, 2], x -> x > 1)) > 0", "lambda"),
        ("*", "star"),
        ("columns('min.*') > 3", "star"),
        ("#1 > 3", "positional"),
        ("min_side", "true or false"),
        ("'yes'", "true or false"),
        ("[true]", "true or false"),
        ("sharpnes > 3", 'did you mean "sharpness"?'),
        ("images.min_side > 3", 'did you mean "min_side"?'),
        ("lenght(caption) > 3", 'did you mean "length"?'),
        ("no_such_thing(caption)", "function no_such_thing"),
        ("caption > interval 3 day", ""),
        ("min_side ? 3", ""),
        ('"a\nb" > 3', "there is no column"),
        ('caption = "a dog"', """there is no column "a dog"; text stands in single quotes: caption = 'a dog'"""),
        ('caption not like "%dog%"', "text stands in single quotes: caption not like '%dog%'"),
    ],
)
def test_refused_in_one_line_that_names_the_key(sql: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        admit("sharp", sql, COLUMNS)
    message = str(caught.value)
    assert message.startswith("select.where.sharp: ")
    assert says in message
    assert "\n" not in message


def test_a_long_predicate_is_shortened_in_the_message() -> None:
    with pytest.raises(UserError) as caught:
        admit("p", "min_side > " + "1 + " * 500, COLUMNS)
    assert len(str(caught.value)) < 300


def test_the_key_is_that_of_the_place() -> None:
    with pytest.raises(UserError, match=r"^shards\.quality\.where: the predicate is empty"):
        admit("", " ", COLUMNS, "shards.quality.where")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """An allowed folder, and one beside it whose name begins alike."""
    inside, outside = tmp_path / "work", tmp_path / "work-not"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "x.csv").write_text("a,b\n1,2\n")
    return inside, outside


def test_a_connection_reads_inside_its_folders(folders: tuple[Path, Path]) -> None:
    inside, _ = folders
    connection = connect([inside], threads=1, memory="200MB")
    assert connection.execute(f"select b from read_csv('{inside}/x.csv')").fetchall() == [(2,)]
    assert connection.execute(f"select count(*) from glob('{inside}/*.csv')").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('{outside}/x.csv')",
        "select * from '{outside}/x.csv'",
        "select * from read_text('{outside}/x.csv')",
        "select * from read_blob('{inside}/../work-not/x.csv')",
        "select * from read_csv('https://example.invalid/x.csv')",
        "copy (select 1) to '{outside}/y.csv'",
        "copy (select 1) to '{inside}/../work-not/y.csv'",
        "attach '{outside}/y.db'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set allowed_directories = ['/']",
        "set lock_configuration = false",
        "reset allowed_directories",
        "set temp_directory = '{outside}'",
        "select * from a_python_variable",
    ],
)
def test_a_connection_reaches_nothing_else(folders: tuple[Path, Path], sql: str) -> None:
    inside, outside = folders
    a_python_variable = pa.table({"x": [1]})
    assert a_python_variable.num_rows == 1
    connection = connect([inside])
    with pytest.raises(duckdb.Error):
        connection.execute(sql.format(inside=inside, outside=outside)).fetchall()
    assert sorted(p.name for p in outside.iterdir()) == ["x.csv"]


def test_files_outside_cannot_be_listed(folders: tuple[Path, Path]) -> None:
    inside, outside = folders
    try:
        found = connect([inside]).execute(f"select * from glob('{outside}/*')").fetchall()
    except duckdb.Error:
        found = []
    assert found == []


def test_a_connection_without_folders_reads_none(folders: tuple[Path, Path]) -> None:
    with pytest.raises(duckdb.Error):
        connect().execute(f"select * from read_csv('{folders[0]}/x.csv')")


def test_what_does_not_fit_in_memory_is_spilled_where_it_is_told_to(tmp_path: Path) -> None:
    connection = connect(threads=1, memory="60MB", spill=tmp_path / "spill")
    connection.execute("create table t as select i, hash(i) h, repeat('x', 200) || i s from range(300000) t(i)")
    assert list((tmp_path / "spill").iterdir())
    assert connection.execute("select count(distinct s) from t").fetchall() == [(300_000,)]


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("select key, caption from images where sharpness > 3 order by min_side", 4),
        ("select count(*) from images", 0),
        ("with a as (select key from images) select key from a", 1),
        ("select * from images", None),
        ("select * exclude (caption) from images", None),
        ("select columns('meta_.*') from images", None),
        ("from images", None),
        ("select (select max(sharpness) from images) from images", 1),
    ],
)
def test_the_columns_of_a_query(sql: str, columns: int | None) -> None:
    found = query_columns(sql)
    assert (None if found is None else len(found)) == columns
    assert found is None or found <= {"key", "caption", "sharpness", "min_side"}


@pytest.mark.parametrize(
    "sql",
    ["", "select 1; select 2", "drop table images", "copy (select 1) to 'x'", "insert into images values (1)",
     "selec 1", "attach 'x'", "set threads = 3", "pragma version", "create table x as select 1", "delete from images"],
)  # fmt: skip
def test_a_query_is_one_select(sql: str) -> None:
    with pytest.raises(UserError, match=r"^query: ") as caught:
        query_columns(sql)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "deep",
    [
        "(" * 10_000 + "min_side" + ")" * 10_000 + " > 1",
        "not " * 900 + "min_side > 1",
        "not " * 10_000 + "min_side > 1",
        "min_side" + " + 1" * 900 + " > 1",
        "CASE WHEN min_side > 1 THEN " * 300 + "true" + " END" * 300,
        "[" * 900 + "min_side" + "]" * 900 + " is null",
    ],
    ids=["brackets", "not 900", "not 10,000", "sum", "case", "list"],
)
def test_what_is_nested_too_deep_is_refused_in_one_line(deep: str) -> None:
    with pytest.raises(UserError, match=r"^select\.where\.p: .*nested too deep; use fewer .{,130}$"):
        admit("p", deep, COLUMNS)
    with pytest.raises(UserError, match=r"^query: .*nested too deep; use fewer .{,130}$"):
        query_columns(f"SELECT key FROM images WHERE {deep}")


def test_as_deep_as_people_write_is_admitted() -> None:
    sql = "min_side" + " + 1" * 100 + " > 1" + " AND sharpness > 3" * 1_000
    assert admit("p", sql, COLUMNS).columns == {"min_side", "sharpness"}
    assert query_columns(f"SELECT key FROM images WHERE {sql}")
    assert query_columns("SELECT key FROM (" * 20 + "SELECT key FROM images" + ")" * 20) == {"key"}


def test_half_a_character_is_refused() -> None:
    with pytest.raises(UserError, match=r"^select\.where\.p: .*half a character"):
        admit("p", "caption = '\ud800'", COLUMNS)
    with pytest.raises(UserError, match="^query: .*half a character"):
        query_columns("SELECT '\udcff'")


def test_an_expression_in_a_form_is_one_by_itself() -> None:
    form = "(\n{}\n) >= 0"
    assert admit("", "sharpness -- ) or (", COLUMNS, "select.dedup.quality", form).columns == {"sharpness"}
    for sql in ("sharpness) or (true", "sharpness) >= 0 -- ", "", "sharpness, min_side"):
        with pytest.raises(UserError, match=r"^select\.dedup\.quality: "):
            admit("", sql, COLUMNS, "select.dedup.quality", form)
