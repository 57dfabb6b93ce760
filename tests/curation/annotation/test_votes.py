"""The import of votes: every value is checked, and earlier votes stay on record."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.annotation.votes import import_votes
from curation.errors import StageError, UserError
from curation.recipe import Recipe
from curation.workspace.files import read_table, write_table
from curation.workspace.schemas import DECISIONS, VOTES
from tests import bench


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {f"{n}.jpg": bench.encoded(bench.picture(n)) for n in range(3)})
    recipe = bench.recipe(tmp_path)
    bench.index(recipe)
    return recipe


def vote_file(folder: Path, *votes: str, head: str = "key,annotator,level") -> Path:
    path = folder / "votes.csv"
    path.write_text("\n".join((head, *votes)) + "\n")
    return path


def levels(made: Recipe) -> dict[str, tuple[int | None, str, int]]:
    return {
        r["key"]: (r["level"], r["status"], r["votes"]) for r in bench.rows(Path(made.workspace) / "levels.parquet")
    }


def test_import_decides_levels(made: Recipe, tmp_path: Path) -> None:
    file = vote_file(tmp_path, *(f"c/00000/0,{who},5" for who in "abc"), "c/00000/1,a,2", "c/00000/1,b,3",
                     "c/00000/1,c,4", "c/00000/2,a,1")  # fmt: skip
    assert import_votes(bench.opened(made), file) == {"votes": 7, "images": 3, "decided": 1, "tie": 1, "safety_review": 1,
                                        "incomplete": 0}  # fmt: skip
    assert levels(made) == {"c/00000/0": (5, "decided", 3), "c/00000/1": (None, "tie", 3),
                            "c/00000/2": (None, "safety_review", 1)}  # fmt: skip


def test_the_same_file_twice_adds_nothing(made: Recipe, tmp_path: Path) -> None:
    file = vote_file(tmp_path, "c/00000/0,a,5,2026-01-02T03:04:05Z", head="key,annotator,level,at")
    import_votes(bench.opened(made), file)
    before = (Path(made.workspace) / "votes.parquet").read_bytes()
    assert import_votes(bench.opened(made), file)["votes"] == 0
    assert (Path(made.workspace) / "votes.parquet").read_bytes() == before


def test_a_later_vote_of_the_same_annotator_replaces_and_the_first_stays_on_record(
    made: Recipe, tmp_path: Path
) -> None:
    import_votes(bench.opened(made), vote_file(tmp_path, *(f"c/00000/0,{who},4" for who in "abc")))
    import_votes(bench.opened(made), vote_file(tmp_path, "c/00000/0,a,5"))
    assert levels(made)["c/00000/0"] == (4, "decided", 3)
    import_votes(bench.opened(made), vote_file(tmp_path, "c/00000/0,b,5"))
    assert levels(made)["c/00000/0"] == (5, "decided", 3)
    stored = bench.rows(Path(made.workspace) / "votes.parquet")
    assert [(v["annotator"], v["level"], v["revision"]) for v in stored] == [
        ("a", 4, 1), ("b", 4, 1), ("c", 4, 1), ("a", 5, 2), ("b", 5, 2)]  # fmt: skip


def test_votes_join_those_of_a_file_that_was_written_before_votes_had_all_columns(made: Recipe, tmp_path: Path) -> None:
    path = Path(made.workspace) / "votes.parquet"
    import_votes(bench.opened(made), vote_file(tmp_path, *(f"c/00000/0,{who},4" for who in "abc")))
    write_table(path, read_table(path).select(["key", "annotator", "level", "round", "at", "revision"]))
    assert import_votes(bench.opened(made), vote_file(tmp_path, "c/00000/0,a,4", "c/00000/0,b,2"))["votes"] == 1
    assert read_table(path).schema.names == VOTES.names
    assert [(v["annotator"], v["revision"], v["device"]) for v in bench.rows(path)] == [
        ("a", 1, None), ("b", 1, None), ("c", 1, None), ("b", 2, None)]  # fmt: skip
    assert levels(made) == {"c/00000/0": (4, "decided", 3)}


def test_a_vote_after_a_withdrawal_is_a_further_revision(made: Recipe, tmp_path: Path) -> None:
    path = Path(made.workspace) / "votes.parquet"
    import_votes(bench.opened(made), vote_file(tmp_path, "c/00000/0,a,4", "c/00000/0,b,4"))
    withdrawn = bench.rows(path) + [bench.rows(path)[0] | {"level": None, "revision": 2, "decided_ms": 900}]
    write_table(path, pa.Table.from_pylist(withdrawn, schema=VOTES))
    assert import_votes(bench.opened(made), vote_file(tmp_path, "c/00000/0,b,4"))["votes"] == 0
    assert levels(made) == {"c/00000/0": (None, "incomplete", 1)}
    assert import_votes(bench.opened(made), vote_file(tmp_path, "c/00000/0,a,4"))["votes"] == 1
    assert [(v["annotator"], v["level"], v["revision"], v["decided_ms"]) for v in bench.rows(path)] == [
        ("a", 4, 1, None), ("b", 4, 1, None), ("a", None, 2, 900), ("a", 4, 3, None)]  # fmt: skip
    assert levels(made) == {"c/00000/0": (None, "incomplete", 2)}


def test_a_decision_on_file_stands_above_imported_votes(made: Recipe, tmp_path: Path) -> None:
    decision = {"key": "c/00000/0", "level": 3, "kind": "adjudication", "annotator": "z"}
    workspace = Path(made.workspace)
    write_table(workspace / "decisions.parquet", pa.Table.from_pylist([decision], schema=DECISIONS))
    votes = vote_file(tmp_path, "c/00000/0,a,2", "c/00000/0,b,3", "c/00000/0,c,4", "c/00000/1,a,4")
    assert import_votes(bench.opened(made), votes) == {
        "votes": 4, "images": 2, "decided": 1, "tie": 0, "safety_review": 0, "incomplete": 1}  # fmt: skip
    assert bench.rows(workspace / "levels.parquet")[0] == {
        "key": "c/00000/0", "level": 3, "status": "decided", "decided_by": "adjudication", "votes": 3, "agreement": 0.0}  # fmt: skip


def test_parquet_votes_with_times(made: Recipe, tmp_path: Path) -> None:
    table = pa.table({"key": ["c/00000/0"], "annotator": ["a"], "level": [3],
                      "at": pa.array([0], pa.timestamp("us", "UTC"))})  # fmt: skip
    pq.write_table(table, tmp_path / "votes.parquet")
    assert import_votes(bench.opened(made), tmp_path / "votes.parquet")["incomplete"] == 1


def test_votes_as_spreadsheets_and_pandas_write_them(made: Recipe, tmp_path: Path) -> None:
    text = "\ufeffkey,round,annotator,level\r\nc/00000/0,1.0,安,5\r\nc/00000/0,,bo,5\r\nc/00000/0,2.0,bo,4\r\n"
    (tmp_path / "votes.csv").write_bytes(text.encode())
    assert import_votes(bench.opened(made), tmp_path / "votes.csv")["votes"] == 3
    stored = bench.rows(Path(made.workspace) / "votes.parquet")
    assert [(v["annotator"], v["round"]) for v in stored] == [("安", 1), ("bo", 1), ("bo", 2)]


@pytest.mark.parametrize(("head", "vote", "says"), [
    ("key,annotator,level", "c/00000/9,a,5", 'line 2: key: there is no image "c/00000/9"'),
    ("key,annotator,level", "zero,a,5", "keys look like CORPUS/SHARD/MEMBER"),
    ("key,annotator,level", "c/00000/0,a,6", "line 2: level: expected a whole number from 1 to 5, found '6'"),
    ("key,annotator,level", "c/00000/0,a,good", "line 2: level: expected a whole number"),
    ("key,annotator,level", "c/00000/0,a,5.5", "line 2: level: expected a whole number from 1 to 5, found '5.5'"),
    ("key,annotator,level", '\nc/00000/0,"a\nb",5\nc/00000/1,c,9', "line 5: level: expected"),
    ("key,annotator,level", "c/00000/0,,5", "line 2: annotator: expected 1 to 60 printable characters"),
    ("key,annotator,level", f"c/00000/0,{'x' * 61},5", "line 2: annotator: expected 1 to 60 printable characters"),
    ("key,annotator,level", "c/00000/0,a\u202eb,5", "line 2: annotator: expected 1 to 60 printable characters"),
    ("key,annotator,level", "c/00000/0,a\x1b[31m,5", "line 2: annotator: expected 1 to 60 printable characters"),
    ("key,annotator,lvl", "c/00000/0,a,5", 'the column "level" is missing'),
    ("key,annotator,level,at", "c/00000/0,a,5,yesterday", "line 2: at: expected a time"),
    ("key,annotator,level,round", "c/00000/0,a,5,inf", "line 2: round: expected a whole number from 1 to 999"),
])  # fmt: skip
def test_a_wrong_vote_is_one_line_and_nothing_is_imported(made: Recipe, tmp_path: Path, head: str, vote: str,
                                                          says: str) -> None:  # fmt: skip
    with pytest.raises(UserError) as caught:
        import_votes(bench.opened(made), vote_file(tmp_path, vote, head=head))
    assert says in str(caught.value) and "votes.csv" in str(caught.value) and "\n" not in str(caught.value)
    assert not (Path(made.workspace) / "votes.parquet").exists()


def test_whole_levels_with_a_decimal_point_are_levels(made: Recipe, tmp_path: Path) -> None:
    file = vote_file(tmp_path, "c/00000/0,a,5.0", "c/00000/0,b,5", "c/00000/0,c,5.00")
    assert import_votes(bench.opened(made), file)["decided"] == 1
    assert levels(made) == {"c/00000/0": (5, "decided", 3)}


def test_an_annotator_may_have_the_number_0(made: Recipe, tmp_path: Path) -> None:
    numbers = {"ints": pa.array([0, 1], pa.int64()), "pandas": pa.array([0.0, 1.0], pa.float64())}
    for name, annotators in numbers.items():
        table = pa.table({"key": ["c/00000/0", "c/00000/0"], "annotator": annotators, "level": [3.0, 4.0]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        import_votes(bench.opened(made), tmp_path / f"{name}.parquet")
    stored = bench.rows(Path(made.workspace) / "votes.parquet")
    assert [(v["annotator"], v["level"]) for v in stored] == [("0", 3), ("1", 4)]


def test_a_wrong_vote_in_parquet_is_told_by_its_row(made: Recipe, tmp_path: Path) -> None:
    table = pa.table({"key": ["c/00000/0"] * 2, "annotator": ["a", "b"], "level": [3.0, float("nan")]})
    pq.write_table(table, tmp_path / "votes.parquet")
    with pytest.raises(UserError, match=r"votes.parquet: row 2: level: expected a whole number from 1 to 5, found ''"):
        import_votes(bench.opened(made), tmp_path / "votes.parquet")


def test_keys_as_macos_writes_them_are_those_of_the_images(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "0.tar", {"café.jpg": bench.encoded(bench.picture(0))})
    made = bench.recipe(tmp_path)
    bench.index(made)
    assert import_votes(bench.opened(made), vote_file(tmp_path, "c/0/cafe\u0301,a,5"))["votes"] == 1
    assert list(levels(made)) == ["c/0/caf\u00e9"]


def test_a_missing_file_is_one_line(made: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        import_votes(bench.opened(made), tmp_path / "none.csv")


def test_votes_look_only_at_the_shards_that_they_name(made: Recipe, tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00001.tar", {"0.jpg": bench.encoded(bench.picture(9))})
    bench.index(made)
    samples = Path(made.workspace) / "samples/c"
    (samples / "00001.parquet").write_bytes(b"of another ten million images")
    assert import_votes(bench.opened(made), vote_file(tmp_path, "c/00000/0,a,5", "c/00000/2,a,4"))["votes"] == 2
    with pytest.raises(StageError, match="00001.parquet is damaged"):
        import_votes(bench.opened(made), vote_file(tmp_path, "c/00001/0,a,5"))


def test_votes_name_shards_whose_names_are_no_composed_unicode(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "cafe\u0301.tar", {"0.jpg": bench.encoded(bench.picture(0))})
    made = bench.recipe(tmp_path)
    bench.index(made)
    assert import_votes(bench.opened(made), vote_file(tmp_path, "c/caf\u00e9/0,a,5"))["votes"] == 1


def test_nothing_indexed_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match="nothing is indexed yet"):
        import_votes(bench.opened(bench.recipe(tmp_path)), vote_file(tmp_path, "c/00000/0,a,5"))
