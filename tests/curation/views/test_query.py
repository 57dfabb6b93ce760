"""The view `images`, and an image's story."""

from pathlib import Path

import pytest

from curation.errors import UserError
from curation.recipe import Recipe
from curation.scoring.cascade import TAKEN
from curation.selection.stage import Selection
from curation.signals.photo import Photo
from curation.views.explain import explain
from curation.views.query import ImagesView, run_query
from tests import bench
from tests.command import curate


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    for shard in range(2):
        members = {}
        for n in range(3):
            members[f"{n}.jpg"] = bench.encoded(bench.picture(10 * shard + n, (200 + 100 * n, 200)))
            members[f"{n}.json"] = f'{{"caption": "text {n}", "author": "somebody", "likes": {n}}}'.encode()
        bench.write_tar(tmp_path / "raw" / f"{shard:05d}.tar", members)
    recipe = bench.recipe(tmp_path, signals={"photo": {}}, select={"where": {"size": "width >= 300"}})
    bench.index(recipe)
    return recipe


def selected(recipe: Recipe) -> Recipe:
    bench.score(recipe)
    Selection(bench.opened(recipe)).write()
    return recipe


def test_one_row_an_image_with_every_stages_columns(made: Recipe) -> None:
    columns, rows, more = run_query(bench.opened(selected(made)), "select * from images", 100)
    assert len(rows) == 6 and not more
    for name in ("key", "caption", "domain", "meta_author", "sharpness", "photo_state", "phash", "fate", "dropped_by",
                 "caption_en", "translated", "level", "level_status", "corpus", "kept"):  # fmt: skip
        assert columns.count(name) == 1, name


def test_stages_that_have_not_run_give_nulls(made: Recipe) -> None:
    _, rows, _ = run_query(bench.opened(made), "select kept, fate, sharpness, caption_en, level from images", 100)
    assert rows == [(False, None, None, None, None)] * 6


def test_counts_by_fate(made: Recipe) -> None:
    _, rows, _ = run_query(
        bench.opened(selected(made)), "select fate, dropped_by, count(*) from images group by all order by 1", 9
    )
    assert rows == [("dropped", "size", 2), ("kept", None, 4)]
    _, rows, _ = run_query(bench.opened(made), "select corpus, sum(meta_likes) from images where kept group by 1", 9)
    assert rows == [("c", 6)]


def test_rows_are_cut_at_the_limit_and_it_says_so(made: Recipe) -> None:
    assert [len(part) for part in run_query(bench.opened(made), "select key from images", 4)[:2]] == [1, 4]
    assert run_query(bench.opened(made), "select key from images", 4)[2]
    assert not run_query(bench.opened(made), "select key from images", 6)[2]


def test_a_with_clause_and_subqueries_are_a_select_too(made: Recipe) -> None:
    _, rows, _ = run_query(bench.opened(made), "with w as (select max(width) m from images) select m from w", 9)
    assert rows == [(400,)]


@pytest.mark.parametrize(("sql", "says"), [
    ("select sharpnes from images", 'did you mean "sharpness"?'),
    ("select key from image", 'there is no table "image"; the one table is images'),
    ('select key from images where fate = "kept"', """text stands in single quotes: fate = 'kept'"""),
    ('select key from images where format="jpeg"', """there is no column "jpeg"; text stands in single quotes: format= 'jpeg'"""),
    ('select key from images where format in ("jpeg", \'png\')', "text stands in single quotes: 'jpeg'"),
    ("select * from images where 'x' = caption or fate = \"kept\"", "text stands in single quotes"),
    ("drop view images", "a query is one SELECT"), ("", "a query is one SELECT"),
    ("select 1; select 2", "a query is one SELECT"), ("copy images to 'x.csv'", "a query is one SELECT"),
    ("select * from read_csv('/etc/passwd')", "query: "), ("select * from '/etc/passwd'", "query: "),
])  # fmt: skip
def test_a_wrong_query_is_one_line(made: Recipe, sql: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        run_query(bench.opened(selected(made)), sql, 9)
    assert says in str(caught.value) and "\n" not in str(caught.value) and "root:" not in str(caught.value)


def test_the_story_of_a_dropped_image(made: Recipe) -> None:
    story = explain(bench.opened(selected(made)), "c/00001/0")
    assert story["source"]["caption"] == "text 0" and story["source"]["raw shard"].endswith("raw/00001.tar")
    assert story["signal photo"] == {"state": "skipped", "backend": "classical", "version": Photo.version}
    assert story["selection"] == {"fate": "dropped", "dropped_by": "size", "size": "does not pass: width >= 300"}


def test_the_story_of_a_kept_image(made: Recipe) -> None:
    story = explain(bench.opened(selected(made)), "c/00001/2")
    assert story["signal photo"]["state"] == "scored" and story["signal photo"]["sharpness"] > 0
    assert story["selection"]["size"] == "passes: width >= 300"


def test_a_predicate_that_computes_nan_drops_and_says_that_it_is_not_known(made: Recipe, tmp_path: Path) -> None:
    recipe = bench.recipe(
        tmp_path, signals={"photo": {}}, select={"where": {"odd": "(width - 200.0) / (width - 200) > 0"}}
    )
    rows = run_query(bench.opened(selected(recipe)), "select fate, min(width) from images group by 1 order by 1", 9)[1]
    assert rows == [("dropped", 200), ("kept", 300)]  # 0 / 0 is NaN, which DuckDB takes for greater than any number
    assert explain(bench.opened(recipe), "c/00000/0")["selection"]["odd"].startswith("is not known: (width - 200.0)")


@pytest.mark.parametrize("end", ["00001/2", "c/00001/2", "a\u0308/e\u0301"])
def test_an_image_is_found_by_the_end_of_its_key(made: Recipe, tmp_path: Path, end: str) -> None:
    bench.write_tar(tmp_path / "raw" / "00002.tar", {"\u00e4/\u00e9.jpg": bench.encoded(bench.picture(9))})
    bench.index(made)
    assert explain(bench.opened(made), end)["source"]["key"].endswith(("/00001/2", "/00002/\u00e4/\u00e9"))


def test_an_end_of_several_keys_lists_some_of_them(made: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='several keys end with "2": c/00000/2, c/00001/2; give more of one'):
        explain(bench.opened(made), "2")
    for shard in range(2, 9):
        bench.write_tar(tmp_path / "raw" / f"{shard:05d}.tar", {"2.jpg": bench.encoded(bench.picture(shard))})
    bench.index(made)
    with pytest.raises(UserError, match="c/00000/2, c/00001/2, c/00002/2, c/00003/2, c/00004/2 and others; give"):
        explain(bench.opened(made), "2")


def test_no_signal_may_give_a_column_of_another_stage(made: Recipe) -> None:
    view = ImagesView(bench.opened(selected(made)))
    others = {c for c in view.columns if not view.owners.get(c, "").startswith("signal_")}
    assert {c for c in others if not c.startswith("meta_")} <= TAKEN


@pytest.mark.parametrize(("key", "says"), [
    ("c/00001/9", 'there is no image "c/00001/9"; did you mean "c/00001/'), ("c/1/0", 'there is no shard "1" in c'),
    ("x/00001/0", 'no corpus "x" in the recipe'), ("nonsense", "keys look like CORPUS/SHARD/MEMBER"),
    ("00001/22", 'no key ends with "00001/22"; keys look like CORPUS/SHARD/MEMBER; did you mean "c/00001/2"?'),
])  # fmt: skip
def test_a_wrong_key_is_one_line(made: Recipe, key: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        explain(bench.opened(made), key)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("select count(*) from range(100000000000)", "query: stopped after 0.5 s; --time-limit SECONDS"),
        ("select list(x) from range(1000000000) t(x)", "query: needs more than 0.2 GB of memory; --memory-limit GB"),
        ("select repeat('x', 1000000000)", "query: repeat could make a value of more than 100 MB"),
    ],
)
def test_a_query_ends_at_its_limits_in_one_line_and_leaves_no_file(
    made: Recipe, tmp_path: Path, sql: str, says: str
) -> None:
    before = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    options = ("--time-limit", "0.5" if "count" in sql else "60", "--memory-limit", "0.2")
    done = curate("query", "recipe.yaml", sql, *options, cwd=tmp_path, status=2)
    assert done.stderr.startswith(f"curate: {says}") and done.stderr.count("\n") == 1
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} == before


def test_what_does_not_fit_into_memory_lies_in_the_workspace(
    made: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    sql = "select y from (select hash(range) y, range from range(8000000)) order by y, range limit 3 offset 7000000"
    assert len(run_query(bench.opened(made), sql, 10, gigabytes=0.1)[1]) == 3
    assert not list((tmp_path / "here").iterdir())
    assert not list((tmp_path / "work").glob(".spill.*"))


def test_a_predicate_that_fails_on_the_image_is_one_line(made: Recipe, tmp_path: Path) -> None:
    selected(made)
    override = ("--set", "select.where.number=caption::INTEGER > 3")
    done = curate("explain", "recipe.yaml", "c/00001/2", *override, cwd=tmp_path, status=2)
    assert "select.where.number: Conversion Error" in done.stderr and done.stderr.count("\n") == 1
