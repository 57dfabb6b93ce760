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
from functools import partial
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import ray
from ray.data.llm import build_processor, vLLMEngineProcessorConfig

from curation.captions.answer_cache import Answers
from curation.captions.backends.endpoint import bare
from curation.captions.backends.endpoint_requests import endpoint_of, first_requests
from curation.errors import StageError, UserError
from curation.models.text.generation import Answer
from curation.printing import tell
from curation.recipe import Recipe, load_recipe
from curation.scoring.opened import Opened, open_recipe, opened_in_worker
from curation.workspace import Workspace
from curation.workspace.lock import lock

KEPT_AT_ONCE = 256
"""Number of answers of one shard that are written together, and may be lost when the job is killed."""
TEMPLATE = "chat_template_kwargs"
"""The part of a request's body that goes to the model's chat template, and is no sampling parameter."""
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
"""Environment of the engines: weights are on the nodes already, and nothing contacts the network."""


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line, or the given words instead."""
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
    return parser.parse_args(words)


def vllm_of_ray() -> str:
    """Returns the release of vLLM that this Ray is made for, as a requirement for pip."""
    requirements = (line.partition(";")[0].strip() for line in requires("ray") or ())
    return next((line for line in requirements if line.startswith("vllm")), "vllm")


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
    """Yields the requests for one shard; see `first_requests`.

    Args:
        recipe: the recipe.
        place: `corpus` and `shard`.

    Yields:
        the place, the name under which the answer is kept, messages and vLLM's sampling parameters.
    """
    for name, body in first_requests(opened_in_worker(recipe), place["corpus"], place["shard"]):
        body.pop(TEMPLATE, None)
        yield {**place, "name": name, "messages": body.pop("messages"), "sampling_params": body}


def answered(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of an engine's output that are kept."""
    names = ("corpus", "shard", "name", "generated_text", "num_input_tokens", "num_generated_tokens")
    return {name: row[name] for name in names} | {"limit": row["sampling_params"].get("max_tokens")}


def keep(workspace: Workspace, rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Writes answers into the cache of `curate caption` as they arrive.

    Args:
        workspace: the workspace.
        rows: the engines' outputs, as `answered` returns them, or with an error of vLLM.

    Returns:
        the number of rows `answered`, and the numbers of failed rows by vLLM's error.
    """
    counts = Counter[str]()
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


def run(opened: Opened, options: argparse.Namespace) -> Counter[str]:
    """Sends the requests to the fleet and caches the answers; returns the counts of `keep`.

    All nodes must see the workspace.
    """
    recipe, workspace, captioner = opened.recipe, opened.workspace, endpoint_of(opened)
    template = captioner.params.extra.get(TEMPLATE)
    places = [{"corpus": corpus, "shard": shard} for corpus, shard in opened.indexed_shards()]
    os.environ |= QUIET
    # This precedes the processor, which would start a Ray in which every worker has the engines' environment.
    ray.init(address=recipe.ray.address, ignore_reinit_error=True)
    ask = build_processor(
        engines(options, captioner.params.model),
        postprocess=answered,
        builder_kwargs={TEMPLATE: template} if template else None,
    )
    with lock(workspace, "caption"):
        requests = ray.data.from_items(places).flat_map(partial(questions, recipe))
        return keep(workspace, ask(requests).iter_rows())


def main() -> None:
    """Runs the command line; a user's mistake is reported as one line and an exit status."""
    options = arguments()
    try:
        counts = run(open_recipe(load_recipe(options.recipe)), options)
    except (UserError, StageError) as error:
        cause = getattr(error, "cause", error)  # a Ray task's error has the original as its cause
        tell(f"error: {str(cause).splitlines()[0]}")
        sys.exit(2 if isinstance(error, UserError) else 1)
    for kind, count in counts.most_common():
        tell(f"{count:,} × {kind}")
    sys.exit(0 if set(counts) <= {"answered"} else 1)


if __name__ == "__main__":
    main()
