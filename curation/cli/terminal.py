"""What every verb does at the terminal: opens the recipe, prints what was done, and tells a mistake in one line."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol

import typer

from curation.errors import UserError

if TYPE_CHECKING:
    from curation.scoring.opened import Opened


INTERRUPTED = 130
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one value of the recipe, "
        'such as select.where.sharp="sharpness >= 20". May be given several times.',
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


class Told(Protocol):
    """What a stage did, as it is printed."""

    said: bool
    """Whether it has been printed."""

    @property
    def ok(self) -> bool:
        """Whether the exit status is 0."""

    def lines(self) -> list[str]:
        """For people."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""


_recipe_file: Path | None = None
"""The recipe that the verb reads, for errors."""


def load(
    path: Path,
    overrides: list[str] | None,
    check: bool = True,
    meta_known: bool = True,
    computes: bool = False,
    captions: bool = False,
) -> "Opened":
    """Opens the recipe, and checks early what a stage would stumble over late.

    Args:
        meta_known: False for a verb that may run before the index has, see `Cascade.of`.
        computes: whether the verb needs the recipe's models; what is computed can be read without them.
        captions: whether it needs the captioner and the translators too.
    """
    global _recipe_file
    from curation.captions.crew import crews
    from curation.models.environment import opencv_problem
    from curation.recipe import load_recipe
    from curation.scoring.opened import open_recipe

    opened = open_recipe(load_recipe(path, overrides), meta_known)
    _recipe_file = path
    if check:
        if problem := opencv_problem():
            raise UserError(f"opencv: {problem}")
        cascade = opened.cascade
        crew, *_ = crews(opened)  # and a mistake in another is told before anything of the recipe is kept
        if computes:
            cascade.find_models()
        if captions:
            crew.find()
    return opened


def with_recipe(error: str) -> str:
    """An error, with the recipe's file before one that begins with a key of the recipe."""
    if _recipe_file is None:
        return error
    from curation.recipe import Recipe

    section = error.partition(":")[0].partition(".")[0]
    return f"{_recipe_file}: {error}" if section in Recipe.model_fields else error


def finish(summaries: Sequence[Told], as_json: bool) -> None:
    """Prints the summaries that are not yet printed and sets the exit status."""
    if as_json:
        said = [s.as_dict() for s in summaries]
        typer.echo(json.dumps(said[0] if len(said) == 1 else {"stages": said}, ensure_ascii=False))
    for summary in summaries:
        say(summary, as_json)
    if not all(s.ok for s in summaries):
        raise typer.Exit(1)


def say(summary: Told, quiet: bool) -> None:
    """Prints a summary, once."""
    if quiet or summary.said:
        return
    summary.said = True
    for line in summary.lines():
        typer.echo(line)


def print_table(columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    """Prints rows as a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(*map(escape, columns))
    for row in rows:  # as plain text: a caption may hold what looks like markup
        table.add_row(*(Text("" if v is None else f"{v:g}" if isinstance(v, float) else str(v)) for v in row))
    Console(soft_wrap=not sys.stdout.isatty()).print(table)


def stop(message: str, status: int) -> NoReturn:
    """Ends the process with one line and a status."""
    print(f"curate: {message}", file=sys.stderr)
    sys.exit(status)


def usage_error(error: Exception) -> None:
    """Wrong arguments are typer's own message and status 2; anything else is a mistake of ours and is shown whole."""
    show = getattr(error, "show", None)
    if show is None:
        raise error
    show()
    sys.exit(getattr(error, "exit_code", 2))
