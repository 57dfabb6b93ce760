"""`curate explain`: shows all that is stored about one image, stage by stage."""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc

from curation.annotation.levels import read_decisions, read_levels, read_votes
from curation.corpora.samples import raw_path
from curation.counts import counted
from curation.errors import StageError, UserError, nearest
from curation.keys import composed, split_key
from curation.scoring.decider import run_error
from curation.scoring.opened import Opened
from curation.scoring.wide_table import refresh
from curation.shards.phases import PHASES
from curation.workspace import Workspace
from curation.workspace.files import read_table
from curation.workspace.schemas import SKIPPED
from curation.workspace.sql import connect, message, parquet_files

SHOWN = 5
"""Number of keys that are listed where several are meant."""


def explain(opened: Opened, key: str) -> dict[str, dict[str, Any]]:
    """Returns all that is stored about one image.

    Args:
        opened: the opened recipe.
        key: the image's key, or an end of it that no other image's key has, such as `00012/000120003` or `cat.jpg`.

    Returns:
        the facts of each stage, name to value, by stage (`source`, `signal NAME`, `selection`, `caption` …), in the
        order of the stages; a stage that has not reached the image is left out.

    Raises:
        UserError: there is no such image, and the message names the nearest key; or there are several; or a predicate
            fails on a value of it.
    """
    workspace, cascade = opened.workspace, opened.cascade
    key = _whole_key(opened, composed(key))
    corpus_name, shard, row = _locate(opened, key)
    corpus = opened.recipe.corpus(corpus_name)
    sample = read_table(workspace.samples(corpus_name, shard)).slice(row, 1).to_pylist()[0]
    story: dict[str, dict[str, Any]] = {
        "source": {"key": key, "raw shard": raw_path(corpus, workspace, shard)} | _facts(sample)
    }
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


def _whole_key(opened: Opened, given: str) -> str:
    """Returns the one key that is, or ends with, what the user gave. Raises UserError if there is none, or several."""
    try:
        _locate(opened, given)
        return given
    except UserError as error:
        not_there = error
    keys = _Keys(opened)
    found = keys.ending_with(given)
    if len(found) == 1:
        return found[0]
    if found:
        more = " and others" if len(found) > SHOWN else ""
        raise UserError(f'several keys end with "{given}": {", ".join(found[:SHOWN])}{more}; give more of one')
    if given.count("/") >= 2:
        raise not_there
    like = keys.like(given)
    hint = f'; did you mean "{like}"?' if like else ""
    raise UserError(f'no key ends with "{given}"; keys look like CORPUS/SHARD/MEMBER{hint}')


class _Keys:
    """The keys of all indexed images. Raises UserError if there are none."""

    def __init__(self, opened: Opened) -> None:
        self._root = opened.workspace.root
        paths = [opened.workspace.samples(*shard) for shard in opened.indexed_shards()]
        self._files = [str(path) for path in paths if path.exists()]

    def ending_with(self, end: str) -> list[str]:
        """Returns the first keys whose last parts these are, one more than are shown."""
        return self._read(f"WHERE ends_with(key, ?) ORDER BY key LIMIT {SHOWN + 1}", f"/{end}")

    def like(self, end: str) -> str:
        """Returns the key whose last parts are nearest to these, which are as many; "" if there is no image."""
        last = f"regexp_extract(key, '([^/]*/){{{end.count('/')}}}[^/]*$')"
        return "".join(self._read(f"ORDER BY jaro_winkler_similarity({last}, ?) DESC, key LIMIT 1", end))

    def _read(self, which: str, end: str) -> list[str]:
        try:
            with connect([self._root]) as connection:
                rows = connection.execute(f"SELECT key FROM {parquet_files(self._files)} {which}", [end]).fetchall()
        except duckdb.Error as error:
            raise StageError(message(error)) from None
        return [str(key) for (key,) in rows]


def _locate(opened: Opened, key: str) -> tuple[str, str, int]:
    """Returns corpus, shard and row of a key. Raises UserError if there is no such image."""
    workspace = opened.workspace
    try:
        corpus, shard, _ = split_key(key)
    except ValueError as error:
        raise UserError(str(error)) from None
    opened.recipe.corpus(corpus)
    shards = workspace.shards(corpus)
    if not shards:
        raise UserError(f"{workspace.root}: {corpus} is not indexed yet; run `curate index RECIPE`")
    if shard not in shards:
        raise UserError(f'there is no shard "{shard}" in {corpus}{nearest(shard, shards)}')
    keys = read_table(workspace.samples(corpus, shard), columns=["key"])["key"].to_pylist()
    if key not in keys:
        raise UserError(f'there is no image "{key}"{nearest(key, keys)}')
    return corpus, shard, keys.index(key)


def _row(path: Path, row: int) -> dict[str, Any]:
    return read_table(path).slice(row, 1).to_pylist()[0] if path.exists() else {}


def _facts(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of a row that are known, without its key; long lists are shortened."""
    return {name: _short(value) for name, value in values.items() if value is not None and name != "key"}


def _short(value: Any) -> Any:
    if isinstance(value, list) and len(value) > 8:
        return f"{value[:8]} … ({counted(len(value), 'values')})"
    return value


def _walk(opened: Opened, corpus: str, shard: str, row: int) -> dict[str, str]:
    """Returns the outcome of each predicate for this image, up to and including the first that it does not pass."""
    walked: dict[str, str] = {}
    path = refresh(opened, corpus, shard)
    with connect(threads=1) as connection:
        connection.register("rows", read_table(path).slice(row, 1))
        for predicate in opened.cascade.predicates:
            try:
                verdict = connection.execute(f"SELECT (\n{predicate.test}\n) FROM rows").fetchone()
            except duckdb.Error as error:
                raise run_error(error, f"select.where.{predicate.name}") from None
            says = {True: "passes", False: "does not pass", None: "is not known"}[verdict[0] if verdict else None]
            walked[predicate.name] = f"{says}: {' '.join(predicate.sql.split())}"
            if says != "passes":
                break
    return walked


def _votes(workspace: Workspace, key: str) -> dict[str, Any]:
    """Returns the image's level, the latest vote of each annotator and round, and the decisions in order of time."""
    own: Any = {"filters": [("key", "=", key)]}
    votes = sorted(read_votes(workspace, **own).to_pylist(), key=lambda vote: vote["revision"])
    decisions = read_decisions(workspace, **own).sort_by([("at", "ascending")]).to_pylist()
    levels = read_levels(workspace)
    level = levels.filter(pc.equal(levels["key"], key)).to_pylist()
    facts = _facts(level[0]) if level else {}
    facts |= {f"{vote['annotator']}, round {vote['round']}": _vote(vote) for vote in votes}
    for number, decision in enumerate(decisions, start=1):
        facts[f"decision {number}, {decision['kind']}"] = _decision(decision)
    return facts


def _vote(vote: dict[str, Any]) -> str:
    says = [_level(vote["level"])]
    times = {"after {}": "decided_ms", "image visible for {}": "shown_ms", "page hidden for {}": "hidden_ms"}
    says += [text.format(f"{vote[column] / 1000:.1f} s") for text, column in times.items() if vote[column]]
    return ", ".join(says + ([f"on {vote['device']}"] if vote["device"] else []))


def _decision(decision: dict[str, Any]) -> str:
    note = f": {decision['note']}" if decision["note"] else ""
    return f"{_level(decision['level'])}, by {decision['annotator']}{note}"


def _level(level: int | None) -> str:
    return "withdrawn" if level is None else f"Level {level}"


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
