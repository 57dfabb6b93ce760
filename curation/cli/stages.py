"""The verbs of `curate` that run stages. They are thin; each imports what is heavy only when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curation.cli.app import app, caption_eval
from curation.cli.terminal import Json, RecipeFile, Set, finish, load, say
from curation.errors import StageError, UserError
from curation.printing import show

if TYPE_CHECKING:
    from curation.scoring.opened import Opened
    from pipelines.summary import Summary


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo's workspace goes.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """Runs the whole job on the sample that comes with curate.

    Example: curate demo
    """
    from curation.cli.first_recipe import write_demo

    recipe_file = write_demo(folder)
    opened = load(recipe_file, None, computes=True)
    summaries = _run_all(opened, as_json, votes=recipe_file.parent / "votes.csv")
    finish(summaries, as_json)
    if not as_json:
        shards = opened.workspace.root / "shards"
        show(
            f"\nThe product: {shards}, its card: {shards}/concept/README.md\n"
            f"Next: curate annotate serve {recipe_file}      (vote on its images; its votes are there)\n"
            f'      curate query {recipe_file} "select fate, count(*) from images group by fate"\n'
            "      curate init my-set --images FOLDER"
        )


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

    opened = load(recipe_file, overrides, computes=True)
    finish([stages.score(opened, retry_failed=retry_failed)], as_json)


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

    opened = load(recipe_file, overrides, computes=True, captions=True)
    finish([stages.caption(opened, retry_failed=retry_failed)], as_json)


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
    opened = load(recipe_file, overrides, meta_known=False, computes=True, captions=True)
    summaries = _run_all(opened, as_json)
    if not as_json and not summaries[-1].stopped:
        show(f"The product: {opened.workspace.root / 'shards'}\nNext: curate report {recipe_file}")
    finish(summaries, as_json)


def _run_all(opened: "Opened", quiet: bool, votes: Path | None = None) -> "list[Summary]":
    from curation.scoring.opened import open_recipe
    from pipelines import stages
    from pipelines.placing import placing
    from pipelines.summary import Summary

    summaries: list[Summary] = []
    with placing(opened) as engine:
        for name, stage in stages.STAGES.items():
            if name == "build-shards" and votes is not None:
                summaries.append(stages.import_votes(opened, votes))
                say(summaries[-1], quiet)
            try:
                summaries.append(stage(opened, engine))
            except (StageError, UserError) as error:
                if all(summary.ok for summary in summaries):
                    raise
                summaries.append(Summary(name, errors=[str(error)], stopped=True))  # it follows from what failed before
            say(summaries[-1], quiet)
            if summaries[-1].stopped:
                break
            if name == "index":
                opened = open_recipe(opened.recipe)  # the index has brought the columns that predicates may name
    return summaries
