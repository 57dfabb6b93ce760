"""Scores come in value by value checked, add up over files, and a later one replaces."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.annotation.caption_eval.files import CRITERIA
from curation.annotation.caption_eval.scores import import_scores
from curation.errors import UserError
from curation.recipe import Recipe
from tests import bench, evaluated
from tests.evaluated import score_file


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    """Three images, two captioners: six items."""
    bench.write_tar(tmp_path / "raw" / "00000.tar", {f"{n}.jpg": bench.encoded(bench.picture(n, (64, 48))) for n in range(3)})  # fmt: skip
    describe = {"captioner": {"backend": "describe"}}
    own = {"captioners": {"both": describe, "english": describe | {"translator": None}}}
    recipe = evaluated.selected(tmp_path, caption_eval=own)
    evaluated.sheet(recipe)
    return recipe


@pytest.fixture
def items(made: Recipe) -> list[str]:
    return [row["item"] for row in evaluated.read_rows(made, "sheet")]


def test_several_files_and_evaluators_add_up(made: Recipe, items: list[str], tmp_path: Path) -> None:
    first = score_file(tmp_path / "a.csv", [[item, "ann", 5, 4, 3, 2] for item in items])
    assert import_scores(bench.opened(made), first) == {
        "scores": 6,
        "left_empty": 0,
        "evaluators": 1,
        "items": 6,
        "of": 6,
    }
    second = score_file(tmp_path / "b.csv", [[item, "bo", 1, 1, 1, 1] for item in items[:2]])
    assert import_scores(bench.opened(made), second) == {
        "scores": 2,
        "left_empty": 0,
        "evaluators": 2,
        "items": 6,
        "of": 6,
    }
    stored = evaluated.read_rows(made, "scores")
    assert stored[0] == {"item": items[0], "evaluator": "ann", "completeness": 5, "correlation": 4, "hallucination": 3,
                         "subjectivity": 2, "revision": 1}  # fmt: skip
    assert [row["evaluator"] for row in stored] == ["ann"] * 6 + ["bo"] * 2


def test_the_same_evaluator_scoring_again_replaces(made: Recipe, items: list[str], tmp_path: Path) -> None:
    rows = [[items[0], "ann", 5, 4, 3, 2], [items[1], "ann", 3, 3, 3, 3], [items[1], "ann", 4, 4, 4, 4]]
    file = score_file(tmp_path / "a.csv", rows)
    assert import_scores(bench.opened(made), file)["scores"] == 3
    again = score_file(tmp_path / "a2.csv", [[items[0], " ann ", 5, 4, 3, 1], [items[1], "ann", 4, 4, 4, 4]])
    assert import_scores(bench.opened(made), again)["scores"] == 1
    assert [(r["subjectivity"], r["revision"]) for r in evaluated.read_rows(made, "scores") if r["item"] == items[0]] == [
        (2, 1), (1, 2)]  # fmt: skip


def test_the_same_file_twice_changes_nothing(made: Recipe, items: list[str], tmp_path: Path) -> None:
    file = score_file(tmp_path / "a.csv", [[item, "ann", 5, 4, 3, 2] for item in items])
    import_scores(bench.opened(made), file)
    before = (tmp_path / "work/caption_eval/scores.parquet").read_bytes()
    assert import_scores(bench.opened(made), file)["scores"] == 0
    assert (tmp_path / "work/caption_eval/scores.parquet").read_bytes() == before


def test_a_copy_of_the_sheet_filled_in_part_is_taken(made: Recipe, items: list[str], tmp_path: Path) -> None:
    rows = pq.read_table(tmp_path / "work/caption_eval/sheet.parquet").to_pylist()
    for row in rows[:4]:
        row.update(dict.fromkeys(CRITERIA, 4.0) | {"evaluator": "ann"})  # as pandas has whole numbers beside gaps
    for row in rows[4:]:
        row.update(dict.fromkeys(CRITERIA, float("nan")))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "filled.parquet")
    assert import_scores(bench.opened(made), tmp_path / "filled.parquet") == {
        "scores": 4, "left_empty": 2, "evaluators": 1, "items": 4, "of": 6}  # fmt: skip


def test_csv_as_spreadsheets_write_it(made: Recipe, items: list[str], tmp_path: Path) -> None:
    text = (
        "\ufeff"
        + f'caption_en,item,evaluator,{",".join(CRITERIA)}\r\n"two\nlines, ""quoted""",{items[0]},安,5,4,3,2.0\r\n\r\n'
    )
    (tmp_path / "s.csv").write_bytes(text.encode())
    assert import_scores(bench.opened(made), tmp_path / "s.csv")["scores"] == 1
    assert evaluated.read_rows(made, "scores")[0]["evaluator"] == "安"


HEAD = "item,evaluator,completeness,correlation,hallucination,subjectivity"


@pytest.mark.parametrize(("head", "row", "says"), [
    (HEAD, "ITEM,ann,5,4,6,2", "line 3: hallucination: expected a whole number from 1 to 5, found '6'"),
    (HEAD, "ITEM,ann,0,4,5,2", "line 3: completeness: expected a whole number from 1 to 5, found '0'"),
    (HEAD, "ITEM,ann,5,4.5,5,2", "line 3: correlation: expected a whole number from 1 to 5, found '4.5'"),
    (HEAD, "ITEM,ann,5,4,good,2", "line 3: hallucination: expected a whole number from 1 to 5, found 'good'"),
    (HEAD, "ITEM,ann,5,4,nan,2", "line 3: hallucination: expected a whole number from 1 to 5, found 'nan'"),
    (HEAD, "ITEM,ann,5,4,5,", "line 3: subjectivity: it is empty"),
    (HEAD, "ITEM,,5,4,5,5", "line 3: evaluator: it is empty"),
    (HEAD, "0123,ann,5,4,5,5", 'line 3: item: there is no "0123" in '),
    (HEAD, "ITEM,ann,5,4,5", "line 3: 5 values, where the head names 6 columns"),
    (HEAD.replace("item", "items"), "ITEM,ann,5,4,5,5", 'the column "item" is missing; did you mean "items"?'),
    (HEAD.replace("correlation", "completeness"), "ITEM,ann,5,4,5,5", 'the column "completeness" stands twice'),
    (HEAD, 'ITEM,ann,5,4,5,"5', "cannot be read: "),
])  # fmt: skip
def test_a_wrong_score_is_one_line_and_nothing_is_imported(
    made: Recipe, items: list[str], tmp_path: Path, head: str, row: str, says: str
) -> None:
    file = tmp_path / "scores.csv"
    good = f"{items[1]},ann,5,5,5,5"
    file.write_text("\n".join([head, good, row.replace("ITEM", items[0])]) + "\n")
    with pytest.raises(UserError) as caught:
        import_scores(bench.opened(made), file)
    assert str(caught.value).startswith(f"{file}: ") and says in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "work/caption_eval/scores.parquet").exists()


@pytest.mark.parametrize(("change", "says"), [
    ({"completeness": True}, "row 1: completeness: expected a whole number from 1 to 5, found 'True'"),
    ({"item": None}, 'row 1: item: there is no "" in '),
])  # fmt: skip
def test_a_wrong_parquet_row_is_one_line(
    made: Recipe, items: list[str], tmp_path: Path, change: dict, says: str
) -> None:
    row: dict[str, Any] = {"item": items[0], "evaluator": "ann"} | dict.fromkeys(CRITERIA, 5)
    pq.write_table(pa.Table.from_pylist([row | change]), tmp_path / "s.parquet")
    with pytest.raises(UserError) as caught:
        import_scores(bench.opened(made), tmp_path / "s.parquet")
    assert says in str(caught.value)


def test_files_that_are_none_are_one_line(made: Recipe, tmp_path: Path) -> None:
    (tmp_path / "odd.parquet").write_bytes(b"PAR1 not really")
    (tmp_path / "latin.csv").write_bytes(HEAD.encode() + b"\nabc,\xd6sten,5,5,5,5\n")
    (tmp_path / "empty.csv").write_bytes(b"")
    for name, says in (("none.csv", "no such file"), ("odd.parquet", "cannot be read"), ("latin.csv", "not in UTF-8"),
                       ("empty.csv", 'the column "item" is missing')):  # fmt: skip
        with pytest.raises(UserError, match=says) as caught:
            import_scores(bench.opened(made), tmp_path / name)
        assert "\n" not in str(caught.value)


def test_without_a_sheet_the_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no sheet yet; run `curate caption-eval sheet RECIPE`"):
        import_scores(bench.opened(bench.recipe(tmp_path)), score_file(tmp_path / "s.csv", []))
