"""Opens the recipe, prints summaries, and reports a mistake in one line, for all verbs of the command line."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol

import typer

from curation.errors import UserError
from curation.printing import plain, show, show_json, tell

if TYPE_CHECKING:
    from curation.recipe import Recipe
    from curation.scoring.opened import Opened


_NO_TERMINAL = 100_000
"""Characters of a line in a file or a pipe."""
INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM."""
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one value of the recipe, such as select.where.sharp='sharpness >= 20'; null leaves out a "
        "predicate or signal: select.where.sharp=null. May be given several times.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


class StageSummary(Protocol):
    """The summary of a stage's run, as it is printed."""

    printed: bool
    """Whether the summary has been printed."""

    @property
    def ok(self) -> bool:
        """Whether the stage succeeded, so that the exit status is 0."""

    def lines(self) -> list[str]:
        """Returns the summary as lines of text, for people."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the summary as a dict, for JSON."""


_recipe_file: Path | None = None
"""The recipe that the verb reads, for error messages."""


def load(
    path: Path,
    overrides: list[str] | None,
    check: bool = True,
    meta_known: bool = True,
    computes: bool = False,
    captions: bool = False,
) -> "Opened":
    """Reads and opens the recipe, and checks early what would otherwise fail late in a stage.

    Args:
        path: the YAML file.
        overrides: `dotted.key=value`, each of which replaces one value.
        check: whether to check anything besides reading the recipe.
        meta_known: False for a verb that may run before the index has; see `Cascade.of`.
        computes: whether the verb needs the recipe's models; stored results can be read without them.
        captions: whether the verb needs the captioner and the translators too.

    Raises:
        UserError: the recipe is wrong, or something that it needs is missing.
    """
    from curation.captions.crew import crews
    from curation.models.environment import opencv_problem
    from curation.scoring.opened import open_recipe

    opened = open_recipe(read(path, overrides, tables=True), meta_known)
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


def read(path: Path, overrides: list[str] | None, tables: bool = False) -> "Recipe":
    """Reads the recipe for a verb that needs neither signals nor models, and so begins at once.

    Args:
        path: the YAML file.
        overrides: see `load`.
        tables: whether the verb reads tables of the workspace.

    Raises:
        UserError: the recipe is wrong.
    """
    global _recipe_file
    from curation.recipe import load_recipe

    if tables:
        from curation.workspace.arrow import without_pandas

        without_pandas()
    recipe = load_recipe(path, overrides)
    _recipe_file = path
    return recipe


def with_recipe(error: UserError) -> str:
    """Returns an error's message; if it concerns a key of the recipe, the recipe's file stands before it."""
    if _recipe_file is None or error.file:
        return str(error)
    from curation.recipe import Recipe

    section, *_ = error.key.split(".")
    return f"{_recipe_file}: {error}" if section in Recipe.model_fields else str(error)


def finish(summaries: Sequence[StageSummary], as_json: bool) -> None:
    """Prints the summaries that are not printed yet.

    Args:
        summaries: the summaries of all stages that have run.
        as_json: whether to print one JSON object instead of text.

    Raises:
        typer.Exit: with status 1, if a stage did not succeed.
    """
    if as_json:
        objects = [s.as_dict() for s in summaries]
        whole = {"stages": objects, "ok": all(s.ok for s in summaries)}
        show_json(objects[0] if len(objects) == 1 else whole)
    for summary in summaries:
        say(summary, as_json)
    if not all(s.ok for s in summaries):
        raise typer.Exit(1)


def say(summary: StageSummary, quiet: bool) -> None:
    """Prints a summary as text, unless it has been printed already or `quiet` is set."""
    if quiet or summary.printed:
        return
    summary.printed = True
    for line in summary.lines():
        show(line)


def print_table(columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    """Prints rows as a table, in which no value is cut; an empty cell stands for None."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def cell(value: Any) -> Text:  # not as markup, which a caption may look like
        return Text(plain("" if value is None else f"{value:g}" if isinstance(value, float) else str(value)))

    table = Table()
    for column in columns:
        table.add_column(cell(column), overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    Console(width=None if sys.stdout.isatty() else _NO_TERMINAL).print(table)


def stop(message: str, status: int, key: str = "") -> NoReturn:
    """Ends the process with one line on stderr and an exit status; with `--json` the error stands on stdout too.

    Args:
        message: what is wrong, or what has happened.
        status: the exit status.
        key: the recipe's key or the argument that is to be changed; "" if there is none.
    """
    _print_error(message, key)
    tell(f"curate: {message}")
    sys.exit(status)


def usage_error(error: Exception) -> None:
    """Prints typer's own message for wrong arguments, and exits with its status; raises any other error again."""
    show_error = getattr(error, "show", None)
    if show_error is None:
        raise error
    _print_error(" ".join(str(error.format_message()).split()) if hasattr(error, "format_message") else str(error))
    message = io.StringIO()
    show_error(message)
    tell(message.getvalue().rstrip())
    sys.exit(getattr(error, "exit_code", 2))


def _print_error(message: str, key: str = "") -> None:
    """Prints an error as one JSON object on stdout, if the command line has `--json`, which may not be parsed yet."""
    if "--json" in sys.argv[1:]:
        show_json({"ok": False, "error": message, "key": key or None})
