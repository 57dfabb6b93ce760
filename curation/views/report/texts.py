"""The report's section on captions: examples beside their images, and what the checks found."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.captions.training_text import trainable, training_text
from curation.views.report.fates import Fates
from curation.views.report.pictures import Gallery, ShownPicture

SHOWN = 16
SHARED = 100_000
"""Number of rows from which the shares of training texts are estimated."""
_COLUMNS = ["caption_en", "translated", "flags", "captioner", "translator", "attempts", "prompt"]
_COLUMNS += ["tokens_in", "tokens_out", "cost", "original_en"]


@dataclass
class ShownCaption:
    """One image with its captions."""

    picture: ShownPicture
    english: str | None
    chinese: str | None
    translated: bool
    flags: list[str]
    original_en: str | None = None


@dataclass
class CaptionSection:
    """Counts over all captions, and examples."""

    made: int = 0
    """Number of rows that were captioned, with or without a result, whether or not the present selection keeps them."""
    of_kept: int = 0
    """Number of captioned rows that the recipe keeps now."""
    english: int = 0
    translated: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    backends: Counter[str] = field(default_factory=Counter)
    flagged: int = 0
    """Number of rows with a flag."""
    asked_again: int = 0
    """Number of rows that took more than one attempt."""
    spent: Counter[str] = field(default_factory=Counter)
    """Sums of `tokens_in`, `tokens_out` and `cost` (US dollars)."""
    shares: Counter[str] = field(default_factory=Counter)
    """Number of training texts under the present recipe, by source and language; rows without one count as `none`."""
    shared: int = 0
    """Number of rows from which `shares` was counted."""
    both: Counter[str] = field(default_factory=Counter)
    """Of these rows, those with both an original and a synthetic text, counted by the source of their training text."""
    some: list[ShownCaption] = field(default_factory=list)


def captions(fates: Fates, gallery: Gallery) -> CaptionSection:
    """Counts the captions of all shards; the examples are kept rows."""
    made = CaptionSection()
    candidates = np.zeros(fates.rows, bool)
    for number, shard in enumerate(fates.selection.shards):
        path = fates.selection.workspace.captions(*shard)
        if path.exists():
            table = pq.read_table(path, columns=_COLUMNS)
            start = int(fates.starts[number])
            if table.num_rows == int(fates.starts[number + 1]) - start:  # else the captions are of an earlier index
                captioned = np.flatnonzero(table["attempts"].is_valid().to_numpy())
                candidates[start + captioned] = True
                _count(made, table.take(pa.array(captioned)))
    candidates &= fates.numbers == fates.kept
    made.of_kept = int(np.count_nonzero(candidates))
    made.shares, made.both = _shares(fates, fates.sample(candidates, SHARED))
    made.shared = made.shares.total()
    made.some = [_caption(fates, gallery, index) for index in fates.sample(candidates, SHOWN)]
    return made


def _count(made: CaptionSection, table: pa.Table) -> None:
    made.made += table.num_rows
    made.english += table.num_rows - table["caption_en"].null_count
    made.translated += pc.sum(table["translated"]).as_py() or 0
    made.flagged += pc.sum(pc.greater(pc.list_value_length(table["flags"]), 0)).as_py() or 0
    made.asked_again += pc.sum(pc.greater(table["attempts"], 1)).as_py() or 0
    for name in ("tokens_in", "tokens_out", "cost"):
        made.spent[name] += pc.sum(table[name]).as_py() or 0
    if originals := table.num_rows - table["original_en"].null_count:
        made.backends["originals in English too"] += originals
    for entry in pc.value_counts(pc.list_flatten(table["flags"])).to_pylist():
        made.flags[entry["values"]] += entry["counts"]
    for column, verb in (("captioner", "captioned"), ("translator", "translated"), ("prompt", "asked")):
        for entry in pc.value_counts(table[column].drop_null()).to_pylist():
            made.backends[f"{verb} by {entry['values']}"] += entry["counts"]


def _shares(fates: Fates, chosen: list[int]) -> tuple[Counter[str], Counter[str]]:
    """Counts the training texts of some rows by source and language; for rows with both texts, also by source alone."""
    rows_of: dict[int, list[int]] = {}
    for index in chosen:
        number, row = fates.place(index)
        rows_of.setdefault(number, []).append(row)
    selection, shares, both = fates.selection, Counter[str](), Counter[str]()
    settings, workspace = selection.recipe.captions, selection.workspace
    for number, rows in rows_of.items():
        paths = [place(*selection.shards[number]) for place in (workspace.samples, workspace.captions)]
        columns = (["key", "caption"], ["caption_en", "caption_zh", "translated", "flags"])
        given, made = (
            pq.read_table(path, columns=names).take(pa.array(sorted(rows))).to_pylist()
            for path, names in zip(paths, columns, strict=True)
        )
        for row_given, said in zip(given, made, strict=True):
            good = trainable(said["flags"], settings.tolerate)
            english, chinese = (said["caption_en"], said["caption_zh"]) if good else (None, None)
            text = training_text(
                row_given["key"],
                row_given["caption"],
                english,
                chinese,
                said["translated"],
                settings.synthetic_share,
                settings.language.get("zh", 0.0),
            )
            shares[f"{text.source}, {text.language}" if text.text else "none"] += 1
            if english and (row_given["caption"] or "").strip():
                both[str(text.source)] += 1
    return shares, both


def _caption(fates: Fates, gallery: Gallery, index: int) -> ShownCaption:
    shard, row = fates.place(index)
    path = fates.selection.workspace.captions(*fates.selection.shards[shard])
    columns = ["caption_en", "caption_zh", "translated", "flags", "original_en"]
    said = pq.read_table(path, columns=columns).slice(row, 1).to_pylist()[0]
    return ShownCaption(
        gallery.picture(index),
        said["caption_en"],
        said["caption_zh"],
        bool(said["translated"]),
        said["flags"] or [],
        said["original_en"],
    )
