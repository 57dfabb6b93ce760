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
    ("select key from image", "image"), ("drop view images", "a query is one SELECT"), ("", "a query is one SELECT"),
    ("select 1; select 2", "a query is one SELECT"), ("copy images to 'x.csv'", "a query is one SELECT"),
    ("select * from read_csv('/etc/passwd')", "query: "), ("select * from '/etc/passwd'", "query: "),
])  # fmt: skip
def test_a_wrong_query_is_one_line(made: Recipe, sql: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        run_query(bench.opened(made), sql, 9)
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


def test_no_signal_may_give_a_column_of_another_stage(made: Recipe) -> None:
    view = ImagesView(bench.opened(selected(made)))
    others = {c for c in view.columns if not view.owners.get(c, "").startswith("signal_")}
    assert {c for c in others if not c.startswith("meta_")} <= TAKEN


@pytest.mark.parametrize(("key", "says"), [
    ("c/00001/9", 'there is no image "c/00001/9"; did you mean "c/00001/'), ("c/1/0", 'there is no shard "1" in c'),
    ("x/00001/0", 'no corpus "x" in the recipe'), ("nonsense", "keys look like CORPUS/SHARD/MEMBER"),
])  # fmt: skip
def test_a_wrong_key_is_one_line(made: Recipe, key: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        explain(bench.opened(made), key)
    assert says in str(caught.value)
