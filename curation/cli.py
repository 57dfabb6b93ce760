"""`curate`: one verb for each stage. Thin; everything heavy is imported by the verb that needs it."""

import json
import math
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curation.errors import StageError, UserError
from curation.terminal import (
    INTERRUPTED,
    Json,
    RecipeFile,
    Set,
    finish,
    load,
    print_table,
    say,
    stop,
    usage_error,
    with_recipe,
)

if TYPE_CHECKING:
    from curation.recipe import Recipe
    from pipelines.stages import Summary

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turns a raw corpus of web images into training data for a bilingual (Chinese/English) text-to-image "
    "model.\n\n"
    "Begin with `curate demo`, then `curate init my-set --images FOLDER` and `curate run my-set.yaml`.",
)
annotate = typer.Typer(no_args_is_help=True, help="Human votes.", rich_markup_mode=None)
app.add_typer(annotate, name="annotate")
caption_eval = typer.Typer(no_args_is_help=True, help="Captioners compared by people.", rich_markup_mode=None)
app.add_typer(caption_eval, name="caption-eval")


def main() -> None:
    """Entry point: a user's mistake is one line and a status, never a traceback."""
    status = None
    signal.signal(signal.SIGTERM, _interrupted)  # the same way out as Ctrl-C
    try:
        status = app(standalone_mode=False)
    except UserError as error:
        stop(with_recipe(str(error)), 2)
    except StageError as error:
        stop(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        usage_error(error)
    if status == INTERRUPTED:  # typer gives this number back for Ctrl-C
        stop("stopped; run the same command again to go on where it was", INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt  # not SIGINT: a shell has its background jobs ignore that


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo's workspace goes.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """Runs the whole job on the sample that comes with curate.

    Example: curate demo
    """
    from curation.start import write_demo

    recipe_file = write_demo(folder)
    recipe = load(recipe_file, None, computes=True)
    summaries = _run_all(recipe, as_json, votes=recipe_file.parent / "votes.csv")
    finish(summaries, as_json)
    if not as_json:
        typer.echo(
            f"\nThe product: {recipe.workspace}/shards, its card: {recipe.workspace}/shards/concept/README.md\n"
            f'Next: curate query {recipe_file} "select fate, count(*) from images group by fate"\n'
            "      curate init my-set --images FOLDER"
        )


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Name of the set; the recipe is NAME.yaml.")] = "my-set",
    images: Annotated[Path | None, typer.Option(help="A folder of images.")] = None,
    webdataset: Annotated[Path | None, typer.Option(help="A folder of webdataset tars, as img2dataset writes.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="A folder of Parquet files with image bytes.")] = None,
    files: Annotated[Path | None, typer.Option(help="img2dataset's `files` output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a recipe that is there.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the recipe's JSON schema instead.")] = False,
) -> None:
    """Writes a commented recipe for your own images.

    Example: curate init my-set --images ~/Pictures
    """
    if schema:
        from curation.recipe import Recipe

        typer.echo(json.dumps(Recipe.model_json_schema(), indent=1))
        return
    from curation.start import write_recipe

    given = {"folder": images, "webdataset": webdataset, "parquet": parquet, "files": files}
    path = write_recipe(name, {kind: p for kind, p in given.items() if p is not None}, force)
    typer.echo(f"{path} is written. Look at it, then: curate run {path}")


@app.command()
def doctor(
    recipe_file: Annotated[Path | None, typer.Argument(metavar="[RECIPE]", help="A recipe to check as well.")] = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Looks at the installation, the machine, and what a recipe asks for.

    Example: curate doctor my-set.yaml
    """
    from curation.doctor import examine

    found = examine(load(recipe_file, overrides, check=False) if recipe_file else None)
    if as_json:
        typer.echo(json.dumps({"findings": [vars(f) for f in found]}, ensure_ascii=False))
    else:
        for finding in found:
            typer.echo(f"{finding.status:8} {finding.what:20} {finding.says}")
    if any(f.status == "problem" for f in found):
        raise typer.Exit(1)


@app.command()
def index(recipe_file: RecipeFile, overrides: Set = None, as_json: Json = False) -> None:
    """Lists every image of the corpora: place, size, format, hash, caption, status.

    Example: curate index my-set.yaml
    """
    from pipelines import stages

    finish([stages.index(load(recipe_file, overrides, meta_known=False, computes=True))], as_json)


@app.command()
def score(
    recipe_file: RecipeFile,
    overrides: Set = None,
    as_json: Json = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try rows that failed before again.")] = False,
) -> None:
    """Computes the signals, each for the images that earlier predicates let through.

    Example: curate score my-set.yaml
    """
    from pipelines import stages

    recipe = load(recipe_file, overrides, computes=True)
    finish([stages.score(recipe, retry_failed=retry_failed)], as_json)


@app.command()
def select(
    recipe_file: RecipeFile,
    overrides: Set = None,
    as_json: Json = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the funnel; write nothing.")] = False,
) -> None:
    """Decides the fate of every image by the recipe's predicates and by duplicates.

    Example: curate select my-set.yaml --dry-run --set select.where.sharp="sharpness >= 20"
    """
    from pipelines import stages

    finish([stages.select(load(recipe_file, overrides), dry_run=dry_run)], as_json)


@app.command()
def caption(
    recipe_file: RecipeFile,
    overrides: Set = None,
    as_json: Json = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try rows without a caption again.")] = False,
) -> None:
    """Writes an English caption and its Chinese translation for every kept image.

    Example: curate caption my-set.yaml
    """
    from pipelines import stages

    recipe = load(recipe_file, overrides, computes=True, captions=True)
    finish([stages.caption(recipe, retry_failed=retry_failed)], as_json)


@annotate.command("import")
def annotate_import(
    recipe_file: RecipeFile,
    votes: Annotated[Path, typer.Argument(help="CSV or Parquet: key, annotator, level (1..5), perhaps at and round.")],
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Takes in votes and decides each image's level by majority.

    Example: curate annotate import my-set.yaml votes.csv
    """
    from pipelines import stages

    finish([stages.import_votes(load(recipe_file, overrides), votes)], as_json)


@caption_eval.command("sheet")
def caption_eval_sheet(recipe_file: RecipeFile, overrides: Set = None, as_json: Json = False) -> None:
    """Captions a sample of kept images with every captioner of `caption_eval`, and writes the sheet for evaluators.

    Example: curate caption-eval sheet my-set.yaml
    """
    from pipelines import stages

    finish([stages.caption_eval_sheet(load(recipe_file, overrides, computes=True, captions=True))], as_json)


@caption_eval.command("import")
def caption_eval_import(
    recipe_file: RecipeFile,
    scores: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet: item, evaluator, completeness, correlation, hallucination, subjectivity (1..5)."
        ),
    ],
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Takes in evaluators' scores; several files add up.

    Example: curate caption-eval import my-set.yaml scores.csv
    """
    from pipelines import stages

    finish([stages.import_scores(load(recipe_file, overrides), scores)], as_json)


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
    from curation.caption_eval.layout import lines, markdown
    from curation.caption_eval.table import table

    result = table(load(recipe_file, overrides))
    if as_json:
        typer.echo(json.dumps(result.as_dict(), ensure_ascii=False))
    else:
        typer.echo(markdown(result).rstrip() if as_markdown else "\n".join(lines(result)))


@app.command("build-shards")
def build_shards(recipe_file: RecipeFile, overrides: Set = None, as_json: Json = False) -> None:
    """Builds the product: shards of the concept and the quality phase, statistics and dataset cards.

    Example: curate build-shards my-set.yaml
    """
    from pipelines import stages

    finish([stages.build_shards(load(recipe_file, overrides))], as_json)


@app.command()
def run(recipe_file: RecipeFile, overrides: Set = None, as_json: Json = False) -> None:
    """Runs all automatic stages, each from where it was: index, score, select, caption, build-shards.

    Example: curate run my-set.yaml
    """
    recipe = load(recipe_file, overrides, meta_known=False, computes=True, captions=True)
    finish(_run_all(recipe, as_json), as_json)


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
    from curation.status import lines
    from curation.status import status as find

    while True:
        found = find(load(recipe_file, overrides, meta_known=False))
        if as_json:
            typer.echo(json.dumps(found, ensure_ascii=False))
        else:
            if watch:
                typer.echo("\033[2J\033[H", nl=False)
            typer.echo("\n".join(lines(found)))
        if not watch:
            return
        time.sleep(2)


@app.command()
def report(recipe_file: RecipeFile, overrides: Set = None, as_json: Json = False) -> None:
    """Writes WORKSPACE/report/index.html: funnel, histograms, contact sheets, failures, captions, timings.

    Example: curate report my-set.yaml
    """
    from curation.report import write_report

    path = write_report(load(recipe_file, overrides))
    typer.echo(json.dumps({"report": str(path)}) if as_json else f"{path} is written; open it in a browser")


@app.command()
def tune(
    recipe_file: RecipeFile,
    overrides: Set = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 0,
) -> None:
    """Serves a page on this machine on which thresholds are moved and their effect is seen at once.

    Example: curate tune my-set.yaml
    """
    from curation.tune import serve

    serve(recipe_file, load(recipe_file, overrides), port)


@app.command()
def query(
    recipe_file: RecipeFile,
    sql: Annotated[str, typer.Argument(help="One SELECT over the view `images`.")],
    overrides: Set = None,
    as_json: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows printed at most.")] = 100,
) -> None:
    """Runs one SELECT over `images`: one row an image, every column of every stage, plus corpus and kept.

    Example: curate query my-set.yaml "select key, sharpness from images where not kept order by 2 limit 5"
    """
    from curation.query import run_query

    columns, rows, more = run_query(load(recipe_file, overrides), sql, limit)
    rows = [tuple(None if isinstance(v, float) and not math.isfinite(v) else v for v in row) for row in rows]
    if as_json:
        typer.echo(
            json.dumps(
                {"rows": [dict(zip(columns, r, strict=True)) for r in rows], "more": more},
                ensure_ascii=False,
                default=str,
            )
        )
        return
    print_table(columns, rows)
    if more:
        typer.echo(f"… more than {limit} rows; see --limit", err=True)


@app.command()
def explain(
    recipe_file: RecipeFile,
    key: Annotated[str, typer.Argument(help="CORPUS/SHARD/MEMBER")],
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Tells one image's whole story: source, signals, the decision, captions, votes, the product shard.

    Example: curate explain my-set.yaml web/00000/000000012
    """
    from curation.explain import explain as story

    told = story(load(recipe_file, overrides), key)
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, default=str))
        return
    for section, facts in told.items():
        typer.echo(f"{section}")
        for name, value in facts.items():
            typer.echo(f"  {name:24} {f'{value:g}' if isinstance(value, float) else value}")


def _run_all(recipe: "Recipe", quiet: bool, votes: Path | None = None) -> "list[Summary]":
    from pipelines import stages

    summaries = []
    with stages.placing(recipe) as engine:
        for name, stage in stages.STAGES.items():
            if name == "build-shards" and votes is not None:
                summaries.append(stages.import_votes(recipe, votes))
                say(summaries[-1], quiet)
            summaries.append(stage(recipe, engine))
            say(summaries[-1], quiet)
            if summaries[-1].errors:
                break
    return summaries
