"""The verbs of `curate` that look at a workspace or prepare one, and run no stage."""

import math
import time
from pathlib import Path
from typing import Annotated

import typer

from curation.cli.app import app, caption_eval
from curation.cli.terminal import Json, RecipeFile, Set, load, print_table
from curation.counts import counted
from curation.json_text import distinct
from curation.printing import clear, show, show_json, tell


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Name of the set; the recipe is NAME.yaml.")] = "my-set",
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A folder of images, or one image in it.")
    ] = None,
    webdataset: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|TARS",
            help="A folder of webdataset tars, as img2dataset writes, or all of them: "
            "one.tar, 'data/{00000..00041}.tar'.",
        ),
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A folder of Parquet files with image bytes.")
    ] = None,
    files: Annotated[Path | None, typer.Option(metavar="FOLDER", help="img2dataset's `files` output.")] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Published filters: kolors, web-256, web-512, web-1024 or sft.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a recipe that is there.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the recipe's JSON schema instead.")] = False,
) -> None:
    """Writes a commented recipe for your own images.

    Example: curate init my-set --images ~/Pictures

    With the published filters of a training stage: curate init my-set --images ~/Pictures --preset web-512
    """
    if schema:
        from curation.recipe import Recipe

        show_json(Recipe.model_json_schema(), indent=1)
        return
    from curation.cli.first_recipe import write_recipe

    folders = {"folder": images, "webdataset": webdataset, "parquet": parquet, "files": files}
    path = write_recipe(name, {kind: p for kind, p in folders.items() if p is not None}, force, preset)
    show(f"{path} is written. Look at it, then: curate run {path}")


@app.command()
def doctor(
    recipe_file: Annotated[Path | None, typer.Argument(metavar="[RECIPE]", help="A recipe to check as well.")] = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Looks at the installation, the machine, and what a recipe asks for.

    Example: curate doctor my-set.yaml
    """
    from curation.views.doctor import examine

    findings = examine(load(recipe_file, overrides, check=False, meta_known=False) if recipe_file else None)
    if as_json:
        show_json({"findings": [vars(f) for f in findings]})
    else:
        for finding in findings:
            show(f"{finding.status:8} {finding.what:20} {finding.says}")
        problems = sum(finding.status == "problem" for finding in findings)
        verdict = f"{counted(problems, 'problems')}, listed above" if problems else "no problem"
        of = "the recipe asks for" if recipe_file else "a recipe need ask for"
        show(f"{verdict}; what is absent is nothing that {of}")
    if any(f.status == "problem" for f in findings):
        raise typer.Exit(1)


@caption_eval.command("table")
def caption_eval_table(
    recipe_file: RecipeFile,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="For a report.")] = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Shows how the captioners do, laid out like the Kolors paper's Table 2.

    Example: curate caption-eval table my-set.yaml --markdown
    """
    from curation.annotation.caption_eval.layout import lines, markdown
    from curation.annotation.caption_eval.table import table

    result = table(load(recipe_file, overrides))
    if as_json:
        show_json(result.as_dict())
    else:
        show(markdown(result).rstrip() if as_markdown else "\n".join(lines(result)))


@app.command()
def status(
    recipe_file: RecipeFile,
    overrides: Set = None,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")] = False,
) -> None:
    """Tells how far a job has come: what runs now and how fast, what is done, what is left and why, what failed.

    Example: curate status my-set.yaml --watch
    """
    from curation.views.status import lines
    from curation.views.status import status as find

    while True:
        state = find(load(recipe_file, overrides, meta_known=False))
        if as_json:
            show_json(state)
        else:
            if watch:
                clear()
            show("\n".join(lines(state)))
        if not watch:
            return
        time.sleep(2)


@app.command()
def report(recipe_file: RecipeFile, overrides: Set = None, as_json: Json = False) -> None:
    """Writes WORKSPACE/report/index.html: funnel, histograms, contact sheets, failures, captions, timings.

    Example: curate report my-set.yaml
    """
    from curation.views.report import write_report

    path = write_report(load(recipe_file, overrides))
    if as_json:
        show_json({"report": str(path)})
    else:
        show(f"{path} is written; open it in a browser")


@app.command()
def tune(
    recipe_file: RecipeFile,
    overrides: Set = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 0,
) -> None:
    """Serves a page on this machine on which thresholds are moved and their effect is seen at once.

    Example: curate tune my-set.yaml
    """
    from curation.views.tune import serve

    serve(recipe_file, load(recipe_file, overrides), port, show)


@app.command()
def query(
    recipe_file: RecipeFile,
    sql: Annotated[str, typer.Argument(help="One SELECT over the view `images`.")],
    overrides: Set = None,
    as_json: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows printed at most.")] = 100,
    time_limit: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Time that it may take.")] = 300,
    memory_limit: Annotated[float, typer.Option(min=0.1, metavar="GB", help="Memory that it may take.")] = 4,
) -> None:
    """Runs one SELECT over `images`: one row an image, every column of every stage, plus corpus and kept.

    Example: curate query my-set.yaml "select key, sharpness from images where not kept order by 2 limit 5"
    """
    from curation.views.query import run_query

    columns, rows, more = run_query(load(recipe_file, overrides), sql, limit, time_limit, memory_limit)
    if as_json:
        names = distinct(columns)
        show_json({"rows": [dict(zip(names, r, strict=True)) for r in rows], "more": more})
        return
    if not rows:
        show("0 rows")
        return
    rows = [tuple(None if isinstance(v, float) and not math.isfinite(v) else v for v in row) for row in rows]
    print_table(columns, rows)
    if more:
        tell(f"… more than {counted(limit, 'rows')}; see --limit")


@app.command()
def explain(
    recipe_file: RecipeFile,
    key: Annotated[str, typer.Argument(help="CORPUS/SHARD/MEMBER, or an end of it: 00012/000120003, cat.jpg.")],
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Tells one image's whole story: source, signals, the decision, captions, votes, the product shard.

    Example: curate explain my-set.yaml web/00000/000000012
    """
    from curation.views.explain import explain as explain_image

    facts_by_section = explain_image(load(recipe_file, overrides), key)
    if as_json:
        show_json(facts_by_section)
        return
    for section, facts in facts_by_section.items():
        show(f"{section}")
        for name, value in facts.items():
            text = f"{value:g}" if isinstance(value, float) else str(value).replace("\n", "\\n")  # one line a fact
            show(f"  {name:24} {text}")
