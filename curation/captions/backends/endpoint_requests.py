"""Yields the first requests to the captioner `endpoint` for a shard, for engines that answer ahead of the stage."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from curation.captions.answer_cache import Answers
from curation.captions.backends.endpoint import Endpoint
from curation.captions.crew import crew_of
from curation.captions.passes import Passes
from curation.captions.rows import load_shard
from curation.corpora.listing import open_source
from curation.corpora.samples import raw_path
from curation.errors import RowError, UserError
from curation.images import decode
from curation.scoring.opened import Opened
from curation.tasks import Watch


def endpoint_of(opened: Opened) -> Endpoint:
    """Returns the recipe's captioner. Raises UserError if it is not `endpoint`."""
    captioner = crew_of(opened).captioner
    if not isinstance(captioner, Endpoint):
        raise UserError(f"the fleet stands in for endpoint, not for {captioner.name}", "captions.captioner.backend")
    return captioner


def first_requests(opened: Opened, corpus: str, shard: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the first requests for the kept rows of one raw shard that have no caption and no cached answer yet.

    Yields:
        the name under which the answer is cached, and the body of the request (see `Endpoint.payload`). A row whose
        image cannot be read is left out; the stage will report why.
    """
    recipe, workspace, captioner = opened.recipe, opened.workspace, endpoint_of(opened)
    loaded = load_shard(opened, recipe.corpus(corpus), shard)
    answers = Answers(workspace.answers(corpus, shard))
    passes = Passes(recipe.captions, crew_of(opened), loaded.rows, None, answers, Watch())
    todo = [i for i, kept in enumerate(loaded.kept) if kept and loaded.rows[i].get("captioned_as") != kept]
    requests = {row: passes.request(row)[1] for row in todo}
    names = {row: passes.caption_name(request) for row, request in requests.items()}
    known = answers.get(list(names.values()))
    answers.close()
    source = open_source(loaded.corpus, shard, raw_path(loaded.corpus, workspace, shard))
    try:
        for row, request in requests.items():
            if names[row] in known:
                continue
            try:
                image = captioner.prepare(decode(source.image(loaded.rows[row]), captioner.side))
            except (RowError, OSError):
                continue
            yield names[row], captioner.payload(replace(request, image=image))
    finally:
        source.close()
