"""The verbs of `curate annotate`: the server on which people vote, and what goes into and out of its database."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curation.cli.app import annotate
from curation.cli.terminal import Json, RecipeFile, Set, finish, load, read
from curation.counts import counted
from curation.errors import UserError
from curation.printing import show, show_json

if TYPE_CHECKING:
    from fastapi import FastAPI

    from annotation_ui.database.engine import Database
    from curation.recipe import Recipe

PORT = 8765
"""The port of the server, unless another is named."""
Name = Annotated[str, typer.Argument(help="The person's name, as it stands beside the votes.")]


@annotate.command()
def serve(
    recipe_file: RecipeFile,
    overrides: Set = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines, with --url.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = PORT,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="How people reach it: https://annotate.example.org.")
    ] = None,
) -> None:
    """Serves the page on which people vote, until Ctrl-C; prints a sign-in link for the lead.

    Example: curate annotate serve my-set.yaml

    For a team, behind a proxy: curate annotate serve my-set.yaml --url https://annotate.example.org
    """
    recipe = read(recipe_file, overrides)
    from annotation_ui.server import Address, serve

    serve(recipe, Address(host, port, url), lambda: _tune_page(recipe_file, overrides))


def _tune_page(recipe_file: Path, overrides: list[str] | None) -> "FastAPI":
    """Makes the page of `curate tune`, once a lead asks for it: it reads the signals of all images."""
    from curation.views.tune.app import make_app
    from curation.views.tune.tuner import Tuner

    return make_app(Tuner(recipe_file, load(recipe_file, overrides)))


@annotate.command()
def invite(
    recipe_file: RecipeFile,
    name: Name,
    role: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="annotator, reviewer (decides ties too) or lead; default: as before."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="How people reach the server; default: as it was started last.")
    ] = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Makes a personal sign-in link for a person; an earlier link of the person no longer works.

    Example: curate annotate invite my-set.yaml "Wang Fang" --role reviewer --url https://annotate.example.org
    """
    recipe = read(recipe_file, overrides)
    from annotation_ui.accounts import people
    from annotation_ui.clock import system_clock
    from annotation_ui.settings import noted_address

    url = url or noted_address(recipe, f"http://127.0.0.1:{PORT}")
    with _database(recipe, create=True) as database:
        days = recipe.annotation.link_days
        _, token = database.write(lambda c: people.invite(c, system_clock, name, role, days))
    link = people.link(url, token)
    if as_json:
        show_json({"name": people.clean_name(name), "link": link, "days": days})
    else:
        show(f"{people.clean_name(name)}: {link}\nIt works for {days:g} days. Send it to this person alone.")


@annotate.command()
def revoke(recipe_file: RecipeFile, name: Name, overrides: Set = None, as_json: Json = False) -> None:
    """Ends a person's access at once; the person's votes stay, and what the person holds goes back into the queue.

    Example: curate annotate revoke my-set.yaml "Wang Fang"
    """
    recipe = read(recipe_file, overrides)
    from annotation_ui.accounts import people
    from annotation_ui.clock import system_clock
    from annotation_ui.queue.reassigning import return_leases

    with _database(recipe) as database:
        person_id = database.read(lambda c: people.id_of(c, name))
        database.write(lambda c: return_leases(c, system_clock, person_id))
        database.write(lambda c: people.revoke(c, system_clock, person_id))
    if as_json:
        show_json({"name": people.clean_name(name), "revoked": True})
    else:
        show(f"{people.clean_name(name)} can no longer sign in")


@annotate.command("import")
def annotate_import(
    recipe_file: RecipeFile,
    file: Annotated[
        Path,
        typer.Argument(help="CSV or Parquet: key, annotator, level (1..5), perhaps at and round; gold: key, level."),
    ],
    gold: Annotated[
        bool, typer.Option("--gold", help="The levels are known: they decide the images, and test people.")
    ] = False,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who knows the levels of --gold.")] = "lead",
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Takes in votes and decides each image's level by majority; with --gold, levels that are known.

    Example: curate annotate import my-set.yaml votes.csv

    Known levels: curate annotate import my-set.yaml gold.csv --gold
    """
    if gold:
        counts = _import_gold(read(recipe_file, overrides, tables=True), file, by)
        if as_json:
            show_json({"gold": counts, "ok": True})
        else:
            text = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items())
            show(f"annotate import\n  {text}")
        return
    from annotation_ui.database.opening import has_database
    from pipelines import stages

    opened = load(recipe_file, overrides)
    if not has_database(opened.recipe):
        finish([stages.import_votes(opened, file)], as_json)
        return
    from annotation_ui.tool import open_tool
    from annotation_ui.transfer.export import export

    with contextlib.closing(open_tool(opened.recipe)) as tool:
        export(tool.database, tool.clock, opened.recipe)  # so that a correction comes after the vote that it corrects
        summary = stages.import_votes(opened, file)
        tool.take_in()
    summary.notes.append("the votes are in the voting tool's database too")
    finish([summary], as_json)


@annotate.command("learn")
def annotate_learn(recipe_file: RecipeFile, overrides: Set = None, as_json: Json = False) -> None:
    """Learns from the votes to predict levels, which order the queue, and tells how accurate it is.

    Example: curate annotate learn my-set.yaml
    """
    from pipelines import stages

    finish([stages.learn_levels(load(recipe_file, overrides))], as_json)


@annotate.command("export")
def export_votes(recipe_file: RecipeFile, overrides: Set = None, as_json: Json = False) -> None:
    """Writes votes, verdicts, scores and ratings into the workspace, and decides the levels; the server may go on.

    Example: curate annotate export my-set.yaml
    """
    recipe = read(recipe_file, overrides, tables=True)
    from annotation_ui.clock import system_clock
    from annotation_ui.transfer.export import export

    with _database(recipe) as database:
        written = export(database, system_clock, recipe)
    if as_json:
        show_json(written | {"ok": True})
        return
    show("annotate export" if written else "annotate export: nothing has been given to vote on yet")
    for task, counts in written.items():
        show(f"  {task}: " + ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()))


@annotate.command()
def backup(
    recipe_file: RecipeFile,
    file: Annotated[Path, typer.Argument(help="The copy; there must be no such file yet.")],
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Copies the SQLite database while people vote, and checks the copy.

    Example: curate annotate backup my-set.yaml votes-2026-01-31.sqlite
    """
    recipe = read(recipe_file, overrides, tables=True)
    from annotation_ui.transfer.backup import back_up

    size = back_up(recipe, file)
    if as_json:
        show_json({"file": str(file), "bytes": size, "ok": True})
    else:
        show(f"{file}: {counted(size, 'bytes')}, checked")


@annotate.command("status")
def annotate_status(recipe_file: RecipeFile, overrides: Set = None, as_json: Json = False) -> None:
    """Tells how far the votes have come: items by status, votes, people, what waits for a verdict.

    Example: curate annotate status my-set.yaml
    """
    recipe = read(recipe_file, overrides)
    from annotation_ui.database.opening import shown_address
    from annotation_ui.transfer.status import status_of

    with _database(recipe) as database:
        status = status_of(database, shown_address(recipe))
    if as_json:
        show_json(status.as_dict())
    else:
        show("\n".join(status.lines()))


@annotate.command()
def ratings(
    recipe_file: RecipeFile,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="For a report.")] = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Shows how the models do by the ratings of their images, as last exported.

    Example: curate annotate ratings my-set.yaml --markdown
    """
    recipe = read(recipe_file, overrides, tables=True)
    from curation.annotation.rating_table import lines, markdown, table
    from curation.workspace import Workspace
    from curation.workspace.files import read_table

    path = Workspace(recipe.workspace).ratings
    if not path.exists():
        raise UserError(f"{path}: there are no ratings yet; have images rated, and run `curate annotate export RECIPE`")
    result = table(read_table(path))
    if as_json:
        show_json(result.as_dict())
    else:
        show(markdown(result).rstrip() if as_markdown else "\n".join(lines(result)))


def _import_gold(recipe: "Recipe", file: Path, by: str) -> dict[str, int]:
    from annotation_ui.intake.gold import import_gold
    from annotation_ui.tool import open_tool

    with contextlib.closing(open_tool(recipe)) as tool:
        tool.take_in()  # so that images which are kept since are known
        project_id = next(number for number, task in tool.tasks.items() if task.source == "selection")
        return import_gold(tool.database, tool.clock, tool.random, project_id, file, by)


@contextlib.contextmanager
def _database(recipe: "Recipe", create: bool = False) -> "Iterator[Database]":
    """Opens the database for the length of a verb. Raises UserError if there is none."""
    from annotation_ui.database.opening import open_database

    with contextlib.closing(open_database(recipe, create)) as database:
        yield database
