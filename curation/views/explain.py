"""`curate explain`: shows all that is stored about one image, stage by stage."""

from pathlib import Path
from typing import Any

from curation.annotation.votes import read_levels
from curation.corpora.samples import raw_path
from curation.errors import UserError, nearest
from curation.keys import split_key
from curation.scoring.opened import Opened
from curation.scoring.wide_table import refresh
from curation.shards.phases import PHASES
from curation.workspace import Workspace
from curation.workspace.files import read_table
from curation.workspace.schemas import SKIPPED
from curation.workspace.sql import connect


def explain(opened: Opened, key: str) -> dict[str, dict[str, Any]]:
    """Returns all that is stored about one image.

    Returns:
        the facts of each stage, name to value, by stage (`source`, `signal NAME`, `selection`, `caption` …), in the
        order of the stages; a stage that has not reached the image is left out.

    Raises:
        UserError: there is no image with this key; the message names the nearest key of its shard.
    """
    workspace, cascade = opened.workspace, opened.cascade
    try:
        corpus_name, rest, _ = split_key(key)
    except ValueError as error:
        raise UserError(str(error)) from None
    corpus = opened.recipe.corpus(corpus_name)
    shard, row = _locate(workspace, corpus_name, rest, key)
    sample = read_table(workspace.samples(corpus_name, shard)).slice(row, 1).to_pylist()[0]
    story: dict[str, dict[str, Any]] = {"source": {"raw shard": raw_path(corpus, workspace, shard)} | _facts(sample)}
    for name, signal in cascade.signals.items():
        scores = _row(workspace.signal(name, corpus_name, shard), row)
        facts = {"backend": signal.backend or "classical", "version": signal.version}
        state = scores.get(f"{name}_state") if scores else None
        values = {c: _short(scores[c]) for c in signal.columns} if state == "scored" else {}
        story[f"signal {name}"] = (
            {"state": state or SKIPPED}
            | facts
            | values
            | ({"error": scores[f"{name}_error"]} if scores.get(f"{name}_error") else {})
        )
    if selection := _row(workspace.selection(corpus_name, shard), row):
        story["selection"] = _facts(selection) | _walk(opened, corpus_name, shard, row)
    if caption := _row(workspace.captions(corpus_name, shard), row):
        story["caption"] = _facts(caption)
    if votes := _votes(workspace, key):
        story["votes"] = votes
    for phase in PHASES:
        if product := _product(workspace.product(phase), key):
            story[f"product {phase}"] = product
    return story


def _locate(workspace: Workspace, corpus: str, shard: str, key: str) -> tuple[str, int]:
    shards = workspace.shards(corpus)
    if not shards:
        raise UserError(f"{workspace.root}: {corpus} is not indexed yet; run `curate index RECIPE`")
    if shard not in shards:
        raise UserError(f'there is no shard "{shard}" in {corpus}{nearest(shard, shards)}')
    keys = read_table(workspace.samples(corpus, shard), columns=["key"])["key"].to_pylist()
    if key not in keys:
        raise UserError(f'there is no image "{key}"{nearest(key, keys)}')
    return shard, keys.index(key)


def _row(path: Path, row: int) -> dict[str, Any]:
    return read_table(path).slice(row, 1).to_pylist()[0] if path.exists() else {}


def _facts(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of a row that are known, without its key; long lists are shortened."""
    return {name: _short(value) for name, value in values.items() if value is not None and name != "key"}


def _short(value: Any) -> Any:
    if isinstance(value, list) and len(value) > 8:
        return f"{value[:8]} … ({len(value)} values)"
    return value


def _walk(opened: Opened, corpus: str, shard: str, row: int) -> dict[str, str]:
    """Returns the outcome of each predicate for this image, up to and including the first that it does not pass."""
    walked: dict[str, str] = {}
    path = refresh(opened, corpus, shard)
    with connect(threads=1) as connection:
        connection.register("rows", read_table(path).slice(row, 1))
        for predicate in opened.cascade.predicates:
            verdict = connection.execute(f"SELECT (\n{predicate.sql}\n) FROM rows").fetchone()
            says = {True: "passes", False: "does not pass", None: "is not known"}[verdict[0] if verdict else None]
            walked[predicate.name] = f"{says}: {' '.join(predicate.sql.split())}"
            if says != "passes":
                break
    return walked


def _votes(workspace: Workspace, key: str) -> dict[str, Any]:
    level = read_levels(workspace).get(key)
    if level is None:
        return {}
    votes = read_table(workspace.votes, filters=[("key", "=", key)]).to_pylist()
    return _facts(level) | {f"{v['annotator']}, round {v['round']}": f"Level {v['level']}" for v in votes}


def _product(folder: Path, key: str) -> dict[str, Any]:
    if not (folder / "index.parquet").exists():
        return {}
    places = read_table(folder / "index.parquet", filters=[("key", "=", key)]).to_pylist()
    if not places:
        return {}
    place = places[0]
    row = read_table(folder / f"{place['shard']}.parquet", filters=[("key", "=", key)]).to_pylist()[0]
    return {
        "shard": f"{place['shard']}.tar",
        "member": f"{place['shard']}{place['index']:04d}",
        "training text": row["text"],
        "from": row["caption_source"],
        "bucket": row["bucket"],
        "sha256": row["sha256"],
    }
