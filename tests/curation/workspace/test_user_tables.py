"""Tables that users give: CSV as spreadsheets write it and Parquet come out the same, and errors name file and row."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import UserError
from curation.workspace.user_tables import read_user_table


def csv_file(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "given.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_columns_by_name_with_or_without_a_mark(tmp_path: Path, encoding: str) -> None:
    given = read_user_table(
        csv_file(tmp_path, 'key , other,level\r\n安,"a\nb",5\r\n\r\nb,,\r\n', encoding), ["level", "key"], ["at"]
    )
    assert given.table.to_pydict() == {"level": ["5", ""], "key": ["安", "b"]} and given.found == [
        "key",
        "other",
        "level",
    ]
    assert [place for place, _ in given.rows()] == [f"{tmp_path}/given.csv: line 2", f"{tmp_path}/given.csv: line 5"]


def test_parquet_keeps_its_types_and_takes_no_folder_for_a_column(tmp_path: Path) -> None:
    path = tmp_path / "day=3" / "given.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"key": ["a", None], "other": [1, 2], "level": [5, None]}), path)
    given = read_user_table(path, ["key"], ["level", "day"])
    assert list(given.rows()) == [
        (f"{path}: row 1", {"key": "a", "level": 5}),
        (f"{path}: row 2", {"key": None, "level": None}),
    ]


@pytest.mark.parametrize(("text", "says"), [
    ("key,lvl\na,5\n", 'given.csv: the column "level" is missing; did you mean "lvl"?'),
    ("", 'given.csv: the column "key" is missing'),
    ("key,level,key\na,5,b\n", 'given.csv: the column "key" stands twice'),
    ("key,level,at,at\n", 'given.csv: the column "at" stands twice'),
    ("key,level\na,5\n\nb\n", "given.csv: line 4: 1 value, where the head names 2 columns"),
    ('key,level\na,"5\n', "given.csv: cannot be read: "),
])  # fmt: skip
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        read_user_table(csv_file(tmp_path, text), ["key", "level"], ["at"])
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_table_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "odd.parquet").write_bytes(b"PAR1 not really")
    latin = csv_file(tmp_path, "key\nÖ\n", "latin-1")
    for path, says in ((tmp_path / "none.csv", "no such file"), (tmp_path / "none.parquet", "no such file"),
                       (latin, "not in UTF-8"), (tmp_path / "odd.parquet", "cannot be read"),
                       (tmp_path, "cannot be read")):  # fmt: skip
        with pytest.raises(UserError, match=says) as caught:
            read_user_table(path, ["key"], key="select.dedup.against")
        assert caught.value.key == "select.dedup.against"
        assert str(caught.value).startswith(f"select.dedup.against: {path}: ") and "\n" not in str(caught.value)
