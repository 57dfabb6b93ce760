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
"""Number of examples."""
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
    """Number of these rows that have an original and a synthetic text, by the source of the training text."""
    some: list[ShownCaption] = field(default_factory=list)


def captions(fates: Fates, gallery: Gallery) -> CaptionSection:
    """Counts the captions of all shards; the examples are kept rows."""
    section = CaptionSection()
    candidates = np.zeros(fates.rows, bool)
    for number, shard in enumerate(fates.selection.shards):
        path = fates.selection.workspace.captions(*shard)
        if path.exists():
            table = pq.read_table(path, columns=_COLUMNS)
            start = int(fates.starts[number])
            if table.num_rows == int(fates.starts[number + 1]) - start:  # else the captions are of an earlier index
                captioned = np.flatnonzero(table["attempts"].is_valid().to_numpy())
                candidates[start + captioned] = True
                _count(section, table.take(pa.array(captioned)))
    candidates &= fates.numbers == fates.kept
    section.of_kept = int(np.count_nonzero(candidates))
    section.shares, section.both = _shares(fates, fates.sample(candidates, SHARED))
    section.shared = section.shares.total()
    section.some = [_caption(fates, gallery, index) for index in fates.sample(candidates, SHOWN)]
    return section


def _count(section: CaptionSection, table: pa.Table) -> None:
    section.made += table.num_rows
    section.english += table.num_rows - table["caption_en"].null_count
    section.translated += pc.sum(table["translated"]).as_py() or 0
    section.flagged += pc.sum(pc.greater(pc.list_value_length(table["flags"]), 0)).as_py() or 0
    section.asked_again += pc.sum(pc.greater(table["attempts"], 1)).as_py() or 0
    for name in ("tokens_in", "tokens_out", "cost"):
        section.spent[name] += pc.sum(table[name]).as_py() or 0
    if originals := table.num_rows - table["original_en"].null_count:
        section.backends["originals in English too"] += originals
    for entry in pc.value_counts(pc.list_flatten(table["flags"])).to_pylist():
        section.flags[entry["values"]] += entry["counts"]
    for column, verb in (("captioner", "captioned"), ("translator", "translated"), ("prompt", "asked")):
        for entry in pc.value_counts(table[column].drop_null()).to_pylist():
            section.backends[f"{verb} by {entry['values']}"] += entry["counts"]


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
        samples, captions = (
            pq.read_table(path, columns=names).take(pa.array(sorted(rows))).to_pylist()
            for path, names in zip(paths, columns, strict=True)
        )
        for sample, caption in zip(samples, captions, strict=True):
            good = trainable(caption["flags"], settings.tolerate)
            english, chinese = (caption["caption_en"], caption["caption_zh"]) if good else (None, None)
            text = training_text(
                sample["key"],
                sample["caption"],
                english,
                chinese,
                caption["translated"],
                settings.synthetic_share,
                settings.language.get("zh", 0.0),
            )
            shares[f"{text.source}, {text.language}" if text.text else "none"] += 1
            if english and (sample["caption"] or "").strip():
                both[str(text.source)] += 1
    return shares, both


def _caption(fates: Fates, gallery: Gallery, index: int) -> ShownCaption:
    shard, row = fates.place(index)
    path = fates.selection.workspace.captions(*fates.selection.shards[shard])
    columns = ["caption_en", "caption_zh", "translated", "flags", "original_en"]
    row_of_captions = pq.read_table(path, columns=columns).slice(row, 1).to_pylist()[0]
    return ShownCaption(
        gallery.picture(index),
        row_of_captions["caption_en"],
        row_of_captions["caption_zh"],
        bool(row_of_captions["translated"]),
        row_of_captions["flags"] or [],
        row_of_captions["original_en"],
    )
