"""Answers are kept the moment they are there; a damaged file is made anew."""

import sqlite3
from pathlib import Path

import pytest

from curation.captions.answer_cache import Answers
from curation.errors import WorkspaceError
from curation.models.text.generation import Answer


def test_what_is_kept_comes_back_whole(tmp_path: Path) -> None:
    said = {"a": Answer('"Fünf" 五 🙂\n', False, "", 7, 3, 0.25), "b": Answer("b")}
    answers = Answers(tmp_path / "below" / "x.sqlite")
    answers.put(said)
    assert answers.get(["a", "b", "c"]) == said
    answers.close()
    assert Answers(answers.path).get(["b", "a"]) == said


def test_more_names_than_sqlite_takes_at_once(tmp_path: Path) -> None:
    said = {str(n): Answer(str(n)) for n in range(1234)}
    answers = Answers(tmp_path / "x.sqlite")
    answers.put(said)
    assert answers.get([*said, "none"]) == said


def test_a_failure_is_not_kept(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "x.sqlite")
    answers.put({"a": Answer(failed="timeout"), "b": Answer("b"), "c": Answer(" \n")})
    assert answers.get(["a", "b", "c"]) == {"b": Answer("b")}


def test_what_was_put_is_there_though_the_file_was_never_closed(tmp_path: Path) -> None:
    Answers(tmp_path / "x.sqlite").put({"a": Answer("a")})
    assert Answers(tmp_path / "x.sqlite").get(["a"]) == {"a": Answer("a")}


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 100])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(damage)
    answers = Answers(path)
    assert answers.get(["a"]) == {}
    answers.put({"a": Answer("a")})
    assert answers.get(["a"]) == {"a": Answer("a")}


def test_a_file_damaged_in_its_middle_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    answers = Answers(path)
    answers.put({str(n): Answer("text " * 50) for n in range(500)})
    answers.close()
    data = bytearray(path.read_bytes())
    data[4096 : len(data) // 2] = bytes(len(data) // 2 - 4096)
    path.write_bytes(data)
    answers = Answers(path)
    assert answers.get(["1"]) == {}
    answers.put({"1": Answer("new")})
    assert answers.get(["1"]) == {"1": Answer("new")}


def test_a_file_of_another_form_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE answers (name TEXT PRIMARY KEY, answer TEXT)")
        other.execute("INSERT INTO answers VALUES ('a', '{\"speech\": 1}')")
    other.close()
    assert Answers(path).get(["a"]) == {}


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match=r"cannot open .*x\.sqlite: .*") as caught:
        Answers(tmp_path / "file" / "x.sqlite").get(["a"])
    assert "\n" not in str(caught.value)
