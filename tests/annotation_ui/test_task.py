"""Declarations of tasks: what is wrong with one is told in one line that names the file."""

from pathlib import Path

import pytest

from annotation_ui.task import read_tasks
from curation.errors import UserError


@pytest.mark.parametrize(
    "text", ["levels: [\n", "\0", "- a\n", "a: &a [*a]\n", "a: 1\na: 2\n", "[" * 5000, "name: x\n"]
)
def test_a_wrong_declaration_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    monkeypatch.setenv("CURATE_TASKS", str(tmp_path))
    with pytest.raises(UserError) as told:
        read_tasks()
    assert str(told.value).startswith(f"{tmp_path}/own.yaml: ") and "\n" not in str(told.value)


def test_a_folder_of_tasks_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_TASKS", str(tmp_path / "none"))
    with pytest.raises(UserError, match="^CURATE_TASKS: there is no folder .*/none; name those that hold tasks"):
        read_tasks()
