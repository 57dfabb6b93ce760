"""`python -m pipelines.vllm_fleet RECIPE`: a fleet of vLLM engines answers in advance the requests of `curate caption`.

For millions of images on one's own GPUs: `ray.data.llm` feeds the engines of a Ray cluster directly, without a server.
vLLM needs another version of torch than curate, so the engines have a runtime environment of their own: made by pip on
each node, or an existing Python that has vLLM and the cluster's Ray.

    python -m pipelines.vllm_fleet recipe.yaml --weights /models/Qwen3-VL-8B-Instruct --engines 8
    curate caption recipe.yaml

The recipe's captioner is `endpoint`, and the requests are those that it would send. Every answer goes into the stage's
cache of answers. `curate caption` then finds the first caption of each image there, checks it, translates it, and asks
the recipe's `url` only where a caption does not pass the checks. A run that was stopped resumes where it was.
"""

import argparse
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import ray
from ray.data.llm import build_processor, vLLMEngineProcessorConfig

from curation.captions.answer_cache import Answers
from curation.captions.backends.endpoint import Endpoint, bare
from curation.captions.passes import Passes
from curation.captions.rows import crew_of, load_shard
from curation.corpora.listing import open_source
from curation.corpora.samples import raw_path
from curation.errors import StageError, UserError
from curation.images import ImageError, decode
from curation.models.text.generation import Answer
from curation.recipe import Recipe, load_recipe
from curation.tasks import Watch
from curation.workspace import Workspace

KEPT_AT_ONCE = 256
"""Number of answers of one shard that are written together; so many may be lost when the job is killed."""
TEMPLATE = "chat_template_kwargs"
"""The part of a request's body that goes to the model's chat template, and is no sampling parameter."""
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
"""Environment of the engines: weights are on the nodes already, and nothing contacts the network."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.vllm_fleet", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--weights", help="folder of the checkpoint on the nodes (default: the recipe's `model`)")
    parser.add_argument("--engines", type=int, default=1, help="engines, each on GPUs of its own")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs of one engine (tensor parallel)")
    parser.add_argument("--tokens", type=int, default=8192, help="longest sequence: image, prompt and caption")
    parser.add_argument("--batch", type=int, default=64, help="images that an engine is given at a time")
    vllm = parser.add_mutually_exclusive_group()
    vllm.add_argument("--package", default=vllm_of_ray(), help="vLLM for pip (default: what this Ray is made for)")
    vllm.add_argument("--python", help="instead, a Python on the nodes that has vLLM and the cluster's release of Ray")
    return parser.parse_args(given)


def vllm_of_ray() -> str:
    """Returns the release of vLLM that this Ray is made for, as a requirement for pip."""
    wanted = (line.partition(";")[0].strip() for line in requires("ray") or ())
    return next((line for line in wanted if line.startswith("vllm")), "vllm")


def engines(options: argparse.Namespace, model: str) -> vLLMEngineProcessorConfig:
    """Returns the configuration of the fleet: number and kind of the engines, and their runtime environment."""
    environment: dict[str, Any] = {"env_vars": QUIET}
    environment |= {"py_executable": options.python} if options.python else {"pip": [options.package]}
    return vLLMEngineProcessorConfig(
        model_source=options.weights or model,
        engine_kwargs={
            "tensor_parallel_size": options.gpus,
            "max_model_len": options.tokens,
            "limit_mm_per_prompt": {"image": 1},
        },
        concurrency=(options.engines, options.engines),
        batch_size=options.batch,
        runtime_env=environment,
        should_continue_on_error=True,  # `curate caption` reports images that the model refuses
        # The chat templates of current models iterate over a message's parts, and place the image themselves.
        prepare_multimodal_stage={"enabled": True, "chat_template_content_format": "openai"},
    )


def questions(recipe: Recipe, place: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yields the requests of one shard: the first captions of its kept rows without a caption and a cached answer.

    Args:
        recipe: the recipe, whose captioner is `endpoint`.
        place: `corpus` and `shard`.

    Yields:
        the place, the name under which the answer is cached, messages and vLLM's sampling parameters. A row whose image
        cannot be read is left out; `curate caption` reports it.
    """
    workspace, captioner = Workspace(recipe.workspace), endpoint_of(recipe)
    corpus = next(c for c in recipe.corpora if c.name == place["corpus"])
    shard = load_shard(recipe, corpus, place["shard"])
    answers = Answers(workspace.answers(corpus.name, shard.name))
    passes = Passes(recipe.captions, crew_of(recipe), shard.rows, None, answers, Watch())
    todo = [i for i, kept in enumerate(shard.kept) if kept and shard.rows[i].get("captioned_as") != kept]
    requests = {row: passes.request(row)[1] for row in todo}
    names = {row: passes.caption_name(request) for row, request in requests.items()}
    known = answers.get(list(names.values()))
    answers.close()
    source = open_source(corpus, shard.name, raw_path(corpus, workspace, shard.name))
    try:
        for row, request in requests.items():
            if names[row] in known:
                continue
            given = shard.rows[row]
            try:
                data = source.read(given["member"], given["offset"], given["length"])
                image = captioner.prepare(decode(data, captioner.side))
            except (ImageError, OSError):
                continue
            body = captioner.payload(replace(request, image=image))
            body.pop(TEMPLATE, None)
            yield {**place, "name": names[row], "messages": body.pop("messages"), "sampling_params": body}
    finally:
        source.close()


def answered(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of an engine's output that are kept."""
    names = ("corpus", "shard", "name", "generated_text", "num_input_tokens", "num_generated_tokens")
    return {name: row[name] for name in names} | {"limit": row["sampling_params"].get("max_tokens")}


def keep(recipe: Recipe, rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Writes answers into the cache of `curate caption` as they arrive.

    Args:
        recipe: the recipe.
        rows: the engines' outputs, as `answered` returns them, or with an error of vLLM.

    Returns:
        the number of rows `answered`, and the numbers of failed rows by vLLM's error.
    """
    workspace, counts = Workspace(recipe.workspace), Counter[str]()
    waiting: defaultdict[tuple[str, str], dict[str, Answer]] = defaultdict(dict)

    def write(place: tuple[str, str]) -> None:
        answers = Answers(workspace.answers(*place))
        answers.put(waiting.pop(place))
        answers.close()

    for row in rows:
        if failed := row.get("__inference_error__"):
            counts[failed[:100]] += 1
            continue
        place, written = (row["corpus"], row["shard"]), row["num_generated_tokens"]
        complete = not row["limit"] or written < row["limit"]
        answer = Answer(bare(row["generated_text"]), complete, "", row["num_input_tokens"], written)
        waiting[place][row["name"]] = answer
        counts["answered"] += 1
        if len(waiting[place]) >= KEPT_AT_ONCE:
            write(place)
    for place in list(waiting):
        write(place)
    return counts


def endpoint_of(recipe: Recipe) -> Endpoint:
    """Returns the recipe's captioner. Raises UserError if its backend is not `endpoint`."""
    captioner = crew_of(recipe).captioner
    if not isinstance(captioner, Endpoint):
        raise UserError(f"captions.captioner.backend: the fleet stands in for endpoint, not for {captioner.name}")
    return captioner


def run(recipe: Recipe, options: argparse.Namespace) -> Counter[str]:
    """Sends the requests to the fleet and caches the answers; returns the counts of `keep`.

    All nodes must see the workspace.
    """
    captioner, workspace = endpoint_of(recipe), Workspace(recipe.workspace)
    template = captioner.params.extra.get(TEMPLATE)
    places = [{"corpus": c.name, "shard": shard} for c in recipe.corpora for shard in workspace.shards(c.name)]
    if not places:
        raise UserError(f"{workspace.root}: nothing is indexed yet; run `curate index RECIPE`")
    os.environ |= QUIET
    # This precedes the processor, which would start a Ray in which every worker has the engines' environment.
    ray.init(address=recipe.ray.address, ignore_reinit_error=True)
    ask = build_processor(
        engines(options, captioner.params.model),
        postprocess=answered,
        builder_kwargs={TEMPLATE: template} if template else None,
    )
    with workspace.lock("caption"):
        asked = ray.data.from_items(places).flat_map(partial(questions, recipe))
        return keep(recipe, ask(asked).iter_rows())


def main() -> None:
    """Runs the command line; a user's mistake is reported as one line and an exit status."""
    options = arguments()
    try:
        counts = run(load_recipe(options.recipe), options)
    except (UserError, StageError) as error:
        said = getattr(error, "cause", error)  # a Ray task's error has the original as its cause
        print(f"error: {str(said).splitlines()[0]}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)
    for what, count in counts.most_common():
        print(f"{count:,} × {what}", file=sys.stderr)
    sys.exit(0 if set(counts) <= {"answered"} else 1)


if __name__ == "__main__":
    main()
