"""Reads the declarations of tasks: what people are asked, one YAML file for each task.

A file lies in annotation_ui/tasks, or in a folder that the environment variable CURATE_TASKS names.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml.error import YAMLError

from curation.errors import UserError, in_one_line
from curation.extensions import own_folders
from curation.recipe.load import wrong_value
from curation.recipe.yaml_text import read_yaml

FOLDER = Path(__file__).parent / "tasks"
MIN_SCORE, MAX_SCORE = 1, 5
"""The scale of every criterion."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Text(_Part):
    """A text in both languages."""

    en: str
    zh: str


class Level(_Part):
    """One of the levels among which a person chooses."""

    value: int = Field(ge=1, le=5)
    name: Text
    help: Text


class Criterion(_Part):
    """A question that is answered by a score from 1 to 5."""

    name: str = Field(pattern=r"^[a-z_]+$")
    title: Text
    help: Text
    ends: dict[Literal["1", "5"], Text]
    needs_prompt: bool = Field(False, description="asked only once the prompt is shown")


class SkipReason(_Part):
    """A reason for which an item may be skipped."""

    name: str = Field(pattern=r"^[a-z_]+$")
    title: Text


class Task(_Part):
    """What people are asked, and about what."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)
    title: Text
    source: Literal["selection", "caption_sheet", "rating_list"]
    layout: Literal["image", "captions", "images"]
    answer: Literal["level", "scores"]
    votes: int | None = Field(None, ge=1, le=1000, description="votes asked on each item; default: annotation.votes")
    levels: list[Level] = []
    criteria: list[Criterion] = []
    skip_reasons: list[SkipReason]

    @model_validator(mode="after")
    def _answerable(self) -> "Task":
        if self.answer == "level" and sorted(level.value for level in self.levels) != [1, 2, 3, 4, 5]:
            raise ValueError("levels: expected the five values 1 to 5")
        if self.answer == "scores" and not self.criteria:
            raise ValueError("criteria: a task that is answered by scores needs at least one")
        return self


def read_tasks() -> dict[str, Task]:
    """Reads all declarations; one in the user's own folder takes the place of one of the same name here.

    Returns:
        the tasks by name; those that ask for a level come first, and are what a page begins with.

    Raises:
        UserError: a file is wrong; the line names it and the key.
    """
    own = [Path(folder) for folder in own_folders("CURATE_TASKS")]
    if missing := [str(folder) for folder in own if not folder.is_dir()]:
        raise UserError(
            f"CURATE_TASKS: there is no folder {missing[0]}; name those that hold tasks, separated as in PATH"
        )
    folders = [FOLDER, *own]
    tasks = [read_task(path) for folder in folders for path in sorted(folder.glob("*.yaml"))]
    by_name = {task.name: task for task in tasks}
    return dict(sorted(by_name.items(), key=lambda named: (named[1].answer != "level", named[0])))


def read_task(path: Path) -> Task:
    """Reads one declaration. Raises UserError if it is wrong."""
    try:
        return Task.model_validate(read_yaml(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        wrong = wrong_value(error, Task)
        raise UserError(wrong.detail, wrong.key, str(path)) from None
    except (OSError, ValueError, ArithmeticError, YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {in_one_line(error, 200)}") from None
