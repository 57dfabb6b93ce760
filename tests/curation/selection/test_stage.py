"""Fates: they sum to the input, a dry run shows them, and nothing is written while a row is undecided."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import StageError, UserError
from curation.recipe import Recipe
from curation.selection.stage import Selection
from tests import bench


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two shards: pictures 0..7, an exact copy and a re-encoded copy of 3, an HTML page and a cut file."""
    three = bench.picture(3, (640, 480))
    first = {f"{n}.jpg": bench.encoded(bench.picture(n, (200 + 40 * n, 200))) for n in range(3)}
    first["3.jpg"] = bench.encoded(three)
    first["page.jpg"] = b"<html>not found</html>"
    second = {f"{n}.jpg": bench.encoded(bench.picture(n, (400, 400))) for n in range(4, 8)}
    second["copy.jpg"] = first["3.jpg"]
    second["small.jpg"] = bench.encoded(three.resize((320, 240)), quality=70)
    second["cut.jpg"] = bench.encoded(bench.picture(9))[:4000]
    bench.write_tar(tmp_path / "raw" / "00000.tar", first)
    bench.write_tar(tmp_path / "raw" / "00001.tar", second)
    return tmp_path


def prepared(folder: Path, **values) -> Recipe:  # type: ignore[no-untyped-def]
    made = bench.recipe(folder, **values)
    bench.index(made)
    bench.score(made)
    return made


def fates(folder: Path) -> dict[str, tuple[str, str | None, str | None]]:
    found = {}
    for shard in ("00000", "00001"):
        for row in bench.rows(folder / "work" / "selection" / "c" / f"{shard}.parquet"):
            found[row["key"].removeprefix("c/")] = (row["fate"], row["dropped_by"], row["duplicate_of"])
    return found


def test_every_row_has_one_fate_and_they_sum_to_the_input(corpus: Path) -> None:
    made = prepared(corpus, select={"where": {"size": "width >= 240", "sharp": "sharpness > 0"}, "dedup": {"near": 4}})
    funnel = Selection(bench.opened(made)).write()
    assert funnel.as_dict() == {
        "input": 12, "failed": 2, "dropped": {"size": 1, "sharp": 0}, "undecided": {},
        "duplicate": {"exact": 1, "near": 1}, "balance": 0, "kept": 7,
    }  # fmt: skip
    found = fates(corpus)
    assert len(found) == 12
    assert found["00000/page"] == ("failed", None, None)
    assert found["00000/0"] == ("dropped", "size", None)
    assert found["00001/cut"] == ("failed", None, None)  # no signal could decode it
    assert found["00001/copy"] == ("duplicate", None, "c/00000/3")
    assert found["00001/small"] == ("duplicate", None, "c/00000/3")
    assert found["00000/3"] == ("kept", None, None)


def test_rows_whose_signal_is_skipped_are_undecided_and_nothing_is_written(corpus: Path) -> None:
    prepared(corpus, select={"where": {"size": "width >= 400", "sharp": "sharpness > 0"}})
    looser = bench.recipe(corpus, select={"where": {"size": "width >= 240", "sharp": "sharpness > 0"}})
    selection = Selection(bench.opened(looser))
    assert selection.funnel().undecided == {"sharp": 4}  # 1, 2, small and cut
    with pytest.raises(StageError, match="undecided: 4 rows .*curate score RECIPE"):
        selection.write()
    assert not (corpus / "work" / "selection").exists()
    bench.score(looser)
    assert Selection(bench.opened(looser)).write().undecided == {}


def test_duplicates_wait_for_the_hash_of_every_row_that_passes(corpus: Path) -> None:
    made = bench.recipe(corpus, select={"where": {"size": "width >= 240"}, "dedup": {"near": 4}})
    bench.index(made)
    assert Selection(bench.opened(made)).funnel().undecided == {"dedup": 10}


@pytest.mark.parametrize(("sql", "fate"), [
    ("meta_x > 1", "dropped"),  # NULL from the source: not TRUE, and nothing is to be computed
    ("meta_x > 1 or meta_x is null", "kept"),
    ("not (meta_x > 1)", "dropped"),
])  # fmt: skip
def test_null_never_passes(tmp_path: Path, sql: str, fate: str) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": bench.encoded(bench.picture(1)), "a.json": b'{"x": null}',
                                                     "b.jpg": bench.encoded(bench.picture(2)), "b.json": b'{"x": 5}'})  # fmt: skip
    made = prepared(tmp_path, select={"where": {"x": sql}})
    Selection(bench.opened(made)).write()
    assert bench.rows(tmp_path / "work/selection/c/00000.parquet")[0]["fate"] == fate


def test_not_a_number_in_the_source_never_passes(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": bench.encoded(bench.picture(1))})
    pq.write_table(pa.table({"key": ["a"], "similarity": [float("nan")]}), tmp_path / "raw" / "00000.parquet")
    made = prepared(tmp_path, select={"where": {"like": "meta_similarity >= 0.3"}})
    assert Selection(bench.opened(made)).write().dropped == {"like": 1}


@pytest.mark.parametrize("quality", ["-width", "-width -- the smaller, the better", "/* ( */ -width"])
def test_the_best_of_several_alike_stays_by_the_recipes_quality(corpus: Path, quality: str) -> None:
    made = prepared(corpus, select={"dedup": {"near": 4, "quality": quality}})
    Selection(bench.opened(made)).write()
    found = fates(corpus)
    assert found["00001/small"][0] == "kept"
    assert found["00000/3"] == ("duplicate", None, "c/00001/small")
    assert found["00001/copy"] == ("duplicate", None, "c/00001/small")


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_what_a_given_list_holds_is_dropped(corpus: Path, kind: str) -> None:
    made = prepared(corpus)
    scored = bench.rows(corpus / "work/signals/photo/c/00001.parquet")
    samples = bench.rows(corpus / "work/samples/c/00001.parquet")
    listed = corpus / f"eval.{kind}"
    phash = scored[5]["phash"] ^ 0b11  # of `small`, two bits away
    if kind == "csv":
        listed.write_text(f"key,sha256,phash\nfour,{samples[0]['sha256']},\nthree,,{phash:016x}\n")
    else:
        values = {"key": ["four", "three"], "sha256": [samples[0]["sha256"], None],
                  "phash": pa.array([None, phash], pa.uint64())}  # fmt: skip
        pq.write_table(pa.table(values), listed)
    made = bench.recipe(corpus, select={"dedup": {"near": 4, "against": f"./eval.{kind}"}})
    assert Selection(bench.opened(made)).write().duplicate == {"listed": 4}
    found = fates(corpus)
    assert found["00001/4"] == ("duplicate", None, "listed:four")
    assert {k for k, f in found.items() if f[2] == "listed:three"} == {"00000/3", "00001/copy", "00001/small"}


@pytest.mark.parametrize(("text", "says"), [
    (None, "no such file"), ("name\nx\n", "has neither a column sha256 nor phash"),
    ("phash\n1\nxyz\n", "line 3: phash: not a hash"), ("sha256,phash\n0g,\n", "line 2: sha256: not a hash"),
])  # fmt: skip
def test_a_wrong_list_is_one_line(corpus: Path, text: str | None, says: str) -> None:
    made = prepared(corpus, select={"dedup": {"against": "./list.csv"}})
    if text is not None:
        (corpus / "list.csv").write_text(text)
    with pytest.raises(UserError, match="select.dedup.against: .*list.csv") as caught:
        Selection(bench.opened(made)).funnel()
    assert says in str(caught.value)


BAD = "member::INT >= 0"
"""Fails on members such as `copy`."""
GUARDED = {"digits": "regexp_matches(member, '^[0-9]+$')", "low": BAD}
"""Does not: the first keeps from the second what would."""


@pytest.mark.parametrize(("select", "key"), [
    ({"where": {"size": "min_side > 0", "odd": BAD, "square": "aspect_ratio < 2"}}, "select.where.odd"),
    ({"where": GUARDED | {"odd": "format::INT > 0"}}, "select.where.odd"),
    ({"balance": {"by": "member::INT", "at_most": 9}}, "select.balance.by"),
    ({"dedup": {"quality": "member::INT"}}, "select.dedup.quality"),
    ({"text_in_the_wild": BAD}, "select.text_in_the_wild"),
])  # fmt: skip
def test_what_fails_on_a_value_is_named_in_one_line(corpus: Path, select: dict[str, Any], key: str) -> None:
    prepared(corpus)
    with pytest.raises(UserError, match=rf"^{key}: .*[Cc]onver") as caught:
        Selection(bench.opened(bench.recipe(corpus, select=select))).funnel()
    assert "\n" not in str(caught.value)


def test_a_predicate_that_fails_on_a_value_while_scoring_is_named(corpus: Path) -> None:
    made = bench.recipe(corpus, select={"where": {"size": "min_side > 0", "odd": BAD}})
    bench.index(made)
    with pytest.raises(UserError, match=r"^select\.where\.odd: .*[Cc]onver"):
        bench.score(made)
    assert bench.score(bench.recipe(corpus, select={"where": GUARDED})) == 4  # the rows of the second shard


def test_caption_and_domain_predicates_work_like_any_other(tmp_path: Path) -> None:
    texts = {"a": ("A red car on a wet street", "https://www.blocked.example/a.jpg"),
             "b": ("一只橘色的猫在沙发上睡觉，阳光照进来", "https://fine.example/b.jpg"),
             "c": ("x", "https://fine.example/c.jpg"),
             "d": ("Ein kleiner Hund spielt im tiefen Schnee", "https://fine.example/d.jpg")}  # fmt: skip
    members = {}
    for n, (name, (text, url)) in enumerate(texts.items()):
        members[f"{name}.jpg"] = bench.encoded(bench.picture(n))
        members[f"{name}.txt"] = text.encode()
        members[f"{name}.json"] = f'{{"url": "{url}"}}'.encode()
    bench.write_tar(tmp_path / "raw" / "00000.tar", members)
    made = prepared(tmp_path, signals={"photo": {}, "caption": {}}, select={"where": {
        "domain": "domain not in ('blocked.example', 'other.example')",
        "words": "length(caption) >= 5", "language": "caption_lang in ('en', 'zh')"}})  # fmt: skip
    assert Selection(bench.opened(made)).write().dropped == {"domain": 1, "words": 1, "language": 1}


def test_a_missing_sidecar_counts_as_skipped_and_never_shifts_rows(corpus: Path) -> None:
    made = prepared(corpus, select={"where": {"sharp": "sharpness > 0"}})
    (corpus / "work/signals/photo/c/00000.parquet").unlink()
    assert Selection(bench.opened(made)).funnel().undecided == {"sharp": 4}
    bench.score(made)
    assert Selection(bench.opened(made)).write().kept == 9


def test_a_sidecar_that_does_not_fit_is_refused(corpus: Path) -> None:
    made = prepared(corpus)
    path = corpus / "work/signals/photo/c/00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(list(range(table.num_rows))[::-1]), path)
    with pytest.raises(StageError, match="does not fit its samples file"):
        Selection(bench.opened(made))


def test_selecting_twice_gives_the_same_bytes(corpus: Path) -> None:
    made = prepared(corpus, select={"dedup": {"near": 4}})
    Selection(bench.opened(made)).write()
    before = bench.tree(corpus / "work")
    Selection(bench.opened(made)).write()
    assert bench.tree(corpus / "work") == before


def test_nothing_indexed_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match="curate index RECIPE"):
        Selection(bench.opened(bench.recipe(tmp_path)))


def test_a_meta_column_that_only_some_shards_have_is_null_in_the_others(tmp_path: Path) -> None:
    bench.write_tar(
        tmp_path / "raw" / "00000.tar", {"a.jpg": bench.encoded(bench.picture(1)), "a.json": b'{"stars": 4}'}
    )
    bench.write_tar(tmp_path / "raw" / "00001.tar", {"a.jpg": bench.encoded(bench.picture(2))})
    bench.write_tar(
        tmp_path / "raw" / "00002.tar", {"a.jpg": bench.encoded(bench.picture(3)), "a.json": b'{"stars": "many"}'}
    )
    made = prepared(tmp_path, select={"where": {"stars": "meta_stars = '4'", "sharp": "sharpness > 0"}})
    assert Selection(bench.opened(made)).write().as_dict()["dropped"] == {"stars": 2, "sharp": 0}


def test_shard_names_with_signs_of_a_pattern_are_names(tmp_path: Path) -> None:
    for n, name in enumerate(("set1", "set[1]", "set*", "it's")):
        bench.write_tar(tmp_path / "raw" / f"{name}.tar", {"a.jpg": bench.encoded(bench.picture(n))})
    made = prepared(tmp_path)
    assert Selection(bench.opened(made)).write().as_dict()["kept"] == 4


def test_ranking_by_a_score_that_is_not_there_yet_is_undecided(corpus: Path) -> None:
    made = bench.recipe(corpus, signals={"photo": {}, "aesthetic": {}}, select={"dedup": {"near": 4}})
    bench.index(made)
    bench.score(bench.recipe(corpus, select={"dedup": {"near": 4}}))
    made = bench.recipe(corpus, signals={"photo": {}, "aesthetic": {}}, select={"dedup": {"near": 4}})
    assert Selection(bench.opened(made)).funnel().undecided == {"dedup": 10}


def test_decimal_hashes_of_a_query_are_a_list_too(corpus: Path) -> None:
    prepared(corpus)
    phash = bench.rows(corpus / "work/signals/photo/c/00001.parquet")[0]["phash"]
    (corpus / "list.csv").write_text(f"key,phash\nfour,{phash}\n")
    made = bench.recipe(corpus, select={"dedup": {"near": 4, "against": "./list.csv"}})
    assert Selection(bench.opened(made)).funnel().duplicate["listed"] == 1
