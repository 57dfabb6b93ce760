"""Loads the rows of a raw shard with the columns that captioners read, and captions some of them."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from curation.captions.answer_cache import Answers
from curation.captions.crew import Crew, caption_fingerprint, crew_of
from curation.captions.passes import NO_TRANSLATOR, UNTRANSLATED, Passes, Texts
from curation.corpora.listing import open_source
from curation.corpora.prefetch import Pictures
from curation.corpora.samples import check_aligned, raw_path
from curation.errors import StageError
from curation.recipe.sections import Corpus
from curation.scoring.opened import Opened
from curation.selection.kept import kept_rows
from curation.tasks import Outcome, Watch
from curation.workspace.files import fingerprint, read_table


@dataclass(frozen=True, slots=True)
class LoadedShard:
    """A raw shard with the columns that captioners read."""

    corpus: Corpus
    name: str
    samples: pa.Table
    rows: list[dict[str, Any]]
    """The columns of each row: samples, `source`, the signals that are read, and the captions made before."""
    kept: list[str | None]
    """Source of each row that the selection keeps, None for the others; see `kept_rows`."""


def load_shard(opened: Opened, corpus: Corpus, name: str) -> LoadedShard:
    """Reads a shard's samples, signals, selection and captions. Raises StageError for the reasons of `kept_rows`."""
    samples, kept, before = known_rows(opened, corpus.name, name)
    rows = samples.to_pylist()
    for signal in crew_of(opened).signals:
        sidecar = opened.workspace.signal(signal, corpus.name, name)
        if sidecar.exists():
            for row, scores in zip(rows, read_table(sidecar).to_pylist(), strict=True):
                row.update({k: v for k, v in scores.items() if k != "key"})
    for row, made, source in zip(rows, before, kept, strict=True):
        row.update({k: v for k, v in made.items() if k != "key"} | {"source": source})
    return LoadedShard(corpus, name, samples, rows, kept)


def caption_rows(
    opened: Opened, shard: LoadedShard, todo: Sequence[int], watch: Watch, threads: int = 1
) -> tuple[Outcome, dict[int, dict[str, Any]]]:
    """Captions some rows of a shard by the recipe's section `captions`.

    Args:
        opened: the recipe.
        shard: the shard.
        todo: numbers of the rows, in ascending order.
        watch: records the rows in hand.
        threads: number of CPU threads that prepare pictures beside a GPU.

    Returns:
        the outcome, and the columns of CAPTIONS of each row, by row number, without `key` and `captioned_as`.
    """
    workspace, crew = opened.workspace, crew_of(opened, threads)
    corpus, name = shard.corpus, shard.name
    source = open_source(corpus, name, raw_path(corpus, workspace, name))
    looks = crew.captioner.side is not None
    pictures = Pictures(source, shard.samples, threads, crew.captioner.prepare) if looks else None
    answers = Answers(workspace.answers(corpus.name, name))
    passes = Passes(opened.recipe.captions, crew, shard.rows, pictures, answers, watch)
    try:
        texts = passes.run(todo)
    finally:
        answers.close()
        if pictures:
            pictures.close()
        source.close()
    outcome = Outcome(rows=len(todo), notes=[f"{corpus.name}/{name}: {note}" for note in passes.notes])
    columns = {row: _columns(crew, row_texts) for row, row_texts in texts.items()}
    outcome.failed = failures(columns.values())
    flags = Counter(flag for row_texts in texts.values() for flag in row_texts.flags)
    outcome.sums = {"spent": passes.spent, "flagged": dict(flags)}
    return outcome, columns


def known_rows(opened: Opened, corpus: str, shard: str) -> tuple[pa.Table, list[str | None], list[dict[str, Any]]]:
    """Reads a shard's samples, the sources of its kept rows (see `kept_rows`), and its captions.

    Captions by other backends, or in a damaged file, count as missing; they will be made again.
    """
    samples = read_table(opened.workspace.samples(corpus, shard))
    kept = kept_rows(opened, corpus, shard, samples)
    path = opened.workspace.captions(corpus, shard)
    if fingerprint(path) == caption_fingerprint(opened, corpus, shard):
        with contextlib.suppress(StageError):
            table = read_table(path)
            check_aligned(samples, table, path)
            return samples, kept, table.to_pylist()
    return samples, kept, [{} for _ in range(samples.num_rows)]


def caption_mark(opened: Opened) -> dict[str, Any]:
    """Returns all that a shard's captions depend on besides its files: backends, their inputs, and selection rules."""
    return crew_of(opened).identity | {"select": opened.recipe.select.parts}


def caption_files(opened: Opened, corpus: str, shard: str) -> list[str]:
    """Returns the paths of the files on which a shard's ledger line is based."""
    workspace = opened.workspace
    sidecars = [workspace.signal(name, corpus, shard) for name in crew_of(opened).signals]
    own = [workspace.samples(corpus, shard), workspace.selection(corpus, shard), workspace.captions(corpus, shard)]
    return [str(path) for path in (*own, *sidecars)]


def failures(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Counts the rows without a caption, or whose translation failed, by reason."""
    return Counter(reason for row in rows if row.get("attempts") and (reason := failure(row)))


def failure(row: Mapping[str, Any]) -> str | None:
    """Returns why a row has no caption, or no translation although another try may give one; None if it has them."""
    if not row["caption_en"]:
        return f"caption {row['flags'][0]}"
    lost = [f.removeprefix("zh_") for f in row["flags"] if f.startswith("zh_") and not row["caption_zh"]]
    return next((f"translation {word}" for word in lost if word not in (NO_TRANSLATOR, UNTRANSLATED)), None)


def _columns(crew: Crew, texts: Texts) -> dict[str, Any]:
    """Returns the columns of one row in the captions file."""
    asked = texts.prompt if crew.captioner.generative else None
    names = {"captioner": crew.captioner.name, "translator": crew.translator.name if crew.translator else None}
    return asdict(texts) | names | {"prompt": asked}
